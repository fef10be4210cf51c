//! Whose handler runs, and what is made of its outcome (4, 4.7, 4.12).
//!
//! Not how often, nor when: see `runs`. Not where a reply goes: see `settling`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Fact, Invariant, Kind, Scene};
use crate::command::Command;
use crate::reply::{Entry, Fields};
use crate::server::Answer;
use crate::sim::given::{HANDING, handed};
use crate::sim::history::{NodeKind, id_in, is_dead, number_in};
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;

/// A method of another service, or of none, is not run (4.7).
#[derive(Debug, Default)]
pub(super) struct OwnMethods {
    /// The bodies that each process was handed under an id, of what is no call of this run. What is
    /// under that id at Redis may be another entry by now.
    handed: BTreeMap<(NodeId, usize, StreamId), Vec<Fields>>,
}

impl OwnMethods {
    fn hand(&mut self, scene: &Scene<'_>, node: NodeId, key: &[u8], entries: &[Entry]) {
        let Some(service) = scene.history.service_of(key) else { return };
        for Entry { id, fields, .. } in entries {
            let Some(fields) = fields else { continue };
            let number = number_in(fields);
            if !number.is_some_and(|number| scene.history.calls.contains_key(&number)) {
                self.handed.entry((node, service, *id)).or_default().push(fields.clone());
            }
        }
    }
}

impl Invariant for OwnMethods {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-method-of-another-service-runs", "4.7")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Replied, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        HANDING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Replied { node, lane, command, reply: Ok(reply), .. } => {
                if let Some((key, entries)) = handed(*lane, command, reply) {
                    self.hand(scene, *node, key, entries);
                }
            }
            Fact::Started { node, start, .. }
                if start.number.is_none()
                    && scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let Some(names) = scene.history.services.get(start.service) else {
                    return Err(format!("{node} starts {start:?}, of no service"));
                };
                let method = format!("\"method\":\"{}.echo\"", names.service);
                let named =
                    |value: &[u8]| value.windows(method.len()).any(|at| at == method.as_bytes());
                let handed = self.handed.get(&(*node, start.service, start.entry));
                let mut bodies = handed.into_iter().flatten();
                if !bodies.any(|fields| fields.iter().any(|(_, value)| named(value))) {
                    return Err(format!("{node} starts {start:?}: {handed:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A reply carries what its own handler made of it, or an error where no handler made anything (4,
/// 4.12).
#[derive(Debug, Default)]
pub(super) struct OwnAnswers {
    /// What the handlers of each call ended with in each process: results, and errors.
    ended: BTreeMap<(NodeId, u64), (bool, bool)>,
}

impl Invariant for OwnAnswers {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-carries-its-own-result", "4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Ended, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let (node, fields) = match fact {
            Fact::Ended { node, number: Some(number), answer, .. } => {
                let (results, errors) = self.ended.entry((*node, *number)).or_default();
                *results |= matches!(answer, Answer::Result(_));
                *errors |= !matches!(answer, Answer::Result(_));
                return Ok(());
            }
            Fact::Sent {
                node,
                command: Command::XAdd { key, fields, max_len: Some(_), .. },
                ..
            } => {
                // Whoever waits for what is put aside is told so.
                if is_dead(key) {
                    let number = number_in(fields).unwrap_or_default();
                    self.ended.entry((*node, number)).or_default().1 = true;
                    return Ok(());
                }
                (*node, fields)
            }
            _ => return Ok(()),
        };
        let id = id_in(fields);
        let Some(number) = id.and_then(|id| scene.history.number_by_id(&id)) else {
            return Ok(());
        };
        let envelope = fields.iter().find(|(name, _)| &name[..] == b"envelope");
        let Some((_, envelope)) = envelope else { return Err(format!("{node}: {fields:?}")) };
        let ended = self.ended.get(&(node, number)).copied();
        // Workers of Python answer as they like.
        let python = scene.history.kind_of(node) == Some(NodeKind::Python);
        let (results, errors) = if python { (true, true) } else { ended.unwrap_or((false, true)) };
        let result = format!("\"result\":{number}}}");
        let error = b"\"error\":";
        if results && envelope.ends_with(result.as_bytes())
            || errors && envelope.windows(error.len()).any(|window| window == error)
        {
            return Ok(());
        }
        Err(format!("{node} answers call {number} with {envelope:?}, of {ended:?}"))
    }
}
