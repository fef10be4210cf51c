//! Target `reply`: any entries on the reply stream of a client with calls under way.
//!
//! A call ends only with what came under its own id, and a good reply ends it. What an entry is
//! under is judged here once more, by `serde_json`'s own reader. Not the order of events around
//! connections: `client`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clamator_engine::{
    CallError, CallId, Client, ClientConfig, ClientEvent, Command, Entry, Fields, Hello, Instant,
    Lane, ProtocolFault, Refusal, Reply, StreamId, Version,
};
use clamator_proto::{Json, Method};
use serde_json::Value;

use super::Seen;
use super::material::{self, json};
use super::port::{App, Port};
use super::script::Script;

const CALLS: usize = 4;

pub(super) fn run(data: &[u8]) -> Seen {
    let mut script = Script::new(data);
    let mut app = Called::default();
    let client = Client::new(Instant::ZERO, ClientConfig::new("app", [7; 16], 1));
    let mut port = Port::new(client, &mut app);
    for lane in port.opening() {
        port.open(lane, Hello::new(Version::new(7, 0, 15)));
    }
    port.turn(&mut app);
    let method = Method::parse("arith.echo").expect("a good method");
    for number in 0..CALLS {
        let params = Json::encode(&number).expect("a number");
        let id = port.engine.call(port.now, &method, &params, None, None);
        app.live.insert(id, number);
        port.turn(&mut app);
    }
    while port.busy().contains(&Lane::Command) {
        port.reply(Lane::Command, Ok(Reply::Added(Some(StreamId::new(1, 1)))));
        port.turn(&mut app);
    }
    assert_eq!(app.ids.len(), CALLS);
    for batch in 1..=8 {
        app.offered.clear();
        let (mut entries, mut must_end) = (Vec::new(), BTreeSet::new());
        for place in 0..script.roll(6) {
            let id = StreamId::new(batch, u64::try_from(place).unwrap_or(0));
            let number = script.roll(CALLS);
            let fields = if script.roll(3) == 2 {
                let text = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{}}}"#,
                    app.ids[&number],
                    json(&mut script)
                );
                must_end.insert(number);
                vec![(Bytes::from_static(b"envelope"), Bytes::from(text))]
            } else {
                app.other_fields(&mut script)
            };
            app.offered.push(under(&fields));
            entries.push(Entry::new(id, (!fields.is_empty()).then_some(fields)));
        }
        port.reply(Lane::Blocking(0), Ok(Reply::Entries(entries)));
        port.turn(&mut app);
        let left: Vec<_> = app.live.values().filter(|number| must_end.contains(number)).collect();
        assert!(left.is_empty(), "good replies did not end {left:?}");
        if port.engine.stats().replies_unmatched > 0 {
            app.seen.mark("dropped");
        }
        if script.is_over() {
            break;
        }
    }
    app.seen
}

/// What an entry says, as far as another reader can tell.
enum Said {
    /// Nothing that could end a call.
    Nothing,
    /// Under this id, this result if it is one.
    Under(String, Option<Value>),
    /// The other reader cannot read it.
    Unsure(Bytes),
}

fn under(fields: &Fields) -> Said {
    let text = fields.iter().rev().find(|(name, _)| &name[..] == b"envelope");
    let Some((_, text)) = text else { return Said::Nothing };
    match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => match members.get("id").and_then(Value::as_str) {
            Some(id) => Said::Under(id.to_owned(), members.get("result").cloned()),
            None => Said::Nothing,
        },
        Ok(_) => Said::Nothing,
        Err(_) => Said::Unsure(text.clone()),
    }
}

#[derive(Default)]
struct Called {
    seen: Seen,
    live: BTreeMap<CallId, usize>,
    /// The ids that the requests went out under, as JSON text.
    ids: BTreeMap<usize, String>,
    offered: Vec<Said>,
}

impl Called {
    fn other_fields(&self, script: &mut Script<'_>) -> Fields {
        let mut ids: Vec<String> = self.ids.values().cloned().collect();
        if script.once_in(2) {
            let first = ids[0].clone();
            ids.extend([first.replace('-', "-0"), first.replace('-', "")]);
            ids.push(first.replace("\"07", "\"08"));
            ids.extend(["1", "null", "\"\"", r#""\ud800""#].map(str::to_owned));
        }
        let envelope = material::envelope(script, &ids);
        material::fields(script, envelope, None)
    }

    /// Whether any entry of this read may have ended the call, with this result if it is one.
    fn may_end(&self, number: usize, result: Option<&Json>) -> bool {
        let id = self.ids[&number].trim_matches('"');
        self.offered.iter().any(|said| match said {
            Said::Nothing => false,
            Said::Under(under, said) => {
                let value = result.map(|json| json.decode::<Value>());
                under == id && value.is_none_or(|value| value.is_err() || value.ok() == *said)
            }
            Said::Unsure(text) => {
                let text = String::from_utf8_lossy(text);
                text.contains(id) || text.contains('\\') || text.contains("-0")
            }
        })
    }
}

impl App<Client> for Called {
    fn command(&mut self, _: Instant, _: Lane, command: &Command) {
        if let Command::XAdd { fields, .. } = command {
            let envelope: Value = serde_json::from_slice(&fields[1].1).expect("JSON");
            let number = envelope["params"].as_u64().expect("the call's number");
            let number = usize::try_from(number).expect("a small number");
            assert!(self.ids.insert(number, envelope["id"].to_string()).is_none(), "sent twice");
        }
    }

    fn event(&mut self, _: Instant, _: &mut Client, event: ClientEvent) {
        match event {
            ClientEvent::Finished(id, outcome) => {
                let number = self.live.remove(&id).expect("a call ends once");
                let result = outcome.as_ref().ok();
                assert!(self.may_end(number, result), "call {number} ended with {outcome:?}");
                self.seen.mark(match outcome {
                    Ok(_) => "result",
                    Err(CallError::Rpc(_)) => "error",
                    Err(CallError::Protocol(
                        ProtocolFault::Envelope(_) | ProtocolFault::Kind { .. },
                    )) => "protocol fault",
                    Err(other) => panic!("no reply makes this: {other:?}"),
                });
            }
            ClientEvent::Unparsable { .. } => self.seen.mark("unparsable"),
            _ => {}
        }
    }

    fn replied(&mut self, _: &Command, _: &Result<Reply, Refusal>) {}

    fn ended(&mut self, _: Lane) {}

    fn is_stopped(&self) -> bool {
        false
    }
}
