//! [`Node`]: one process of a run: an engine, or a Python worker, and what it waits for.
//!
//! Not what happens to it, which the world decides. A node has a clock of its own, ahead of the
//! world's by its skew, and while it is frozen it neither takes anything in nor does anything.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::python::{Python, PythonJob};
use crate::client::{Client, ClientEvent};
use crate::command::Command;
use crate::engine::{Deadline, Engine, Input, Lane, Output, Token};
use crate::server::{JobId, Server, ServerEvent};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// A process.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) machine: Machine,
    /// What has come and was not taken in.
    pub(super) inbox: Vec<Arrival>,
    /// Whether it has to look around, whatever it waits for.
    pub(super) touched: bool,
    /// What was sent and is not answered.
    sent: Vec<(Token, Command)>,
    /// Lanes that it leaves, as their server said this turn that it cannot serve: what else they
    /// bring is void.
    pub(super) unfit: Vec<Lane>,
    pub(super) due: Option<Deadline>,
    pub(super) frozen_until: Option<Instant>,
    /// How far its clock is ahead.
    pub(super) skew: Duration,
    /// Handlers that run, by the number of their job.
    pub(super) handlers: BTreeMap<u64, Handler>,
    /// Where its process is going to end.
    pub(super) crash: Option<Step>,
    next_job: u64,
}

/// What a node runs.
#[derive(Debug)]
pub(super) enum Machine {
    Client(Client),
    Python(Python),
    Server(Server),
}

/// Something that comes from the network.
#[derive(Debug)]
pub(super) enum Arrival {
    Input(Input),
    /// The answer to the command of this number.
    Reply(u64, Result<crate::reply::Reply, crate::reply::Refusal>),
}

/// What a node says to its application.
#[derive(Debug)]
pub(super) enum Said {
    Client(ClientEvent),
    Python(PythonJob),
    Server(ServerEvent),
}

/// A handler that runs.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) entry: StreamId,
    pub(super) number: Option<u64>,
    /// What it is to its server; `None` for Python's.
    pub(super) job: Option<JobId>,
    pub(super) python: Option<PythonJob>,
    /// Whether it ends by panicking.
    pub(super) panics: bool,
    /// Whether it has too much to say.
    pub(super) tells_too_much: bool,
}

/// A step of serving an entry, behind which a process may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Acknowledged,
    Ended,
    Given,
    Replied,
    Started,
}

impl Node {
    pub(super) const fn new(machine: Machine) -> Self {
        Self {
            machine,
            inbox: Vec::new(),
            touched: false,
            sent: Vec::new(),
            unfit: Vec::new(),
            due: None,
            frozen_until: None,
            skew: Duration::ZERO,
            handlers: BTreeMap::new(),
            crash: None,
            next_job: 0,
        }
    }

    /// The time by its own clock.
    pub(super) fn local(&self, now: Instant) -> Instant {
        now + self.skew
    }

    /// When it wants a turn, by the world's clock; `None` when it waits for others.
    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        if self.touched {
            return Some(now);
        }
        if let Some(until) = self.frozen_until {
            return Some(until);
        }
        let at = self.due?.at.since_start();
        Some(Instant::from_start(at.saturating_sub(self.skew)))
    }

    /// Takes one thing in.
    pub(super) fn handle_input(&mut self, now: Instant, input: Input) {
        let now = self.local(now);
        match &mut self.machine {
            Machine::Client(client) => client.handle_input(now, input),
            Machine::Python(python) => python.handle_input(now, input),
            Machine::Server(server) => server.handle_input(now, input),
        }
    }

    /// Says the next thing to do.
    pub(super) fn poll_output(&mut self) -> Output<Said> {
        match &mut self.machine {
            Machine::Client(client) => map(client.poll_output(), Said::Client),
            Machine::Python(python) => map(python.poll_output(), Said::Python),
            Machine::Server(server) => map(server.poll_output(), Said::Server),
        }
    }

    /// How many calls, or entries, its engine holds.
    pub(super) fn held(&self) -> usize {
        match &self.machine {
            Machine::Client(client) => client.held(),
            Machine::Python(_) => 0,
            Machine::Server(server) => server.held(),
        }
    }

    /// Whether it ends a lane as soon as a server says on it that it cannot serve. A client hears
    /// first what else the turn brings, and Python keeps it.
    pub(super) fn leaves_the_unfit(&self) -> bool {
        matches!(self.machine, Machine::Server(_))
    }

    /// Notes that a command was sent.
    pub(super) fn note(&mut self, token: Token, command: Command) {
        self.sent.push((token, command));
    }

    /// Takes the command of this number, which is answered; `None` when its lane ended before.
    pub(super) fn answered(&mut self, number: u64) -> Option<(Token, Command)> {
        let place = self.sent.iter().position(|(token, _)| token.number() == number)?;
        Some(self.sent.swap_remove(place))
    }

    /// The commands of this lane will not be answered.
    pub(super) fn void(&mut self, lane: Lane) {
        self.sent.retain(|(token, _)| token.lane() != lane);
    }

    /// Takes a handler in, and gives it a number.
    pub(super) fn run(&mut self, handler: Handler) -> u64 {
        self.next_job += 1;
        self.handlers.insert(self.next_job, handler);
        self.next_job
    }
}

fn map<A>(output: Output<A>, said: impl FnOnce(A) -> Said) -> Output<Said> {
    match output {
        Output::Close(lane) => Output::Close(lane),
        Output::Command { lane, token, command, deadline } => {
            Output::Command { lane, token, command, deadline }
        }
        Output::Event(event) => Output::Event(said(event)),
        Output::Idle(deadline) => Output::Idle(deadline),
        Output::Open(lane) => Output::Open(lane),
    }
}
