//! What the unit tests of this crate share: a waker that counts and a runtime run by hand.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;

use crate::runtime::{BoxedStream, Instant, Runtime, Timer};

/// A waker that counts.
#[derive(Debug, Default)]
pub(crate) struct CountingWaker(AtomicUsize);

impl CountingWaker {
    pub(crate) fn pair() -> (Waker, Arc<Self>) {
        let counting = Arc::new(Self::default());
        (Waker::from(Arc::clone(&counting)), counting)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A runtime whose clock is set by hand, and which runs nothing by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct ManualRuntime(Arc<Mutex<Clock>>);

#[derive(Debug, Default)]
struct Clock {
    now: Instant,
    set_to: Vec<Instant>,
}

impl ManualRuntime {
    pub(crate) fn set(&self, now: Instant) {
        self.0.lock().unwrap().now = now;
    }

    /// What timers were set to so far, without repetitions.
    pub(crate) fn set_to(&self) -> Vec<Instant> {
        let mut set_to = self.0.lock().unwrap().set_to.clone();
        set_to.dedup();
        set_to
    }
}

impl Runtime for ManualRuntime {
    type Timer = Self;

    fn now(&self) -> Instant {
        self.0.lock().unwrap().now
    }

    fn timer(&self) -> Self {
        self.clone()
    }

    fn spawn(&self, _task: impl Future<Output = ()> + Send + 'static) {}

    fn connect_tcp(&self, _host: &str, _port: u16) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn connect_unix(&self, _path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

impl Timer for ManualRuntime {
    fn poll_at(&mut self, at: Instant, _cx: &mut Context<'_>) -> Poll<()> {
        let mut clock = self.0.lock().unwrap();
        clock.set_to.push(at);
        if clock.now < at { Poll::Pending } else { Poll::Ready(()) }
    }
}
