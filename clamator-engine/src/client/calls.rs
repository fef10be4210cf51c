//! [`Calls`]: the calls under way, in the order they were made, with their timeouts and places.
//!
//! Not the sending and not the reading of replies. A place is what a call takes up in the reply
//! stream: it is taken when the request is sent and stays taken behind an expired or cancelled
//! call until its late reply is seen or one more timeout has passed, a minute at most, so that
//! unread replies are not trimmed away (rule 5.3).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::time::Duration;

use bytes::Bytes;

use crate::seeded::{Bug, Seeded};
use crate::time::Instant;

/// The longest time for which a call that nobody waits for any more keeps its place.
const FORGOTTEN_MAX: Duration = Duration::from_secs(60);

/// The calls and notifications of one client.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Pending>,
    expiries: BTreeSet<(Instant, u64)>,
    /// What waits to be sent, in the order it was made.
    queue: VecDeque<u64>,
    /// Places taken in the reply stream.
    places: usize,
    next: u64,
    seeded: Seeded,
}

#[derive(Debug)]
struct Pending {
    kind: Kind,
    progress: Progress,
    timeout: Duration,
    expires: Instant,
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
}

/// A call that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: u64,
    pub(super) kind: Kind,
    /// Whether it may have reached Redis.
    pub(super) sent: bool,
}

