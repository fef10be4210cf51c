//! Runs the simulator: whole deployments under every fault, one run for each seed.
//!
//!     cargo run --release -p clamator-tests --bin simulate -- --seeds 50000
//!     cargo run -p clamator-tests --bin simulate -- --trace 0x1c
//!
//! Not a test: it is for looking on, and for looking closer.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::{env, io};

use clamator_engine::sim;
use clamator_tests::seed;
use clamator_tests::simulate::{Failed, many};

const USAGE: &str = "\
usage: simulate [--seeds N] [--from S]     runs N seeds (default 1000), from S on
                                           (default CLAMATOR_SEED, else 0)
       simulate --trace S                  runs seed S and prints what happened in it";
/// Failures after which a run of many seeds ends.
const FAILURES_MAX: usize = 3;

/// What somebody asks for.
enum Task {
    Help,
    Many { from: u64, seeds: u64 },
    Trace(u64),
}

fn main() -> ExitCode {
    let done = match task() {
        Ok(Task::Help) => writeln!(io::stdout(), "{USAGE}").map(|()| true),
        Ok(Task::Many { from, seeds }) => run(from, seeds),
        Ok(Task::Trace(seed)) => trace(seed),
        Err(error) => {
            eprintln!("simulate: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Whoever reads may have read enough.
    if done.unwrap_or(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn task() -> Result<Task, String> {
    let (mut seeds, mut from, mut traced) = (1000, seed::of_environment().unwrap_or(0), None);
    let mut arguments = env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || {
            let text = arguments.next().ok_or_else(|| format!("{option} needs a number"))?;
            seed::parse(&text).map_err(|error| format!("{option}: {error}"))
        };
        match option.as_str() {
            "--seeds" => seeds = value()?,
            "--from" => from = value()?,
            "--trace" => traced = Some(value()?),
            "--help" | "-h" => return Ok(Task::Help),
            other => return Err(format!("{other:?} is not known")),
        }
    }
    match traced {
        Some(seed) => Ok(Task::Trace(seed)),
        None if seeds == 0 => Err("--seeds: no seed is to be run".into()),
        None => Ok(Task::Many { from, seeds }),
    }
}

fn run(from: u64, seeds: u64) -> io::Result<bool> {
    let watched = io::stderr().is_terminal();
    let summary = many(from, seeds, FAILURES_MAX, &|done| {
        if watched {
            bar(done, seeds);
        }
    });
    if watched {
        bar(summary.seeds, seeds);
        eprintln!();
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{summary}")?;
    for Failed { seed, text } in &summary.failures {
        let line = "reproduce: cargo run -p clamator-tests --bin simulate -- --trace";
        writeln!(out, "\n{text}{line} {seed:#x}")?;
    }
    Ok(summary.failures.is_empty())
}

/// Runs one seed and prints what happened.
fn trace(seed: u64) -> io::Result<bool> {
    let (lines, outcome) = sim::trace(seed, usize::MAX);
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    match &outcome {
        Ok(report) => writeln!(out, "seed {seed:#x} passed: {report:#?}")?,
        Err(failure) => writeln!(out, "{failure}")?,
    }
    Ok(outcome.is_ok())
}

fn bar(done: u64, all: u64) {
    let filled = u128::from(done) * 40 / u128::from(all.max(1));
    let filled = "#".repeat(usize::try_from(filled).unwrap_or(0));
    eprint!("\r[{filled:<40}] {done} of {all} seeds");
    let _ = io::stderr().flush();
}
