//! Target `server`: any sequence of verbs and of what a Redis and a network may do to a server.
//!
//! Checked beside what a [`Port`] checks: at most as many handlers run as may, none twice for one
//! entry; a reply goes out once at a time; nothing is acknowledged that was not given, or whose
//! handler has not ended, or whose reply is not answered; a stop ends in time. Not the reading of
//! odd entries: `entry`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clamator_engine::{
    Answer, ClaimAs, Command, Concurrency, Instant, JobId, Lane, Notice, Refusal, RefusalKind,
    Reply, Server, ServerConfig, ServerEvent, ServiceConfig, StreamId,
};
use clamator_proto::{Envelope, Json, RpcError};

use super::Seen;
use super::entry::contract;
use super::material;
use super::mishaps;
use super::port::{App, Port};
use super::script::Script;
use super::world::{Kind, World};

const NAMES: [&str; 2] = ["arith", "geo"];

pub(super) fn run(data: &[u8]) -> Seen {
    let mut script = Script::new(data);
    let mut config = ServerConfig::new("app", "one", 1);
    config.prefetch_max = script.pick(&[256, 1, 4]);
    let (services, limit) = (script.pick(&[1, 2]), script.pick(&[1, 3]));
    let services = NAMES.into_iter().take(services);
    let mut app = Serving { limit, ..Serving::default() };
    let configs = services.map(|name| {
        app.worlds.push(World::new(name));
        let mut service = ServiceConfig::new(contract(name));
        if limit > 1 {
            service.concurrency = Concurrency::Limit(limit);
        }
        service
    });
    let stop_within = config.command_timeout + config.read_block;
    let configs = configs.collect();
    let mut port = Port::new(Server::new(Instant::ZERO, config, configs), &mut app);
    for _ in 0..2000 {
        if script.is_over() {
            break;
        }
        step(&mut script, &mut port, &mut app);
        if script.roll(4) != 3 {
            port.turn(&mut app);
        }
    }
    match script.roll(4) {
        0 => port.refuse_all(&material::refusal(&mut script), 0, &mut app),
        1 => port.pass(Duration::from_secs(60), false, &mut app),
        _ => {}
    }
    let grace = script.span();
    port.engine.drain(port.now, grace);
    let end = port.now + grace.max(app.grace) + stop_within;
    port.turn(&mut app);
    if !script.once_in(4) {
        calm(&mut script, &mut port, &mut app, 50);
    }
    if app.stopped {
        app.seen.mark("stopped clean");
    }
    port.pass(end.since(port.now), false, &mut app);
    assert!(app.stopped, "the stop takes longer than it may");
    if port.closed > 0 {
        app.seen.mark("lane closed");
    }
    app.seen
}

/// One thing happens.
fn step(script: &mut Script<'_>, port: &mut Port<Server>, app: &mut Serving) {
    match script.roll(16) {
        0 | 1 => mishaps::open(script, port),
        2 => mishaps::lose(script, port, &mut app.seen),
        3..=6 => {
            for lane in port.busy() {
                if !script.once_in(3) {
                    answer(script, port, app, lane);
                }
            }
        }
        7 => mishaps::refuse(script, port),
        8 => mishaps::answer_oddly(script, port, |command, reply| match command {
            // Any answer to a reply's XADD but a refusal is an id to a server, and no entries in
            // answer to XRANGE mean that the entry is gone.
            Some(Command::XAdd { .. } | Command::XRange { .. }) => false,
            // What a server is told to be pending is given to it, and its world must know of that.
            Some(Command::XPendingRange { .. }) => !matches!(reply, Reply::PendingRange(_)),
            _ => true,
        }),
        9 | 10 => app.end_a_handler(script, port),
        11 | 12 => {
            let (span, late) = (script.span(), script.once_in(4));
            port.pass(span, late, app);
        }
        13 | 14 => {
            let rounds = script.roll(8);
            calm(script, port, app, rounds);
        }
        _ => {
            if script.once_in(16) {
                let grace = script.span();
                port.engine.drain(port.now, grace);
                app.grace = app.grace.max(grace);
            } else if let Some(due) = port.due() {
                port.pass(due.since(port.now), false, app);
            }
        }
    }
}

/// All is well for a while: everything is answered, handlers end, time passes.
fn calm(script: &mut Script<'_>, port: &mut Port<Server>, app: &mut Serving, rounds: usize) {
    for _ in 0..rounds {
        for lane in port.opening() {
            port.open(lane, clamator_engine::Hello::new(clamator_engine::Version::new(7, 2, 0)));
        }
        port.turn(app);
        for lane in port.busy() {
            answer(script, port, app, lane);
        }
        port.turn(app);
        while !app.running.is_empty() && script.roll(4) != 3 {
            app.end_a_handler(script, port);
        }
        port.pass(Duration::from_millis(100), false, app);
        if app.stopped {
            return;
        }
    }
}

