//! [`Agenda`]: what is going to happen, and when.
//!
//! Not the happening. What is due at one instant comes in the order in which it was planned.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::time::Instant;

/// What is going to happen.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    /// When, and in which order: small, as items change places.
    items: BinaryHeap<Item>,
    /// What, by place, and the places that are free.
    planned: Vec<Option<T>>,
    free: Vec<usize>,
    number: u64,
}

/// The greatest item is the one that is due first.
#[derive(Debug)]
struct Item {
    at: Instant,
    number: u64,
    place: usize,
}

impl<T> Agenda<T> {
    pub(super) const fn new() -> Self {
        Self { items: BinaryHeap::new(), planned: Vec::new(), free: Vec::new(), number: 0 }
    }

    pub(super) fn plan(&mut self, at: Instant, what: T) {
        self.number += 1;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.planned.push(None);
                self.planned.len() - 1
            }
        };
        self.items.push(Item { at, number: self.number, place });
        if let Some(planned) = self.planned.get_mut(place) {
            *planned = Some(what);
        }
    }

    /// When the next thing is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.items.peek().map(|item| item.at)
    }

    /// Takes the next thing that is due by now, and when it was.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.due().filter(|due| *due <= now)?;
        let Item { at, place, .. } = self.items.pop()?;
        self.free.push(place);
        self.planned.get_mut(place)?.take().map(|what| (at, what))
    }

    /// Drops all that is not to be kept.
    pub(super) fn retain(&mut self, keeps: impl Fn(&T) -> bool) {
        let Self { items, planned, free, .. } = self;
        items.retain(|item| {
            let what = planned.get_mut(item.place);
            let dropped = what.and_then(|what| what.take_if(|what| !keeps(what)));
            if dropped.is_some() {
                free.push(item.place);
            }
            dropped.is_none()
        });
    }
}

impl Item {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Item {}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_time_and_then_of_planning() {
        let mut agenda = Agenda::new();
        for (secs, what) in [(2, 'c'), (1, 'a'), (1, 'b'), (3, 'd'), (2, 'x')] {
            agenda.plan(at(secs), what);
        }
        agenda.retain(|what| *what != 'x');
        assert_eq!(agenda.take(at(0)), None);
        let due: Vec<_> = core::iter::from_fn(|| agenda.take(at(2))).collect();
        assert_eq!(due, [(at(1), 'a'), (at(1), 'b'), (at(2), 'c')]);
        assert_eq!(agenda.due(), Some(at(3)));
    }
}