impl Calls {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self { seeded, ..Self::default() }
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
        let expires = now + timeout;
        #[cfg(seeded_bugs)]
        let copy = outgoing.clone();
        let progress = Progress::Waiting(outgoing);
        let pending = Pending {
            kind,
            progress,
            timeout,
            expires,
            #[cfg(seeded_bugs)]
            copy,
        };
        self.calls.insert(id, pending);
        self.expiries.insert((expires, id));
        self.queue.push_back(id);
    }

    /// Takes the next call to be sent, if a place is free for it. One whose time is over is not
    /// sent any more: it only waits for its end.
    pub(super) fn next_to_send(
        &mut self,
        now: Instant,
        places_max: usize,
    ) -> Option<(u64, Kind, Outgoing)> {
        loop {
            let id = *self.queue.front()?;
            let Some(call) = self.calls.get_mut(&id) else {
                self.queue.pop_front();
                continue;
            };
            if call.expires <= now {
                self.queue.pop_front();
                continue;
            }
            let bounded = !self.seeded.is(Bug::InFlightUnbounded);
            if bounded && call.kind == Kind::Call && self.places >= places_max.max(1) {
                return None;
            }
            self.queue.pop_front();
            if let Progress::Waiting(outgoing) =
                core::mem::replace(&mut call.progress, Progress::Sent)
            {
                self.places += usize::from(call.kind == Kind::Call);
                return Some((id, call.kind, outgoing));
            }
        }
    }

    /// Ends a call and frees its place; `None` when nobody waits for it.
    pub(super) fn finish(&mut self, id: u64) -> Option<Ended> {
        let call = self.calls.remove(&id)?;
        self.expiries.remove(&(call.expires, id));
        let sent = !matches!(call.progress, Progress::Waiting(_));
        if sent && call.kind == Kind::Call {
            self.places = self.places.saturating_sub(1);
        }
        let awaited = !matches!(call.progress, Progress::Forgotten);
        awaited.then_some(Ended { id, kind: call.kind, sent })
    }

    /// Stops waiting for a call. If it was sent its place stays taken for one more timeout.
    pub(super) fn forget(&mut self, now: Instant, id: u64) -> Option<Ended> {
        let call = self.calls.get_mut(&id)?;
        let freed = self.seeded.is(Bug::PlaceFreedAtOnce);
        if call.kind == Kind::Notification || !matches!(call.progress, Progress::Sent) || freed {
            return self.finish(id);
        }
        self.expiries.remove(&(call.expires, id));
        let cancelled = call.expires > now;
        let leak = if cancelled { Bug::CancelLeaks } else { Bug::TimeoutLeaks };
        call.progress = Progress::Forgotten;
        call.expires = now + call.timeout.min(FORGOTTEN_MAX);
        if !self.seeded.is(leak) {
            self.expiries.insert((call.expires, id));
        }
        Some(Ended { id, kind: call.kind, sent: true })
    }

    /// Stops waiting for a call at its caller's wish. One that nobody waits for any more keeps its
    /// place as before.
    pub(super) fn cancel(&mut self, now: Instant, id: u64) {
        let call = self.calls.get(&id);
        if call.is_some_and(|call| !matches!(call.progress, Progress::Forgotten)) {
            self.forget(now, id);
        }
    }

    /// Ends the next call whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Ended> {
        loop {
            let (at, id) = *self.expiries.first()?;
            if at > now {
                return None;
            }
            if let Some(ended) = self.forget(now, id) {
                return Some(ended);
            }
        }
    }

    /// Ends the next call that was not sent.
    pub(super) fn unsent(&mut self) -> Option<Ended> {
        loop {
            let id = self.queue.pop_front()?;
            if let Some(ended) = self.finish(id) {
                return Some(ended);
            }
        }
    }

    /// Ends every call.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Ended> {
        self.places = 0;
        self.queue.clear();
        self.expiries.clear();
        core::mem::take(&mut self.calls).into_iter().filter_map(|(id, call)| {
            let sent = !matches!(call.progress, Progress::Waiting(_));
            let awaited = !matches!(call.progress, Progress::Forgotten);
            awaited.then_some(Ended { id, kind: call.kind, sent })
        })
    }

    /// Whether this is a notification under way.
    pub(super) fn is_notification(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(|call| call.kind == Kind::Notification)
    }

    /// How many places are taken.
    pub(super) const fn places(&self) -> usize {
        self.places
    }

    /// How many calls are known.
    #[cfg(feature = "sim")]
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// When the next call expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expiries.first().map(|(at, _)| *at)
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
        self.places = self.places.saturating_sub(usize::from(call.kind == Kind::Call));
        self.queue.push_back(id);
        true
    }

    /// Nothing is sent twice.
    #[cfg(not(seeded_bugs))]
    pub(super) const fn send_again(&self, _: u64) -> bool {
        false
    }

    /// Whether a reply is being waited for.
    pub(super) const fn expects_replies(&self) -> bool {
        self.places > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn insert(calls: &mut Calls, kind: Kind) -> u64 {
        let id = calls.number();
        let outgoing = Outgoing { key: Bytes::new(), envelope: Bytes::new() };
        calls.insert(at(0), id, kind, outgoing, Duration::from_secs(10));
        id
    }

    fn send(calls: &mut Calls, places: usize) -> Option<u64> {
        calls.next_to_send(at(0), places).map(|(id, ..)| id)
    }

    #[test]
    fn a_call_whose_time_is_over_is_not_sent() {
        let mut calls = Calls::default();
        let id = insert(&mut calls, Kind::Call);
        assert!(calls.next_to_send(at(10), 1).is_none());
        assert_eq!(calls.expire(at(10)), Some(Ended { id, kind: Kind::Call, sent: false }));
        assert!(!calls.expects_replies());
    }

    #[test]
    fn calls_are_sent_in_order_as_places_get_free() {
        let mut calls = Calls::default();
        let ids = [(); 3].map(|()| insert(&mut calls, Kind::Call));
        assert_eq!(send(&mut calls, 2), Some(ids[0]));
        assert_eq!(send(&mut calls, 2), Some(ids[1]));
        assert_eq!(send(&mut calls, 2), None);
        calls.finish(ids[0]);
        assert_eq!(send(&mut calls, 2), Some(ids[2]));
    }

    #[test]
    fn a_notification_takes_no_place() {
        let mut calls = Calls::default();
        let ids = [Kind::Call, Kind::Notification].map(|kind| insert(&mut calls, kind));
        assert_eq!(send(&mut calls, 1), Some(ids[0]));
        assert_eq!(send(&mut calls, 1), Some(ids[1]));
    }

    #[test]
    fn the_end_of_a_notification_or_of_what_was_not_sent_frees_no_place() {
        let mut calls = Calls::default();
        insert(&mut calls, Kind::Call);
        let notification = insert(&mut calls, Kind::Notification);
        let unsent = insert(&mut calls, Kind::Call);
        while send(&mut calls, 1).is_some() {}
        calls.finish(notification);
        calls.finish(unsent);
        assert!(calls.expects_replies());
    }

    #[test]
    fn the_place_of_an_expired_call_stays_taken_for_one_more_timeout() {
        let mut calls = Calls::default();
        let first = insert(&mut calls, Kind::Call);
        send(&mut calls, 1);
        let ended = Ended { id: first, kind: Kind::Call, sent: true };
        assert_eq!(calls.expire(at(10)), Some(ended));
        assert_eq!(calls.expire(at(19)), None);
        insert(&mut calls, Kind::Notification);
        insert(&mut calls, Kind::Call);
        send(&mut calls, 1);
        assert_eq!(send(&mut calls, 1), None, "the place is taken");
        while calls.expire(at(20)).is_some() {}
        assert!(!calls.expects_replies());
    }

    #[test]
    fn the_place_of_an_expired_call_is_free_once_its_late_reply_is_seen() {
        let mut calls = Calls::default();
        let first = insert(&mut calls, Kind::Call);
        send(&mut calls, 1);
        calls.expire(at(10));
        assert_eq!(calls.finish(first), None, "nobody waits for it");
        assert!(!calls.expects_replies());
    }

    #[test]
    fn cancelling_an_expired_or_cancelled_call_does_not_free_its_place() {
        let mut calls = Calls::default();
        let first = insert(&mut calls, Kind::Call);
        send(&mut calls, 1);
        calls.cancel(at(1), first);
        calls.cancel(at(1), first);
        assert!(calls.expects_replies());
        assert_eq!(calls.expire(at(10)), None);
        assert!(calls.expects_replies(), "one more timeout from the cancelling on");
        assert_eq!(calls.expire(at(11)), None);
        assert!(!calls.expects_replies());
    }

    #[test]
    fn a_call_that_was_not_sent_ends_without_taking_a_place() {
        let mut calls = Calls::default();
        let id = insert(&mut calls, Kind::Call);
        assert_eq!(calls.expire(at(9)), None);
        assert_eq!(calls.expire(at(10)), Some(Ended { id, kind: Kind::Call, sent: false }));
        assert_eq!(send(&mut calls, 1), None);
        assert!(!calls.expects_replies());
        assert_eq!(calls.deadline(), None);
    }
}
