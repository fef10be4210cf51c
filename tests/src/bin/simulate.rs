//! Runs the simulator: whole deployments under every fault, one run for each seed.
//!
//!     cargo run -p clamator-tests --bin simulate -- --seeds 50000
//!     cargo run -p clamator-tests --bin simulate -- --trace 0x1c
//!
//! Not a test: it is for looking on, and for looking closer. `--from S` is the first seed (default:
//! `CLAMATOR_SEED`, else 0); `--trace S` runs one seed and prints what happened last in it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::{env, io};

use clamator_engine::sim;
use clamator_tests::seed;
use clamator_tests::simulate::many;

const USAGE: &str = "usage: simulate [--seeds N] [--from S] [--trace S]";
/// Failures after which a run of many seeds ends.
const FAILURES_MAX: usize = 3;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let (mut seeds, mut from) = (1000, seed::of_environment().unwrap_or(0));
    let mut arguments = env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || {
            let text = arguments.next().ok_or_else(|| format!("{option} needs a number"))?;
            seed::parse(&text)
        };
        match option.as_str() {
            "--seeds" => seeds = value()?,
            "--from" => from = value()?,
            "--trace" => return Ok(trace(value()?)),
            other => return Err(format!("{other:?} is not known")),
        }
    }
    let watched = io::stderr().is_terminal();
    let summary = many(from, seeds, FAILURES_MAX, &|done| {
        if watched {
            bar(done, seeds);
        }
    });
    if watched {
        bar(seeds, seeds);
        eprintln!();
    }
    for failure in &summary.failures {
        println!("{failure}");
    }
    println!("{summary}");
    Ok(summary.failures.is_empty())
}

/// Runs one seed and prints what happened last.
fn trace(seed: u64) -> bool {
    let (lines, outcome) = sim::trace(seed, usize::MAX);
    for line in lines {
        println!("{line}");
    }
    match outcome {
        Ok(ref report) => println!("seed {seed:#x} passed: {report:?}"),
        Err(ref failure) => println!("{failure}"),
    }
    outcome.is_ok()
}

fn bar(done: u64, all: u64) {
    let tenths = (done * 40).checked_div(all).unwrap_or(40);
    let filled = "#".repeat(usize::try_from(tenths).unwrap_or(0));
    eprint!("\r[{filled:<40}] {done} of {all} seeds");
    let _ = io::stderr().flush();
}
