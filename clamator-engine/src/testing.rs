//! [`Rig`]: drives one engine by hand, for unit tests; and [`deepest`], a value for them.
//!
//! Not a Redis: every reply is the test's own. What the engine does is kept until the test asks
//! for it, in the order in which it came.

use alloc::vec::Vec;
use core::time::Duration;

use clamator_proto::Json;

use crate::command::Command;
use crate::engine::{Deadline, Engine, Hello, Input, Lane, Loss, Output, Token, Version};
use crate::reply::{Refusal, Reply};
use crate::time::Instant;

/// The most deeply nested value that can be made.
pub(crate) fn deepest() -> Json {
    let nested = |depth| Json::parse("[".repeat(depth) + &"]".repeat(depth)).ok();
    (1..).map_while(nested).last().unwrap()
}

/// One engine and what it has said so far.
pub(crate) struct Rig<E: Engine> {
    pub(crate) engine: E,
    pub(crate) now: Instant,
    pub(crate) events: Vec<E::Event>,
    pub(crate) opening: Vec<Lane>,
    pub(crate) closed: Vec<Lane>,
    pub(crate) deadline: Option<Deadline>,
    /// What [`Rig::run`] answers by itself, at once.
    pub(crate) habit: fn(&Command) -> Option<Reply>,
    /// How far Redis's clock is ahead: TIME is answered by it at once. `None` leaves that to the test.
    pub(crate) ahead: Option<Duration>,
    /// Whether waiting reads run out, as they do with a Redis that answers.
    pub(crate) reads_run_out: bool,
    commands: Vec<Sent>,
}

/// A command that waits for the test's reply.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) token: Token,
    pub(crate) command: Command,
    /// When a waiting read runs out.
    runs_out: Option<Instant>,
}

impl<E: Engine> Rig<E> {
    pub(crate) fn new(engine: E) -> Self {
        let mut rig = Self {
            engine,
            now: Instant::ZERO,
            events: Vec::new(),
            opening: Vec::new(),
            closed: Vec::new(),
            deadline: None,
            habit: |_| None,
            ahead: Some(Duration::ZERO),
            reads_run_out: true,
            commands: Vec::new(),
        };
        rig.drain();
        rig
    }

    /// Takes everything the engine has to say.
    pub(crate) fn drain(&mut self) {
        self.take_output();
        while let Some(ahead) = self.ahead
            && let Some(Sent { token, .. }) = self.find("TIME")
        {
            let time = Reply::Time(self.now.since_start() + ahead);
            self.engine.handle_input(self.now, Input::Reply(token, Ok(time)));
            self.take_output();
        }
    }

