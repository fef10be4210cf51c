//! [`run`]: one run from its seed, and what came of it.
//!
//! Not the running, which is the world's.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::fault::FaultCounts;
use super::invariants::{Canary, Violation};
use super::plan::Plan;
use super::points::PointCounts;
use super::world::World;
#[cfg(seeded_bugs)]
use crate::seeded::{Bug, Seeded};

/// Most lines of a failure's trace.
const LINES_MAX: usize = 400;

/// What came of a run in which nothing was broken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// How many calls and notifications were made.
    pub calls: u64,
    /// How often time went on.
    pub events: u64,
    /// What went wrong.
    pub faults: FaultCounts,
    /// The situations that were met.
    pub points: PointCounts,
    /// How much time passed in the run.
    pub time: Duration,
    /// Identifies everything that happened: the same for the same seed, on every machine.
    pub trace_hash: u64,
}

/// A run in which something was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What identifies the run.
    pub seed: u64,
    /// The invariant that was broken.
    pub invariant: &'static str,
    /// The rule of the design that it holds.
    pub rule: &'static str,
    /// How it was broken.
    pub detail: String,
    /// What happened last before that, oldest first.
    pub trace: Vec<String>,
}

/// Runs a whole deployment, from a seed.
///
/// # Errors
/// [`Failure`] when an invariant was broken.
pub fn run(seed: u64) -> Result<Report, Box<Failure>> {
    let mut world = World::new(Plan::draw(seed), 0);
    if world.run().is_err() {
        // Once more, now with somebody to read the trace.
        return Err(Box::new(explain(seed)));
    }
    Ok(world.report())
}

/// Runs a whole deployment whose engines have this bug, from a seed. A failure has no trace: see
/// [`trace_with`].
///
/// # Errors
/// [`Failure`] when an invariant was broken.
#[cfg(seeded_bugs)]
pub fn run_with(seed: u64, bug: Bug) -> Result<Report, Box<Failure>> {
    trace_with(seed, bug, 0).1.map_err(Box::new)
}

/// Runs a whole deployment whose engines have this bug, from a seed, and tells the last of what
/// happened in it, oldest first, in this many lines.
///
/// # Errors
/// [`Failure`] when an invariant was broken; its own trace is empty.
#[cfg(seeded_bugs)]
pub fn trace_with(seed: u64, bug: Bug, lines: usize) -> (Vec<String>, Result<Report, Failure>) {
    let plan = Plan { bug: Seeded::with(bug), ..Plan::draw(seed) };
    told(World::new(plan, lines), seed)
}

impl World {
    fn report(&self) -> Report {
        Report {
            calls: u64::try_from(self.history.calls.len()).unwrap_or(u64::MAX),
            events: self.events,
            faults: self.counts.clone(),
            points: self.watch.counts(),
            time: self.now().since_start(),
            trace_hash: self.trace.hash(),
        }
    }
}

/// Runs a whole deployment, from a seed, with one invariant more, which is always broken once the
/// faults end: to see that what is broken is found and explained.
///
/// # Errors
/// [`Failure`], always.
pub fn run_with_canary(seed: u64) -> Result<Report, Box<Failure>> {
    let mut world = World::new(Plan::draw(seed), LINES_MAX);
    world.add_invariant(Box::new(Canary));
    let (trace, outcome) = told(world, seed);
    outcome.map_err(|failure| Box::new(Failure { trace, ..failure }))
}

/// Runs a whole deployment, from a seed, and tells what happened in it, oldest first: the last
/// `lines_max` lines.
///
/// # Errors
/// [`Failure`] when an invariant was broken; its own trace is empty.
pub fn trace(seed: u64, lines_max: usize) -> (Vec<String>, Result<Report, Failure>) {
    told(World::new(Plan::draw(seed), lines_max), seed)
}

fn told(mut world: World, seed: u64) -> (Vec<String>, Result<Report, Failure>) {
    let outcome = match world.run() {
        Ok(()) => Ok(world.report()),
        Err(Violation { invariant, rule, detail }) => {
            Err(Failure { seed, invariant, rule, detail, trace: Vec::new() })
        }
    };
    (world.trace.into_lines(), outcome)
}

fn explain(seed: u64) -> Failure {
    match trace(seed, LINES_MAX) {
        (trace, Err(failure)) => Failure { trace, ..failure },
        (_, Ok(_)) => unreachable!("a run is a function of its seed"),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "FAILED seed={:#x}", self.seed)?;
        writeln!(f, "broken: {} (rule {}): {}", self.invariant, self.rule, self.detail)
    }
}

impl core::error::Error for Failure {}
