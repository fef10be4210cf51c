//! [`Port`]: drives one engine as `clamator_engine::porting` asks for, and checks what an engine
//! owes to a port whatever happens.
//!
//! Not the choice of what happens (`client`, `server`), nor the promises to the application, which
//! an [`App`] checks. Owed here: commands only on open lanes, tokens that rise, deadlines that lie
//! ahead, a drain that ends, a deadline that is not due again without effect, silence after the
//! stop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::LazyLock;
use std::time::Duration;

use clamator_engine::{
    Command, Engine, Hello, Input, Instant, Lane, Loss, Output, Refusal, Reply, Token, Version,
};

/// Most outputs of one drain: far more than any script can ask for.
const OUTPUTS_MAX: usize = 20_000;

/// Whether everything that happens is printed: with `CLAMATOR_FUZZ_TRACE` set, for one input.
static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("CLAMATOR_FUZZ_TRACE").is_some());

/// What an application does with what its engine says.
pub(crate) trait App<E: Engine> {
    fn command(&mut self, now: Instant, lane: Lane, command: &Command);
    fn event(&mut self, now: Instant, engine: &mut E, event: E::Event);
    /// This reply is handed in now.
    fn replied(&mut self, command: &Command, reply: &Result<Reply, Refusal>);
    /// A lane has ended: what was under way on it has an unknown outcome.
    fn ended(&mut self, lane: Lane);
    fn is_stopped(&self) -> bool;
}

/// A lane as the port sees it.
enum Line {
    Opening,
    /// What is under way, oldest first.
    Open(VecDeque<(Token, Command)>),
}

/// One engine and its lanes.
pub(crate) struct Port<E: Engine> {
    pub(crate) engine: E,
    pub(crate) now: Instant,
    lines: BTreeMap<Lane, Line>,
    /// What happened since the last turn; a reply with its command.
    happened: VecDeque<(Input, Option<Command>)>,
    /// Lanes that ended in this turn: the engine may close them although they are gone.
    ended: BTreeSet<Lane>,
    due: Option<Instant>,
    last_token: Option<u64>,
    /// Commands so far.
    pub(crate) sent: usize,
    /// How often the engine has closed a lane itself.
    pub(crate) closed: usize,
}

impl<E: Engine<Event: Debug>> Port<E> {
    pub(crate) fn new(engine: E, app: &mut impl App<E>) -> Self {
        let mut port = Self {
            engine,
            now: Instant::ZERO,
            lines: BTreeMap::new(),
            happened: VecDeque::new(),
            ended: BTreeSet::new(),
            due: None,
            last_token: None,
            sent: 0,
            closed: 0,
        };
        port.turn(app);
        port
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Lanes that are being opened.
    pub(crate) fn opening(&self) -> Vec<Lane> {
        let opening = |line: &Line| matches!(line, Line::Opening);
        self.lines.iter().filter(|(_, line)| opening(line)).map(|(lane, _)| *lane).collect()
    }

    /// Lanes that are there in any way.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        self.lines.keys().copied().collect()
    }

    /// Lanes with something under way.
    pub(crate) fn busy(&self) -> Vec<Lane> {
        let busy = |line: &Line| matches!(line, Line::Open(sent) if !sent.is_empty());
        self.lines.iter().filter(|(_, line)| busy(line)).map(|(lane, _)| *lane).collect()
    }

    /// The oldest command under way on this lane.
    pub(crate) fn oldest(&self, lane: Lane) -> Option<&Command> {
        match self.lines.get(&lane)? {
            Line::Open(sent) => sent.front().map(|(_, command)| command),
            Line::Opening => None,
        }
    }

    pub(crate) fn open(&mut self, lane: Lane, hello: Hello) {
        self.lines.insert(lane, Line::Open(VecDeque::new()));
        self.happened.push_back((Input::LaneOpen(lane, hello), None));
    }

    pub(crate) fn lose(&mut self, lane: Lane, loss: Loss) {
        self.lines.remove(&lane);
        self.ended.insert(lane);
        self.happened.push_back((Input::LaneLost(lane, loss), None));
    }

    pub(crate) fn progress(&mut self, lane: Lane, bytes: usize) {
        self.happened.push_back((Input::Progress { lane, bytes }, None));
    }

    /// Answers the oldest command of this lane.
    pub(crate) fn reply(&mut self, lane: Lane, reply: Result<Reply, Refusal>) {
        if let Some(Line::Open(sent)) = self.lines.get_mut(&lane)
            && let Some((token, command)) = sent.pop_front()
        {
            self.happened.push_back((Input::Reply(token, reply), Some(command)));
        }
    }

    /// Answers everything under way at once and for a while with this refusal: an engine that does
    /// not pause before it tries again shows itself. `work` is how much there is to be refused.
    pub(crate) fn refuse_all(&mut self, refusal: &Refusal, work: usize, app: &mut impl App<E>) {
        self.turn(app);
        let (end, before) = (self.now + Duration::from_secs(5), self.sent);
        while self.now < end && !app.is_stopped() {
            for round in 0.. {
                assert!(round < 50 + work, "no pause after {refusal}: {:?}", self.busy());
                for lane in self.opening() {
                    self.open(lane, Hello::new(Version::new(7, 0, 15)));
                }
                for lane in self.busy() {
                    while self.oldest(lane).is_some() {
                        self.reply(lane, Err(refusal.clone()));
                    }
                }
                if self.happened.is_empty() {
                    break;
                }
                self.turn(app);
            }
            let due = self.due.unwrap_or(end).min(end);
            self.now = self.now.max(due);
            self.turn(app);
        }
        let sent = self.sent - before;
        assert!(sent < 3000, "{sent} commands in five seconds of {refusal}");
    }

