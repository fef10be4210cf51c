//! Running the simulator over many seeds, on every processor, with somebody watching.
//!
//! Not the simulator, which is `clamator_engine::sim`. Shared by the program `simulate` and the
//! tests that run a number of seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use clamator_engine::sim::{self, Fault, FaultCounts, Point, PointCounts, Report};

/// A run that failed: something was broken, or an engine panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What identifies the run.
    pub seed: u64,
    /// What is to be read about it, in lines.
    pub text: String,
}

/// Runs one seed.
///
/// # Errors
/// What failed. Of a run that panicked there are no events: `simulate --trace` has them up to
/// there.
pub fn once(seed: u64) -> Result<Report, Failed> {
    caught(seed, || sim::run(seed).map_err(|failure| failure.to_string()))
}

/// Says of which seed a panic is.
fn caught(seed: u64, run: impl FnOnce() -> Result<Report, String>) -> Result<Report, Failed> {
    let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("FAILED seed={seed:#x}\nbroken: no-engine-panics (rule 1): {said}\n"))
    });
    outcome.map_err(|text| Failed { seed, text })
}

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Summary {
    /// The first seed.
    pub from: u64,
    /// How many runs there were to be, and were.
    pub asked: u64,
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
    pub failures: Vec<Failed>,
}

impl Summary {
    fn add(&mut self, outcome: Result<Report, Failed>) {
        self.seeds += 1;
        match outcome {
            Ok(report) => {
                self.calls += report.calls;
                self.events += report.events;
                self.faults.merge(&report.faults);
                self.points.merge(&report.points);
                self.simulated += report.time;
            }
            Err(failed) => self.failures.push(failed),
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
        let failed = self.failures.len() as u64;
        write!(f, "{} seeds from {:#x}: ", self.seeds, self.from)?;
        write!(f, "{} passed, {failed} failed", self.seeds - failed)?;
        if self.seeds < self.asked {
            write!(f, "; ended early, of {}", self.asked)?;
        }
        Ok(())
    }
}

/// Runs these seeds on every processor, until `failures_max` have failed. `watch` is told how many
/// runs have ended, now and then.
#[must_use]
pub fn many(from: u64, seeds: u64, failures_max: usize, watch: &(dyn Fn(u64) + Sync)) -> Summary {
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary { from, asked: seeds, threads, ..Summary::default() });
    let all = || summary.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                break;
            }
            let outcome = once(from.wrapping_add(number));
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
    summary.failures.sort_by_key(|failed| failed.seed);
    summary
}

/// Least number of seeds after which everything must have been reached.
pub const REACHED_MIN_SEEDS: u64 = 50_000;
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
    let seldom = faults.chain(points).filter(|(_, times)| *times < REACHED_MIN);
    let mut missing: Vec<String> =
        seldom.map(|(name, times)| format!("{name} was met {times} times")).collect();
    let taken = summary.points.seeds_with(Point::ClaimTookSomething);
    if taken * 100 < summary.seeds * TAKEN_MIN || taken == 0 {
        missing.push(format!("entries were taken over in {taken} of {} runs", summary.seeds));
    }
    if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
}

/// What is printed about a run that failed: what led to it, and the line that repeats it in this
/// test.
#[must_use]
pub fn failure_text(failed: &Failed, test: &str) -> String {
    let Failed { seed, text } = failed;
    format!(
        "{text}reproduce: CLAMATOR_SEED={seed:#x} CLAMATOR_SEEDS=1 cargo test -p clamator-tests \
         --test sim -- --exact {test}\n"
    )
}

#[test]
fn a_panic_is_told_with_its_seed() {
    let failed = caught(0x1c, || panic!("an engine's {}", "bug")).unwrap_err();
    let text = "FAILED seed=0x1c\nbroken: no-engine-panics (rule 1): an engine's bug\n";
    assert_eq!(failed, Failed { seed: 0x1c, text: text.to_owned() });
}
