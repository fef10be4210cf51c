//! [`Turns`]: whose call is sent next, and how many places each service has.
//!
//! Not the calls, which are known by their numbers here. Those of one service go in the order in
//! which they were made, which is that of their numbers. Among services the turn goes round, and each
//! leaves a quarter of the places that others have left, where there are four or more: calls of a
//! service that nobody serves keep theirs until long after their timeouts, and would leave none to
//! the services that answer (rule 5.3). A notification needs no place, and waits for its service's
//! calls at most.
//!
//! Services may be thousands, each with something that waits: nothing here looks at all of them to
//! find the next one.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::calls::Kind;
use crate::seeded::{Bug, Seeded};

/// How many times as many places as are free a service may have, in a client that has called
/// several: a single one leaves a quarter of them. Where one place is free, a third of the places at
/// most are of services that may have no more.
const SHARE_MAX: usize = 3;

/// What waits to be sent, by service, and the places taken in the reply stream.
#[derive(Debug, Default)]
pub(super) struct Turns {
    services: Vec<Service>,
    /// Their places in the list, by the key of their command streams.
    by_key: BTreeMap<Bytes, usize>,
    /// The places of those that were forgotten.
    vacant: Vec<usize>,
    /// Those for which something waits, in the order of their turns, and some for which nothing does
    /// any more.
    order: VecDeque<usize>,
    /// Those for which a notification is the first that waits.
    notifying: BTreeSet<usize>,
    /// Where among them the turn is.
    notifies_next: usize,
    places: usize,
    seeded: Seeded,
}

#[derive(Debug, Default)]
struct Service {
    queue: BTreeMap<u64, Kind>,
    places: usize,
    /// Whether it is in the order.
    has_turn: bool,
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
        self.order.retain(|number| services.get(*number).is_some_and(Service::is_busy));
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
    pub(super) fn push(&mut self, number: usize, id: u64, kind: Kind) {
        let Some(service) = self.services.get_mut(number) else { return };
        service.queue.insert(id, kind);
        if !core::mem::replace(&mut service.has_turn, true) {
            self.order.push_back(number);
        }
        self.note_first(number);
    }

    /// A call does not wait any more.
    pub(super) fn remove(&mut self, number: usize, id: u64) {
        if let Some(service) = self.services.get_mut(number) {
            service.queue.remove(&id);
            self.note_first(number);
        }
    }

    /// Takes the call whose turn it is, with a place if it needs one.
    pub(super) fn next(&mut self, places_max: usize) -> Option<(u64, Kind)> {
        let bounded = !self.seeded.is(Bug::InFlightUnbounded);
        let places_max = if bounded { places_max.max(1) } else { usize::MAX };
        let free = places_max.saturating_sub(self.places);
        if free == 0 {
            let behind = self.notifying.range(self.notifies_next..).next();
            let number = *behind.or_else(|| self.notifying.first())?;
            self.notifies_next = number + 1;
            return self.take(number);
        }
        let alone = self.services.len() < 2 || self.seeded.is(Bug::PlacesHogged);
        for _ in 0..self.order.len() {
            let number = self.order.pop_front()?;
            let service = self.services.get_mut(number)?;
            let room = alone || service.places < free.saturating_mul(SHARE_MAX);
            let kind = service.queue.first_key_value().map(|(_, kind)| *kind);
            let taken = kind.filter(|kind| *kind == Kind::Notification || room);
            service.has_turn = service.queue.len() > usize::from(taken.is_some());
            if service.has_turn {
                self.order.push_back(number);
            }
            if taken.is_some() {
                return self.take(number);
            }
        }
        None
    }

    /// Takes what waits, oldest first.
    pub(super) fn take_waiting(&mut self) -> Vec<u64> {
        let mut waiting = Vec::new();
        for number in core::mem::take(&mut self.order) {
            let Some(service) = self.services.get_mut(number) else { continue };
            service.has_turn = false;
            waiting.extend(core::mem::take(&mut service.queue).into_keys());
        }
        self.notifying.clear();
        waiting.sort_unstable();
        waiting
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

    /// How many services have numbers.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.by_key.len()
    }

    /// How many places are taken.
    pub(super) const fn places(&self) -> usize {
        self.places
    }

    /// Takes the first call that waits for a service.
    fn take(&mut self, number: usize) -> Option<(u64, Kind)> {
        let service = self.services.get_mut(number)?;
        let (id, kind) = service.queue.pop_first()?;
        let taken = usize::from(kind == Kind::Call);
        service.places += taken;
        self.places += taken;
        self.note_first(number);
        Some((id, kind))
    }

