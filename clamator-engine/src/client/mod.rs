//! [`Client`]: the rules of calling, as a state machine.
//!
//! Not the serving, and not the waiting: a call's outcome is an event. Requests go to the command
//! stream of their service; replies come back on one stream of this client's own, read with XREAD
//! on the blocking lane and matched by id. No request is ever sent twice: what may have run is
//! said to have an unknown outcome (rules 5.4 and 5.5).
//!
//! Commands: <https://redis.io/docs/latest/commands/xadd/>,
//! <https://redis.io/docs/latest/commands/xread/>

mod calls;
mod event;
mod replies;
mod sending;
mod stats;
mod streams;
#[cfg(test)]
mod tests;
mod turns;
mod withdraw;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{Json, Keys, Method, Traceparent, encode};

use self::calls::{Calls, Due, Ended, Kind};
pub(crate) use self::event::hexadecimal;
pub use self::event::{ClientConfig, ClientEvent};
use self::replies::{REPLIES, Reader};
use self::sending::Draft;
pub use self::stats::ClientStats;
use self::streams::Streams;
use self::withdraw::{Step, Withdrawals};
use crate::call::{CallError, CallId};
use crate::command::Command;
use crate::engine::{Deadline, Engine, Input, Lane, Loss, Output, Timer, Token};
use crate::health::{Need, Refusals};
use crate::jitter::Jitter;
use crate::lanes::{Lanes, Voided};
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire::{self, READ_PAUSE};

/// A client: calls methods of services, from one reply stream of its own.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    keys: Keys,
    /// Key of the reply stream.
    replies: Bytes,
    /// What every request id starts with.
    id_prefix: String,
    streams: Streams,
    lanes: Lanes<Purpose>,
    calls: Calls,
    reader: Reader,
    withdrawals: Withdrawals,
    /// What a lane was refused in this turn by a server that is not the one to talk to: it is left
    /// when the turn has heard what else it answers.
    unfit: Option<Unfit>,
    stage: Stage,
    events: VecDeque<ClientEvent>,
    stats: ClientStats,
    refusals: Refusals,
}

/// A refusal that tells to leave the server.
#[derive(Debug)]
struct Unfit {
    at: Instant,
    lane: Lane,
    refusal: Refusal,
}

/// What a command was sent for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    DeleteReplies,
    Read,
    Send(u64),
    Withdraw(Step),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The reply stream is being deleted, until then at most.
    Stopping {
        until: Instant,
    },
    Stopped,
}

impl Client {
    /// Makes a client that connects at once.
    #[must_use]
    pub fn new(now: Instant, mut config: ClientConfig) -> Self {
        config.read_block = wire::read_block(config.read_block);
        let keys = Keys::new(config.prefix.as_str());
        Self {
            replies: keys.replies(&config.instance).into(),
            keys,
            id_prefix: if config.seeded.is(Bug::IdsWithoutNonce) {
                format!("{}-", config.instance)
            } else {
                format!("{}-", hexadecimal(&config.nonce))
            },
            streams: Streams::default(),
            lanes: Lanes::new(
                now,
                1,
                config.connect_timeout,
                Jitter::new(config.seed),
                config.seeded,
            ),
            calls: Calls::new(config.seeded, config.withdraw),
            reader: Reader::new(now),
            withdrawals: Withdrawals::default(),
            unfit: None,
            stage: Stage::Running,
            events: VecDeque::new(),
            stats: ClientStats::default(),
            refusals: Refusals::default(),
            config,
        }
    }

    /// Calls a method. [`ClientEvent::Finished`] tells how it ended, within `timeout` from `now`
    /// (default: the client's). The request says that it belongs to the trace, if any.
    ///
    /// A call waits for a connection that is being made and fails at once with
    /// [`CallError::NotSent`] while Redis is known to be out of reach.
    pub fn call(
        &mut self,
        now: Instant,
        method: &Method<'_>,
        params: &Json,
        timeout: Option<Duration>,
        traceparent: Option<Traceparent>,
    ) -> CallId {
        let id = self.calls.number();
        let mut envelope = Vec::new();
        encode::request(&mut envelope, &self.request_id(id), method, Some(params));
        let timeout = timeout.unwrap_or(self.config.timeout);
        self.submit(now, id, method, Draft { kind: Kind::Call, envelope, traceparent }, timeout);
        CallId(id)
    }

    /// Sends a notification. [`ClientEvent::Notified`] tells when it is on its stream; whether it
    /// is handled is never known. It says that it belongs to the trace, if any.
    pub fn notify(
        &mut self,
        now: Instant,
        method: &Method<'_>,
        params: &Json,
        traceparent: Option<Traceparent>,
    ) -> CallId {
        let id = self.calls.number();
        let mut envelope = Vec::new();
        encode::notification(&mut envelope, method, Some(params));
        let draft = Draft { kind: Kind::Notification, envelope, traceparent };
        self.submit(now, id, method, draft, self.config.timeout);
        CallId(id)
    }