    fn take_output(&mut self) {
        for _ in 0..100_000 {
            match self.engine.poll_output() {
                Output::Open(lane) => self.opening.push(lane),
                Output::Close(lane) => {
                    self.opening.retain(|opening| *opening != lane);
                    self.forget(lane);
                    self.closed.push(lane);
                }
                Output::Command { token, command, .. } => {
                    let runs_out = block(&command).map(|block| self.now + block);
                    self.commands.push(Sent { token, command, runs_out });
                }
                Output::Event(event) => self.events.push(event),
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
        panic!("the engine never idles");
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    /// Opens every lane that the engine wants open.
    pub(crate) fn open_lanes(&mut self) {
        for lane in core::mem::take(&mut self.opening) {
            let mut hello = Hello::new(Version::new(7, 0, 15));
            hello.client_id = Some(match lane {
                Lane::Command => 1,
                Lane::Blocking(number) => 2 + u64::from(number),
            });
            self.input(Input::LaneOpen(lane, hello));
        }
        self.answer_by_habit();
    }

    pub(crate) fn lose(&mut self, lane: Lane) {
        self.forget(lane);
        let detail = "reset by peer".into();
        self.input(Input::LaneLost(lane, Loss::Closed { detail }));
    }

    /// Lets time pass in one step.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.input(Input::Tick);
    }

    /// Lets time pass, ticking at every deadline; what is sent on the way is kept, but for what
    /// [`Rig::habit`] answers and for waiting reads that run out.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..10_000 {
            self.answer_by_habit();
            let read = self.commands.iter().filter_map(|sent| sent.runs_out).min();
            let read = read.filter(|_| self.reads_run_out);
            let tick = self.deadline.map(|deadline| deadline.at);
            match [read, tick].into_iter().flatten().min() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    if read == Some(at) {
                        self.end_reads();
                    }
                    self.input(Input::Tick);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("a hot loop: {:?} at {}", self.deadline, self.now);
    }

    fn answer_by_habit(&mut self) {
        let answers: Vec<Option<Reply>> =
            self.commands.iter().map(|sent| (self.habit)(&sent.command)).collect();
        let mut answers = answers.into_iter();
        let sent = core::mem::take(&mut self.commands);
        for sent in sent {
            match answers.next().flatten() {
                Some(reply) => self.reply(sent.token, reply),
                None => self.commands.push(sent),
            }
        }
    }

    fn end_reads(&mut self) {
        let over = |sent: &Sent| sent.runs_out.is_some_and(|at| at <= self.now);
        let place = self.commands.iter().position(over);
        if let Some(place) = place {
            let sent = self.commands.remove(place);
            self.reply(sent.token, Reply::Entries(Vec::new()));
        }
    }

    /// Takes the oldest waiting command of this name out.
    pub(crate) fn take(&mut self, name: &str) -> Sent {
        match self.find(name) {
            Some(sent) => sent,
            None => panic!("no {name} among {:?}", self.commands),
        }
    }

    /// Takes the oldest waiting command of this name out, if there is one.
    pub(crate) fn find(&mut self, name: &str) -> Option<Sent> {
        let place = self.commands.iter().position(|sent| is(&sent.command, name))?;
        Some(self.commands.remove(place))
    }

    /// Takes the oldest waiting command of this name on this lane out.
    pub(crate) fn take_on(&mut self, lane: Lane, name: &str) -> Sent {
        let wanted = |sent: &Sent| sent.token.lane() == lane && is(&sent.command, name);
        match self.commands.iter().position(wanted) {
            Some(place) => self.commands.remove(place),
            None => panic!("no {name} on {lane} among {:?}", self.commands),
        }
    }

    /// The waiting commands of this name, oldest first.
    pub(crate) fn commands(&self, name: &str) -> impl Iterator<Item = &Command> {
        self.commands.iter().map(|sent| &sent.command).filter(move |command| is(command, name))
    }

    /// How many commands of this name wait.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.commands.iter().filter(|sent| is(&sent.command, name)).count()
    }

    pub(crate) fn reply(&mut self, token: Token, reply: Reply) {
        self.input(Input::Reply(token, Ok(reply)));
    }

    pub(crate) fn refuse(&mut self, token: Token, code: &str) {
        self.refuse_with(token, code, "text");
    }

    /// Answers a command that is about a key which is not there.
    pub(crate) fn refuse_key(&mut self, token: Token) {
        self.refuse_with(token, "ERR", "no such key");
    }

    pub(crate) fn refuse_with(&mut self, token: Token, code: &str, message: &str) {
        self.input(Input::Reply(token, Err(Refusal::new(code, message))));
    }

    /// Takes the oldest waiting command of this name and answers it.
    pub(crate) fn answer(&mut self, name: &str, reply: Reply) -> Command {
        let Sent { token, command, .. } = self.take(name);
        self.reply(token, reply);
        command
    }

    /// Takes the events out.
    pub(crate) fn events(&mut self) -> Vec<E::Event> {
        core::mem::take(&mut self.events)
    }

    fn forget(&mut self, lane: Lane) {
        self.commands.retain(|sent| sent.token.lane() != lane);
    }
}

/// How long the command waits.
const fn block(command: &Command) -> Option<Duration> {
    if let Command::XRead { block, .. } | Command::XReadGroup { block, .. } = command {
        *block
    } else {
        None
    }
}

/// Whether the command is spelled with this name first.
fn is(command: &Command, name: &str) -> bool {
    let mut words = name.split(' ').map(str::as_bytes);
    let mut matches = true;
    command.args(&mut |arg| {
        if let Some(word) = words.next() {
            matches &= word == arg;
        }
    });
    matches
}
