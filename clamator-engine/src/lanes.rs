//! The lanes of one engine: opening, backing off, matching replies to commands, giving up.
//!
//! Not what a command is for: each carries a purpose `P` of its owner's, which comes back with the
//! reply or when the lane ends. A reply is matched to the command whose token it carries and to no
//! other; once a lane has ended, its tokens match nothing, so a late reply cannot answer another
//! command.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::Command;
use crate::engine::{Deadline, Hello, Lane, Loss, Output, Timer, Token, Version};
use crate::jitter::Jitter;
use crate::time::Instant;

/// Most commands under way on one lane; further ones wait their turn.
const FLYING_MAX: usize = 4096;
/// Pause before a lane's second try; doubled for each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Pause after refused credentials: servers lock out, and log, whoever asks too often.
const BACKOFF_CREDENTIALS: Duration = Duration::from_secs(30);

/// The lanes of one engine.
#[derive(Debug)]
pub(crate) struct Lanes<P> {
    lanes: Vec<State<P>>,
    connect_timeout: Duration,
    jitter: Jitter,
    next_token: u64,
    actions: VecDeque<Action>,
    /// What was last announced: all open, or not; `None` before the first announcement.
    announced: Option<bool>,
}

#[derive(Debug)]
struct State<P> {
    lane: Lane,
    phase: Phase,
    /// Failures since the lane last carried a reply.
    failures: u32,
    flying: VecDeque<Flying<P>>,
    waiting: VecDeque<Waiting<P>>,
}

#[derive(Debug)]
enum Phase {
    Backoff { until: Instant },
    Closed,
    Open(Hello),
    Opening { due: Instant },
}

#[derive(Debug)]
struct Flying<P> {
    number: u64,
    due: Instant,
    timeout: Duration,
    purpose: P,
}

#[derive(Debug)]
struct Waiting<P> {
    command: Command,
    timeout: Duration,
    purpose: P,
}

/// What the owner must pass on.
#[derive(Debug)]
pub(crate) enum Action {
    Close(Lane),
    Command {
        lane: Lane,
        token: Token,
        command: Command,
        deadline: Instant,
    },
    /// Every lane is open. Said once per change.
    Connected,
    /// Not every lane is open. Said once per change.
    Disconnected(Loss),
    Open(Lane),
}

impl Action {
    /// Turns the action into output; `event` makes the owner's event of a change.
    pub(crate) fn into_output<E>(self, event: impl FnOnce(Option<Loss>) -> E) -> Output<E> {
        match self {
            Self::Close(lane) => Output::Close(lane),
            Self::Command { lane, token, command, deadline } => {
                Output::Command { lane, token, command, deadline }
            }
            Self::Connected => Output::Event(event(None)),
            Self::Disconnected(loss) => Output::Event(event(Some(loss))),
            Self::Open(lane) => Output::Open(lane),
        }
    }
}

/// The end of a lane: the purposes of the commands that got no reply.
#[derive(Debug)]
pub(crate) struct Ended<P> {
    pub(crate) voided: Vec<Voided<P>>,
}

/// A command that got no reply.
#[derive(Debug)]
pub(crate) struct Voided<P> {
    pub(crate) purpose: P,
    /// Whether it may have reached Redis.
    pub(crate) sent: bool,
}

impl<P> Lanes<P> {
    /// Opens the command lane and this many blocking lanes.
    pub(crate) fn new(
        now: Instant,
        blocking: u16,
        connect_timeout: Duration,
        jitter: Jitter,
    ) -> Self {
        let names = core::iter::once(Lane::Command).chain((0..blocking).map(Lane::Blocking));
        let lanes = names.map(State::new).collect();
        let mut lanes = Self {
            lanes,
            connect_timeout,
            jitter,
            next_token: 0,
            actions: VecDeque::new(),
            announced: None,
        };
        lanes.open_due(now);
        lanes
    }

