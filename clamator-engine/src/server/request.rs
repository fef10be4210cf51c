//! [`Verdict`]: what is to be done with an entry of a command stream, from its bytes alone.
//!
//! Not the doing. Any bytes are data: what is no request is poison, to be acknowledged on its own
//! (rules 4.6 and 4.8); a reply is written to no key outside `<prefix>:replies:` (rule 4.7); a
//! method of another service, or of none, is not run.

use bytes::Bytes;
use clamator_proto::entry::CommandFields;
use clamator_proto::{
    Contract, Envelope, Json, Keys, Method, MethodName, RawValue, RequestId, RpcError, Traceparent,
};

use super::event::PoisonFault;
use crate::reply::Fields;
use crate::seeded::{Bug, Seeded};

/// What is to be done with an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer with an error, without running anything.
    Answer { reply: ReplyTo, error: RpcError },
    /// Acknowledge: there is nothing to run and nobody to answer.
    Drop,
    /// Warn and acknowledge; answer as well when it can be told whom.
    Poison { fault: PoisonFault, reply: Option<ReplyTo> },
    /// Run a handler.
    Run {
        method: MethodName,
        params: Option<Json>,
        request: Option<RequestId>,
        /// `None` for a notification, and when the reply's key is refused.
        reply: Option<ReplyTo>,
        /// Whether a reply is asked for under a key that is refused.
        refused: bool,
        traceparent: Option<Traceparent>,
    },
}

/// Where a reply goes, and which request it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplyTo {
    pub(super) key: Bytes,
    pub(super) id: RequestId,
}

/// What decides about entries.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) contract: &'a Contract,
    pub(super) keys: &'a Keys,
    pub(super) relaxed_reply_to: bool,
    pub(super) seeded: Seeded,
}