    /// Lets time pass, ending the turn before and taking one at each deadline on the way; `late`
    /// takes one at the end only.
    pub(crate) fn pass(&mut self, span: Duration, late: bool, app: &mut impl App<E>) {
        self.turn(app);
        let end = self.now + span;
        for _ in 0..OUTPUTS_MAX {
            match self.due.filter(|due| *due <= end && !late) {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.turn(app);
                }
                None => {
                    self.now = end;
                    return self.turn(app);
                }
            }
        }
        panic!("more than {OUTPUTS_MAX} deadlines in {span:?}");
    }

    /// One turn: what happened, the tick if it is due, the drain.
    pub(crate) fn turn(&mut self, app: &mut impl App<E>) {
        for lane in &self.ended {
            app.ended(*lane);
        }
        for (input, command) in core::mem::take(&mut self.happened) {
            self.trace(&input);
            if let (Input::Reply(_, reply), Some(command)) = (&input, command) {
                app.replied(&command, reply);
            }
            self.engine.handle_input(self.now, input);
        }
        let is_due = |port: &Self| port.due.is_some_and(|due| due <= port.now);
        if is_due(self) {
            self.engine.handle_input(self.now, Input::Tick);
        }
        self.drain(app);
        let mut idle = 0;
        for _ in 0..100 {
            if !is_due(self) {
                self.ended.clear();
                return;
            }
            self.engine.handle_input(self.now, Input::Tick);
            idle = if self.drain(app) == 0 { idle + 1 } else { 0 };
            assert!(idle < 2, "due at {:?} again and again, without effect", self.due);
        }
        panic!("a hot loop: due again a hundred times at {}", self.now);
    }

    fn trace(&self, what: &impl Debug) {
        if *TRACE {
            eprintln!("{} {what:?}", self.now);
        }
    }

    /// Takes everything the engine has to say; tells how much that was.
    fn drain(&mut self, app: &mut impl App<E>) -> usize {
        for said in 0..OUTPUTS_MAX {
            let was_stopped = app.is_stopped();
            let output = self.engine.poll_output();
            self.trace(&output);
            match output {
                Output::Open(lane) => {
                    assert!(!was_stopped, "{lane} is opened after the stop");
                    let old = self.lines.insert(lane, Line::Opening);
                    assert!(old.is_none(), "{lane} is opened twice");
                }
                Output::Close(lane) => {
                    let old = self.lines.remove(&lane);
                    assert!(old.is_some() || self.ended.contains(&lane), "{lane} is not there");
                    self.ended.insert(lane);
                    self.closed += 1;
                    app.ended(lane);
                }
                Output::Command { lane, token, command, deadline } => {
                    assert!(!was_stopped, "{command:?} after the stop");
                    assert_eq!(token.lane(), lane);
                    assert!(self.last_token.is_none_or(|last| last < token.number()), "{token:?}");
                    self.last_token = Some(token.number());
                    assert!(deadline > self.now, "due at {deadline}, now {} {command:?}", self.now);
                    check_spelling(&command);
                    app.command(self.now, lane, &command);
                    let Some(Line::Open(sent)) = self.lines.get_mut(&lane) else {
                        panic!("{command:?} on {lane}, which is not open");
                    };
                    sent.push_back((token, command));
                    self.sent += 1;
                }
                Output::Event(event) => app.event(self.now, &mut self.engine, event),
                Output::Idle(deadline) => {
                    self.due = deadline.map(|deadline| deadline.at);
                    if was_stopped {
                        assert_eq!(deadline, None, "after the stop");
                        assert!(self.lines.is_empty(), "lanes are open after the stop");
                    }
                    return said;
                }
                _ => {}
            }
        }
        panic!("a drain that does not end");
    }
}

/// A command has a name and arguments, no empty list, and does not block for ever.
fn check_spelling(command: &Command) {
    let mut words = Vec::new();
    command.args(&mut |word| words.push(word.to_vec()));
    assert!(words.len() >= 2 || *command == Command::Time, "{command:?}");
    let lists = match command {
        Command::XAck { ids, .. } | Command::XClaim { ids, .. } | Command::XDel { ids, .. } => {
            ids.len()
        }
        Command::XAdd { fields, .. } => fields.len(),
        Command::XAutoClaim { count, .. }
        | Command::XPendingRange { count, .. }
        | Command::XRange { count, .. }
        | Command::XRead { count, .. }
        | Command::XReadGroup { count, .. } => usize::try_from(*count).unwrap_or(usize::MAX),
        _ => 1,
    };
    assert!(lists > 0, "{command:?} asks for nothing");
    if let Command::XRead { block, .. } | Command::XReadGroup { block, .. } = command {
        assert_ne!(*block, Some(Duration::ZERO), "{command:?} blocks for ever");
    }
}
