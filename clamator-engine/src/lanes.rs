//! The lanes of one engine: opening, backing off, matching replies to commands, giving up.
//!
//! Not what a command is for: each carries a purpose `P` of its owner's, which comes back with the
//! reply or when the lane ends. A reply is matched to the command whose token it carries and to no
//! other; once a lane has ended, its tokens match nothing, so a late reply cannot answer another
//! command.

mod trouble;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use self::trouble::Trouble;
use crate::command::Command;
use crate::engine::{Deadline, Hello, Lane, Loss, Output, Timer, Token, Version};
use crate::jitter::Jitter;
use crate::seeded::{Bug, Seeded};
use crate::time::Instant;

/// Most commands under way on one lane; further ones wait their turn.
const FLYING_MAX: usize = 4096;
/// How many bytes must move until what is under way gains time: more than a reply without a value
/// has, and little for a connection that is any good.
const PROGRESS_MIN: usize = 64 * 1024;
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
    seeded: Seeded,
    next_token: u64,
    actions: VecDeque<Action>,
    announced: Announced,
    reopened: u64,
}

/// What the application was told since the last change between all open and not.
#[derive(Debug)]
enum Announced {
    /// Nothing so far.
    Nothing,
    /// Not all are open, for these reasons, each of which was told once.
    Down(BTreeSet<Trouble>),
    Open,
}