impl Judge<'_> {
    /// Decides about an entry.
    pub(super) fn judge(&self, fields: &Fields) -> Verdict {
        let Ok(command) = CommandFields::read(fields) else {
            return Verdict::Poison { fault: PoisonFault::NoEnvelope, reply: None };
        };
        let (text, key) = (command.envelope, command.reply_to);
        let key = key.filter(|key| !key.is_empty());
        let mut verdict = match Envelope::parse(text) {
            Ok(Envelope::Request(request)) => {
                let id = RequestId::from(request.id);
                self.request(&request.method, text, request.params, id, key)
            }
            Ok(Envelope::Notification(notification)) => {
                self.notification(&notification.method, text, notification.params)
            }
            Ok(Envelope::Success(_) | Envelope::Failure(_)) => {
                Verdict::Poison { fault: PoisonFault::Response, reply: None }
            }
            Err(fault) => {
                let reply = fault.id.clone().and_then(|id| {
                    let key = key.filter(|key| self.accepts(key))?.clone();
                    Some(ReplyTo { key, id })
                });
                Verdict::Poison { fault: PoisonFault::Envelope(fault), reply }
            }
        };
        if let Verdict::Run { traceparent, .. } = &mut verdict {
            *traceparent = command.traceparent;
        }
        verdict
    }

    fn request(
        &self,
        method: &Method<'_>,
        text: &Bytes,
        params: Option<&RawValue>,
        id: RequestId,
        key: Option<&Bytes>,
    ) -> Verdict {
        let refused = key.is_some_and(|key| !self.accepts(key));
        let key = key.filter(|_| !refused);
        let reply = key.map(|key| ReplyTo { key: key.clone(), id: id.clone() });
        match (self.find(method), reply) {
            (Some(method), reply) => {
                let params = params.map(|params| Json::slice_of(text, params));
                Verdict::Run {
                    method,
                    params,
                    request: Some(id),
                    reply,
                    refused,
                    traceparent: None,
                }
            }
            (None, Some(reply)) => Verdict::Answer { reply, error: RpcError::method_not_found() },
            (None, None) => Verdict::Drop,
        }
    }

    fn notification(
        &self,
        method: &Method<'_>,
        text: &Bytes,
        params: Option<&RawValue>,
    ) -> Verdict {
        let Some(method) = self.find(method) else {
            return Verdict::Drop;
        };
        let params = params.map(|params| Json::slice_of(text, params));
        let (request, reply, refused, traceparent) = (None, None, false, None);
        Verdict::Run { method, params, request, reply, refused, traceparent }
    }

    /// The method, if it is one of this service's.
    fn find(&self, method: &Method<'_>) -> Option<MethodName> {
        let foreign = method.service() != self.contract.service().as_str();
        if foreign && !self.seeded.is(Bug::ForeignMethodRun) {
            return None;
        }
        self.contract.find(method.name()).map(|(name, _)| name.clone())
    }

    fn accepts(&self, key: &[u8]) -> bool {
        self.relaxed_reply_to || self.keys.is_replies(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use clamator_proto::ServiceName;

    const REPLIES: &str = "app:replies:1";

    fn judge(fields: &[(&str, &[u8])]) -> Verdict {
        judge_with(fields, false)
    }

    fn judge_with(fields: &[(&str, &[u8])], relaxed_reply_to: bool) -> Verdict {
        let contract = Contract::new(ServiceName::new("arith").unwrap())
            .request(MethodName::new("add").unwrap())
            .unwrap();
        let keys = Keys::new("app");
        let fields: Vec<(Bytes, Bytes)> = fields
            .iter()
            .map(|(name, value)| {
                (Bytes::copy_from_slice(name.as_bytes()), Bytes::copy_from_slice(value))
            })
            .collect();
        let seeded = Seeded::default();
        Judge { contract: &contract, keys: &keys, relaxed_reply_to, seeded }.judge(&fields)
    }

    fn request(method: &str, reply_to: &str) -> Verdict {
        let text = alloc::format!(
            r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"a": 1.0}},"id":7}}"#
        );
        judge(&[("envelope", text.as_bytes()), ("reply-to", reply_to.as_bytes())])
    }

    #[test]
    fn a_request_runs_with_its_parameters_as_they_came() {
        let Verdict::Run { method, params, request, reply, refused, traceparent } =
            request("arith.add", REPLIES)
        else {
            panic!("does not run")
        };
        assert_eq!(method.as_str(), "add");
        assert_eq!(params.unwrap().as_str(), r#"{"a": 1.0}"#);
        assert_eq!(request.unwrap().as_json(), "7");
        assert_eq!(&reply.unwrap().key[..], REPLIES.as_bytes());
        assert!(!refused && traceparent.is_none());
    }

    #[test]
    fn what_is_run_belongs_to_the_trace_that_the_entry_names_if_that_is_one() {
        const VALID: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let call = &br#"{"jsonrpc":"2.0","method":"arith.add","id":7}"#[..];
        let note = br#"{"jsonrpc":"2.0","method":"arith.add"}"#;
        for text in [call, note] {
            for (trace, wanted) in [(VALID, Traceparent::parse(VALID)), (b"envelope", None)] {
                let verdict = judge(&[("envelope", text), ("traceparent", trace)]);
                let Verdict::Run { traceparent, .. } = verdict else { panic!("{verdict:?}") };
                assert_eq!(traceparent, wanted);
            }
        }
    }

    #[test]
    fn a_method_of_another_service_is_not_run() {
        for method in ["other.add", "arith.subtract"] {
            let Verdict::Answer { error, .. } = request(method, REPLIES) else {
                panic!("{method}")
            };
            assert_eq!(error, RpcError::method_not_found());
        }
        let note = br#"{"jsonrpc":"2.0","method":"other.add"}"#;
        assert_eq!(judge(&[("envelope", note)]), Verdict::Drop);
    }

    #[test]
    fn a_reply_goes_nowhere_but_to_a_reply_stream_of_this_prefix() {
        for key in ["app:cmds:arith", "other:replies:1", "app:replies:", "app:repliesx:1"] {
            let verdict = request("arith.add", key);
            let Verdict::Run { reply: None, refused: true, .. } = verdict else {
                panic!("{key}: {verdict:?}")
            };
        }
        let text = br#"{"jsonrpc":"2.0","method":"arith.add","id":7}"#;
        let verdict = judge_with(&[("envelope", text), ("reply-to", b"odd")], true);
        assert!(matches!(verdict, Verdict::Run { reply: Some(_), refused: false, .. }));
    }

    #[test]
    fn a_malformed_request_is_answered_when_it_can_be() {
        let text = br#"{"jsonrpc":"2.0","method":"nodot","id":7}"#;
        let verdict = judge(&[("envelope", text), ("reply-to", REPLIES.as_bytes())]);
        assert!(matches!(verdict, Verdict::Poison { reply: Some(_), .. }), "{verdict:?}");
        for other in ["app:cmds:arith", ""] {
            let verdict = judge(&[("envelope", text), ("reply-to", other.as_bytes())]);
            assert!(matches!(verdict, Verdict::Poison { reply: None, .. }), "{verdict:?}");
        }
    }

    #[test]
    fn whatever_is_no_request_is_poison() {
        let response = br#"{"jsonrpc":"2.0","id":1,"result":1}"#;
        let entries: Vec<Vec<(&str, &[u8])>> = vec![
            vec![],
            vec![("envelope", b"")],
            vec![("type", b"envelope"), ("x", b"reply-to")],
            vec![("envelope", b"\xff\xfe")],
            vec![("envelope", b"[]")],
            vec![("envelope", response)],
        ];
        for entry in entries {
            let verdict = judge(&entry);
            assert!(matches!(verdict, Verdict::Poison { reply: None, .. }), "{entry:?}");
        }
    }

    #[test]
    fn a_notification_is_never_answered_even_if_it_asks() {
        let text = br#"{"jsonrpc":"2.0","method":"arith.add","id":null}"#;
        let verdict = judge(&[("envelope", text), ("reply-to", REPLIES.as_bytes())]);
        assert!(matches!(verdict, Verdict::Run { request: None, reply: None, .. }));
    }
}
