//! [`Signal`]: something that happens once, for any number of tasks to wait for.
//!
//! Not a channel: it carries nothing, and costs no allocation until somebody waits.

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
    waiting: Mutex<Vec<Waker>>,
}

impl Signal {
    /// It happens now. Again changes nothing.
    pub(crate) fn give(&self) {
        self.given.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.waiting());
        for waker in waiting {
            waker.wake();
        }
    }

    /// Whether it has happened.
    pub(crate) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Waits until it has happened.
    pub(crate) const fn given(&self) -> Given<'_> {
        Given(self)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a [`Signal`].
pub(crate) struct Given<'a>(&'a Signal);

impl Future for Given<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let signal = self.0;
        let mut waiting = signal.waiting();
        // Looked at under the lock, which whoever gives it takes afterwards.
        if signal.is_given() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
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
        let mut given = pin!(signal.given());
        for _ in 0..3 {
            assert!(given.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(given.as_mut().poll(&mut Context::from_waker(&other)).is_pending());
        signal.give();
        signal.give();
        assert_eq!((first.count(), second.count()), (1, 1));
        assert!(given.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        assert!(signal.is_given());
    }
}
