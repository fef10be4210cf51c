//! Hunting: how many seeds it takes until a bug breaks an invariant.
//!
//! Not the judging, which is the simulator's. Hunts share nothing, so they run on every processor;
//! each is a function of its bug and its first seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clamator_engine::Bug;
use clamator_engine::sim;

use crate::table::Row;

/// In how many seeds each bug has to be caught.
pub(crate) const SEEDS_MAX: u64 = 5000;
/// How many hunts there are for each bug: the first from seed 0, the others far from it.
const HUNTS: u64 = 9;
const APART: u64 = 1 << 40;

/// A bug that was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caught {
    pub(crate) seed: u64,
    pub(crate) invariant: String,
}

/// Runs one seed with a bug in every engine. Says which invariant was broken, if one was.
pub(crate) fn broken(bug: Bug, seed: u64) -> Option<String> {
    let run = AssertUnwindSafe(|| sim::run_with(seed, bug));
    let outcome = catch_unwind(run).unwrap_or_else(|_| panic!("{bug:?} panics in seed {seed}"));
    // What fails without the bug too says nothing about it.
    let failure = outcome.err().filter(|_| sim::run(seed).is_ok())?;
    Some(failure.invariant.to_owned())
}

/// Hunts for these bugs from every place, at most so many seeds from each.
pub(crate) fn all(bugs: &[Bug], seeds: u64) -> Vec<Row> {
    let jobs: Vec<(Bug, u64)> =
        bugs.iter().flat_map(|bug| (0..HUNTS).map(|hunt| (*bug, hunt * APART))).collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Option<Caught>>> = Mutex::new(vec![None; jobs.len()]);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((bug, from)) = jobs.get(number).copied() else { return };
            let caught = (from..from + seeds)
                .find_map(|seed| Some(Caught { seed, invariant: broken(bug, seed)? }));
            found.lock().unwrap()[number] = caught;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let found = found.into_inner().unwrap();
    let hunts = found.chunks(usize::try_from(HUNTS).unwrap());
    bugs.iter().zip(hunts).map(|(bug, hunts)| row(*bug, hunts, seeds)).collect()
}

/// The median counts a hunt that caught nothing as longer than all others.
fn row(bug: Bug, hunts: &[Option<Caught>], seeds: u64) -> Row {
    let took = (0..).zip(hunts).map(|(hunt, caught)| {
        caught.as_ref().map_or(seeds + 1, |caught| caught.seed - hunt * APART + 1)
    });
    let mut took: Vec<u64> = took.collect();
    took.sort_unstable();
    let median = Some(took[took.len() / 2]).filter(|median| *median <= seeds);
    Row { first: hunts[0].clone(), ..Row::new(bug, median) }
}