    /// The first that waits for a service may be another one.
    fn note_first(&mut self, number: usize) {
        let Some(service) = self.services.get(number) else { return };
        let first = service.queue.first_key_value();
        if first.is_some_and(|(_, kind)| *kind == Kind::Notification) {
            self.notifying.insert(number);
        } else {
            self.notifying.remove(&number);
        }
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
            turns.push(usize::from(id % 2 == 1), *id, Kind::Call);
        }
        turns
    }

    fn all(turns: &mut Turns, places_max: usize) -> Vec<u64> {
        core::iter::from_fn(|| turns.next(places_max)).map(|(id, _)| id).collect()
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
        assert_eq!(turns.next(MAX), Some((2, Kind::Call)));
        turns.forget_idle();
        assert_eq!([&even, &odd].map(|key| turns.is_busy(key)), [true; 2], "a place, and a queue");
        turns.free(0);
        turns.forget_idle();
        assert_eq!([&even, &odd].map(|key| turns.is_busy(key)), [false, true]);
        assert_eq!([&odd, &new, &newer].map(|key| turns.service(key)), [1, 0, 2]);
        turns.push(0, 4, Kind::Call);
        assert_eq!(all(&mut turns, MAX), [1, 4]);
    }

    #[test]
    fn the_turn_goes_round_and_each_service_keeps_its_order() {
        let mut turns = turns(&[2, 4, 6, 1, 3, 8]);
        assert_eq!(all(&mut turns, MAX), [2, 1, 4, 3, 6, 8]);
        turns.push(0, 10, Kind::Call);
        assert_eq!(all(&mut turns, MAX), [10]);
    }

    #[test]
    fn a_service_that_nobody_serves_leaves_places_to_the_others() {
        let even: Vec<u64> = (0..1000).map(|number| number * 2).collect();
        let mut turns = turns(&even);
        assert_eq!(all(&mut turns, MAX).len(), 75);
        for id in [1, 3] {
            turns.push(1, id, Kind::Call);
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
        (0..200).for_each(|id| turns.push(service, id, Kind::Call));
        assert_eq!(all(&mut turns, MAX).len(), MAX);
        assert!(all(&mut Turns::default(), 0).is_empty());
    }

    #[test]
    fn a_notification_waits_for_no_place_and_for_no_other_service() {
        let mut turns = turns(&[2, 4]);
        turns.push(0, 6, Kind::Notification);
        turns.push(1, 1, Kind::Notification);
        assert_eq!(turns.next(1), Some((2, Kind::Call)));
        assert_eq!(turns.next(1), Some((1, Kind::Notification)));
        assert_eq!(turns.next(1), None, "behind a call of its own service");
        turns.free(0);
        assert_eq!(turns.next(1), Some((4, Kind::Call)));
        assert_eq!(turns.next(1), Some((6, Kind::Notification)));
        assert_eq!(turns.next(1), None);
        turns.free(0);
        turns.push(1, 3, Kind::Call);
        turns.push(0, 8, Kind::Call);
        assert_eq!(all(&mut turns, MAX), [8, 3], "it has kept its turn");
    }

    #[test]
    fn without_a_free_place_the_turn_goes_round_among_notifications() {
        let mut turns = turns(&[2]);
        assert_eq!(all(&mut turns, 1), [2]);
        [4, 6].into_iter().for_each(|id| turns.push(0, id, Kind::Notification));
        [1, 3, 5].into_iter().for_each(|id| turns.push(1, id, Kind::Notification));
        assert_eq!(all(&mut turns, 1), [4, 1, 6, 3, 5]);
        assert_eq!(turns.places(), 1);
    }

    #[test]
    fn what_is_not_to_be_sent_any_more_has_no_turn() {
        let mut turns = turns(&[2, 4, 1, 3]);
        turns.remove(0, 2);
        turns.remove(1, 3);
        assert_eq!(all(&mut turns, MAX), [4, 1]);
        turns.push(0, 6, Kind::Call);
        turns.push(1, 5, Kind::Call);
        turns.remove(0, 6);
        assert_eq!(all(&mut turns, MAX), [5]);
        [7, 9].into_iter().for_each(|id| turns.push(1, id, Kind::Notification));
        [7, 9].into_iter().for_each(|id| turns.remove(1, id));
        assert_eq!(turns.next(1), None);
    }

    #[test]
    fn what_waits_is_taken_away_in_the_order_in_which_it_came() {
        let mut turns = turns(&[2, 1, 3, 4]);
        turns.push(1, 5, Kind::Notification);
        assert_eq!(turns.take_waiting(), [1, 2, 3, 4, 5], "numbers rise");
        assert!(all(&mut turns, MAX).is_empty());
        assert_eq!((turns.next(0), turns.places()), (None, 0));
        [1, 0, 1]
            .into_iter()
            .zip(7..)
            .for_each(|(service, id)| turns.push(service, id, Kind::Call));
        assert_eq!(all(&mut turns, MAX), [7, 8, 9]);
    }

    #[test]
    fn thousands_of_services_that_wait_are_not_looked_at_one_by_one() {
        // Were they, this would take minutes.
        let (mut turns, services) = (Turns::default(), 100_000_u64);
        for id in 0..services {
            let service = turns.service(&Bytes::from(id.to_be_bytes().to_vec()));
            turns.push(service, id, Kind::Call);
            turns.next(MAX);
        }
        let mut sent = MAX;
        for place in 0..MAX {
            turns.free(place);
            sent += all(&mut turns, MAX).len();
        }
        assert_eq!((sent, turns.take_waiting().len()), (2 * MAX, 100_000 - 2 * MAX));
    }
}
