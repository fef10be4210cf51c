//! [`Ready`]: which tasks of a simulation were woken, in the order in which they were.
//!
//! Not the polling. Wakers work from any thread, because their type says so; a simulation whose
//! tasks are woken by other threads is not repeatable, and does not wait for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// A number for each task, in the order in which they were made.
pub(super) type TaskId = u64;

/// Tasks that wait to be polled, the longest waiting first.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<VecDeque<TaskId>>);

impl Ready {
    pub(super) fn push(&self, task: TaskId) {
        self.lock().push_back(task);
    }

    pub(super) fn pop(&self) -> Option<TaskId> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<TaskId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What wakes one task. Waking it again before it was polled does nothing.
#[derive(Debug)]
pub(super) struct Bell {
    task: TaskId,
    ready: Arc<Ready>,
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new(task: TaskId, ready: &Arc<Ready>) -> Arc<Self> {
        let (ready, rung) = (Arc::clone(ready), AtomicBool::new(false));
        Arc::new(Self { task, ready, rung })
    }

    /// Makes the next ring count: the task is about to be polled.
    pub(super) fn reset(&self) {
        self.rung.store(false, Ordering::Release);
    }

    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ready.push(self.task);
        }
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_polled_in_the_order_of_their_first_wake_up() {
        let ready = Arc::default();
        let bells: Vec<_> = (0..3).map(|task| Bell::new(task, &ready)).collect();
        for task in [2, 0, 2, 1, 0] {
            bells[task].waker().wake();
        }
        let order: Vec<_> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [2, 0, 1]);
        bells[0].waker().wake_by_ref();
        assert_eq!(ready.pop(), None, "it was not polled since");
        bells[0].reset();
        bells[0].waker().wake_by_ref();
        assert_eq!(ready.pop(), Some(0));
    }
}
