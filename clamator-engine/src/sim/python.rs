//! [`Python`]: a worker that behaves as the published Python peer does, faults included.
//!
//! Not an engine of ours. It reads 16 entries at a time and runs them one after another while
//! they age; its own reclaim looks at the first pending entries only, beside its reading, and
//! takes back what it holds itself; it renews nothing, deletes nothing, and never creates a group
//! again. Whatever it does, workers of ours in the same pool must keep their promises.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::command::Command;
use crate::engine::{Deadline, Engine, Hello, Input, Lane, Output, Timer, Token};
use crate::reply::{Entry, Refusal, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire;

/// How many entries it reads at once.
const READ_COUNT: u64 = 16;
/// How many it takes over at once.
const CLAIM_COUNT: u64 = 32;
const BLOCK: Duration = Duration::from_secs(1);
/// Pause after any error.
const PAUSE: Duration = Duration::from_millis(100);
const REPLY_STREAM_MAX_LEN: u64 = 1024;
/// Its connections do not time out; here everybody's do in the end.
const PATIENCE: Duration = Duration::from_secs(5);
const READING: Lane = Lane::Blocking(0);

/// A worker of the Python peer, for one service.
#[derive(Debug)]
pub(super) struct Python {
    claim_idle: Duration,
    consumer: Bytes,
    group: Bytes,
    stream: Bytes,
    lanes: BTreeMap<Lane, Connection>,
    next_token: u64,
    /// What was sent and is not answered, by token.
    flying: BTreeMap<u64, (Lane, Purpose, Instant)>,
    /// The loop that reads, and the loop that takes over, each with its batch.
    reading: Task,
    claiming: Task,
    outputs: VecDeque<Output<PythonJob>>,
}

/// A request for the worker's handler. Ends with [`Python::answer`].
#[derive(Clone, Debug)]
pub(super) struct PythonJob {
    pub(super) loop_number: u64,
    pub(super) entry: Entry,
}

#[derive(Debug)]
enum Connection {
    Closed { until: Instant },
    Opening { due: Instant },
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Acknowledge(u64),
    Claim,
    Read,
    Reply(u64),
}

/// One of its two loops.
#[derive(Debug)]
struct Task {
    batch: VecDeque<Entry>,
    /// Whether a handler, or a command for its entry, is under way.
    busy: bool,
    /// Whether its own command is under way.
    asked: bool,
    sleeps_until: Instant,
}

impl Python {
    pub(super) fn new(
        now: Instant,
        stream: Bytes,
        group: Bytes,
        name: &str,
        claim_idle: Duration,
    ) -> Self {
        let consumer = [&group, &b":"[..], name.as_bytes()].concat().into();
        let task =
            |sleeps_until| Task { batch: VecDeque::new(), busy: false, asked: false, sleeps_until };
        let closed = || Connection::Closed { until: now };
        let mut python = Self {
            claim_idle,
            consumer,
            group,
            stream,
            lanes: BTreeMap::from([(Lane::Command, closed()), (READING, closed())]),
            next_token: 0,
            flying: BTreeMap::new(),
            reading: task(now),
            claiming: task(now + interval(claim_idle)),
            outputs: VecDeque::new(),
        };
        python.advance(now);
        python
    }

    /// The handler has ended, with this reply to that stream, if it is to be answered.
    pub(super) fn answer(&mut self, now: Instant, job: &PythonJob, reply: Option<(Bytes, String)>) {
        match reply {
            Some((key, envelope)) => {
                let fields = wire::fields(envelope.into(), None);
                let max_len = Some(REPLY_STREAM_MAX_LEN);
                let add = Command::XAdd { key, create: true, max_len, fields };
                self.send(now, Lane::Command, add, Purpose::Reply(job.loop_number));
            }
            None => self.acknowledge(now, job.loop_number),
        }
        self.advance(now);
    }

    fn task(&mut self, number: u64) -> &mut Task {
        if number == 0 { &mut self.reading } else { &mut self.claiming }
    }

    fn acknowledge(&mut self, now: Instant, number: u64) {
        let Some(entry) = self.task(number).batch.front().map(|entry| entry.id) else { return };
        let (key, group) = (self.stream.clone(), self.group.clone());
        let acknowledge = Command::XAck { key, group, ids: vec![entry] };
        self.send(now, Lane::Command, acknowledge, Purpose::Acknowledge(number));
    }

    /// Sends a command, or fails its loop when there is no connection.
    fn send(&mut self, now: Instant, lane: Lane, command: Command, purpose: Purpose) {
        if !self.is_open(lane) {
            return self.fail(now, purpose);
        }
        let number = self.next_token;
        self.next_token += 1;
        let deadline = now + PATIENCE;
        self.flying.insert(number, (lane, purpose, deadline));
        let token = Token::new(lane, number);
        self.outputs.push_back(Output::Command { lane, token, command, deadline });
    }

    /// An error ends the loop's round: what is left of its batch stays pending.
    fn fail(&mut self, now: Instant, purpose: Purpose) {
        let number = match purpose {
            Purpose::Acknowledge(number) | Purpose::Reply(number) => number,
            Purpose::Read => 0,
            Purpose::Claim => 1,
        };
        let pause = if number == 0 { PAUSE } else { interval(self.claim_idle) };
        let task = self.task(number);
        task.batch.clear();
        task.busy = false;
        task.asked = false;
        task.sleeps_until = now + pause;
    }

    fn advance(&mut self, now: Instant) {
        for (lane, connection) in &mut self.lanes {
            if matches!(connection, Connection::Closed { until } if *until <= now) {
                *connection = Connection::Opening { due: now + PATIENCE };
                self.outputs.push_back(Output::Open(*lane));
            }
        }
        for number in [0, 1] {
            self.advance_loop(now, number);
        }
    }

    fn advance_loop(&mut self, now: Instant, number: u64) {
        let lane = if number == 0 { READING } else { Lane::Command };
        let open = self.is_open(lane);
        let task = self.task(number);
        if task.busy || task.asked || task.sleeps_until > now {
            return;
        }
        if let Some(entry) = task.batch.front().cloned() {
            task.busy = true;
            let job = PythonJob { loop_number: number, entry };
            return self.outputs.push_back(Output::Event(job));
        }
        if !open {
            return;
        }
        task.asked = true;
        let (key, group, consumer) =
            (self.stream.clone(), self.group.clone(), self.consumer.clone());
        if number == 0 {
            let block = Some(BLOCK);
            let read = Command::XReadGroup { key, group, consumer, count: READ_COUNT, block };
            self.send(now, READING, read, Purpose::Read);
        } else {
            let (idle_min, start) = (self.claim_idle, StreamId::ZERO);
            let count = CLAIM_COUNT;
            let claim = Command::XAutoClaim { key, group, consumer, idle_min, start, count };
            self.send(now, Lane::Command, claim, Purpose::Claim);
        }
    }

    fn handle_reply(&mut self, now: Instant, token: &Token, reply: Result<Reply, Refusal>) {
        let Some((_, purpose, _)) = self.flying.remove(&token.number()) else { return };
        let claims_again = now + interval(self.claim_idle);
        match (purpose, reply) {
            (Purpose::Reply(number), Ok(_)) => self.acknowledge(now, number),
            (Purpose::Acknowledge(number), Ok(_)) => {
                let task = self.task(number);
                task.batch.pop_front();
                task.busy = false;
                if number == 1 && task.batch.is_empty() {
                    task.sleeps_until = claims_again;
                }
            }
            (Purpose::Read, Ok(Reply::Entries(entries))) => {
                self.reading.asked = false;
                self.reading.batch.extend(entries);
            }
            (Purpose::Claim, Ok(Reply::Claimed { entries, .. })) => {
                self.claiming.asked = false;
                if entries.is_empty() {
                    self.claiming.sleeps_until = claims_again;
                }
                // What is gone from its stream has nothing to run.
                self.claiming.batch.extend(entries.into_iter().filter(|e| e.fields.is_some()));
            }
            (purpose, _) => self.fail(now, purpose),
        }
    }

    fn lose(&mut self, now: Instant, lane: Lane) {
        self.lanes.insert(lane, Connection::Closed { until: now + PAUSE });
        let mut gone = Vec::new();
        self.flying.retain(|_, (of, purpose, _)| {
            if *of == lane {
                gone.push(*purpose);
            }
            *of != lane
        });
        for purpose in gone {
            self.fail(now, purpose);
        }
    }

    /// Ends connections that nothing comes from.
    fn give_up(&mut self, now: Instant) {
        let opening = self.lanes.iter().filter_map(|(lane, connection)| match connection {
            Connection::Opening { due } => Some((*lane, *due)),
            Connection::Closed { .. } | Connection::Open => None,
        });
        let flying = self.flying.values().map(|(lane, _, due)| (*lane, *due));
        let overdue: BTreeSet<Lane> =
            opening.chain(flying).filter(|(_, due)| *due <= now).map(|(lane, _)| lane).collect();
        for lane in overdue {
            self.outputs.push_back(Output::Close(lane));
            self.lose(now, lane);
        }
    }

    fn is_open(&self, lane: Lane) -> bool {
        matches!(self.lanes.get(&lane), Some(Connection::Open))
    }

    fn deadline(&self) -> Option<Deadline> {
        let sleeps = [(&self.reading, READING), (&self.claiming, Lane::Command)]
            .into_iter()
            .filter(|(task, lane)| !task.busy && !task.asked && self.is_open(*lane))
            .map(|(task, _)| task.sleeps_until);
        let closed = self.lanes.values().filter_map(|connection| match connection {
            Connection::Closed { until } => Some(*until),
            Connection::Opening { due } => Some(*due),
            Connection::Open => None,
        });
        let overdue = self.flying.values().map(|(_, _, deadline)| *deadline);
        let at = sleeps.chain(closed).chain(overdue).min()?;
        Some(Deadline::new(at, Timer::Reclaim))
    }

    fn open(&mut self, lane: Lane, _hello: &Hello) {
        self.lanes.insert(lane, Connection::Open);
    }
}

/// How often it looks for what others left.
fn interval(claim_idle: Duration) -> Duration {
    (claim_idle / 4).max(Duration::from_secs(1))
}

impl Engine for Python {
    type Event = PythonJob;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::LaneOpen(lane, hello) => self.open(lane, &hello),
            Input::LaneLost(lane, _) => self.lose(now, lane),
            Input::Progress { .. } => {}
            Input::Reply(token, reply) => self.handle_reply(now, &token, reply),
            Input::Tick => self.give_up(now),
        }
        self.advance(now);
    }

    fn poll_output(&mut self) -> Output<PythonJob> {
        match self.outputs.pop_front() {
            Some(output) => output,
            None => Output::Idle(self.deadline()),
        }
    }
}
