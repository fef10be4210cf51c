//! The server's rules, one by one, without a Redis: every reply here is hand-made.
//!
//! Not scenarios with clients: those are in the workspace's `tests`. Rules are cited by their
//! numbers in `rules`.

mod clock;
mod consumers;
mod dead;
mod depth;
mod expired;
mod expiry;
mod group;
mod hand_back;
mod health;
mod intake;
mod lease;
mod look_back;
mod lost;
mod missing;
mod overdue;
mod prefetch;
mod reclaim;
mod settle;
mod stats;
mod stop;
mod take_back;
mod trim;
mod under_way;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{Contract, Json, MethodName, RpcError, ServiceName};

use super::{Answer, Concurrency, Job, Notice, Server, ServerConfig, ServerEvent, ServiceConfig};
use crate::command::Command;
use crate::reply::{Entry, GroupInfo, Reply};
use crate::stream_id::StreamId;
use crate::testing::{Rig, Sent};
use crate::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn service(name: &str) -> ServiceConfig {
    let method = |name| MethodName::new(name).unwrap();
    let contract = Contract::new(ServiceName::new(name).unwrap())
        .request(method("add"))
        .unwrap()
        .notification(method("ping"))
        .unwrap();
    ServiceConfig::new(contract)
}

fn config() -> ServerConfig {
    ServerConfig::new("app", "w1", 1)
}

fn rig_of(config: ServerConfig, services: Vec<ServiceConfig>) -> Rig<Server> {
    Rig::new(Server::new(Instant::ZERO, config, services))
}

/// A server of `arith` whose first read is under way.
fn rig() -> Rig<Server> {
    serving(config(), service("arith"))
}

/// A server of `arith` that runs this many handlers at once, with as many places.
fn rig_with_handlers(count: usize) -> Rig<Server> {
    let mut arith = service("arith");
    arith.concurrency = Concurrency::Limit(count);
    serving(config(), arith)
}

fn serving(config: ServerConfig, service: ServiceConfig) -> Rig<Server> {
    let mut rig = rig_of(config, vec![service]);
    rig.open_lanes();
    rig.answer("XGROUP CREATE", Reply::Ok);
    rig.mark(StreamId::ZERO, None);
    rig.habit = marks;
    assert!(rig.events().iter().any(|event| matches!(event, ServerEvent::Started)));
    rig
}

fn id(ms: u64) -> StreamId {
    StreamId::new(ms, 0)
}

fn entry_of(ms: u64, fields: &[(&'static str, &str)]) -> Entry {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    Entry::new(id(ms), Some(fields))
}

/// A request to `arith.add` whose id is the entry's milliseconds.
fn request(ms: u64) -> Entry {
    let text = format!(r#"{{"jsonrpc":"2.0","method":"arith.add","params":[],"id":{ms}}}"#);
    entry_of(ms, &[("type", "rpc"), ("envelope", &text), ("reply-to", "app:replies:c1")])
}

/// The same of a caller that waits for so long from then on.
fn request_within(ms: u64, timeout_ms: u64) -> Entry {
    let Entry { id, fields, .. } = request(ms);
    let timeout = (Bytes::from_static(b"timeout-ms"), format!("{timeout_ms}").into());
    Entry::new(id, fields.map(|fields| [fields, vec![timeout]].concat()))
}

fn notification(ms: u64) -> Entry {
    let text = r#"{"jsonrpc":"2.0","method":"arith.ping","params":{}}"#;
    entry_of(ms, &[("type", "rpc"), ("envelope", text)])
}

fn added() -> Reply {
    Reply::Added(Some(id(99)))
}

fn claimed(next: StreamId, entries: Vec<Entry>) -> Reply {
    Reply::Claimed { next, entries, deleted: vec![], nameless: 0 }
}

/// One group, which has given out all up to here.
fn groups(last_delivered: StreamId) -> Reply {
    Reply::Groups(vec![GroupInfo::new(Bytes::from_static(b"arith"), last_delivered)])
}

/// Answers every reading of the mark: one group, nothing pending.
fn marks(command: &Command) -> Option<Reply> {
    match command {
        Command::PExpire { .. } => Some(Reply::Integer(1)),
        Command::DelIdleConsumers { .. } | Command::XTrim { .. } => Some(Reply::Integer(0)),
        Command::XInfoGroups { .. } => Some(groups(id(50))),
        Command::XPending { .. } => Some(Reply::Pending { count: 0, first: None }),
        _ => None,
    }
}

/// Answers every look at the group: one group, nothing pending, nothing to take over.
fn quiet(command: &Command) -> Option<Reply> {
    match command {
        Command::XAutoClaim { .. } => Some(claimed(StreamId::ZERO, vec![])),
        other => marks(other),
    }
}

impl Rig<Server> {
    /// Answers a reading of the mark, as the only group of its stream.
    fn mark(&mut self, last_delivered: StreamId, first: Option<StreamId>) {
        self.answer("XINFO GROUPS", groups(last_delivered));
        let count = u64::from(first.is_some());
        self.answer("XPENDING", Reply::Pending { count, first });
    }

    /// Answers the read of new entries.
    fn deliver(&mut self, entries: Vec<Entry>) -> Command {
        let Sent { token, command, .. } = self.take("XREADGROUP");
        self.reply(token, Reply::Entries(entries));
        command
    }

    /// Takes the jobs that were started since the last look.
    fn jobs(&mut self) -> Vec<Job> {
        let (jobs, rest): (Vec<_>, Vec<_>) =
            self.events().into_iter().partition(|event| matches!(event, ServerEvent::Start(_)));
        self.events = rest;
        jobs.into_iter()
            .map(|event| match event {
                ServerEvent::Start(job) => job,
                other => unreachable!("{other:?}"),
            })
            .collect()
    }

    fn job(&mut self) -> Job {
        let mut jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs.remove(0)
    }

    fn no_job(&mut self) {
        let jobs = self.jobs();
        assert!(jobs.is_empty(), "{jobs:?}");
    }

    fn notices(&mut self) -> Vec<Notice> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                ServerEvent::Notice(notice) => Some(notice),
                _ => None,
            })
            .collect()
    }

    fn end(&mut self, job: &Job) {
        let result = Json::encode(&1).unwrap();
        self.engine.answer(self.now, job.id, Answer::Result(result));
        self.drain();
    }

    fn fail(&mut self, job: &Job) {
        let error = RpcError::new(1, "no");
        self.engine.answer(self.now, job.id, Answer::Error(error));
        self.drain();
    }

    /// The envelope of the oldest reply that waits for its answer.
    fn reply_text(&mut self) -> String {
        let Sent { command: Command::XAdd { fields, .. }, .. } = self.take("XADD") else {
            panic!()
        };
        String::from_utf8(fields[1].1.to_vec()).unwrap()
    }

    /// The ids of the oldest acknowledgement, which is answered.
    fn acknowledged(&mut self) -> Vec<StreamId> {
        let Sent { token, command: Command::XAck { ids, .. }, .. } = self.take("XACK") else {
            panic!()
        };
        let count = i64::try_from(ids.len()).unwrap();
        self.reply(token, Reply::Integer(count));
        ids
    }
}
