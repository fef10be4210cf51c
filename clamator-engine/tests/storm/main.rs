//! Clients and servers against the modelled streams while lanes break and data vanishes, from a
//! seed: whatever happens, each call ends once, with its own result or an allowed error, no entry
//! runs twice at once in one server, and when the faults end everything settles.
//!
//! Not the simulator: few faults, few invariants, no handlers of users. `STORM_SEED=7` repeats
//! one run, `STORM_SEEDS=1000` runs more.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "tests hope"
)]

mod dice;
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clamator_engine::memory::{ConnectionId, Options, Progress, Streams};
use clamator_engine::{
    Answer, CallError, CallId, Client, ClientConfig, ClientEvent, Command, Engine, Hello, Input,
    Instant, Job, JobId, Lane, Loss, Output, Refusal, Reply, Server, ServerConfig, ServerEvent,
    ServiceConfig, StreamId, Version,
};
use clamator_proto::{Contract, Json, Method, MethodName, ServiceName};

use dice::Dice;
use node::{Machine, Node, Said, Wire, map};

const FAULTS_END: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(90);
const CLAIM_IDLE: Duration = Duration::from_secs(4);
const KEY: &[u8] = b"app:cmds:arith";

enum Happening {
    Arrive { connection: ConnectionId, ticket: u64, command: Command },
    Call { node: usize },
    Disconnect(ConnectionId),
    End { node: usize, job: JobId, result: Json },
    Fault,
    Open { node: usize, lane: Lane, connection: ConnectionId },
    Tell { node: usize, connection: ConnectionId, ticket: u64, reply: Result<Reply, Refusal> },
}

