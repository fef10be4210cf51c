//! Running the simulator over many seeds, on every processor, with somebody watching.
//!
//! Not the simulator, which is `clamator_engine::sim`. Shared by the program `simulate` and the
//! tests that run a number of seeds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use clamator_engine::sim::{self, Failure, Fault, FaultCounts, Point, PointCounts, Report};

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many runs there were.
    pub seeds: u64,
    /// Calls and notifications of all runs.
    pub calls: u64,
    /// How often time went on, in all runs.
    pub events: u64,
    /// What went wrong in all runs.
    pub faults: FaultCounts,
    /// The situations that were met in all runs.
    pub points: PointCounts,
    /// The time that passed in all runs.
    pub simulated: Duration,
    /// The time that passed here.
    pub took: Duration,
    /// On how many threads.
    pub threads: u64,
    /// The runs in which something was broken.
    pub failures: Vec<Failure>,
}

impl Summary {
    fn add(&mut self, outcome: Result<Report, Box<Failure>>) {
        self.seeds += 1;
        match outcome {
            Ok(report) => {
                self.calls += report.calls;
                self.events += report.events;
                self.faults.merge(&report.faults);
                self.points.merge(&report.points);
                self.simulated += report.time;
            }
            Err(failure) => self.failures.push(*failure),
        }
    }

    /// Runs per second and thread.
    #[must_use]
    pub fn pace(&self) -> f64 {
        let thread_seconds = self.took.as_secs_f64() * self.threads as f64;
        self.seeds as f64 / thread_seconds.max(f64::EPSILON)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "       times fault")?;
        for fault in Fault::ALL {
            writeln!(f, "{:>12} {fault}", self.faults.of(*fault))?;
        }
        writeln!(f, "{:>12} {:>7} point", "times", "seeds")?;
        for point in Point::ALL {
            let (hits, seeds) = (self.points.of(*point), self.points.seeds_with(*point));
            writeln!(f, "{hits:>12} {seeds:>7} {point}")?;
        }
        let days = self.simulated.as_secs_f64() / 86_400.0;
        writeln!(f, "{:>12} faults in all", self.faults.total())?;
        writeln!(f, "{:>12} calls", self.calls)?;
        writeln!(f, "{:>12} events", self.events)?;
        writeln!(f, "{days:>12.1} simulated days")?;
        writeln!(f, "{:>12.1} seconds", self.took.as_secs_f64())?;
        writeln!(f, "{:>12.0} seeds per second and thread, of {}", self.pace(), self.threads)?;
        write!(f, "{} seeds passed, {} failed", self.seeds, self.failures.len())
    }
}

/// Runs these seeds on every processor, until `failures_max` have failed. `watch` is told how many
/// runs have ended, now and then.
#[must_use]
pub fn many(from: u64, seeds: u64, failures_max: usize, watch: &(dyn Fn(u64) + Sync)) -> Summary {
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary { threads, ..Summary::default() });
    let all = || summary.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                break;
            }
            let outcome = sim::run(from.wrapping_add(number));
            let mut all = all();
            all.add(outcome);
            stop.fetch_or(all.failures.len() >= failures_max, Ordering::Relaxed);
            drop(all);
            if number.is_multiple_of(64) {
                watch(number);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.took = started.elapsed();
    summary.failures.sort_by_key(|failure| failure.seed);
    summary
}

/// Least number of seeds after which everything must have been reached.
pub const REACHED_MIN_SEEDS: u64 = 20_000;
/// How often everything must have been reached then.
const REACHED_MIN: u64 = 100;
/// In how many of a hundred runs entries must have been taken over from other workers.
const TAKEN_MIN: u64 = 30;

/// Checks that every fault and every situation was met often enough.
///
/// # Errors
/// What was not.
pub fn check_reached(summary: &Summary) -> Result<(), String> {
    let faults = Fault::ALL.iter().map(|fault| (fault.to_string(), summary.faults.of(*fault)));
    let points = Point::ALL.iter().map(|point| (point.to_string(), summary.points.of(*point)));
    let rare = faults.chain(points).filter(|(_, times)| *times < REACHED_MIN);
    let mut missing: Vec<String> =
        rare.map(|(name, times)| format!("{name} was met {times} times")).collect();
    let taken = summary.points.seeds_with(Point::ClaimTookSomething);
    if taken * 100 < summary.seeds * TAKEN_MIN || taken == 0 {
        missing.push(format!("entries were taken over in {taken} of {} runs", summary.seeds));
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
}

/// What is printed about a run in which something was broken: what led to it, and the line that
/// repeats it in this test.
#[must_use]
pub fn failure_text(failure: &Failure, test: &str) -> String {
    format!(
        "{failure}reproduce: CLAMATOR_SEED={:#x} CLAMATOR_SEEDS=1 cargo test -p clamator-tests \
         --test sim -- --exact {test}\n",
        failure.seed
    )
}
