//! [`Calls`]: the calls under way, with their timeouts and places.
//!
//! Not the sending, not the reading of replies, and not whose turn it is (`turns`). A place is what a
//! call takes up in the reply stream: it is taken when the request is sent and stays taken behind an
//! expired or cancelled call until its late reply is seen, it was withdrawn, or one more timeout has
//! passed, a minute at most, so that unread replies are not trimmed away (rule 5.3).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::Traceparent;

use super::turns::Turns;
use crate::seeded::{Bug, Seeded};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// The longest time for which a call that nobody waits for any more keeps its place.
const FORGOTTEN_MAX: Duration = Duration::from_secs(60);
/// The part of its timeout for which a call is about to end.
const ENDING_PART: u32 = 16;
/// The longest time for which it is.
const ENDING_MAX: Duration = Duration::from_millis(100);

/// The calls and notifications of one client.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Pending>,
    /// When time does something to each call.
    dues: BTreeSet<(Instant, u64)>,
    /// Whether it is told that a call is about to end.
    tells_endings: bool,
    /// What waits to be sent, and the places taken in the reply stream.
    turns: Turns,
    next: u64,
    seeded: Seeded,
}

#[derive(Debug)]
struct Pending {
    kind: Kind,
    /// The service, as [`Turns`] counts.
    service: usize,
    progress: Progress,
    timeout: Duration,
    /// When it is about to end, and then when it ends.
    due: Instant,
    expires: Instant,
    /// Its command stream.
    key: Bytes,
    /// The entry it has become, once Redis said so, and on which of the lane's connections.
    entry: Option<(u64, StreamId)>,
    /// What a seeded bug sends again.
    #[cfg(seeded_bugs)]
    copy: Outgoing,
}

#[derive(Debug)]
enum Progress {
    /// Not sent yet.
    Waiting(Outgoing),
    /// Sent, and nobody waits for the outcome any more.
    Forgotten,
    /// Sent; Redis may or may not have confirmed it.
    Sent,
}

/// Whether a reply is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    Notification,
}

/// What is to be sent for a call.
#[cfg_attr(seeded_bugs, derive(Clone))]
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) key: Bytes,
    pub(super) envelope: Bytes,
    pub(super) traceparent: Option<Traceparent>,
}

/// What time does to a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is about to end: what can be said of its request has to be found out now.
    Ending(u64),
    Expired(Ended),
}

/// A call that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: u64,
    pub(super) kind: Kind,
    /// Whether it may have reached Redis.
    pub(super) sent: bool,
}

impl Pending {
    const fn is_sent(&self) -> bool {
        !matches!(self.progress, Progress::Waiting(_))
    }

    /// What is told of its end, if anybody waits for that.
    fn ended(&self, id: u64) -> Option<Ended> {
        let awaited = !matches!(self.progress, Progress::Forgotten);
        awaited.then_some(Ended { id, kind: self.kind, sent: self.is_sent() })
    }
}

impl Calls {
    /// No calls; `tells_endings` says whether [`Self::due`] tells of those that are about to end.
    pub(super) fn new(seeded: Seeded, tells_endings: bool) -> Self {
        Self { seeded, tells_endings, turns: Turns::new(seeded), ..Self::default() }
    }