#[derive(Debug)]
struct State<P> {
    lane: Lane,
    phase: Phase,
    /// Failures since the lane last had a command carried out.
    failures: u32,
    /// Whether it has ever been open.
    known: bool,
    /// Why it could not be opened since it was open last, or was of no use when it was.
    unusable: Option<Loss>,
    flying: VecDeque<Flying<P>>,
    waiting: VecDeque<Waiting<P>>,
    /// Bytes that moved since they last gained time.
    moved: usize,
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
    sent: Instant,
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
    /// Not every lane is open. Said once per change, and again when the reason is another one.
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
    /// Whether Redis said that it cannot go on: then none of the commands ended it.
    pub(crate) unfit: bool,
    /// Whether the connection ended by itself.
    pub(crate) closed: bool,
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
        seeded: Seeded,
    ) -> Self {
        let names = core::iter::once(Lane::Command).chain((0..blocking).map(Lane::Blocking));
        let lanes = names.map(State::new).collect();
        let mut lanes = Self {
            lanes,
            connect_timeout,
            jitter,
            seeded,
            next_token: 0,
            actions: VecDeque::new(),
            announced: Announced::Nothing,
            reopened: 0,
        };
        lanes.open_due(now);
        lanes
    }

    /// Whether there is no action to take.
    pub(crate) fn is_quiet(&self) -> bool {
        self.actions.is_empty()
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
        if version < Version::OLDEST {
            return self.fail(now, lane, Loss::TooOld { version });
        }
        state.phase = Phase::Open(hello);
        state.unusable = None;
        let again = core::mem::replace(&mut state.known, true);
        self.reopened += u64::from(again);
        let all = self.lanes.iter().all(|state| matches!(state.phase, Phase::Open(_)));
        if all && !matches!(self.announced, Announced::Open) {
            self.announced = Announced::Open;
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

    /// Ends an open lane, which is in order as far as anybody knows, to be opened again. That is no
    /// news to the application unless it cannot be.
    pub(crate) fn renew(&mut self, now: Instant, lane: Lane) -> Option<Ended<P>> {
        if !self.is_open(lane) {
            return None;
        }
        self.actions.push_back(Action::Close(lane));
        Some(Ended { voided: self.void(now, lane, BACKOFF_MIN), unfit: false, closed: false })
    }

    /// Closes every lane for good; every token is void.
    pub(crate) fn close_all(&mut self) {
        // A lane that was to be opened in this very turn is not closed: nobody has opened it.
        let opens =
            |action: &Action| if let Action::Open(lane) = action { Some(*lane) } else { None };
        let unopened: Vec<Lane> = self.actions.iter().filter_map(opens).collect();
        self.actions.retain(|action| matches!(action, Action::Close(_)));
        for state in &mut self.lanes {
            if state.is_up() && !unopened.contains(&state.lane) {
                self.actions.push_back(Action::Close(state.lane));
            }
            *state = State { phase: Phase::Closed, ..State::new(state.lane) };
        }
    }

    /// Matches a reply to its command and gives back what that was for. Only a command that was
    /// carried out makes the lane a good one again.
    pub(crate) fn reply(&mut self, now: Instant, token: &Token, done: bool) -> Option<P> {
        let by_order = self.seeded.is(Bug::LaneRepliesByOrder);
        let state = self.state(token.lane())?;
        let place = state.flying.binary_search_by_key(&token.number(), |flying| flying.number);
        let flying = state.flying.remove(if by_order { 0 } else { place.ok()? })?;
        if done {
            state.failures = 0;
        }
        self.send_waiting(now, token.lane());
        Some(flying.purpose)
    }

    /// Bytes have moved. With enough of them, what is under way gets its whole time again, which is
    /// told; a connection that merely drips does not.
    pub(crate) fn progress(&mut self, now: Instant, lane: Lane, bytes: usize) -> bool {
        let Some(state) = self.state(lane) else { return false };
        state.moved = state.moved.saturating_add(bytes);
        if state.moved < PROGRESS_MIN {
            return false;
        }
        state.moved = 0;
        for flying in &mut state.flying {
            flying.due = flying.due.max(now + flying.timeout);
        }
        true
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
            .filter_map(|(lane, allowed)| {
                if self.seeded.is(Bug::LaneRepliesByOrder) && self.is_open(lane) {
                    return self.give_first_up(lane);
                }
                self.fail(now, lane, Loss::Overdue { allowed })
            })
            .collect();
        self.open_due(now);
        ended
    }

    /// A seeded bug: gives up the oldest command, and not its connection.
    fn give_first_up(&mut self, lane: Lane) -> Option<Ended<P>> {
        let flying = self.state(lane)?.flying.pop_front()?;
        let voided = alloc::vec![Voided { purpose: flying.purpose, sent: true }];
        Some(Ended { voided, unfit: false, closed: false })
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

    /// Whether a command would be sent at once, and not wait for the answers to others.
    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        let room = |state: &State<P>| state.waiting.is_empty() && state.flying.len() < FLYING_MAX;
        self.lanes.get(index(lane)).is_some_and(room)
    }

    /// Whether commands can be sent.
    pub(crate) fn is_open(&self, lane: Lane) -> bool {
        self.hello(lane).is_some()
    }

    /// Since when the oldest command that is under way is not answered.
    pub(crate) fn unanswered_since(&self, lane: Lane) -> Option<Instant> {
        Some(self.lanes.get(index(lane))?.flying.front()?.sent)
    }

    /// Whether the lane's connection is being made right now.
    pub(crate) fn is_opening(&self, lane: Lane) -> bool {
        let state = self.lanes.get(index(lane));
        state.is_some_and(|state| matches!(state.phase, Phase::Opening { .. }))
    }

    /// How often a lane was opened that had been open before.
    pub(crate) const fn reopened(&self) -> u64 {
        self.reopened
    }

    /// Why lanes that are not open cannot be: one that has just ended is not among them.
    pub(crate) fn unusable(&self) -> impl Iterator<Item = &Loss> {
        self.lanes.iter().filter_map(|state| state.unusable.as_ref())
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
            let (number, deadline) = (self.next_token, now + timeout);
            let watched = !self.seeded.is(Bug::OverdueUnnoticed);
            let due = if watched { deadline } else { now + Duration::MAX };
            self.next_token += 1;
            state.flying.push_back(Flying { number, sent: now, due, timeout, purpose });
            let token = Token::new(lane, number);
            self.actions.push_back(Action::Command { lane, token, command, deadline });
        }
    }

    fn end(&mut self, now: Instant, lane: Lane, loss: Loss) -> Ended<P> {
        let failures = self.state(lane).map_or(0, |state| state.failures);
        let pause = if self.seeded.is(Bug::ReconnectWithoutPause) {
            Duration::ZERO
        } else if matches!(loss, Loss::Credentials { .. }) {
            BACKOFF_CREDENTIALS
        } else {
            BACKOFF_MAX.min(BACKOFF_MIN.saturating_mul(1 << failures.min(8)))
        };
        if let Some(state) = self.state(lane) {
            // Whatever Redis refuses on an open lane is known from that refusal.
            let useless = failures > 0 && !matches!(loss, Loss::Unfit(_));
            if useless || !matches!(state.phase, Phase::Open(_)) {
                state.unusable = Some(loss.clone());
            }
        }
        let voided = self.void(now, lane, pause);
        let unfit = matches!(loss, Loss::Unfit(_));
        let closed = matches!(loss, Loss::Closed { .. });
        if self.is_news(Trouble::of(&loss)) {
            self.actions.push_back(Action::Disconnected(loss));
        }
        Ended { voided, unfit, closed }
    }

    /// Forgets what is under way on the lane, which is opened again after about this pause.
    fn void(&mut self, now: Instant, lane: Lane, pause: Duration) -> Vec<Voided<P>> {
        self.actions
            .retain(|action| !matches!(action, Action::Command { lane: of, .. } if *of == lane));
        let until = now + self.jitter.spread(pause);
        let mut voided = Vec::new();
        let unsaid = self.seeded.is(Bug::ReadLostWithLane) && lane != Lane::Command;
        if let Some(state) = self.state(lane) {
            state.phase = Phase::Backoff { until };
            state.moved = 0;
            state.failures = state.failures.saturating_add(1);
            let flying = state.flying.drain(..).filter(|_| !unsaid);
            voided.extend(flying.map(|flying| Voided { purpose: flying.purpose, sent: true }));
            let waiting = state.waiting.drain(..);
            voided.extend(waiting.map(|waiting| Voided { purpose: waiting.purpose, sent: false }));
        }
        voided
    }

    /// Notes a trouble. Tells whether it was not announced since all lanes were open.
    fn is_news(&mut self, trouble: Trouble) -> bool {
        if let Announced::Down(troubles) = &mut self.announced {
            return troubles.insert(trouble);
        }
        self.announced = Announced::Down(BTreeSet::from([trouble]));
        true
    }
}

impl<P> State<P> {
    const fn new(lane: Lane) -> Self {
        Self {
            lane,
            phase: Phase::Backoff { until: Instant::ZERO },
            failures: 0,
            known: false,
            unusable: None,
            flying: VecDeque::new(),
            waiting: VecDeque::new(),
            moved: 0,
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
mod tests;
