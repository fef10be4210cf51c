//! The checker is checked: bugs are built into the engines on purpose, and for each the simulator's
//! invariants must notice, and say which of them did.
//!
//! Not a test of the engines. `table.md` says for every bug where it comes from, which invariant
//! catches it, in which seed first, and how many seeds that usually takes. Every run proves the
//! first seeds again, which is quick; `CLAMATOR_SEEDS=5000` hunts for every bug anew from nine
//! places, up to so many seeds from each, and proves the medians too; `CLAMATOR_BLESS=1` hunts and
//! writes the table. `CLAMATOR_BUG=<name>` hunts for one bug and shows how it was caught.
//! All by `tests/seeded-bugs.sh`, which builds the engines with the bugs in them.
#![cfg(seeded_bugs)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests hope, and a hunt takes minutes and is run for its table"
)]

mod hunt;
mod table;

use std::env;

use clamator_engine::Bug;
use clamator_engine::sim;

use self::hunt::{Caught, SEEDS_MAX};
use self::table::Row;

fn seeds_of_environment() -> Option<u64> {
    let seeds = env::var("CLAMATOR_SEEDS").ok()?;
    Some(seeds.parse().expect("CLAMATOR_SEEDS is a number"))
}

fn is_set(name: &str) -> bool {
    env::var(name).is_ok_and(|value| value == "1")
}

/// The rows as they are now: hunted for, or, where only the first seeds are proved again, with the
/// committed medians.
fn rows() -> Vec<Row> {
    let bless = is_set("CLAMATOR_BLESS");
    let seeds = seeds_of_environment().or_else(|| bless.then_some(SEEDS_MAX));
    if let Some(seeds) = seeds {
        return hunt::all(Bug::ALL, seeds);
    }
    let committed = table::read();
    let again = |bug: &Bug| {
        let row = committed.iter().find(|row| row.bug == format!("{bug:?}"));
        let seed = row.and_then(|row| row.first.as_ref()).map(|first| first.seed);
        let caught = |seed| Some(Caught { seed, invariant: hunt::broken(*bug, seed)? });
        Row { first: seed.and_then(caught), ..Row::new(*bug, row.and_then(|row| row.median)) }
    };
    Bug::ALL.iter().map(again).collect()
}

#[test]
fn every_bug_is_caught_as_the_table_says() {
    if env::var("CLAMATOR_BUG").is_ok() {
        return;
    }
    let rows = rows();
    let text = table::text(&rows);
    println!("{text}");
    if is_set("CLAMATOR_BLESS") {
        table::write(&text);
    }
    let missed: Vec<&str> =
        rows.iter().filter(|row| row.first.is_none()).map(|row| row.bug.as_str()).collect();
    assert!(missed.is_empty(), "not caught, or not where the table says: {missed:?}");
    assert!(rows.len() >= 40, "only {} bugs", rows.len());
    assert_eq!(text, table::committed(), "the table is not what was found; CLAMATOR_BLESS=1");
}

#[test]
fn without_a_bug_the_same_seeds_pass() {
    let rows = table::read();
    let seeds = rows.iter().filter_map(|row| Some(row.first.as_ref()?.seed));
    for seed in seeds.chain(0..100) {
        if let Err(failure) = sim::run(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_bug_that_is_asked_for_is_caught() {
    let Ok(name) = env::var("CLAMATOR_BUG") else { return };
    let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
    let bug =
        *bug.unwrap_or_else(|| panic!("no bug is called {name}: see table.md beside this test"));
    let seeds = seeds_of_environment().unwrap_or(SEEDS_MAX);
    let rows = hunt::all(&[bug], seeds);
    println!("{}", table::text(&rows));
    let first = rows.iter().find_map(|row| row.first.clone());
    let first = first.unwrap_or_else(|| panic!("{name} was not caught in {seeds} seeds"));
    let (lines, outcome) = sim::trace_with(first.seed, bug, 60);
    println!("{}\n{}", lines.join("\n"), outcome.expect_err("it was caught"));
    println!("reproduce: CLAMATOR_BUG={name} tests/seeded-bugs.sh");
}