struct World {
    dice: Dice,
    now: Instant,
    redis: Streams,
    nodes: Vec<Node>,
    agenda: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    /// Numbers of the calls under way.
    calls: BTreeMap<(usize, CallId), u64>,
    called: u64,
    succeeded: u64,
    last_success: Instant,
    /// What runs, by server.
    running: BTreeMap<usize, BTreeSet<StreamId>>,
    jobs: BTreeMap<(usize, JobId), StreamId>,
    /// Whether this run loses data.
    flushes: bool,
    /// Requests on their way into the stream.
    requests: BTreeSet<(ConnectionId, u64)>,
    /// Entries of requests.
    accepted: BTreeSet<StreamId>,
    /// Entries whose handler was started.
    started: BTreeSet<StreamId>,
    refuse: Option<(Instant, &'static str)>,
    limit: usize,
    sent: BTreeMap<usize, u64>,
    stopped: BTreeSet<usize>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            dice: Dice(seed),
            now: Instant::ZERO,
            redis: Streams::new(Options::default()),
            nodes: Vec::new(),
            agenda: BTreeMap::new(),
            next: 0,
            calls: BTreeMap::new(),
            called: 0,
            succeeded: 0,
            last_success: Instant::ZERO,
            running: BTreeMap::new(),
            jobs: BTreeMap::new(),
            flushes: seed.is_multiple_of(4),
            requests: BTreeSet::new(),
            accepted: BTreeSet::new(),
            started: BTreeSet::new(),
            refuse: None,
            limit: [1, 30][usize::from(seed % 3 == 1)],
            sent: BTreeMap::new(),
            stopped: BTreeSet::new(),
        };
        for number in 0..3 {
            let mut config = ServerConfig::new("app", format!("w{number}"), seed ^ number);
            config.claim_idle = CLAIM_IDLE;
            let contract = Contract::new(ServiceName::new("arith").unwrap());
            let contract = contract.request(MethodName::new("echo").unwrap()).unwrap();
            let mut service = ServiceConfig::new(contract);
            if world.limit > 1 {
                service.concurrency = clamator_engine::Concurrency::Limit(world.limit);
            }
            let services = vec![service];
            world.add(Machine::Server(Server::new(world.now, config, services)));
        }
        for number in 0..2 {
            let nonce = [u8::try_from(number).unwrap(); 16];
            let mut config = ClientConfig::new("app", nonce, seed ^ number);
            config.timeout = Duration::from_secs(15);
            world.add(Machine::Client(Client::new(world.now, config)));
        }
        for call in 0..300 {
            let node = 3 + usize::try_from(world.dice.roll(2)).unwrap();
            let at = world.dice.millis(100, 30_000);
            // The last ones are made when the faults are long over.
            let at = if call < 250 { at } else { FAULTS_END + CLAIM_IDLE * 5 + at / 10 };
            world.plan(at, Happening::Call { node });
        }
        for _ in 0..25 {
            let at = world.dice.millis(500, 29_000);
            world.plan(at, Happening::Fault);
        }
        world
    }

    fn add(&mut self, machine: Machine) {
        let (lanes, tokens) = (BTreeMap::new(), BTreeMap::new());
        self.nodes.push(Node { machine, lanes, tokens, due: None });
        self.drain(self.nodes.len() - 1);
    }

    fn plan(&mut self, delay: Duration, happening: Happening) {
        self.plan_at(self.now + delay, happening);
    }

    fn plan_at(&mut self, at: Instant, happening: Happening) {
        self.next += 1;
        self.agenda.insert((at, self.next), happening);
    }

    fn run(&mut self) {
        for _ in 0..2_000_000 {
            self.hear_redis();
            let ticks = self.nodes.iter().filter_map(|node| node.due);
            let Progress::Idle(redis) = self.redis.poll(self.now) else {
                unreachable!("all was heard")
            };
            let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = ticks.chain(redis).chain(planned).min() else { return };
            self.now = self.now.max(at);
            if self.now > Instant::ZERO + END {
                return;
            }
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let happening = entry.remove();
                self.happen(happening);
            }
            for node in 0..self.nodes.len() {
                if self.nodes[node].due.is_some_and(|due| due <= self.now) {
                    self.input(node, Input::Tick);
                }
            }
        }
        panic!("a hot loop at {}", self.now);
    }

    /// Takes what Redis says, to be told after a while.
    fn hear_redis(&mut self) {
        loop {
            match self.redis.poll(self.now) {
                Progress::Replied { connection, ticket, reply } => {
                    if self.requests.remove(&(connection, ticket))
                        && let Ok(Reply::Added(Some(id))) = &reply
                    {
                        self.accepted.insert(*id);
                    }
                    let delay = self.dice.millis(0, 3);
                    let wire = self.nodes.iter_mut().enumerate().find_map(|(number, node)| {
                        let wire =
                            node.lanes.values_mut().find(|wire| wire.connection == connection)?;
                        Some((number, wire))
                    });
                    if let Some((node, wire)) = wire {
                        wire.told_until = wire.told_until.max(self.now + delay);
                        let at = wire.told_until;
                        let tell = Happening::Tell { node, connection, ticket, reply };
                        self.plan_at(at, tell);
                    }
                }
                _ => return,
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { connection, ticket, command } => {
                if matches!(&command, Command::XAdd { key, .. } if &key[..] == KEY) {
                    self.requests.insert((connection, ticket));
                }
                if let Some((until, code)) = self.refuse
                    && self.now < until
                    && (code != "OOM"
                        || matches!(&command, Command::XAdd { .. } | Command::XGroupCreate { .. }))
                    && self.dice.roll(3) > 0
                {
                    self.requests.remove(&(connection, ticket));
                    let found = self.nodes.iter_mut().enumerate().find_map(|(number, node)| {
                        let wire =
                            node.lanes.values_mut().find(|wire| wire.connection == connection)?;
                        Some((number, wire))
                    });
                    if let Some((node, wire)) = found {
                        let at = wire.told_until.max(self.now);
                        wire.told_until = at;
                        let reply = Err(Refusal::new(code, "text"));
                        self.plan_at(at, Happening::Tell { node, connection, ticket, reply });
                    }
                    return;
                }
                self.redis.handle(self.now, connection, ticket, command);
            }
            Happening::Call { node } => self.call(node),
            Happening::Disconnect(connection) => self.redis.disconnect(self.now, connection),
            Happening::End { node, job, result } => {
                if let Some(entry) = self.jobs.remove(&(node, job)) {
                    self.running.get_mut(&node).unwrap().remove(&entry);
                }
                if let Machine::Server(server) = &mut self.nodes[node].machine {
                    server.answer(self.now, job, Answer::Result(result));
                }
                self.drain(node);
            }
            Happening::Fault => self.fault(),
            Happening::Open { node, lane, connection } => {
                let wire = self.nodes[node].lanes.get_mut(&lane);
                if let Some(wire) = wire.filter(|wire| wire.connection == connection) {
                    wire.open = true;
                    let mut hello = Hello::new(Version::new(7, 0, 15));
                    hello.client_id = Some(connection.number());
                    self.input(node, Input::LaneOpen(lane, hello));
                }
            }
            Happening::Tell { node, connection, ticket, reply } => {
                let live =
                    self.nodes[node].lanes.values().any(|wire| wire.connection == connection);
                if live && let Some(token) = self.nodes[node].tokens.remove(&ticket) {
                    self.input(node, Input::Reply(token, reply));
                }
            }
        }
    }

    fn call(&mut self, node: usize) {
        self.called += 1;
        let Machine::Client(client) = &mut self.nodes[node].machine else { unreachable!() };
        let method = Method::parse("arith.echo").unwrap();
        let params = Json::encode(&self.called).unwrap();
        let id = client.call(self.now, &method, &params, None, None);
        self.calls.insert((node, id), self.called);
        self.drain(node);
    }

    fn fault(&mut self) {
        match self.dice.roll(16) {
            12 => {
                let code = ["OOM", "LOADING", "READONLY", "BUSY"]
                    [usize::try_from(self.dice.roll(4)).unwrap()];
                self.refuse = Some((self.now + self.dice.millis(50, 2000), code));
            }
            13 if self.nodes.len() < 9 => {
                let node = usize::try_from(self.dice.roll(3)).unwrap();
                if let Machine::Server(server) = &mut self.nodes[node].machine {
                    server.drain(self.now, Duration::from_secs(4));
                }
                self.drain(node);
                let number = self.nodes.len();
                let mut config = ServerConfig::new("app", format!("w{number}"), number as u64);
                config.claim_idle = CLAIM_IDLE;
                let contract = Contract::new(ServiceName::new("arith").unwrap());
                let contract = contract.request(MethodName::new("echo").unwrap()).unwrap();
                let mut service = ServiceConfig::new(contract);
                if self.limit > 1 {
                    service.concurrency = clamator_engine::Concurrency::Limit(self.limit);
                }
                self.add(Machine::Server(Server::new(self.now, config, vec![service])));
            }
            0 if self.flushes => self.redis.flush_all(self.now),
            1 => drop(self.redis.destroy_group(self.now, KEY, b"arith")),
            2 => {
                for node in 0..self.nodes.len() {
                    self.break_lanes(node, 1);
                }
            }
            _ => {
                let node = self.dice.roll(self.nodes.len() as u64);
                self.break_lanes(usize::try_from(node).unwrap(), 2);
            }
        }
    }

    /// Breaks each lane of a node with a chance of one in `sides`. Redis notices at once or later;
    /// what is on its way there arrives or not.
    fn break_lanes(&mut self, node: usize, sides: u64) {
        let lanes: Vec<Lane> = self.nodes[node].lanes.keys().copied().collect();
        for lane in lanes {
            if self.dice.roll(sides) == 0 {
                self.unplug(node, lane);
                let detail = "broken".to_owned();
                self.input(node, Input::LaneLost(lane, Loss::Closed { detail }));
            }
        }
    }

    fn unplug(&mut self, node: usize, lane: Lane) {
        let Some(wire) = self.nodes[node].lanes.remove(&lane) else { return };
        let delay = if self.dice.roll(2) == 0 { Duration::ZERO } else { self.dice.millis(1, 1500) };
        let arrives = self.dice.roll(2) == 0;
        self.agenda.retain(|_, happening| match happening {
            Happening::Arrive { connection, .. } => *connection != wire.connection || arrives,
            _ => true,
        });
        let at = (self.now + delay).max(wire.sent_until);
        self.plan_at(at, Happening::Disconnect(wire.connection));
    }

    fn input(&mut self, node: usize, input: Input) {
        match &mut self.nodes[node].machine {
            Machine::Client(client) => client.handle_input(self.now, input),
            Machine::Server(server) => server.handle_input(self.now, input),
        }
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        loop {
            let output = match &mut self.nodes[node].machine {
                Machine::Client(client) => map(client.poll_output(), Said::Client),
                Machine::Server(server) => map(server.poll_output(), Said::Server),
            };
            match output {
                Output::Open(lane) => {
                    let connection = self.redis.connect();
                    let wire = Wire {
                        connection,
                        open: false,
                        sent_until: self.now,
                        told_until: self.now,
                    };
                    self.nodes[node].lanes.insert(lane, wire);
                    let delay = self.dice.millis(0, 5);
                    self.plan(delay, Happening::Open { node, lane, connection });
                }
                Output::Close(lane) => self.unplug(node, lane),
                Output::Command { lane, token, command, .. } => {
                    self.nodes[node].assert_granted(&command);
                    if self.now > Instant::ZERO + Duration::from_secs(75) {
                        *self.sent.entry(node).or_default() += 1;
                    }
                    let ticket = ((node as u64) << 48) | token.number();
                    let delay = self.dice.millis(0, 3);
                    let wire = self.nodes[node].lanes.get_mut(&lane).unwrap();
                    assert!(wire.open, "a command for a lane that is not open");
                    wire.sent_until = wire.sent_until.max(self.now + delay);
                    let (at, connection) = (wire.sent_until, wire.connection);
                    self.nodes[node].tokens.insert(ticket, token);
                    self.plan_at(at, Happening::Arrive { connection, ticket, command });
                }
                Output::Event(Said::Client(event)) => self.client_event(node, event),
                Output::Event(Said::Server(event)) => self.server_event(node, event),
                Output::Idle(deadline) => {
                    self.nodes[node].due = deadline.map(|deadline| deadline.at);
                    return;
                }
                _ => unreachable!("no other output"),
            }
        }
    }

    fn client_event(&mut self, node: usize, event: ClientEvent) {
        let ClientEvent::Finished(id, outcome) = event else { return };
        let number = self.calls.remove(&(node, id)).expect("a call ends once");
        match outcome {
            Ok(result) => {
                assert_eq!(result.decode::<u64>().unwrap(), number, "a reply of another call");
                self.succeeded += 1;
                self.last_success = self.now;
            }
            Err(
                CallError::NoWorkers
                | CallError::NotSent
                | CallError::OutcomeUnknown
                | CallError::Timeout
                | CallError::Refused(_),
            ) => {
                let calm = Instant::ZERO + FAULTS_END + CLAIM_IDLE * 5 + Duration::from_secs(15);
                assert!(self.now < calm, "call {number} failed when all was well: {outcome:?}");
            }
            Err(other) => panic!("call {number}: {other:?}"),
        }
    }

    fn server_event(&mut self, node: usize, event: ServerEvent) {
        if let ServerEvent::Abandon(id) = event {
            if let Some(entry) = self.jobs.remove(&(node, id)) {
                self.running.get_mut(&node).unwrap().remove(&entry);
            }
            if let Machine::Server(server) = &mut self.nodes[node].machine {
                server.abandoned(self.now, id);
            }
            return;
        }
        if let ServerEvent::Stopped { .. } = event {
            assert!(self.stopped.insert(node));
            return;
        }
        let ServerEvent::Start(Job { id, entry, params, .. }) = event else { return };
        assert!(!self.stopped.contains(&node), "started after the stop");
        let running = self.running.entry(node).or_default();
        // After a flush an id may come again.
        assert!(running.insert(entry) || self.flushes, "{entry} runs twice at once in {node}");
        self.started.insert(entry);
        assert!(running.len() <= self.limit, "a serial service runs {running:?}");
        self.jobs.insert((node, id), entry);
        let delay = if self.dice.roll(20) == 0 {
            self.dice.millis(100, 2500)
        } else {
            self.dice.millis(0, 40)
        };
        self.plan(delay, Happening::End { node, job: id, result: params.unwrap() });
    }

    fn check(&self) {
        for (node, sent) in &self.sent {
            assert!(*sent <= 15 * 12, "node {node} sent {sent} commands in 15 idle seconds");
        }
        for (node, it) in self.nodes.iter().enumerate() {
            if let Machine::Server(_) = it.machine {
                assert!(
                    it.lanes.is_empty() || !self.stopped.contains(&node),
                    "a stopped server keeps lanes"
                );
            }
        }
        assert!(self.calls.is_empty(), "calls never ended: {:?}", self.calls);
        let lost: Vec<_> = self.accepted.difference(&self.started).collect();
        assert!(self.flushes || lost.is_empty(), "never started: {lost:?}");
        let pending = self.redis.pending(self.now, KEY, b"arith");
        assert!(pending.is_empty(), "never settled: {pending:?}");
        assert!(self.succeeded >= 100, "only {} of {} succeeded", self.succeeded, self.called);
        let fresh = Instant::ZERO + FAULTS_END + CLAIM_IDLE * 5;
        assert!(self.last_success >= fresh, "nothing succeeded after the faults");
        assert!(self.redis.len(KEY) <= 100, "{} entries are left", self.redis.len(KEY));
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn everything_settles_after_a_storm() {
    let seeds = match number("STORM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORM_SEEDS").unwrap_or(20),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.run();
            world.check();
        });
        if let Err(panic) = run {
            eprintln!("FAILED seed={seed}");
            eprintln!("reproduce: STORM_SEED={seed} cargo test -p clamator-engine --test storm");
            std::panic::resume_unwind(panic);
        }
    }
}
