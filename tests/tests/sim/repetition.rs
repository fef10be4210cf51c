//! That a run is a function of its seed: on every thread, in any order, on every machine.
//!
//! Not that a run of another version is the same: whoever changes what the engines or the
//! simulator do writes `trace-hashes.txt` anew, with `CLAMATOR_BLESS=1`.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, thread};

use clamator_engine::sim;

/// How many seeds are run again.
const SEEDS: u64 = 1000;
/// How many have their hash in the file.
const GOLDEN: u64 = 32;

/// What identifies a run, if nothing broke, and else what broke.
fn outcome(seed: u64) -> Result<(u64, u64), String> {
    match sim::run(seed) {
        Ok(report) => Ok((report.trace_hash, report.events)),
        Err(failure) => Err(failure.to_string()),
    }
}

#[test]
fn a_run_is_the_same_again_in_another_thread_and_another_order() {
    let forward: Vec<_> = (0..SEEDS).map(outcome).collect();
    let backward = thread::spawn(|| (0..SEEDS).rev().map(outcome).collect::<Vec<_>>());
    let mut again = backward.join().unwrap();
    again.reverse();
    for (seed, (first, second)) in forward.iter().zip(&again).enumerate() {
        assert_eq!(first, second, "seed {seed:#x}");
    }
    let mut hashes: Vec<_> = forward.iter().flatten().map(|(hash, _)| hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), forward.iter().flatten().count(), "every run is another one");
}

#[test]
fn a_run_is_the_same_on_every_machine() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/trace-hashes.txt");
    let mut hashes = String::new();
    for seed in 0..GOLDEN {
        match outcome(seed) {
            Ok((hash, _)) => writeln!(hashes, "{seed:#04x} {hash:#018x}").unwrap(),
            Err(failure) => panic!("{failure}"),
        }
    }
    if env::var_os("CLAMATOR_BLESS").is_some() {
        fs::write(&file, &hashes).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(hashes, golden, "if the engines do something else now: CLAMATOR_BLESS=1");
}
