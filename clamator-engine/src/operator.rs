//! [`Operator`]: what an operator does about dead letters, as a state machine.
//!
//! Neither calls nor serves. A dead letter is an entry that was given out too often and put aside
//! (rule 4.8); an operator lists them, puts them back on their command stream once the reason is
//! mended, or removes them. It has one lane, and what it was asked for while that is down fails at
//! once. Nothing is removed before its copy is on the command stream: what has an unknown outcome
//! may be there twice, and is never gone.
//!
//! <https://redis.io/docs/latest/commands/xrange/>

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::entry::{DEAD_DELIVERIES, DEAD_ENTRY, DEAD_REASON, TIMEOUT_MS};
use clamator_proto::{Keys, ServiceName};

use crate::command::Command;
use crate::engine::{Deadline, Engine, Input, Lane, Loss, Output};
use crate::jitter::Jitter;
use crate::lanes::{Lanes, Voided};
use crate::reply::{Entry, Fields, Refusal, RefusalKind, Reply};
use crate::seeded::Seeded;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// Settings of an operator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OperatorConfig {
    /// How long any command may take. Default 5 s.
    pub command_timeout: Duration,
    /// How long connecting may take, handshake included. Default 2 s.
    pub connect_timeout: Duration,
    /// First part of every key.
    pub prefix: String,
    /// Decides the spread of timers. Take it from a random source, or fix it to repeat a run.
    pub seed: u64,
}

impl OperatorConfig {
    /// Makes the default settings for this key prefix and seed.
    #[must_use]
    pub fn new(prefix: impl Into<String>, seed: u64) -> Self {
        Self {
            command_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            prefix: prefix.into(),
            seed,
        }
    }
}

/// An operator: looks after the dead letters of a deployment.
#[derive(Debug)]
pub struct Operator {
    config: OperatorConfig,
    keys: Keys,
    lanes: Lanes<u64>,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    events: VecDeque<OperatorEvent>,
    stopped: bool,
}

/// Names one task of one [`Operator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(u64);

/// What an operator tells its application.
#[derive(Debug)]
#[non_exhaustive]
pub enum OperatorEvent {
    /// The lane is open, for the first time or again.
    Connected,
    /// The lane that was open is not, or could not be opened.
    Disconnected(Loss),
    /// A task has ended. Said once for each.
    Finished(TaskId, Result<Done, OperatorError>),
    /// Stopped; the lane is closed. Said once, the last event.
    Stopped,
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// Dead letters, oldest first.
    Listed(Vec<DeadLetter>),
    /// Whether there was such a dead letter.
    Removed(bool),
    /// The entry is on its command stream again.
    Requeued {
        /// Its new id.
        entry: StreamId,
        /// Whether the dead letter is gone. If not, removing it is up to the operator.
        removed: bool,
    },
}

/// An entry that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its id on the stream of dead letters. The milliseconds in it say when it was put aside.
    pub id: StreamId,
    /// The id that it had on its command stream; `None` when whoever put it aside did not say.
    pub entry: Option<StreamId>,
    /// Why it was put aside, in words.
    pub reason: String,
    /// How often it had been given out before it was put aside.
    pub deliveries: u64,
    /// The fields that it had there.
    pub fields: Fields,
}

/// Why a task came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// There is no such dead letter, or not any more.
    #[error("there is no such dead letter")]
    NotFound,
    /// Redis is out of reach: nothing was sent. Safe to try again.
    #[error("nothing was sent: Redis is out of reach")]
    NotSent,
    /// The connection ended before Redis confirmed. What was to be put back may be there: list the
    /// dead letters, and the command stream, before it is tried again.
    #[error("the connection ended before Redis confirmed")]
    OutcomeUnknown,
    /// Redis refused.
    #[error("Redis refused: {0}")]
    Refused(Refusal),
    /// The operator was stopped.
    #[error("the operator has been stopped")]
    Stopped,
}

#[derive(Debug)]
struct Task {
    /// The streams of dead letters and of commands.
    dead: Bytes,
    commands: Bytes,
    step: Step,
    /// Whether it may have been sent.
    sent: bool,
}

#[derive(Debug)]
enum Step {
    /// Entries behind this id are asked for, so many.
    List { after: StreamId, count: u64 },
    /// A dead letter is deleted.
    Remove(StreamId),
    /// A dead letter is read, to be put back.
    Fetch(StreamId),
    /// It is put back.
    Add(StreamId, Fields),
    /// What was put back as the second is deleted as the first.
    Clear(StreamId, StreamId),
}