    /// Stops waiting for a call or notification: no event follows. What was sent may run, unless
    /// it is a call that can be withdrawn (rule 5.2).
    pub fn cancel(&mut self, now: Instant, id: CallId) {
        self.calls.cancel(now, id.0);
        self.ask_to_withdraw(now, id.0);
        // It may have ended in this very turn: that is not told any more.
        self.events.retain(|event| event.call() != Some(id));
        self.send_waiting(now);
    }

    /// Stops: every call under way fails with [`CallError::Stopped`], the reply stream is deleted,
    /// the lanes are closed; then [`ClientEvent::Stopped`], within the command timeout whatever
    /// Redis does. Stopping twice is stopping once.
    pub fn stop(&mut self, now: Instant) {
        if self.stage != Stage::Running {
            return;
        }
        self.stage = Stage::Stopping { until: now + self.config.command_timeout };
        let ended: Vec<Ended> = self.calls.clear().collect();
        for ended in ended {
            self.fail(&ended, CallError::Stopped);
        }
        if self.config.seeded.is(Bug::RepliesLeft) {
            return self.stopped();
        }
        let delete = Command::Del { key: self.replies.clone() };
        let timeout = self.config.command_timeout;
        let sent = self.lanes.send(now, Lane::Command, delete, timeout, Purpose::DeleteReplies);
        if sent.is_err() {
            self.stopped();
        }
    }

    /// How many calls and notifications are known, those included for which nobody waits.
    #[cfg(feature = "sim")]
    pub(crate) fn held(&self) -> usize {
        self.calls.len()
    }

    fn handle_reply(&mut self, now: Instant, token: &Token, reply: Result<Reply, Refusal>) {
        let Some(purpose) = self.lanes.reply(now, token, reply.is_ok()) else {
            return;
        };
        let lane = token.lane();
        match purpose {
            Purpose::DeleteReplies | Purpose::Withdraw(_) => {}
            Purpose::Read => {
                self.reader.unanswered = None;
                self.refusals.note(now, 0, Need::Listen, &reply);
            }
            Purpose::Send(_) => self.refusals.note(now, 0, Need::Write, &reply),
        }
        if let Err(refusal) = &reply
            && refusal.kind() == RefusalKind::WrongServer
            && !self.config.seeded.is(Bug::ReadonlyKept)
        {
            self.note_unfit(now, lane, refusal);
        }
        match (purpose, reply) {
            (Purpose::DeleteReplies, _) => self.stopped(),
            (Purpose::Read, Ok(Reply::Entries(entries))) => {
                self.reader.under_way = false;
                self.reader.page.answered();
                for entry in entries {
                    self.handle_entry(now, entry);
                }
            }
            // The lane ends, and its own pause comes before the next read.
            (Purpose::Read, Err(refusal)) if refusal.kind() == RefusalKind::WrongServer => {
                self.reader.under_way = false;
            }
            (Purpose::Read, Err(refusal)) => {
                self.reader.under_way = false;
                let hot = self.config.seeded.is(Bug::ClientReadWithoutPause);
                self.reader.paused_until = (!hot).then(|| now + READ_PAUSE);
                self.events.push_back(ClientEvent::ReadRefused(refusal));
            }
            (Purpose::Send(id), Ok(Reply::Added(added))) => self.handle_sent(now, id, added),
            (Purpose::Send(id), Err(refusal)) => self.finish(id, CallError::Refused(refusal)),
            (Purpose::Withdraw(Step::Look { round }), Ok(Reply::Groups(groups))) => {
                self.handle_look(now, round, &groups);
            }
            (Purpose::Withdraw(step @ Step::Delete { .. }), Ok(Reply::Integer(deleted))) => {
                self.withdrawals.deleted(step, deleted);
            }
            (Purpose::Withdraw(Step::Check { round }), Ok(Reply::Groups(groups))) => {
                self.handle_check(round, &groups);
            }
            (Purpose::Withdraw(step), Err(refusal)) => self.withdrawals.refused(step, &refusal),
            (Purpose::Read | Purpose::Send(_) | Purpose::Withdraw(_), Ok(_)) => {
                let detail = "a reply of another command".into();
                self.give_up(now, lane, Loss::Garbled { detail });
                match purpose {
                    Purpose::Send(id) => self.finish(id, CallError::OutcomeUnknown),
                    Purpose::DeleteReplies | Purpose::Read => self.reader.under_way = false,
                    Purpose::Withdraw(step) => self.withdrawals.void(step),
                }
            }
        }
        // Whatever has ended may have left a place.
        self.send_waiting(now);
    }

    /// Redis has queued the request, or has not because nobody serves the stream.
    fn handle_sent(&mut self, now: Instant, id: u64, added: Option<StreamId>) {
        let Some(entry) = added else { return self.finish(id, CallError::NoWorkers) };
        if self.calls.is_notification(id) {
            self.calls.finish(id);
            self.events.push_back(ClientEvent::Notified(CallId(id), Ok(())));
        } else if self.calls.confirm(id, self.withdrawals.connection(), entry) {
            self.ask_to_withdraw(now, id);
        }
    }