    /// Takes the next action.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Sends a command whose reply is due within `timeout`; gives the purpose back when the lane
    /// is not open.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        lane: Lane,
        command: Command,
        timeout: Duration,
        purpose: P,
    ) -> Result<(), P> {
        match self.state(lane) {
            Some(state) if matches!(state.phase, Phase::Open(_)) => {
                state.waiting.push_back(Waiting { command, timeout, purpose });
            }
            _ => return Err(purpose),
        }
        self.send_waiting(now, lane);
        Ok(())
    }

    /// The lane is connected. A server that is too old ends it again.
    pub(crate) fn opened(&mut self, now: Instant, lane: Lane, hello: Hello) -> Option<Ended<P>> {
        let state = self.state(lane)?;
        if !matches!(state.phase, Phase::Opening { .. }) {
            return None;
        }
        let version = hello.version;
        state.phase = Phase::Open(hello);
        if version < Version::OLDEST {
            return self.fail(now, lane, Loss::TooOld { version });
        }
        let all = self.lanes.iter().all(|state| matches!(state.phase, Phase::Open(_)));
        if all && self.announced != Some(true) {
            self.announced = Some(true);
            self.actions.push_back(Action::Connected);
        }
        None
    }

    /// The lane has ended by itself; `None` when that is no news.
    pub(crate) fn lost(&mut self, now: Instant, lane: Lane, loss: Loss) -> Option<Ended<P>> {
        if !self.state(lane)?.is_up() {
            return None;
        }
        Some(self.end(now, lane, loss))
    }

    /// Ends the lane from this side, to be opened again.
    pub(crate) fn fail(&mut self, now: Instant, lane: Lane, loss: Loss) -> Option<Ended<P>> {
        if !self.state(lane)?.is_up() {
            return None;
        }
        self.actions.push_back(Action::Close(lane));
        Some(self.end(now, lane, loss))
    }

    /// Closes every lane for good; every token is void.
    pub(crate) fn close_all(&mut self) {
        self.actions.retain(|action| !matches!(action, Action::Command { .. } | Action::Open(_)));
        for state in &mut self.lanes {
            if state.is_up() {
                self.actions.push_back(Action::Close(state.lane));
            }
            *state = State { phase: Phase::Closed, ..State::new(state.lane) };
        }
    }

    /// Matches a reply to its command and gives back what that was for.
    pub(crate) fn reply(&mut self, now: Instant, token: &Token) -> Option<P> {
        let state = self.state(token.lane())?;
        let place = state.flying.binary_search_by_key(&token.number(), |flying| flying.number);
        let flying = state.flying.remove(place.ok()?)?;
        state.failures = 0;
        self.send_waiting(now, token.lane());
        Some(flying.purpose)
    }

    /// Ends lanes whose connection or reply is overdue, and opens those whose pause is over.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Ended<P>> {
        let overdue: Vec<(Lane, Duration)> = self
            .lanes
            .iter()
            .filter_map(|state| match (&state.phase, state.flying.front()) {
                (Phase::Opening { due }, _) if *due <= now => {
                    Some((state.lane, self.connect_timeout))
                }
                (Phase::Open(_), Some(flying)) if flying.due <= now => {
                    Some((state.lane, flying.timeout))
                }
                _ => None,
            })
            .collect();
        let ended = overdue
            .into_iter()
            .filter_map(|(lane, allowed)| self.fail(now, lane, Loss::Overdue { allowed }))
            .collect();
        self.open_due(now);
        ended
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.lanes
            .iter()
            .filter_map(|state| match (&state.phase, state.flying.front()) {
                (Phase::Backoff { until }, _) => {
                    Some(Deadline::new(*until, Timer::Reconnect(state.lane)))
                }
                (Phase::Opening { due }, _) => {
                    Some(Deadline::new(*due, Timer::Connect(state.lane)))
                }
                (Phase::Open(_), Some(flying)) => {
                    Some(Deadline::new(flying.due, Timer::Command(state.lane)))
                }
                (Phase::Closed | Phase::Open(_), _) => None,
            })
            .min()
    }

    /// What the lane found when it was opened; `None` while it is not open.
    pub(crate) fn hello(&self, lane: Lane) -> Option<&Hello> {
        match &self.lanes.get(index(lane))?.phase {
            Phase::Open(hello) => Some(hello),
            Phase::Backoff { .. } | Phase::Closed | Phase::Opening { .. } => None,
        }
    }

    /// Whether commands can be sent.
    pub(crate) fn is_open(&self, lane: Lane) -> bool {
        self.hello(lane).is_some()
    }

    /// Whether the lane's connection is being made right now.
    pub(crate) fn is_opening(&self, lane: Lane) -> bool {
        let state = self.lanes.get(index(lane));
        state.is_some_and(|state| matches!(state.phase, Phase::Opening { .. }))
    }

    fn state(&mut self, lane: Lane) -> Option<&mut State<P>> {
        self.lanes.get_mut(index(lane))
    }

    fn open_due(&mut self, now: Instant) {
        for state in &mut self.lanes {
            if matches!(state.phase, Phase::Backoff { until } if until <= now) {
                state.phase = Phase::Opening { due: now + self.connect_timeout };
                self.actions.push_back(Action::Open(state.lane));
            }
        }
    }

    fn send_waiting(&mut self, now: Instant, lane: Lane) {
        let Some(state) = self.lanes.get_mut(index(lane)) else {
            return;
        };
        while state.flying.len() < FLYING_MAX {
            let Some(Waiting { command, timeout, purpose }) = state.waiting.pop_front() else {
                return;
            };
            let (number, due) = (self.next_token, now + timeout);
            self.next_token += 1;
            state.flying.push_back(Flying { number, due, timeout, purpose });
            let token = Token::new(lane, number);
            self.actions.push_back(Action::Command { lane, token, command, deadline: due });
        }
    }

    fn end(&mut self, now: Instant, lane: Lane, loss: Loss) -> Ended<P> {
        self.actions
            .retain(|action| !matches!(action, Action::Command { lane: of, .. } if *of == lane));
        let failures = self.state(lane).map_or(0, |state| state.failures);
        let pause = if matches!(loss, Loss::Credentials { .. }) {
            BACKOFF_CREDENTIALS
        } else {
            BACKOFF_MAX.min(BACKOFF_MIN.saturating_mul(1 << failures.min(8)))
        };
        let until = now + self.jitter.spread(pause);
        let mut voided = Vec::new();
        if let Some(state) = self.state(lane) {
            state.phase = Phase::Backoff { until };
            state.failures = failures.saturating_add(1);
            let flying = state.flying.drain(..);
            voided.extend(flying.map(|flying| Voided { purpose: flying.purpose, sent: true }));
            let waiting = state.waiting.drain(..);
            voided.extend(waiting.map(|waiting| Voided { purpose: waiting.purpose, sent: false }));
        }
        if self.announced != Some(false) {
            self.announced = Some(false);
            self.actions.push_back(Action::Disconnected(loss));
        }
        Ended { voided }
    }
}

