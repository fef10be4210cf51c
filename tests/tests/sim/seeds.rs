//! Seeds that failed once, and many others: nothing may break, and everything must be reached.
//!
//! The same seeds for every commit: what fails is the change's doing, and fails for everybody. Seeds
//! that nobody has run yet are a search, which has no end: that is `simulate --from <commit>`.
//! Few seeds prove little about what is reached, so only a run of many is asked.

use std::path::Path;
use std::{env, fs};

use clamator_tests::seed;
use clamator_tests::simulate::{REACHED_MIN_SEEDS, check_reached, failure_text, many, once};

/// The test that runs many seeds: the one that repeats a failure.
pub(crate) const MANY: &str = "seeds::many_seeds_break_nothing_and_reach_everything";
/// How many seeds are run if nobody says otherwise.
const SEEDS: u64 = REACHED_MIN_SEEDS;
/// Failures after which a run of many seeds ends.
const FAILURES_MAX: usize = 3;
/// The first seed if nobody says otherwise.
const FROM: u64 = 0x1c;

#[test]
fn seeds_that_failed_once_pass() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds.txt");
    let text = fs::read_to_string(file).expect("tests/seeds.txt");
    for line in text.lines() {
        let number = line.split('#').next().unwrap_or_default().trim();
        if number.is_empty() {
            continue;
        }
        let number = seed::parse(number).unwrap_or_else(|error| panic!("tests/seeds.txt: {error}"));
        if let Err(failed) = once(number) {
            panic!("{}it is known: {line}", failure_text(&failed, MANY));
        }
    }
}

#[test]
fn many_seeds_break_nothing_and_reach_everything() {
    let from = seed::of_environment().unwrap_or(FROM);
    let seeds = env::var("CLAMATOR_SEEDS").ok().map_or(SEEDS, |text| {
        seed::parse(&text).unwrap_or_else(|error| panic!("CLAMATOR_SEEDS: {error}"))
    });
    assert!(seeds > 0, "CLAMATOR_SEEDS: no seed is to be run");
    let summary = many(from, seeds, FAILURES_MAX, &|_| {});
    let failures: Vec<String> =
        summary.failures.iter().map(|failure| failure_text(failure, MANY)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    eprintln!("from {from:#x}\n{summary}");
    if seeds >= REACHED_MIN_SEEDS
        && let Err(missing) = check_reached(&summary)
    {
        panic!("from {from:#x}, {seeds} seeds: {missing}");
    }
}