    fn finish(&mut self, id: u64, error: CallError) {
        if let Some(ended) = self.calls.finish(id) {
            self.fail(&ended, error);
        }
    }

    fn fail(&mut self, ended: &Ended, error: CallError) {
        self.count_failed(&error);
        let id = CallId(ended.id);
        self.events.push_back(match ended.kind {
            Kind::Call => ClientEvent::Finished(id, Err(error)),
            Kind::Notification => ClientEvent::Notified(id, Err(error)),
        });
    }

    fn give_up(&mut self, now: Instant, lane: Lane, loss: Loss) {
        if let Some(ended) = self.lanes.fail(now, lane, loss) {
            self.handle_ended(now, ended.voided);
        }
    }

    fn handle_ended(&mut self, now: Instant, voided: Vec<Voided<Purpose>>) {
        for Voided { purpose, sent } in voided {
            match purpose {
                Purpose::DeleteReplies => self.stopped(),
                Purpose::Read => {
                    self.reader.under_way = false;
                    if sent {
                        self.reader.page.lost(self.reader.page.limit());
                    } else {
                        self.reader.unanswered = None;
                    }
                }
                Purpose::Send(id)
                    if self.config.seeded.is(Bug::NotifiedAnyway)
                        && self.calls.is_notification(id) =>
                {
                    self.calls.finish(id);
                    self.events.push_back(ClientEvent::Notified(CallId(id), Ok(())));
                }
                Purpose::Send(id) if sent && self.calls.send_again(id) => {}
                Purpose::Send(id) if sent && !self.config.seeded.is(Bug::AmbiguousIsSafe) => {
                    self.finish(id, CallError::OutcomeUnknown)
                }
                Purpose::Send(id) => self.finish(id, CallError::NotSent),
                Purpose::Withdraw(step) => self.withdrawals.void(step),
            }
        }
        self.send_waiting(now);
    }

    fn tick(&mut self, now: Instant) {
        for ended in self.lanes.tick(now) {
            self.handle_ended(now, ended.voided);
        }
        let safe = self.config.seeded.is(Bug::AmbiguousIsSafe);
        while let Some(due) = self.calls.due(now) {
            match due {
                Due::Ending(id) => self.ask_to_withdraw(now, id),
                Due::Expired(ended) if ended.sent && !safe => self.fail(&ended, CallError::Timeout),
                Due::Expired(ended) => self.fail(&ended, CallError::NotSent),
            }
        }
        self.send_waiting(now);
        if self.silence_ends().is_some_and(|at| at <= now) {
            self.end_silence(now);
        }
        if self.stop_ends().is_some_and(|at| at <= now) {
            self.stopped();
        }
    }

    const fn stop_ends(&self) -> Option<Instant> {
        match self.stage {
            Stage::Running | Stage::Stopped => None,
            Stage::Stopping { until } => Some(until),
        }
    }

    fn stopped(&mut self) {
        if self.stage != Stage::Stopped {
            self.stage = Stage::Stopped;
            self.lanes.close_all();
            self.events.push_back(ClientEvent::Stopped);
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        if self.stage == Stage::Stopped {
            return None;
        }
        let at = |timer| move |at| Deadline::new(at, timer);
        [
            self.lanes.deadline(),
            self.calls.deadline().map(at(Timer::Call)),
            self.reader.paused_until.map(at(Timer::Heal)),
            self.silence_ends().map(at(Timer::Reread)),
            self.stop_ends().map(at(Timer::Grace)),
        ]
        .into_iter()
        .fold(None, Deadline::earlier)
    }
}

impl Engine for Client {
    type Event = ClientEvent;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::LaneOpen(lane, hello) => {
                if lane == REPLIES && !self.config.seeded.is(Bug::ReadPositionKept) {
                    self.reader.after = StreamId::ZERO;
                }
                if lane == Lane::Command {
                    self.withdrawals.connected();
                }
                if let Some(ended) = self.lanes.opened(now, lane, hello) {
                    self.handle_ended(now, ended.voided);
                }
                self.send_waiting(now);
            }
            Input::LaneLost(lane, loss) => {
                if let Some(ended) = self.lanes.lost(now, lane, loss) {
                    self.handle_ended(now, ended.voided);
                }
            }
            Input::Progress { lane, bytes } => {
                if self.lanes.progress(now, lane, bytes) && lane == REPLIES {
                    self.reader.unanswered = self.reader.unanswered.map(|_| now);
                }
            }
            Input::Reply(token, reply) => self.handle_reply(now, &token, reply),
            Input::Tick => self.tick(now),
        }
        self.read(now);
    }

    fn poll_output(&mut self) -> Output<ClientEvent> {
        if let Some(unfit) = self.unfit.take() {
            self.leave_server(unfit);
        }
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        // Behind everything else of the turn, so that what ends in it is looked at together.
        if self.lanes.is_quiet() {
            self.look();
        }
        match self.lanes.poll() {
            Some(action) => action.into_output(|loss| match loss {
                None => ClientEvent::Connected,
                Some(loss) => ClientEvent::Disconnected(loss),
            }),
            None => Output::Idle(self.deadline()),
        }
    }
}
