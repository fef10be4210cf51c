//! [`UnderWay`]: what the replies that were sent and are not answered mean for what is sent next.
//!
//! Not the sending (`settle`). Two things cannot wait for ever behind other replies. One that may be why
//! lanes end goes alone, so that it ends no others (rule 4.6). And a command that asks how long an entry
//! has been idle, so that nothing is taken from another worker, says how long that must be when it is
//! sent: behind many bytes on a slow link it would be carried out too late, and take what another worker
//! has been given meanwhile (rule 4.4).

use core::time::Duration;

use super::Server;
use super::held::Held;
use crate::engine::Lane;
use crate::time::Instant;

/// Most bytes of replies that a renewal is sent behind: what moves at the least within the time that a
/// command has.
const AHEAD_MAX: usize = 64 * 1024;
/// How long a reply that goes alone waits before the others wait for it.
const ALONE_WITHIN: Duration = Duration::from_secs(1);

/// Replies that were sent and are not answered.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    replies: usize,
    bytes: usize,
    /// Whether it is one that may be why lanes ended, and is alone for that.
    suspect: bool,
    /// Since when such a one waits.
    suspect_since: Option<Instant>,
    /// Whether a renewal waits until there is less on its way.
    renewal_waits: bool,
    /// Whether the lane has answered anything: if it then ends with a reply, that is no accident.
    pub(super) proven: bool,
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Any reply, but one that has to be alone.
    Others,
    /// Any reply; one that has to be alone if there are no others.
    Any,
    /// One that has to be alone.
    Alone,
    Nothing,
}

impl UnderWay {
    /// `waited` says that one has waited for long that has to be alone, and that it may be sent.
    const fn turn(&self, waited: bool) -> Turn {
        match self.replies {
            _ if self.suspect || self.renewal_waits => Turn::Nothing,
            0 if !self.proven => Turn::Others,
            0 if waited => Turn::Alone,
            0 => Turn::Any,
            _ if waited && self.proven => Turn::Nothing,
            _ => Turn::Others,
        }
    }

    fn suspect_has_waited(&self, now: Instant) -> bool {
        self.suspect_since.is_some_and(|since| ALONE_WITHIN <= now.since(since))
    }

    /// One that has to be alone has to be sent.
    pub(super) fn suspect_waits(&mut self, now: Instant) {
        self.suspect_since.get_or_insert(now);
    }

    pub(super) const fn renewal_waits(&self) -> bool {
        self.renewal_waits
    }

    /// A reply of so many bytes is sent.
    pub(super) fn sent(&mut self, now: Instant, bytes: usize, is_suspect: bool) {
        self.replies += 1;
        self.bytes += bytes;
        self.suspect = is_suspect;
        if is_suspect {
            // The next one, if there is any, waits from now on.
            self.suspect_since = Some(now);
        }
    }

    fn done(&mut self, bytes: usize) {
        self.replies = self.replies.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.suspect = false;
    }
}

impl Server {
    /// Which replies may be sent now.
    pub(super) fn turn(&mut self) -> Turn {
        if !self.lanes.is_open(Lane::Command) {
            return Turn::Nothing;
        }
        let mut waited = self.replies.suspect_has_waited(self.now);
        if waited && !self.has_suspects() {
            self.replies.suspect_since = None;
            waited = false;
        }
        self.replies.turn(waited && self.has_sendable_suspect())
    }

    fn has_suspects(&self) -> bool {
        self.services.iter().any(|service| !service.held.suspects().is_empty())
    }

    /// Whether any service would send one, if it was its turn.
    fn has_sendable_suspect(&self) -> bool {
        let sendable = |held: &Held| {
            held.suspects().first().is_some_and(|key| held.leases.is_valid(*key, self.now))
        };
        self.services.iter().any(|service| sendable(&service.held))
    }

    /// A lease was lost, perhaps of a reply that others wait for.
    pub(super) fn stop_waiting(&mut self) {
        if self.replies.suspect_has_waited(self.now) {
            self.dirty.extend(0..self.services.len());
        }
    }

    /// Whether so much is on its way that a command would be carried out too late that says how long an
    /// entry must have been idle. It is sent when there is less.
    pub(super) fn is_behind_much(&mut self) -> bool {
        let behind = self.replies.bytes > AHEAD_MAX;
        self.replies.renewal_waits |= behind;
        behind
    }

    /// Renews and hands back what is due, before any service sends more replies.
    pub(super) fn renew_all(&mut self) {
        for index in 0..self.services.len() {
            self.hand_back(index);
            self.renew(index);
        }
    }

    /// A reply of so many bytes is no longer under way.
    pub(super) fn reply_done(&mut self, bytes: usize) {
        let suspect = self.replies.suspect;
        self.replies.done(bytes);
        if self.replies.renewal_waits && self.replies.bytes <= AHEAD_MAX {
            self.replies.renewal_waits = false;
            self.renew_all();
            self.dirty.extend(0..self.services.len());
        }
        if suspect || self.replies.replies == 0 && self.has_suspects() {
            self.dirty.extend(0..self.services.len());
        }
    }
}