impl<P> State<P> {
    const fn new(lane: Lane) -> Self {
        Self {
            lane,
            phase: Phase::Backoff { until: Instant::ZERO },
            failures: 0,
            flying: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Open(_) | Phase::Opening { .. })
    }
}

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Command => 0,
        Lane::Blocking(number) => usize::from(number) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Refusal;
    use bytes::Bytes;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn lanes(blocking: u16) -> Lanes<u32> {
        Lanes::new(at(0), blocking, 2 * SECOND, Jitter::new(1))
    }

    fn hello() -> Hello {
        Hello::new(Version::new(7, 0, 15))
    }

    fn command() -> Command {
        Command::Del { key: Bytes::from_static(b"k") }
    }

    fn drain(lanes: &mut Lanes<u32>) -> Vec<Action> {
        core::iter::from_fn(|| lanes.poll()).collect()
    }

    fn tokens(lanes: &mut Lanes<u32>) -> Vec<Token> {
        drain(lanes)
            .into_iter()
            .filter_map(|action| match action {
                Action::Command { token, .. } => Some(token),
                _ => None,
            })
            .collect()
    }

    fn open() -> Lanes<u32> {
        let mut lanes = lanes(0);
        assert!(lanes.opened(at(0), Lane::Command, hello()).is_none());
        drain(&mut lanes);
        lanes
    }

    fn closed() -> Loss {
        Loss::Closed { detail: "reset".into() }
    }

    #[test]
    fn every_lane_is_opened_at_the_start() {
        let actions = drain(&mut lanes(2));
        let wanted = [Lane::Command, Lane::Blocking(0), Lane::Blocking(1)];
        assert_eq!(actions.len(), 3);
        for (action, lane) in actions.iter().zip(wanted) {
            assert!(matches!(action, Action::Open(opened) if *opened == lane), "{action:?}");
        }
    }

    #[test]
    fn a_command_for_a_lane_that_is_not_open_is_given_back() {
        assert_eq!(lanes(0).send(at(0), Lane::Command, command(), SECOND, 7), Err(7));
    }

    #[test]
    fn a_reply_finds_its_command_and_only_once() {
        let mut lanes = open();
        for purpose in 0..3 {
            lanes.send(at(0), Lane::Command, command(), SECOND, purpose).unwrap();
        }
        let tokens = tokens(&mut lanes);
        assert_eq!(lanes.reply(at(0), &tokens[0]), Some(0));
        assert_eq!(lanes.reply(at(0), &tokens[0]), None);
        assert_eq!(lanes.reply(at(0), &tokens[1]), Some(1));
    }

    #[test]
    fn a_reply_after_its_lane_was_lost_answers_nothing() {
        let mut lanes = open();
        lanes.send(at(0), Lane::Command, command(), SECOND, 1).unwrap();
        let old = tokens(&mut lanes);
        let ended = lanes.lost(at(0), Lane::Command, closed()).unwrap();
        assert!(matches!(ended.voided[..], [Voided { purpose: 1, sent: true }]));
        lanes.tick(at(1));
        lanes.opened(at(1), Lane::Command, hello());
        lanes.send(at(1), Lane::Command, command(), SECOND, 2).unwrap();
        assert_eq!(lanes.reply(at(1), &old[0]), None);
    }

    #[test]
    fn an_overdue_reply_closes_the_lane() {
        let mut lanes = open();
        lanes.send(at(0), Lane::Command, command(), SECOND, 1).unwrap();
        drain(&mut lanes);
        assert_eq!(lanes.deadline(), Some(Deadline::new(at(1), Timer::Command(Lane::Command))));
        assert!(lanes.tick(Instant::from_start(Duration::from_millis(999))).is_empty());
        let ended = lanes.tick(at(1));
        assert_eq!(ended.len(), 1);
        let actions = drain(&mut lanes);
        assert!(matches!(actions[0], Action::Close(Lane::Command)), "{actions:?}");
        assert!(matches!(actions[1], Action::Disconnected(Loss::Overdue { .. })), "{actions:?}");
    }

    #[test]
    fn a_connection_that_takes_too_long_is_given_up() {
        let mut lanes = lanes(0);
        drain(&mut lanes);
        assert_eq!(lanes.tick(at(2)).len(), 1);
        assert!(matches!(drain(&mut lanes)[0], Action::Close(Lane::Command)));
        assert!(lanes.opened(at(2), Lane::Command, hello()).is_none());
        assert!(!lanes.is_open(Lane::Command), "a connection that was given up cannot open");
    }

    #[test]
    fn pauses_double_up_to_a_second_and_start_over_after_a_reply() {
        let mut lanes = open();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            lanes.lost(now, Lane::Command, closed());
            let until = lanes.deadline().unwrap().at;
            pauses.push(until.since(now).as_millis());
            now = until;
            lanes.tick(now);
        }
        for (pause, middle) in pauses.iter().zip([100, 200, 400, 800, 1000, 1000]) {
            assert!((middle * 3 / 4..=middle * 5 / 4).contains(pause), "{pauses:?}");
        }
        lanes.opened(now, Lane::Command, hello());
        lanes.send(now, Lane::Command, command(), SECOND, 1).unwrap();
        let token = tokens(&mut lanes).pop().unwrap();
        lanes.reply(now, &token);
        lanes.lost(now, Lane::Command, closed());
        assert!(lanes.deadline().unwrap().at.since(now) <= Duration::from_millis(125));
    }

    #[test]
    fn refused_credentials_are_not_tried_again_for_half_a_minute() {
        let mut lanes = lanes(0);
        lanes.lost(at(0), Lane::Command, Loss::Credentials { detail: "WRONGPASS".into() });
        assert!(lanes.deadline().unwrap().at >= Instant::from_start(Duration::from_millis(22_500)));
    }

    #[test]
    fn a_server_that_is_too_old_is_not_used() {
        let mut lanes = lanes(0);
        drain(&mut lanes);
        lanes.opened(at(0), Lane::Command, Hello::new(Version::new(6, 0, 16)));
        assert!(!lanes.is_open(Lane::Command));
        let actions = drain(&mut lanes);
        assert!(matches!(actions[0], Action::Close(Lane::Command)));
        assert!(matches!(actions[1], Action::Disconnected(Loss::TooOld { .. })));
    }

    #[test]
    fn connected_and_disconnected_are_said_once_per_change() {
        let mut lanes = lanes(1);
        drain(&mut lanes);
        lanes.opened(at(0), Lane::Command, hello());
        assert!(drain(&mut lanes).is_empty());
        lanes.opened(at(0), Lane::Blocking(0), hello());
        assert!(matches!(drain(&mut lanes)[..], [Action::Connected]));
        lanes.lost(at(0), Lane::Command, closed());
        assert!(matches!(drain(&mut lanes)[..], [Action::Disconnected(_)]));
        let unfit = Loss::Unfit(Refusal::new("READONLY", ""));
        lanes.fail(at(0), Lane::Blocking(0), unfit);
        assert!(matches!(drain(&mut lanes)[..], [Action::Close(_)]));
    }

    #[test]
    fn commands_beyond_the_limit_wait_and_are_known_not_to_be_sent() {
        let mut lanes = open();
        for purpose in 0..5000 {
            lanes.send(at(0), Lane::Command, command(), SECOND, purpose).unwrap();
        }
        let tokens = tokens(&mut lanes);
        assert_eq!(tokens.len(), FLYING_MAX);
        lanes.reply(at(0), &tokens[0]);
        assert_eq!(drain(&mut lanes).len(), 1);
        let ended = lanes.lost(at(0), Lane::Command, closed()).unwrap();
        let sent = ended.voided.iter().filter(|voided| voided.sent).count();
        assert_eq!((sent, ended.voided.len()), (FLYING_MAX, 4999));
    }
}
