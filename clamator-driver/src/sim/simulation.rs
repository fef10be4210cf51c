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
    /// `ReplyOverflow` and `TwinClients`. What strikes at keys does so at those of the first
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
    /// another count. The first of several seeds is run twice, to see that the test is
    /// deterministic.
    ///
    /// # Panics
    /// As [`Self::run`], with the first seed that fails; when a run does not repeat itself, which
    /// means that the test has time, chance or an order from elsewhere; and when one of the
    /// variables is no number.
    #[track_caller]
    pub fn seeds(&self, from: u64, count: u64, test: impl AsyncFn(Sim)) -> FaultCounts {
        if let Some(seed) = report::variable(SEED) {
            return self.attempt(seed, &test).2;
        }
        let mut counts = FaultCounts::default();
        let count = report::variable(SEEDS).unwrap_or(count);
        for seed in from..from.saturating_add(count) {
            let ((), hash, met) = self.attempt(seed, &test);
            counts.merge(&met);
            if seed == from && count > 1 {
                let ((), again, _) = self.attempt(seed, &test);
                assert_eq!(
                    hash, again,
                    "two runs of seed {seed:#x} differ: the test has time, chance or an order \
                     that is not the simulation's"
                );
            }
        }
        counts
    }

    /// Runs a test. Tells what it gave, what the run's hash is, and which faults happened.
    #[track_caller]
    fn attempt<T>(&self, seed: u64, test: impl AsyncFnOnce(Sim) -> T) -> (T, u64, FaultCounts) {
        let until = Instant::from_start(self.span);
        let shared = Shared::new(seed, |dice| Chaos::new(dice, &self.faults, until));
        let limit = Instant::from_start(self.limit);
        let mut executor = Executor::new(Arc::clone(&shared), limit);
        let outcome = {
            let test = pin!(test(Sim::new(seed, Arc::clone(&shared))));
            executor.run(test)
        };
        let (hash, met) = {
            let world = shared.lock();
            (world.trace.hash(), world.chaos.counts())
        };
        let outcome = match (outcome, executor.clear()) {
            (Ok(value), Ok(())) => return (value, hash, met),
            (Err(failure), _) | (Ok(_), Err(failure)) => failure,
        };
        let Failure(why) = outcome;
        let message = {
            let world = shared.lock();
            Report { seed, now: world.now, why: &why, trace: &world.trace }.to_string()
        };
        panic!("{message}")
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}