impl Operator {
    /// Makes an operator that connects at once.
    #[must_use]
    pub fn new(now: Instant, config: OperatorConfig) -> Self {
        let (jitter, seeded) = (Jitter::new(config.seed), Seeded::default());
        Self {
            keys: Keys::new(config.prefix.as_str()),
            lanes: Lanes::new(now, 0, config.connect_timeout, jitter, seeded),
            tasks: BTreeMap::new(),
            next_task: 0,
            events: VecDeque::new(),
            stopped: false,
            config,
        }
    }

    /// Lists a service's dead letters behind this id, oldest first, at most `count`.
    pub fn list(
        &mut self,
        now: Instant,
        service: &ServiceName,
        after: StreamId,
        count: u64,
    ) -> TaskId {
        self.begin(now, service, Step::List { after, count })
    }

    /// Removes a dead letter for good.
    pub fn remove(&mut self, now: Instant, service: &ServiceName, id: StreamId) -> TaskId {
        self.begin(now, service, Step::Remove(id))
    }

    /// Puts a dead letter back on its command stream, as an entry that was never given out.
    pub fn requeue(&mut self, now: Instant, service: &ServiceName, id: StreamId) -> TaskId {
        self.begin(now, service, Step::Fetch(id))
    }

    /// Stops: every task fails with [`OperatorError::Stopped`], the lane is closed; then
    /// [`OperatorEvent::Stopped`]. Stopping twice is stopping once.
    pub fn stop(&mut self) {
        if core::mem::replace(&mut self.stopped, true) {
            return;
        }
        for (number, _) in core::mem::take(&mut self.tasks) {
            self.finished(number, Err(OperatorError::Stopped));
        }
        self.lanes.close_all();
        self.events.push_back(OperatorEvent::Stopped);
    }

    fn begin(&mut self, now: Instant, service: &ServiceName, step: Step) -> TaskId {
        let number = self.next_task;
        self.next_task += 1;
        if self.stopped {
            self.finished(number, Err(OperatorError::Stopped));
            return TaskId(number);
        }
        let dead = self.keys.dead(service).into();
        let commands = self.keys.commands(service).into();
        self.tasks.insert(number, Task { dead, commands, step, sent: false });
        self.send_waiting(now);
        TaskId(number)
    }

    /// Sends what waits for the lane, or fails it all when none is being made.
    fn send_waiting(&mut self, now: Instant) {
        let open = self.lanes.is_open(Lane::Command);
        if !open && self.lanes.is_opening(Lane::Command) {
            return;
        }
        let waiting = |(number, task): (&u64, &Task)| (!task.sent).then_some(*number);
        let waiting: Vec<u64> = self.tasks.iter().filter_map(waiting).collect();
        for number in waiting {
            if open {
                self.send(now, number);
            } else {
                self.finish(number, Err(OperatorError::NotSent));
            }
        }
    }

    fn send(&mut self, now: Instant, number: u64) {
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.sent = true;
        let key = task.dead.clone();
        let command = match &task.step {
            Step::List { after, count } => {
                let (start, end) = (after.next(), StreamId::MAX);
                Command::XRange { key, start, end, count: *count }
            }
            Step::Fetch(id) => Command::XRange { key, start: *id, end: *id, count: 1 },
            Step::Add(_, fields) => {
                let (key, fields) = (task.commands.clone(), fields.clone());
                Command::XAdd { key, create: true, max_len: None, fields }
            }
            Step::Remove(id) | Step::Clear(id, _) => Command::XDel { key, ids: alloc::vec![*id] },
        };
        let timeout = self.config.command_timeout;
        if self.lanes.send(now, Lane::Command, command, timeout, number).is_err() {
            self.lose(number, false);
        }
    }

    fn handle_reply(&mut self, now: Instant, number: u64, reply: Result<Reply, Refusal>) {
        if let Err(refusal) = &reply
            && refusal.kind() == RefusalKind::WrongServer
        {
            self.give_up(now, Loss::Unfit(refusal.clone()));
        }
        let Some(task) = self.tasks.get_mut(&number) else { return };
        let done = match (&task.step, reply) {
            (Step::Clear(_, entry), Ok(Reply::Integer(_))) => {
                Ok(Done::Requeued { entry: *entry, removed: true })
            }
            (Step::Clear(_, entry), _) => Ok(Done::Requeued { entry: *entry, removed: false }),
            (_, Err(refusal)) => Err(OperatorError::Refused(refusal)),
            (Step::List { .. }, Ok(Reply::Entries(entries))) => {
                Ok(Done::Listed(entries.into_iter().filter_map(dead_letter).collect()))
            }
            (Step::Remove(_), Ok(Reply::Integer(removed))) => Ok(Done::Removed(removed > 0)),
            (Step::Fetch(id), Ok(Reply::Entries(entries))) => {
                let letter = entries.into_iter().filter_map(dead_letter).next();
                match letter.filter(|letter| !letter.fields.is_empty()) {
                    Some(mut letter) => {
                        // Its caller was told long ago: it is to run whenever it can.
                        letter.fields.retain(|(name, _)| name != TIMEOUT_MS.as_bytes());
                        task.step = Step::Add(*id, letter.fields);
                        return self.send(now, number);
                    }
                    None => Err(OperatorError::NotFound),
                }
            }
            (Step::Add(id, _), Ok(Reply::Added(Some(entry)))) => {
                task.step = Step::Clear(*id, entry);
                return self.send(now, number);
            }
            (_, Ok(_)) => {
                let detail = "a reply of another command".into();
                self.give_up(now, Loss::Garbled { detail });
                return self.lose(number, true);
            }
        };
        self.finish(number, done);
    }

