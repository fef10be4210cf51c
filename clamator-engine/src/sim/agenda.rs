//! [`Agenda`]: what is going to happen, and when.
//!
//! Not the happening. What is due at one instant comes in the order in which it was planned.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use core::cmp::Ordering;

use crate::time::Instant;

/// What is going to happen.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    items: BinaryHeap<Item<T>>,
    planned: u64,
}

/// The greatest item is the one that is due first.
#[derive(Debug)]
struct Item<T> {
    at: Instant,
    number: u64,
    /// Boxed, as items change places.
    what: Box<T>,
}

impl<T> Agenda<T> {
    pub(super) const fn new() -> Self {
        Self { items: BinaryHeap::new(), planned: 0 }
    }

    pub(super) fn plan(&mut self, at: Instant, what: T) {
        self.planned += 1;
        self.items.push(Item { at, number: self.planned, what: Box::new(what) });
    }

    /// When the next thing is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.items.peek().map(|item| item.at)
    }

    /// Takes the next thing that is due by now, and when it was.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.due().filter(|due| *due <= now)?;
        self.items.pop().map(|item| (item.at, *item.what))
    }

    /// Drops all that is not to be kept.
    pub(super) fn retain(&mut self, keeps: impl Fn(&T) -> bool) {
        self.items.retain(|item| keeps(&item.what));
    }
}

impl<T> Item<T> {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Item<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
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
