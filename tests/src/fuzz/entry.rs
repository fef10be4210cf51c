//! Target `entry`: any entries on a command stream, given to a server beside good ones.
//!
//! Each is run, answered or acknowledged, and none harms another: all good ones start, once each,
//! and all are acknowledged in the end. Not the order of events around connections: `server`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use clamator_engine::{
    Answer, ClaimAs, Command, Concurrency, Entry, GroupInfo, Hello, Instant, Lane, Refusal, Reply,
    Server, ServerConfig, ServerEvent, ServiceConfig, StreamId, Version,
};
use clamator_proto::{Contract, Envelope, Json, MethodName, ServiceName};

use super::Seen;
use super::material::{self, json};
use super::port::{App, Port};
use super::script::Script;

const IDS: [&str; 8] = [r#""i-1""#, "7", "-0.5e3", r#""""#, "null", "true", r#""\ud800""#, "[1]"];

pub(super) fn run(data: &[u8]) -> Seen {
    let mut script = Script::new(data);
    let mut app = Served::default();
    let mut service = ServiceConfig::new(contract("arith"));
    if script.once_in(2) {
        service.concurrency = Concurrency::Limit(3);
    }
    let mut config = ServerConfig::new("app", "one", 1);
    config.relaxed_reply_to = script.once_in(8);
    app.relaxed = config.relaxed_reply_to;
    let server = Server::new(Instant::ZERO, config, vec![service]);
    let mut port = Port::new(server, &mut app);
    for lane in port.opening() {
        port.open(lane, Hello::new(Version::new(7, 0, 15)));
    }
    port.turn(&mut app);
    for batch in 0..4_u64 {
        let mut entries = Vec::new();
        for place in 0..=script.roll(6) {
            let id = StreamId::new(batch + 1, u64::try_from(place).unwrap_or(0));
            entries.push(app.entry(&mut script, id));
        }
        serve(&mut port, &mut app, Some(entries));
        if script.is_over() {
            break;
        }
    }
    for (id, starts) in &app.good {
        assert_eq!(*starts, 1, "the good entry {id} started {starts} times");
    }
    let given: BTreeSet<StreamId> = app.good.keys().chain(&app.other).copied().collect();
    let left: Vec<_> = given.difference(&app.acknowledged).collect();
    assert!(left.is_empty(), "never acknowledged: {left:?}");
    if !app.good.is_empty() && !app.other.is_empty() {
        app.seen.mark("good beside bad");
    }
    if app.other.iter().any(|id| !app.started.contains(id)) {
        app.seen.mark("acknowledged unrun");
    }
    app.seen
}

/// Answers everything but the read that follows the one that is given these entries.
fn serve(port: &mut Port<Server>, app: &mut Served, mut entries: Option<Vec<Entry>>) {
    for _ in 0..10_000 {
        let mut idle = true;
        for lane in port.busy() {
            let reply = match port.oldest(lane) {
                Some(Command::XReadGroup { .. }) => entries.take().map(Reply::Entries),
                Some(command) => Some(benign(command)),
                None => None,
            };
            if let Some(reply) = reply {
                idle = false;
                port.reply(lane, Ok(reply));
                port.turn(app);
            }
        }
        if idle {
            assert!(entries.is_none(), "nothing is read any more");
            return;
        }
    }
    panic!("never idle");
}

/// What a Redis says that has nothing else to tell.
fn benign(command: &Command) -> Reply {
    match command {
        Command::XAdd { .. } => Reply::Added(Some(StreamId::new(1, 1))),
        Command::XGroupCreate { .. } => Reply::Ok,
        Command::Time => Reply::Time(Duration::from_secs(1_700_000_000)),
        Command::XInfoGroups { .. } => {
            Reply::Groups(vec![GroupInfo::new("arith".into(), StreamId::MAX)])
        }
        Command::XPending { .. } => Reply::Pending { count: 0, first: None },
        Command::XPendingRange { .. } => Reply::PendingRange(Vec::new()),
        Command::XAutoClaim { .. } => Reply::Claimed {
            next: StreamId::ZERO,
            entries: Vec::new(),
            deleted: Vec::new(),
            nameless: 0,
        },
        Command::XClaim { claim_as: ClaimAs::Delivered, .. } => Reply::Entries(Vec::new()),
        Command::XClaim { ids, .. } => Reply::Ids(ids.clone()),
        Command::XAck { ids, .. } => Reply::Integer(i64::try_from(ids.len()).unwrap_or(0)),
        _ => Reply::Integer(0),
    }
}

/// A service of this name with a request and a notification.
pub(super) fn contract(service: &str) -> Contract {
    let method = |name: &str| MethodName::new(name).expect("a good name");
    Contract::new(ServiceName::new(service).expect("a good name"))
        .request(method("echo"))
        .and_then(|contract| contract.notification(method("note")))
        .expect("two names")
}

#[derive(Default)]
struct Served {
    seen: Seen,
    relaxed: bool,
    /// Entries that are fine, and how often each has started.
    good: BTreeMap<StreamId, u32>,
    other: BTreeSet<StreamId>,
    started: BTreeSet<StreamId>,
    acknowledged: BTreeSet<StreamId>,
}

impl Served {
    fn entry(&mut self, script: &mut Script<'_>, id: StreamId) -> Entry {
        let key = Bytes::from_static(b"app:replies:one");
        if script.roll(4) == 3 {
            self.good.insert(id, 0);
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"arith.echo","params":{},"id":"{id}"}}"#,
                json(script)
            );
            let pair = |name: &'static [u8], value| (Bytes::from_static(name), value);
            let fields = vec![pair(b"envelope", text.into()), pair(b"reply-to", key)];
            return Entry::new(id, Some(fields));
        }
        self.other.insert(id);
        if script.once_in(16) {
            return Entry::new(id, None);
        }
        let ids = IDS.map(str::to_owned);
        let kinds = if script.once_in(3) { ids.len() } else { 3 };
        let envelope = material::envelope(script, &ids[..kinds]);
        let reply_to = match script.roll(8) {
            0 => None,
            1 => Some(Bytes::from_static(b"app:cmds:arith")),
            2 => Some(script.bytes(24)),
            _ => Some(key),
        };
        Entry::new(id, Some(material::fields(script, envelope, reply_to)))
    }
}