/// Answers the oldest command of a lane as a Redis would.
fn answer(script: &mut Script<'_>, port: &mut Port<Server>, app: &mut Serving, lane: Lane) {
    let Some(command) = port.oldest(lane).cloned() else { return };
    let reply = match app.world(&command) {
        Some(_) if matches!(command, Command::XGroupCreate { .. }) && script.once_in(2) => {
            Err(Refusal::new("BUSYGROUP", "Consumer Group name already exists"))
        }
        Some(world) => Ok(world.reply(script, &command)),
        None => Ok(Reply::Added(Some(StreamId::new(1, 1)))),
    };
    match &command {
        Command::XAutoClaim { .. } => app.seen.mark("claimed"),
        Command::XClaim { claim_as: ClaimAs::Delivered, .. } => app.seen.mark("taken back"),
        Command::XRange { .. } => app.seen.mark("ghost"),
        _ => {}
    }
    port.reply(lane, reply);
}

/// An entry of one of the services.
type Place = (usize, StreamId);

#[derive(Default)]
struct Serving {
    seen: Seen,
    limit: usize,
    worlds: Vec<World>,
    running: BTreeMap<JobId, Place>,
    /// Entries whose handler has ended with an outcome.
    ended: BTreeSet<Place>,
    /// Entries whose reply is under way.
    replying: BTreeSet<Place>,
    /// Entries whose reply may have been answered for good, as far as the server can know.
    answered: BTreeSet<Place>,
    retried: BTreeSet<Place>,
    /// Jobs whose outcome is not going to be heard.
    lost: BTreeSet<JobId>,
    /// The longest grace that was asked for.
    grace: Duration,
    stopped: bool,
}

impl Serving {
    /// The stream that a command is for; `None` for the stream of replies.
    fn world(&mut self, command: &Command) -> Option<&mut World> {
        let index = self.index(command)?;
        self.worlds.get_mut(index)
    }

    fn index(&self, command: &Command) -> Option<usize> {
        let key = command.key()?;
        let of = |world: &World| *key == format!("app:cmds:{}", world.service).as_bytes();
        self.worlds.iter().position(of)
    }

    /// The entry that a reply is to, if it is one of the good requests.
    fn place(&self, command: &Command) -> Option<Place> {
        let Command::XAdd { fields, .. } = command else { return None };
        let envelope = &fields.iter().find(|(name, _)| &name[..] == b"envelope")?.1;
        let id = match Envelope::parse(envelope) {
            Ok(Envelope::Success(success)) => success.id,
            Ok(Envelope::Failure(failure)) => failure.id?,
            other => panic!("no reply: {other:?}"),
        };
        let id = id.text().into_owned();
        let (service, id) = id.split_once('/')?;
        let index = self.worlds.iter().position(|world| world.service == service)?;
        Some((index, StreamId::parse(id.as_bytes())?))
    }

    fn end_a_handler(&mut self, script: &mut Script<'_>, port: &mut Port<Server>) {
        let jobs: Vec<JobId> = self.running.keys().copied().collect();
        if jobs.is_empty() {
            return;
        }
        let job = script.pick(&jobs);
        let place = self.running.remove(&job).expect("a running job");
        if script.once_in(16) {
            self.seen.mark("abandoned");
            return port.engine.abandoned(port.now, job);
        }
        if !self.lost.remove(&job) {
            self.ended.insert(place);
        }
        let answer = if script.once_in(4) {
            Answer::Error(RpcError::method_not_found())
        } else {
            Answer::Result(Json::null())
        };
        port.engine.answer(port.now, job, answer.clone());
        if script.once_in(8) {
            // A second outcome changes nothing.
            port.engine.answer(port.now, job, answer);
            port.engine.abandoned(port.now, job);
        }
    }

    /// What was given out again by a group that was made anew may be acknowledged while it runs
    /// once more: it has run and was answered before.
    fn acknowledged(&mut self, index: usize, ids: &[StreamId]) {
        for id in ids {
            let (world, place) = (&self.worlds[index], (index, *id));
            assert!(world.given.contains(id), "{id} was never given");
            self.seen.mark("acknowledged");
            let (kind, _) = world.entries.get(id).expect("a known entry");
            if world.renewed || world.gone.contains(id) {
                continue;
            }
            if *kind == Kind::Odd {
                let runs = self.running.values().any(|running| *running == place);
                let again = self.ended.contains(&place);
                assert!(!runs || again, "{id} is acknowledged while its handler runs");
                continue;
            }
            assert!(self.ended.contains(&place), "{id} is acknowledged, and has not run");
            let answered = *kind == Kind::Notification || self.answered.contains(&place);
            assert!(answered, "{id} is acknowledged before its reply is answered");
        }
    }
}