    /// The lane ended under a task.
    fn lose(&mut self, number: u64, sent: bool) {
        let Some(task) = self.tasks.get(&number) else { return };
        let done = match task.step {
            Step::Clear(_, entry) => Ok(Done::Requeued { entry, removed: false }),
            Step::List { .. } | Step::Fetch(_) => Err(OperatorError::NotSent),
            Step::Remove(_) | Step::Add(..) if sent => Err(OperatorError::OutcomeUnknown),
            Step::Remove(_) | Step::Add(..) => Err(OperatorError::NotSent),
        };
        self.finish(number, done);
    }

    fn finish(&mut self, number: u64, done: Result<Done, OperatorError>) {
        if self.tasks.remove(&number).is_some() {
            self.finished(number, done);
        }
    }

    fn finished(&mut self, number: u64, done: Result<Done, OperatorError>) {
        self.events.push_back(OperatorEvent::Finished(TaskId(number), done));
    }

    fn give_up(&mut self, now: Instant, loss: Loss) {
        if let Some(ended) = self.lanes.fail(now, Lane::Command, loss) {
            self.handle_ended(ended.voided);
        }
    }

    fn handle_ended(&mut self, voided: Vec<Voided<u64>>) {
        for Voided { purpose: number, sent } in voided {
            self.lose(number, sent);
        }
    }
}

impl Engine for Operator {
    type Event = OperatorEvent;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::LaneOpen(lane, hello) => {
                if let Some(ended) = self.lanes.opened(now, lane, hello) {
                    self.handle_ended(ended.voided);
                }
            }
            Input::LaneLost(lane, loss) => {
                if let Some(ended) = self.lanes.lost(now, lane, loss) {
                    self.handle_ended(ended.voided);
                }
            }
            Input::Progress { lane, bytes } => {
                self.lanes.progress(now, lane, bytes);
            }
            Input::Reply(token, reply) => {
                if let Some(number) = self.lanes.reply(now, &token, reply.is_ok()) {
                    self.handle_reply(now, number, reply);
                }
            }
            Input::Tick => {
                for ended in self.lanes.tick(now) {
                    self.handle_ended(ended.voided);
                }
            }
        }
        self.send_waiting(now);
    }

    fn poll_output(&mut self) -> Output<OperatorEvent> {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        match self.lanes.poll() {
            Some(action) => action.into_output(|loss| match loss {
                None => OperatorEvent::Connected,
                Some(loss) => OperatorEvent::Disconnected(loss),
            }),
            None => Output::Idle(self.deadline()),
        }
    }
}

impl Operator {
    fn deadline(&self) -> Option<Deadline> {
        if self.stopped { None } else { self.lanes.deadline() }
    }
}

/// Reads a dead letter: what was said of it is behind what it was. `None` for a body that is gone.
fn dead_letter(entry: Entry) -> Option<DeadLetter> {
    let Entry { id, fields, .. } = entry;
    let mut fields = fields?;
    let told = |name: &[u8]| {
        [DEAD_ENTRY, DEAD_REASON, DEAD_DELIVERIES].iter().any(|it| it.as_bytes() == name)
    };
    let kept = fields.iter().rposition(|(name, _)| !told(name)).map_or(0, |last| last + 1);
    let said = fields.split_off(kept);
    let find = |wanted: &str| said.iter().find(|(name, _)| name == wanted.as_bytes());
    let text = |wanted: &str| find(wanted).and_then(|(_, value)| core::str::from_utf8(value).ok());
    Some(DeadLetter {
        id,
        entry: find(DEAD_ENTRY).and_then(|(_, id)| StreamId::parse(id)),
        reason: text(DEAD_REASON).unwrap_or_default().into(),
        deliveries: text(DEAD_DELIVERIES)
            .and_then(|deliveries| deliveries.parse().ok())
            .unwrap_or_default(),
        fields,
    })
}

#[cfg(test)]
mod tests;
