//! [`Turns`]: whose call is sent next, and how many places each service has.
//!
//! Not the calls, which are known by their numbers here. Those of one service go in the order in
//! which they were made. Among services the turn goes round, and each leaves a quarter of the places
//! that others have left, where there are four or more: calls of a service that nobody serves keep
//! theirs until long after their timeouts, and would leave none to the services that answer (rule
//! 5.3). A notification needs no place, and waits for its service's calls at most.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::calls::Kind;
use crate::seeded::{Bug, Seeded};

/// How many times as many places as are free a service may have, in a client that has called
/// several: a single one leaves a quarter of them.
const SHARE_MAX: usize = 3;

/// What waits to be sent, by service, and the places taken in the reply stream.
#[derive(Debug, Default)]
pub(super) struct Turns {
    services: Vec<Service>,
    /// Their places in the list, by the key of their command streams.
    by_key: BTreeMap<Bytes, usize>,
    /// The places of those that were forgotten.
    vacant: Vec<usize>,
    /// Those for which something waits, in the order of their turns.
    order: VecDeque<usize>,
    places: usize,
    seeded: Seeded,
}

#[derive(Debug, Default)]
struct Service {
    queue: VecDeque<u64>,
    places: usize,
}

impl Service {
    fn is_busy(&self) -> bool {
        self.places > 0 || !self.queue.is_empty()
    }
}

