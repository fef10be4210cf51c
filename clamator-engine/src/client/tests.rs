//! The client's rules, one by one, without a Redis: every reply here is hand-made.
//!
//! Not scenarios with a server: those are in the workspace's `tests`.

mod knowing;
mod replies;
mod sending;
mod streams;
mod withdrawing;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{Envelope, Json, Method};

use super::replies::SILENCE_MAX;
use super::{Client, ClientConfig, ClientEvent};
use crate::call::{CallError, CallId, InvalidCall, ProtocolFault};
use crate::command::Command;
use crate::engine::{Deadline, Engine, Hello, Input, Lane, Timer, Version};
use crate::reply::{Entry, Refusal, Reply};
use crate::stream_id::StreamId;
use crate::testing::{Rig, Sent};
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const NONCE: &str = "07070707070707070707070707070707";

fn rig_with(change: impl FnOnce(&mut ClientConfig)) -> Rig<Client> {
    let mut config = ClientConfig::new("app", [7; 16], 1);
    change(&mut config);
    Rig::new(Client::new(Instant::ZERO, config))
}

/// A client with both lanes open and its first read under way.
fn rig() -> Rig<Client> {
    let mut rig = rig_with(|_| {});
    rig.open_lanes();
    rig.events();
    rig
}

impl Rig<Client> {
    fn call(&mut self) -> CallId {
        self.call_within(None)
    }

    fn call_within(&mut self, timeout: Option<Duration>) -> CallId {
        let method = Method::parse("arith.add").unwrap();
        let params = Json::encode(&[1, 2]).unwrap();
        let id = self.engine.call(self.now, &method, &params, timeout, None);
        self.drain();
        id
    }

    fn notify(&mut self) -> CallId {
        let method = Method::parse("arith.ping").unwrap();
        let id = self.engine.notify(self.now, &method, &Json::null(), None);
        self.drain();
        id
    }

    /// Confirms the oldest request.
    fn confirm(&mut self) -> Command {
        self.answer("XADD", Reply::Added(Some(StreamId::new(1, 1))))
    }

    /// Hands in entries of the reply stream.
    fn replies(&mut self, entries: Vec<(u64, String)>) -> Command {
        let entries = entries.into_iter().map(|(ms, text)| entry(ms, &text)).collect();
        self.answer("XREAD", Reply::Entries(entries))
    }

    /// Refuses the oldest command of this name, in a turn that goes on.
    fn refuse_within_the_turn(&mut self, name: &str, code: &str) {
        let Sent { token, .. } = self.take(name);
        self.engine.handle_input(self.now, Input::Reply(token, Err(Refusal::new(code, ""))));
    }

    fn finished(&mut self) -> Vec<(CallId, Result<Json, CallError>)> {
        self.events()
            .into_iter()
            .map(|event| match event {
                ClientEvent::Finished(id, outcome) => (id, outcome),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn entry(ms: u64, text: &str) -> Entry {
    let envelope = Bytes::copy_from_slice(text.as_bytes());
    let fields = vec![(Bytes::from_static(b"envelope"), envelope)];
    Entry::new(StreamId::new(ms, 0), Some(fields))
}

fn success(id: CallId, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{NONCE}-{}","result":{result}}}"#, id.0)
}

fn field(command: &Command, name: &str) -> Option<String> {
    let Command::XAdd { fields, .. } = command else { panic!("{command:?}") };
    let value = &fields.iter().find(|(field, _)| field == name.as_bytes())?.1;
    Some(String::from_utf8(value.to_vec()).unwrap())
}