impl App<Server> for Serving {
    fn command(&mut self, _: Instant, lane: Lane, command: &Command) {
        let reads = matches!(command, Command::XReadGroup { .. });
        let looks = matches!(command, Command::XPendingRange { .. } | Command::XRange { .. });
        let blocking = lane != Lane::Command;
        assert!(blocking == reads || blocking && looks, "{command:?} on {lane}");
        match command {
            Command::XAck { ids, .. } => {
                let index = self.index(command).expect("a command stream");
                self.acknowledged(index, ids);
            }
            Command::XAdd { key, .. } => {
                assert_eq!(&key[..], b"app:replies:one");
                if let Some(place) = self.place(command) {
                    let renewed = self.worlds[place.0].renewed;
                    assert!(self.replying.insert(place) || renewed, "{place:?} is replied twice");
                    assert!(self.ended.contains(&place), "{place:?} is answered, and has not run");
                    if self.retried.contains(&place) {
                        self.seen.mark("reply retried");
                    }
                }
            }
            Command::XPendingRange { .. } if lane != Lane::Command => self.seen.mark("looked back"),
            Command::XRange { .. } if lane != Lane::Command => {
                self.seen.mark("looked back and found");
            }
            Command::XDel { .. } => {
                let index = self.index(command).expect("a command stream");
                let foreign = self.worlds[index].foreign;
                // Told of another group in this very turn, the server may not know it yet.
                self.seen.mark(if foreign { "deleted beside another group" } else { "deleted" });
            }
            Command::XGroupDelConsumer { .. } => self.seen.mark("consumer removed"),
            _ => {}
        }
    }

    fn event(&mut self, now: Instant, server: &mut Server, event: ServerEvent) {
        match event {
            ServerEvent::Start(job) => {
                let named = |world: &World| world.service == job.service.as_str();
                let index = self.worlds.iter().position(named).expect("a known service");
                let (world, place) = (&self.worlds[index], (index, job.entry));
                let (kind, _) = world.entries.get(&job.entry).expect("a known entry");
                let runs = self.running.values().any(|running| *running == place);
                assert!(!runs || world.renewed, "{place:?} runs twice at once");
                if *kind != Kind::Odd {
                    let params = job.params.as_ref().map(Json::as_str).unwrap_or_default();
                    let wanted = format!("\"{}/{}\"", world.service, job.entry);
                    assert_eq!(params, wanted, "parameters of another entry");
                    assert_eq!(job.request.is_some(), *kind == Kind::Request);
                }
                assert!(job.deliveries >= 1);
                if job.deliveries > 1 {
                    self.seen.mark("redelivered");
                }
                self.seen.mark("started");
                assert!(self.running.insert(job.id, place).is_none(), "one job starts twice");
                let running = self.running.values().filter(|running| running.0 == index);
                assert!(running.count() <= self.limit, "too many handlers at once");
            }
            ServerEvent::Abandon(job) => {
                self.seen.mark("told to abandon");
                assert!(self.running.remove(&job).is_some(), "{job:?} does not run");
                server.abandoned(now, job);
            }
            ServerEvent::LeaseLost(job) => {
                self.seen.mark("lease lost");
                assert!(self.running.contains_key(&job), "{job:?} does not run");
                assert!(self.lost.insert(job), "{job:?} is lost twice");
            }
            ServerEvent::Notice(Notice::GroupRestored { .. }) => self.seen.mark("group restored"),
            ServerEvent::Stopped { .. } => {
                assert!(!self.stopped, "stopped twice");
                self.stopped = true;
            }
            _ => {}
        }
    }

    fn replied(&mut self, command: &Command, reply: &Result<Reply, Refusal>) {
        let Some(place) = self.place(command) else { return };
        self.replying.remove(&place);
        let kind = reply.as_ref().err().map(Refusal::kind);
        if let Some(RefusalKind::Heals | RefusalKind::WrongServer) = kind {
            self.retried.insert(place);
        } else {
            self.answered.insert(place);
        }
    }

    fn ended(&mut self, lane: Lane) {
        if lane == Lane::Command {
            self.retried.append(&mut self.replying);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped
    }
}
