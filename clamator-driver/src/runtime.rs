//! [`Runtime`]: all that the driver asks of an async runtime, and of the world beside Redis.
//!
//! Not a runtime: an adapter implements this trait in about a hundred lines, with [`clock`] where
//! the runtime has no clock of its own. A runtime is a value, so it can carry the user's own
//! executor, or a simulator's clock. The one thing an implementer could break: all clones of a
//! runtime, and everything that shares one [`MemoryBus`](crate::MemoryBus), must agree on
//! [`Runtime::now`], and it never goes back.

use std::future::Future;
use std::io;
use std::path::Path;
use std::task::{Context, Poll};

pub use clamator_engine::Instant;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::BoxFuture;

use crate::random;

pub mod clock;

/// An async runtime: a clock, a timer, tasks and connections.
pub trait Runtime: Clone + Send + Sync + Unpin + 'static {
    /// The runtime's timer.
    type Timer: Timer;

    /// Tells what has passed since an origin that all clones share. A clock that stands still while
    /// the host is suspended will do, but what was lost to other workers meanwhile is noticed late.
    fn now(&self) -> Instant;

    /// Makes a timer that is not set yet. Called inside a task of this runtime.
    fn timer(&self) -> Self::Timer;

    /// Runs a task until it ends by itself; nobody waits for it.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Connects to a host, name or address, with `TCP_NODELAY` on.
    fn connect_tcp(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<BoxedStream>>;

    /// Connects to a Unix socket; [`io::ErrorKind::Unsupported`] where there are none.
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>>;

    /// Fills `bytes` with what names and the spread of timers are made of. Two clients that draw
    /// alike take each other's replies, so only a runtime that repeats its runs brings its own.
    ///
    /// # Panics
    /// When the operating system, which is asked unless the runtime says otherwise, has none.
    fn random(&self, bytes: &mut [u8]) {
        random::fill(bytes);
    }
}

/// A timer that can be set again and again.
pub trait Timer: Send + Unpin + 'static {
    /// Waits until `at`, on the clock of [`Runtime::now`]. Replaces an earlier time.
    ///
    /// Ready when the clock shows `at` or later; else wakes the task of `cx` then.
    fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connection to a Redis server, as bytes. Implemented for every type that qualifies.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}

/// A [`ByteStream`] of any type.
pub type BoxedStream = Box<dyn ByteStream>;