impl Turns {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self { seeded, ..Self::default() }
    }

    /// The number of the service with this command stream.
    pub(super) fn service(&mut self, key: &Bytes) -> usize {
        if let Some(number) = self.by_key.get(key) {
            return *number;
        }
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.services.push(Service::default());
            self.services.len() - 1
        });
        self.by_key.insert(key.clone(), number);
        number
    }

    /// Whether anything waits for the service with this command stream, or has a place.
    pub(super) fn is_busy(&self, key: &Bytes) -> bool {
        let service = self.by_key.get(key).and_then(|number| self.services.get(*number));
        service.is_some_and(Service::is_busy)
    }

    /// Forgets the services for which nothing waits and that have no place: their numbers are given
    /// to others.
    pub(super) fn forget_idle(&mut self) {
        let (services, vacant) = (&mut self.services, &mut self.vacant);
        self.by_key.retain(|_, number| {
            let Some(service) = services.get_mut(*number) else { return false };
            let busy = service.is_busy();
            if !busy {
                *service = Service::default();
                vacant.push(*number);
            }
            busy
        });
    }

    /// A call waits.
    pub(super) fn push(&mut self, number: usize, id: u64) {
        let Some(service) = self.services.get_mut(number) else { return };
        if service.queue.is_empty() {
            self.order.push_back(number);
        }
        service.queue.push_back(id);
    }

    /// Takes the call whose turn it is, with a place if it needs one. `kind` says what it is, and
    /// `None` of one that is not to be sent any more.
    pub(super) fn next(
        &mut self,
        places_max: usize,
        kind: impl Fn(u64) -> Option<Kind>,
    ) -> Option<(u64, Kind)> {
        let free = places_max.max(1).saturating_sub(self.places);
        let alone = self.services.len() < 2 || self.seeded.is(Bug::PlacesHogged);
        let bounded = !self.seeded.is(Bug::InFlightUnbounded);
        for _ in 0..self.order.len() {
            let number = self.order.pop_front()?;
            let service = self.services.get_mut(number)?;
            while service.queue.front().is_some_and(|id| kind(*id).is_none()) {
                service.queue.pop_front();
            }
            let room = free > 0 && (alone || service.places < free.saturating_mul(SHARE_MAX));
            let next = service.queue.front().and_then(|id| Some((*id, kind(*id)?)));
            let next = next.filter(|(_, kind)| *kind == Kind::Notification || room || !bounded);
            if let Some((_, kind)) = next {
                let taken = usize::from(kind == Kind::Call);
                service.queue.pop_front();
                service.places += taken;
                self.places += taken;
            }
            if !service.queue.is_empty() {
                self.order.push_back(number);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Takes the oldest call that waits.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let waiting = self.services.iter_mut().filter(|service| !service.queue.is_empty());
        let oldest = waiting.min_by_key(|service| service.queue.front().copied())?;
        let id = oldest.queue.pop_front();
        let services = &self.services;
        self.order.retain(|it| services.get(*it).is_some_and(|it| !it.queue.is_empty()));
        id
    }

    /// A place is free again.
    pub(super) fn free(&mut self, number: usize) {
        let Some(service) = self.services.get_mut(number) else { return };
        service.places = service.places.saturating_sub(1);
        self.places = self.places.saturating_sub(1);
    }

    /// Nothing waits any more, and every place is free.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.seeded);
    }

    /// How many places are taken.
    pub(super) const fn places(&self) -> usize {
        self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    /// Two services, and what waits for them: the first has odd numbers.
    fn turns(waiting: &[u64]) -> Turns {
        let mut turns = Turns::default();
        let services = [&b"even"[..], b"odd"].map(|key| turns.service(&Bytes::from_static(key)));
        assert_eq!(services, [0, 1]);
        for id in waiting {
            turns.push(usize::from(id % 2 == 1), *id);
        }
        turns
    }

    fn all(turns: &mut Turns, places_max: usize) -> Vec<u64> {
        let next = || turns.next(places_max, |_| Some(Kind::Call));
        core::iter::from_fn(next).map(|(id, _)| id).collect()
    }

    #[test]
    fn a_stream_has_one_number() {
        let mut turns = turns(&[]);
        assert_eq!(turns.service(&Bytes::from_static(b"odd")), 1);
    }

    #[test]
    fn a_service_with_nothing_under_way_is_forgotten_and_its_number_given_to_another() {
        let mut turns = turns(&[2, 1]);
        let [even, odd, new, newer] =
            [&b"even"[..], b"odd", b"new", b"newer"].map(Bytes::from_static);
        assert_eq!(turns.next(MAX, |_| Some(Kind::Call)), Some((2, Kind::Call)));
        turns.forget_idle();
        assert_eq!([&even, &odd].map(|key| turns.is_busy(key)), [true; 2], "a place, and a queue");
        turns.free(0);
        turns.forget_idle();
        assert_eq!([&even, &odd].map(|key| turns.is_busy(key)), [false, true]);
        assert_eq!([&odd, &new, &newer].map(|key| turns.service(key)), [1, 0, 2]);
        turns.push(0, 4);
        assert_eq!(all(&mut turns, MAX), [1, 4]);
    }

    #[test]
    fn the_turn_goes_round_and_each_service_keeps_its_order() {
        let mut turns = turns(&[2, 4, 6, 1, 3, 8]);
        assert_eq!(all(&mut turns, MAX), [2, 1, 4, 3, 6, 8]);
        turns.push(0, 10);
        assert_eq!(all(&mut turns, MAX), [10]);
    }

    #[test]
    fn a_service_that_nobody_serves_leaves_places_to_the_others() {
        let even: Vec<u64> = (0..1000).map(|number| number * 2).collect();
        let mut turns = turns(&even);
        assert_eq!(all(&mut turns, MAX).len(), 75);
        for id in [1, 3] {
            turns.push(1, id);
            assert_eq!(all(&mut turns, MAX), [id], "and its place is not taken by those that wait");
            turns.free(1);
        }
        assert_eq!(turns.places(), 75);
        turns.free(0);
        assert_eq!(all(&mut turns, MAX).len(), 1);
    }

    #[test]
    fn the_only_service_may_have_every_place() {
        let mut turns = Turns::default();
        let service = turns.service(&Bytes::from_static(b"only"));
        (0..200).for_each(|id| turns.push(service, id));
        assert_eq!(all(&mut turns, MAX).len(), MAX);
        assert!(all(&mut Turns::default(), 0).is_empty());
    }

    #[test]
    fn a_notification_waits_for_no_place_and_for_no_other_service() {
        let mut turns = turns(&[2, 4, 6, 1]);
        let kind = |id| Some(if id == 1 || id == 6 { Kind::Notification } else { Kind::Call });
        assert_eq!(turns.next(1, kind), Some((2, Kind::Call)));
        assert_eq!(turns.next(1, kind), Some((1, Kind::Notification)));
        assert_eq!(turns.next(1, kind), None, "behind a call of its own service");
        turns.free(0);
        assert_eq!(turns.next(1, kind), Some((4, Kind::Call)));
        assert_eq!(turns.next(1, kind), Some((6, Kind::Notification)));
    }

    #[test]
    fn what_is_not_to_be_sent_any_more_has_no_turn() {
        let mut turns = turns(&[2, 4, 1, 3]);
        let kind = |id| (id > 2).then_some(Kind::Call);
        assert_eq!(turns.next(MAX, kind), Some((4, Kind::Call)));
        assert_eq!(turns.next(MAX, kind), Some((3, Kind::Call)));
        assert_eq!(turns.next(MAX, kind), None);
    }

    #[test]
    fn what_waits_is_taken_away_in_the_order_in_which_it_came() {
        let mut turns = turns(&[2, 1, 3, 4]);
        let popped: Vec<u64> = core::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(popped, [1, 2, 3, 4], "numbers rise");
        turns.push(0, 6);
        assert_eq!(all(&mut turns, MAX), [6]);
    }

    #[test]
    fn what_is_left_keeps_its_turn_and_who_has_nothing_left_loses_it() {
        let mut turns = turns(&[1, 2, 4, 6]);
        assert_eq!(turns.pop(), Some(1));
        turns.push(1, 7);
        turns.push(1, 9);
        assert_eq!(all(&mut turns, MAX), [2, 7, 4, 9, 6]);
    }
}