impl App<Server> for Served {
    fn command(&mut self, _: Instant, _: Lane, command: &Command) {
        match command {
            Command::XAck { ids, .. } => {
                for id in ids {
                    let given = self.good.contains_key(id) || self.other.contains(id);
                    assert!(given, "{id} was never given");
                    assert!(self.acknowledged.insert(*id), "{id} is acknowledged twice");
                }
            }
            Command::XAdd { key, fields, .. } => {
                assert!(self.relaxed || key.starts_with(b"app:replies:"), "{key:?}");
                let envelope = &fields.iter().find(|(name, _)| &name[..] == b"envelope");
                let envelope = &envelope.expect("a reply has an envelope").1;
                match Envelope::parse(envelope) {
                    Ok(Envelope::Failure(_)) => self.seen.mark("answered unrun"),
                    Ok(Envelope::Success(_)) => {}
                    other => panic!("no response: {other:?}"),
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, now: Instant, server: &mut Server, event: ServerEvent) {
        let ServerEvent::Start(job) = event else { return };
        self.seen.mark("started");
        self.started.insert(job.entry);
        if job.request.is_none() {
            self.seen.mark("started without reply");
        }
        match self.good.get_mut(&job.entry) {
            Some(starts) => *starts += 1,
            None => assert!(self.other.contains(&job.entry), "{} was never given", job.entry),
        }
        server.answer(now, job.id, Answer::Result(job.params.unwrap_or_else(Json::null)));
    }

    fn replied(&mut self, _: &Command, _: &Result<Reply, Refusal>) {}

    fn ended(&mut self, _: Lane) {}

    fn is_stopped(&self) -> bool {
        false
    }
}
