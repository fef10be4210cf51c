//! [`Simulation`]: describes runs, starts them and judges them.
//!
//! Not what happens in a run. A run ends with its test's future, whatever else is under way then,
//! and fails with it. Seeds come from the caller or, for many, from the environment too.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clamator_engine::Instant;
use clamator_engine::sim::{Fault, FaultCounts};

use super::chaos::Chaos;
use super::executor::{Executor, Failure};
use super::handle::Sim;
use super::report::{self, Report, SEED, SEEDS};
use super::world::Shared;

/// What happens in every deployment, and loses nothing that Redis had confirmed.
const FAULTS: &[Fault] = &[
    Fault::ClientClockAhead,
    Fault::ClientFrozen,
    Fault::ClusterDown,
    Fault::ConnectHangs,
    Fault::ConnectRefused,
    Fault::CrashAfterAck,
    Fault::CrashAfterRead,
    Fault::CrashAfterReply,
    Fault::CrashBeforeReply,
    Fault::CrashInHandler,
    Fault::HalfOpen,
    Fault::Loading,
    Fault::Misconfigured,
    Fault::OutOfMemory,
    Fault::ReadOnly,
    Fault::ReplyDuplicated,
    Fault::ResetBeforeReply,
    Fault::ResetBeforeWrite,
    Fault::RestartKept,
    Fault::Slow,
    Fault::WorkerClockAhead,
    Fault::WorkerFrozen,
    Fault::WorkerStopped,
];

/// Describes runs of a simulation. See the [module](super) for how to use it.
#[derive(Clone, Debug)]
#[must_use = "a description does nothing until it is run"]
pub struct Simulation {
    faults: Vec<Fault>,
    limit: Duration,
    span: Duration,
}

impl Simulation {
    /// The faults that may happen unless [`Self::faults`] says otherwise: everything a deployment
    /// meets that loses nothing that Redis had confirmed.
    pub const FAULTS: &'static [Fault] = FAULTS;

    /// Describes runs with the defaults.
    pub fn new() -> Self {
        Self {
            faults: FAULTS.to_vec(),
            limit: Duration::from_secs(600),
            span: Duration::from_secs(10),
        }
    }

    /// Which faults may happen. Each run draws its own from these: none, few or most of them.
    ///
    /// [`Fault::ALL`] has those in it that lose data: then a request that was sent may never run.
    /// Not met here are faults inside of handlers (`HandlerPanics`, `HandlerSlow`,
    /// `HandlerStuck`), which the test's own handlers can have, `ClientStopped`, `PythonWorker`,
    /// `ReplyOverflow`, `ReplyTooLong` and `TwinClients`. What strikes at keys does so at those of the first
    /// prefix in use.
    pub fn faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }

    /// How long faults happen, from the start. Default 10 s of virtual time; zero means no fault.
    pub const fn span(mut self, span: Duration) -> Self {
        self.span = span;
        self
    }

    /// How long the test may take before it has failed. Default 10 min of virtual time.
    pub const fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs a test once, with this seed.
    ///
    /// # Panics
    /// When the test or any task panics, when nothing could ever happen again, when tasks are
    /// polled without end while no time passes, and when the limit is reached. The message has the
    /// seed, the last events and a line that repeats the run.
    #[track_caller]
    pub fn run<T>(&self, seed: u64, test: impl AsyncFnOnce(Sim) -> T) -> T {
        self.attempt(seed, test).0
    }

    /// Runs a test with `count` seeds, one after the other, beginning with `from`. Tells which
    /// faults happened.
    ///
    /// `CLAMATOR_SEED` in the environment names one seed that is run instead, and `CLAMATOR_SEEDS`
    /// another count. Behind the last seed comes 0. The first seed is run twice, to see that the
    /// test is deterministic.
    ///
    /// # Panics
    /// As [`Self::run`], with the first seed that fails; when a run does not repeat itself, which
    /// means that the test has time, chance or an order from elsewhere; when no seed is to be run;
    /// and when one of the variables is no number.
    #[track_caller]
    pub fn seeds(&self, from: u64, count: u64, test: impl AsyncFn(Sim)) -> FaultCounts {
        let (from, count) = match report::variable(SEED) {
            Some(seed) => (seed, 1),
            None => (from, report::variable(SEEDS).unwrap_or(count)),
        };
        assert!(count > 0, "no seed is to be run");
        let mut counts = FaultCounts::default();
        for number in 0..count {
            let seed = from.wrapping_add(number);
            let ((), first) = self.attempt(seed, &test);
            let first = first.lock();
            counts.merge(&first.chaos.counts());
            if number == 0 {
                let ((), again) = self.attempt(seed, &test);
                let same = first.trace.hash() == again.lock().trace.hash();
                assert!(same, "{}", text(seed, &again, DIFFERS));
            }
        }
        counts
    }

    /// Runs a test. Tells what it gave, and the world as it was left.
    #[track_caller]
    fn attempt<T>(&self, seed: u64, test: impl AsyncFnOnce(Sim) -> T) -> (T, Arc<Shared>) {
        let until = Instant::from_start(self.span);
        let shared = Shared::new(seed, |dice| Chaos::new(dice, &self.faults, until));
        let limit = Instant::from_start(self.limit);
        let mut executor = Executor::new(Arc::clone(&shared), limit);
        let outcome = {
            let test = pin!(test(Sim::new(seed, Arc::clone(&shared))));
            executor.run(test)
        };
        match (outcome, executor.clear()) {
            (Ok(value), Ok(())) => (value, shared),
            (Err(Failure(why)), _) | (Ok(_), Err(Failure(why))) => {
                panic!("{}", text(seed, &shared, &why))
            }
        }
    }
}

const DIFFERS: &str = "another run of this seed did something else: the test, or what it runs, \
                       has time, chance or an order that is not the simulation's. Look for \
                       std::time, random numbers, threads and the order of a HashMap; there are \
                       Sim::now, Sim::dice and BTreeMap";

/// What is said of a run that failed.
fn text(seed: u64, shared: &Shared, why: &str) -> String {
    let world = shared.lock();
    Report { seed, now: world.now, why, trace: &world.trace }.to_string()
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}
