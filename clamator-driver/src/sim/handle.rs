//! [`Sim`] and [`Worker`]: what a test holds of a run while it is going on.
//!
//! Not the describing of runs. Both are handles: they may be cloned, and kept after the run, when
//! they do nothing any more.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use clamator_engine::Instant;
use clamator_engine::sim::{Dice, FaultCounts, Network};

use super::life::Factory;
use super::process::{Process, Sleep};
use super::trace::Event;
use super::world::{ProcessId, Shared};
use crate::target::Target;

/// A run of a simulation. A clone is another handle to the same run.
///
/// It is a [`Target`] for the test's own clients and servers, which run in a process that no fault
/// of processes happens to; what happens to the network and to Redis happens to them too.
#[derive(Clone)]
pub struct Sim {
    process: Process,
    seed: u64,
}

impl Sim {
    pub(super) fn new(seed: u64, shared: Arc<Shared>) -> Self {
        let process = Process::new(shared, ProcessId::TEST, "test".into(), Arc::default());
        Self { process, seed }
    }

    /// The seed that decides the run.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// What has passed since the start, in virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.process.now()
    }

    /// Waits this long, in virtual time.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.process.sleep(duration)
    }

    /// Runs a task of the test's, until it or the test ends. A panic in it fails the run.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.process.spawn(task);
    }

    /// Where the simulated Redis is, for the test's own clients and servers.
    #[must_use]
    pub fn target(&self) -> Target {
        self.process.target()
    }

    /// Starts a process that freezes and whose clock jumps, under the faults that are named after
    /// clients, and that ends only by [`Process::crash`].
    #[must_use]
    pub fn process(&self, name: &str) -> Process {
        let name: Arc<str> = name.into();
        let shared = self.process.shared();
        let (id, ahead) = shared.lock().begin(Arc::clone(&name), None);
        Process::new(Arc::clone(shared), id, name, ahead)
    }

    /// Starts a process that is subject to the faults named after workers and crashes, and is
    /// followed by another one whenever it ends, after at most a second.
    ///
    /// `start` is called for each. What its future gives, a server for instance, lives as long as
    /// the process does; when a worker is told to stop, that is dropped, and the process ends with
    /// its last task or ten seconds later. When the future gives an error, the process ends. What
    /// handlers do to values that `start` brings in from outside outlives the process, as what they
    /// do to a database would.
    pub fn worker<F, Fut, T, E>(&self, name: &str, start: F) -> Worker
    where
        F: Fn(Process) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: fmt::Display,
    {
        let factory: Factory = Arc::new(move |process: Process| {
            let starting = start(process.clone());
            Box::pin(async move {
                // The error's text is made outside of the lock.
                match starting.await.map_err(|error| error.to_string()) {
                    Ok(kept) => process.world().keep(process.id(), Box::new(kept) as Kept),
                    Err(why) => process.world().fail(process.id(), why),
                }
            })
        });
        let shared = Arc::clone(self.process.shared());
        let post = shared.lock().add_post(name.into(), factory);
        Worker { shared, post }
    }

    /// Makes a die for the test's own choices, from the seed. The test does not disturb the run
    /// with it.
    #[must_use]
    pub fn dice(&self) -> Dice {
        self.process.world().choices.split()
    }

    /// Ends the faults now.
    pub fn heal(&self) {
        self.process.world().heal();
    }

    /// Waits until the faults are over.
    pub async fn healed(&self) {
        std::future::poll_fn(|cx| {
            let mut world = self.process.world();
            if world.chaos.is_healed() {
                return Poll::Ready(());
            }
            world.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Which faults have happened so far.
    #[must_use]
    pub fn faults(&self) -> FaultCounts {
        self.process.world().chaos.counts()
    }

    /// A hash of everything that has happened so far: what was polled and when, what was sent, what
    /// went wrong. Equal in every run of one test with one seed.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.process.world().trace.hash()
    }

    /// Adds a line to the events that a report shows.
    pub fn note(&self, text: impl Into<String>) {
        let mut world = self.process.world();
        let now = world.now;
        world.trace.add(now, Event::Note(text.into()));
    }

    /// Looks at the network and at the Redis behind it, or meddles with them, now. `look` must use
    /// nothing else of the simulation, which is locked meanwhile.
    pub fn network<T>(&self, look: impl FnOnce(Instant, &mut Network) -> T) -> T {
        let mut world = self.process.world();
        let now = world.now;
        look(now, &mut world.network)
    }
}

type Kept = Box<dyn Any + Send>;

impl From<Sim> for Target {
    fn from(sim: Sim) -> Self {
        sim.target()
    }
}

impl From<&Sim> for Target {
    fn from(sim: &Sim) -> Self {
        sim.target()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// A worker of a simulation: whichever process fills its place.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
    post: usize,
}

impl Worker {
    /// Ends the worker without warning; another one follows. Nothing when there is none now.
    pub fn crash(&self) {
        let process = self.process();
        if let Some(process) = process {
            self.shared.lock().crash(process, None);
        }
    }

    /// Stops polling the worker for this long; what comes in meanwhile waits.
    pub fn freeze(&self, lasts: Duration) {
        let process = self.process();
        if let Some(process) = process {
            self.shared.lock().freeze(process, lasts);
        }
    }

    /// Tells the worker to stop; another one follows when it has.
    pub fn stop(&self) {
        let process = self.process();
        if let Some(process) = process {
            self.shared.lock().stop(process);
        }
    }

    /// How many processes have filled the place so far.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.shared.lock().posts.get(self.post).map_or(0, |post| post.starts)
    }

    fn process(&self) -> Option<ProcessId> {
        self.shared.lock().posts.get(self.post).and_then(|post| post.process)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("post", &self.post).finish_non_exhaustive()
    }
}
