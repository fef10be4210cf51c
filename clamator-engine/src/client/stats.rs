//! [`ClientStats`] and [`Health`] of a client: what it has seen, in numbers, and whether it can call.
//!
//! Not what single calls end with: that is told to their callers.

use alloc::vec::Vec;

use super::calls::Kind;
use super::{Client, Stage};
use crate::call::CallError;
use crate::health::{Ailment, Health, Need};
use crate::stats::stats;
use crate::time::Instant;
use crate::wire::READ_SLACK;

stats! {
    /// What a client has seen since it started, and what is under way now. A call is counted as one
    /// of the ends when it has ended that way, and the same with a notification.
    ClientStats
    counters {
        /// Calls that were made, whatever became of them.
        calls,
        /// Calls and notifications that ended with
        /// [`NoWorkers`](crate::CallError::NoWorkers).
        no_workers,
        /// Calls and notifications that ended with [`NotSent`](crate::CallError::NotSent).
        not_sent,
        /// Notifications that were made, whatever became of them.
        notifications,
        /// Calls and notifications that ended with
        /// [`OutcomeUnknown`](crate::CallError::OutcomeUnknown).
        outcomes_unknown,
        /// Connections that were made again after they had ended.
        reconnects,
        /// Calls and notifications that ended with [`Refused`](crate::CallError::Refused).
        refused,
        /// Replies that ended a call, whatever they say.
        replies,
        /// Replies to no call that is under way: late, duplicate or foreign. They were dropped.
        replies_unmatched,
        /// Entries of the reply stream that are no response. They were dropped.
        replies_unparsable,
        /// Calls and notifications that ended with [`Timeout`](crate::CallError::Timeout).
        timeouts,
        /// Requests that were taken back before any worker was given them, those of cancelled calls
        /// included.
        withdrawn,
    }
    gauges {
        /// Calls that were sent and have a place: those that wait for their reply, and those that
        /// nobody waits for any more but whose reply may still come. At most `in_flight_max`.
        in_flight,
    }
}

impl Client {
    /// What the client has seen so far, and what is under way.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let in_flight = u64::try_from(self.calls.places()).unwrap_or(u64::MAX);
        ClientStats { in_flight, reconnects: self.lanes.reopened(), ..self.stats }
    }

    pub(super) const fn count_made(&mut self, kind: Kind) {
        match kind {
            Kind::Call => self.stats.calls += 1,
            Kind::Notification => self.stats.notifications += 1,
        }
    }

    /// Counts a call that did not end with a reply.
    pub(super) const fn count_failed(&mut self, error: &CallError) {
        let stats = &mut self.stats;
        match error {
            CallError::NoWorkers => stats.no_workers += 1,
            CallError::NotSent => stats.not_sent += 1,
            CallError::OutcomeUnknown => stats.outcomes_unknown += 1,
            CallError::Refused(_) => stats.refused += 1,
            CallError::Timeout => stats.timeouts += 1,
            CallError::Invalid(_)
            | CallError::Protocol(_)
            | CallError::Reentrant
            | CallError::Rpc(_)
            | CallError::Stopped => {}
        }
    }

    /// Whether the client can do its work, as far as it knows: both connections can be made, the
    /// blocking reads are answered, and Redis refuses neither those nor, in the last moments (twice
    /// `read_block`, and 1 s), a request because of a trouble of its own.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        if self.stage == Stage::Stopped {
            return Ailment::Stopped.into();
        }
        let mut reasons = Ailment::losses(self.lanes.unusable());
        let block = self.config.read_block;
        reasons.extend(Ailment::silence(now, self.reader.unanswered, block));
        // Nothing is sent by itself: whether a request would still be refused is not known for long.
        let recent = |at: Instant| now.since(at) <= block * 2 + READ_SLACK;
        let refused = self.refusals.iter().filter(|(_, need, at, _)| {
            if *need == Need::Write { recent(*at) } else { self.stage == Stage::Running }
        });
        let refused: Vec<Ailment> = refused
            .map(|(_, need, _, refusal)| Ailment::Refused {
                command: need.command(),
                refusal: refusal.clone(),
                service: None,
            })
            .collect();
        reasons.extend(refused);
        Health::of(reasons)
    }
}