    /// Draws the next number.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes a call in, to be sent in its turn.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        id: u64,
        kind: Kind,
        outgoing: Outgoing,
        timeout: Duration,
    ) {
        let told = self.tells_endings && kind == Kind::Call;
        let early = self.seeded.is(Bug::WithdrawnEarly);
        let ending = if early { timeout / 2 } else { ENDING_MAX.min(timeout / ENDING_PART) };
        let ending = if told { ending } else { Duration::ZERO };
        // Without an end it is never about to end.
        let expires = now + timeout;
        let due = Instant::from_start(expires.since_start().saturating_sub(ending));
        let service = self.turns.service(&outgoing.key);
        #[cfg(seeded_bugs)]
        let copy = outgoing.clone();
        let pending = Pending {
            kind,
            service,
            key: outgoing.key.clone(),
            progress: Progress::Waiting(outgoing),
            timeout,
            due,
            expires,
            entry: None,
            #[cfg(seeded_bugs)]
            copy,
        };
        self.calls.insert(id, pending);
        self.dues.insert((due, id));
        self.turns.push(service, id, kind);
    }

    /// Takes the next call to be sent, if a place is free for it. One whose time is over is not
    /// sent any more: it only waits for its end.
    pub(super) fn next_to_send(
        &mut self,
        now: Instant,
        places_max: usize,
    ) -> Option<(u64, Kind, Outgoing)> {
        loop {
            let (id, kind) = self.turns.next(places_max)?;
            let call = self.calls.get_mut(&id)?;
            if call.expires <= now {
                if kind == Kind::Call {
                    self.turns.free(call.service);
                }
                continue;
            }
            match core::mem::replace(&mut call.progress, Progress::Sent) {
                Progress::Waiting(outgoing) => return Some((id, kind, outgoing)),
                Progress::Forgotten | Progress::Sent => unreachable!("what waits was not sent"),
            }
        }
    }

    /// How long somebody is still going to wait for a call; `None` for a notification, which has no
    /// deadline once it is sent.
    pub(super) fn remaining(&self, now: Instant, id: u64) -> Option<Duration> {
        let call = self.calls.get(&id).filter(|call| call.kind == Kind::Call)?;
        Some(call.expires.since(now))
    }

    /// Ends a call and frees its place; `None` when nobody waits for it.
    pub(super) fn finish(&mut self, id: u64) -> Option<Ended> {
        let call = self.calls.remove(&id)?;
        self.dues.remove(&(call.due, id));
        if !call.is_sent() {
            self.turns.remove(call.service, id);
        } else if call.kind == Kind::Call {
            self.turns.free(call.service);
        }
        call.ended(id)
    }

    /// Stops waiting for a call. If it was sent its place stays taken for one more timeout.
    pub(super) fn forget(&mut self, now: Instant, id: u64) -> Option<Ended> {
        let call = self.calls.get_mut(&id)?;
        let freed = self.seeded.is(Bug::PlaceFreedAtOnce);
        if call.kind == Kind::Notification || !matches!(call.progress, Progress::Sent) || freed {
            return self.finish(id);
        }
        self.dues.remove(&(call.due, id));
        let cancelled = call.expires > now;
        let leak = if cancelled { Bug::CancelLeaks } else { Bug::TimeoutLeaks };
        call.progress = Progress::Forgotten;
        call.expires = now + call.timeout.min(FORGOTTEN_MAX);
        call.due = call.expires;
        if !self.seeded.is(leak) {
            self.dues.insert((call.due, id));
        }
        Some(Ended { id, kind: call.kind, sent: true })
    }

    /// Redis has confirmed the request. Says whether its call is about to end, or nobody waits for
    /// that any more.
    pub(super) fn confirm(&mut self, id: u64, connection: u64, entry: StreamId) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        call.entry = Some((connection, entry));
        call.due == call.expires
    }

    /// The command stream and the entry of a request that was confirmed on this connection.
    pub(super) fn entry(&self, id: u64, connection: u64) -> Option<(&Bytes, StreamId)> {
        let call = self.calls.get(&id)?;
        let (of, entry) = call.entry?;
        let same = of == connection || self.seeded.is(Bug::WithdrawnOnNewLane);
        same.then_some((&call.key, entry))
    }

    /// Stops waiting for a call at its caller's wish. One that nobody waits for any more keeps its
    /// place as before.
    pub(super) fn cancel(&mut self, now: Instant, id: u64) {
        let call = self.calls.get(&id);
        if call.is_some_and(|call| !matches!(call.progress, Progress::Forgotten)) {
            self.forget(now, id);
        }
    }

    /// Ends the next call whose time is over, or tells of the next whose time almost is.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let (at, id) = *self.dues.first()?;
            if at > now {
                return None;
            }
            if let Some(call) = self.calls.get_mut(&id).filter(|call| now < call.expires) {
                call.due = call.expires;
                self.dues.remove(&(at, id));
                self.dues.insert((call.due, id));
                return Some(Due::Ending(id));
            }
            if let Some(ended) = self.forget(now, id) {
                return Some(Due::Expired(ended));
            }
        }
    }

    /// Ends the calls that were not sent.
    pub(super) fn end_unsent(&mut self) -> Vec<Ended> {
        let waiting = self.turns.take_waiting().into_iter();
        waiting.filter_map(|id| self.finish(id)).collect()
    }

    /// Ends every call.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Ended> {
        self.turns.clear();
        self.dues.clear();
        core::mem::take(&mut self.calls).into_iter().filter_map(|(id, call)| call.ended(id))
    }

    /// Whether this is a notification under way.
    pub(super) fn is_notification(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(|call| call.kind == Kind::Notification)
    }

    /// Forgets the services that no call is for.
    pub(super) fn forget_idle(&mut self) {
        self.turns.forget_idle();
    }

    /// Whether there are calls for the service with this command stream.
    pub(super) fn are_under_way(&self, key: &Bytes) -> bool {
        self.turns.is_busy(key)
    }

    /// How many services are known.
    #[cfg(test)]
    pub(super) fn services(&self) -> usize {
        self.turns.known()
    }

    /// How many places are taken.
    pub(super) const fn places(&self) -> usize {
        self.turns.places()
    }

    /// How many calls are known.
    #[cfg(feature = "sim")]
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// When time does something to the next call.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.dues.first().map(|(at, _)| *at)
    }

    /// The oldest call that waits for a reply.
    pub(super) fn oldest(&self) -> Option<u64> {
        let mut sent =
            self.calls.iter().filter(|(_, call)| matches!(call.progress, Progress::Sent));
        sent.next().map(|(id, _)| *id)
    }

    /// A seeded bug: puts a call that was sent back into the queue.
    #[cfg(seeded_bugs)]
    pub(super) fn send_again(&mut self, id: u64) -> bool {
        let seeded = self.seeded.is(Bug::AmbiguousIsRetried);
        let sent = |call: &&mut Pending| seeded && matches!(call.progress, Progress::Sent);
        let Some(call) = self.calls.get_mut(&id).filter(sent) else { return false };
        call.progress = Progress::Waiting(call.copy.clone());
        if call.kind == Kind::Call {
            self.turns.free(call.service);
        }
        call.service = self.turns.service(&call.key);
        self.turns.push(call.service, id, call.kind);
        true
    }

    /// Nothing is sent twice.
    #[cfg(not(seeded_bugs))]
    pub(super) const fn send_again(&self, _: u64) -> bool {
        false
    }

    /// Whether a reply is being waited for.
    pub(super) const fn expects_replies(&self) -> bool {
        self.places() > 0
    }
}

#[cfg(test)]
mod tests;
