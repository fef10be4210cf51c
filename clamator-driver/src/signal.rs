//! [`Signal`]: something that happens once, for any number of tasks to wait for.
//!
//! Not a channel: it carries nothing, and costs no allocation until somebody waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Something that happens once.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    given: AtomicBool,
    /// Who waits for it.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Signal {
    /// It happens now. Again changes nothing.
    pub(crate) fn give(&self) {
        self.given.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut self.waiting().wakers);
        for waker in wakers.into_values() {
            waker.wake();
        }
    }

    /// Whether it has happened.
    pub(crate) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Waits until it has happened.
    pub(crate) const fn given(&self) -> Given<'_> {
        Given { signal: self, number: None }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a [`Signal`], and leaves nothing behind when it does not any more.
pub(crate) struct Given<'a> {
    signal: &'a Signal,
    /// Which of those that wait this is, once it does.
    number: Option<u64>,
}

impl Future for Given<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.signal.waiting();
        // Looked at under the lock, which whoever gives it takes afterwards.
        if self.signal.is_given() {
            return Poll::Ready(());
        }
        let number = self.number.unwrap_or_else(|| {
            waiting.next += 1;
            waiting.next
        });
        let waker = waiting.wakers.entry(number).or_insert_with(|| cx.waker().clone());
        // A waker is dropped behind the lock: it may be the last that holds its task.
        let old =
            (!waker.will_wake(cx.waker())).then(|| std::mem::replace(waker, cx.waker().clone()));
        drop(waiting);
        drop(old);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        let waker = self.number.and_then(|number| self.signal.waiting().wakers.remove(&number));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::testing::CountingWaker;

    #[test]
    fn whoever_waits_is_woken_once_however_often_it_asks() {
        let signal = Signal::default();
        let ((waker, first), (other, second)) = (CountingWaker::pair(), CountingWaker::pair());
        let (mut given, mut also) = (pin!(signal.given()), pin!(signal.given()));
        for _ in 0..3 {
            assert!(given.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(also.as_mut().poll(&mut Context::from_waker(&other)).is_pending());
        signal.give();
        signal.give();
        assert_eq!((first.count(), second.count()), (1, 1));
        assert!(given.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        assert!(signal.is_given());
    }

    #[test]
    fn a_waiter_that_moves_to_another_task_is_woken_there() {
        let signal = Signal::default();
        let ((waker, first), (other, second)) = (CountingWaker::pair(), CountingWaker::pair());
        let mut given = pin!(signal.given());
        for waker in [&waker, &other] {
            assert!(given.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        signal.give();
        assert_eq!((first.count(), second.count()), (0, 1));
    }

    #[test]
    fn whoever_waits_no_longer_leaves_nothing_behind() {
        let signal = Signal::default();
        let (waker, count) = CountingWaker::pair();
        for _ in 0..3 {
            let given = pin!(signal.given());
            assert!(given.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(signal.waiting().wakers.is_empty());
        signal.give();
        assert_eq!(count.count(), 0);
    }
}
