//! Requests whose callers have given up: they are not run (rule 4.9).
//!
//! Not the knowing of Redis's time: see `clock`. A request says for how long its caller still waited
//! when it was sent; its entry's id says when that was, by Redis's clock. What is overdue by more than
//! `deadline_slack` is settled instead of started, and nobody is answered. To run it after all is
//! harmless, to skip what somebody waits for is not: whatever is not known, it is run.
//!
//! Why the slack is a second. By the own clock, what Redis's clock showed when the entry was written
//! and what it shows now both lie within half a second of one line: 250 ms is what a sample may
//! be off it, and as much again what two of them may be wrong by for their round trips. So a clock
//! that jumped unnoticed makes an entry look a second older at most, but for one that was set forward
//! before this server first saw it, or there and back between two looks: that nobody can know. How long the entry was on its
//! way to Redis only adds to its caller's time.

use core::time::Duration;

use clamator_proto::entry::CommandFields;

use super::Server;
use super::event::Notice;
use super::held::Key;
use crate::reply::Fields;
use crate::seeded::Bug;
use crate::stream_id::StreamId;

/// How long the caller of a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// When the request was written, by Redis's clock.
    written: Duration,
    /// For how long from then on.
    timeout: Duration,
}

impl Patience {
    /// Reads it from an entry; `None` when that does not say.
    pub(super) fn read(entry: StreamId, fields: &Fields) -> Option<Self> {
        let timeout = CommandFields::read(fields).ok()?.timeout?;
        Some(Self { written: Duration::from_millis(entry.ms), timeout })
    }

    const fn deadline(self) -> Duration {
        self.written.saturating_add(self.timeout)
    }
}

impl Server {
    /// Whether it is sure that nobody waits for the outcome any more.
    pub(super) fn is_expired(&self, patience: Option<Patience>) -> bool {
        let Some(patience) = patience else { return false };
        let end = patience.deadline().saturating_add(self.config.deadline_slack);
        let runs = self.config.seeded.is(Bug::ExpiredRuns);
        !runs && self.clock.is_past(self.now, patience.written, end)
    }

    /// For how long the caller still waits, at most; where Redis's time is not known, as if it had
    /// just begun to.
    pub(super) fn remaining(&self, patience: Option<Patience>) -> Option<Duration> {
        let patience = patience?;
        let left = match self.clock.estimate(self.now, patience.written) {
            Some(time) => patience.deadline().saturating_sub(time).min(patience.timeout),
            None => patience.timeout,
        };
        Some(left)
    }

    /// Settles a request that nobody waits for, unstarted.
    pub(super) fn skip(&mut self, index: usize, key: Key) {
        let Some(service) = self.services.get(index) else { return };
        let notice = Notice::Expired { service: service.name(), entry: key.id };
        self.stats_of(index).expired += 1;
        self.notice(notice);
        self.settle(index, key);
    }
}
