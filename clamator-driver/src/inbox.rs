//! [`Inbox`]: how handles, on whatever thread, tell the driver's task what to do.
//!
//! Not a channel of a runtime, and not the way back: answers travel through `oneshot` channels
//! inside the verbs. A verb is either taken by the driver or, once the driver is gone, given back
//! or dropped with everything it carries, so whoever waits for its answer always learns the end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Verbs on their way from handles to one driver.
#[derive(Debug)]
pub(crate) struct Inbox<V> {
    waiting: Mutex<Waiting<V>>,
    driver: AtomicWaker,
}

#[derive(Debug)]
struct Waiting<V> {
    verbs: Vec<V>,
    closed: bool,
}

impl<V> Inbox<V> {
    pub(crate) const fn new() -> Self {
        let waiting = Waiting { verbs: Vec::new(), closed: false };
        Self { waiting: Mutex::new(waiting), driver: AtomicWaker::new() }
    }

    /// Leaves a verb for the driver; gives it back when the driver is gone.
    pub(crate) fn push(&self, verb: V) -> Result<(), V> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(verb);
        }
        let first = waiting.verbs.is_empty();
        waiting.verbs.push(verb);
        drop(waiting);
        if first {
            self.driver.wake();
        }
        Ok(())
    }

    /// Exchanges everything that waits for `taken`, which must be empty, and has the task of `cx`
    /// woken by the next verb.
    pub(crate) fn take(&self, taken: &mut Vec<V>, cx: &Context<'_>) {
        // Registered first: a verb that comes after the exchange wakes.
        self.driver.register(cx.waker());
        std::mem::swap(&mut self.lock().verbs, taken);
    }

    /// Drops what waits and refuses what comes.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let verbs = std::mem::take(&mut waiting.verbs);
        drop(waiting);
        // Dropping a verb may wake its owner, who may push: not under the lock.
        drop(verbs);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<V>> {
        // Nothing that could leave the list in disorder happens under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CountingWaker;

    #[test]
    fn only_the_first_of_several_verbs_wakes_the_driver() {
        let inbox = Inbox::new();
        let (waker, wakes) = CountingWaker::pair();
        let mut taken = Vec::new();
        inbox.take(&mut taken, &Context::from_waker(&waker));
        for verb in 0..3 {
            inbox.push(verb).unwrap();
        }
        assert_eq!(wakes.count(), 1);
        inbox.take(&mut taken, &Context::from_waker(&waker));
        assert_eq!(taken, [0, 1, 2]);
        taken.clear();
        inbox.push(3).unwrap();
        assert_eq!(wakes.count(), 2);
    }

    #[test]
    fn a_verb_left_before_the_driver_first_looks_is_found() {
        let inbox = Inbox::new();
        inbox.push("early").unwrap();
        let (waker, _) = CountingWaker::pair();
        let mut taken = Vec::new();
        inbox.take(&mut taken, &Context::from_waker(&waker));
        assert_eq!(taken, ["early"]);
    }

    #[test]
    fn a_closed_inbox_drops_what_waited_and_gives_back_what_comes() {
        let inbox = Inbox::new();
        let waited = std::sync::Arc::new(());
        inbox.push(waited.clone()).unwrap();
        inbox.close();
        assert_eq!(std::sync::Arc::strong_count(&waited), 1);
        assert!(inbox.push(waited).is_err());
    }
}
