//! [`Process`]: one process of a simulation, as a runtime with virtual time.
//!
//! Not its life, which is the world's. Everything that was made through a process goes with it: its
//! tasks are dropped together, wherever they are, and its connections end. A handle to a process
//! that is gone does nothing.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use clamator_engine::Instant;
use futures_util::future::BoxFuture;

use super::timers::TimerId;
use super::trace::Name;
use super::world::{ProcessId, Shared, World};
use crate::runtime::{BoxedStream, Runtime, Timer};
use crate::target::{Place, Target};

/// A process of a simulation. A clone is another handle to the same process.
///
/// It is a [`Target`] for clients and servers of any runtime: what connects to it runs in the
/// process, in virtual time. It is a [`Runtime`] too, for what takes one.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
    id: ProcessId,
    name: Name,
    ahead: Arc<AtomicU64>,
}

impl Process {
    pub(super) const fn new(
        shared: Arc<Shared>,
        id: ProcessId,
        name: Name,
        ahead: Arc<AtomicU64>,
    ) -> Self {
        Self { shared, id, name, ahead }
    }

    /// The process's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the process's clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        let ahead = Duration::from_nanos(self.ahead.load(Ordering::Relaxed));
        self.shared.now() + ahead
    }

    /// Waits this long, on the process's clock.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep { at: self.now() + duration, timer: self.timer() }
    }

    /// Runs a task until it ends or the process does. A panic in it fails the run.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Refused by a process that is gone, and dropped outside of the lock.
        let refused = self.world().spawn(self.id, Box::pin(task));
        drop(refused);
    }

    /// Where the simulated Redis is, for clients and servers in this process.
    #[must_use]
    pub fn target(&self) -> Target {
        Target(Place::Simulated(self.clone()))
    }

    /// Ends the process without warning: its connections end, and its tasks are dropped before any
    /// other is polled. Whoever calls it from within is polled to its next `await`.
    pub fn crash(&self) {
        self.world().crash(self.id, None);
    }

    /// Stops polling the process for this long, on the world's clock. What comes in meanwhile
    /// waits. Freezing it again can only prolong it.
    pub fn freeze(&self, lasts: Duration) {
        self.world().freeze(self.id, lasts);
    }

    /// Turns the process's clock ahead, as a suspension of its machine does.
    pub fn turn_clock(&self, by: Duration) {
        self.world().turn_clock(self.id, by);
    }

    /// Whether both are processes of one simulation.
    pub(crate) fn is_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) const fn id(&self) -> ProcessId {
        self.id
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.lock()
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes what a client or server says of itself when it starts.
    pub(crate) fn learn(&self, prefix: &str, claim_idle: Option<Duration>) {
        let mut world = self.world();
        world.learn(prefix);
        if let (Some(idle), Some(life)) = (claim_idle, world.processes.get_mut(&self.id)) {
            life.claim_idle = idle;
        }
    }
}

impl From<Process> for Target {
    fn from(process: Process) -> Self {
        process.target()
    }
}

impl From<&Process> for Target {
    fn from(process: &Process) -> Self {
        process.target()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Runtime for Process {
    type Timer = ProcessTimer;

    fn now(&self) -> Instant {
        Self::now(self)
    }

    fn timer(&self) -> ProcessTimer {
        ProcessTimer { id: self.world().timers.make(), process: self.clone() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Self::spawn(self, task);
    }

    /// Fails: there is no network but the simulated one.
    fn connect_tcp(&self, _host: &str, _port: u16) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    /// Fails, as over TCP.
    fn connect_unix(&self, _path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    /// From the seed of the run.
    fn random(&self, bytes: &mut [u8]) {
        let mut world = self.world();
        for part in bytes.chunks_mut(8) {
            let word = world.names.word().to_le_bytes();
            part.iter_mut().zip(word).for_each(|(byte, from)| *byte = from);
        }
    }
}

/// A timer of a process.
pub struct ProcessTimer {
    process: Process,
    id: TimerId,
}

impl Timer for ProcessTimer {
    fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.process.now();
        let mut world = self.process.world();
        // Bound to a name to be dropped after the lock.
        let (polled, before) = if at <= now {
            (Poll::Ready(()), world.timers.cancel(self.id))
        } else if let Some(life) = world.processes.get(&self.process.id) {
            let at = Instant::from_start(at.since_start().saturating_sub(life.ahead()));
            (Poll::Pending, world.timers.set(self.id, at, self.process.id, cx.waker()))
        } else {
            (Poll::Pending, None)
        };
        drop(world);
        drop(before);
        polled
    }
}

impl Drop for ProcessTimer {
    fn drop(&mut self) {
        let waker = self.process.world().timers.cancel(self.id);
        drop(waker);
    }
}

impl fmt::Debug for ProcessTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTimer").field("process", &self.process).finish_non_exhaustive()
    }
}

/// A wait in virtual time.
#[derive(Debug)]
#[must_use = "a wait does nothing until it is polled"]
pub struct Sleep {
    at: Instant,
    timer: ProcessTimer,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.timer.poll_at(at, cx)
    }
}
