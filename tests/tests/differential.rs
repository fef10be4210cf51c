//! The in-memory model answers as a real server does: a comparison of some thousand commands.
//!
//! Not the long one, which `src/bin/differential.rs` runs. Which server it is says
//! `CLAMATOR_REDIS_SERVER`, so each one of `tests/run.sh --servers all` is compared. And the
//! comparison is compared: a model that is wrong on purpose must be found out.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use clamator_engine::{Command, Refusal, Reply, Version};
use clamator_tests::differential::judge::Tamper;
use clamator_tests::differential::summary::Failure;
use clamator_tests::differential::{Options, run};
use clamator_tests::seed;

/// Commands of the comparison; of the others, until the mistake is found.
const COMMANDS: u64 = 50_000;
const SEED: u64 = 1;

#[test]
fn the_model_answers_as_the_server_does() {
    let seed = seed::of_environment().unwrap_or(SEED);
    let summary = run(&Options { commands: COMMANDS, seed, ..Options::default() });
    println!("{summary}");
    assert!(summary.is_good(), "{summary}");
}

/// Runs with a model whose answers are altered, and gives the failure.
fn failure_of(tamper: Tamper) -> Failure {
    let tamper = Some(tamper);
    let summary = run(&Options { commands: COMMANDS, seed: SEED, tamper, ..Options::default() });
    let failure = summary.failure.clone().expect("it is found");
    let reproduce = format!("--commands 1 --seed {:#x}", failure.seed);
    assert!(summary.to_string().contains(&reproduce), "{summary}");
    let seed = failure.seed;
    let mut again =
        (0..3).map(|_| run(&Options { commands: 1, seed, tamper, ..Options::default() }));
    // Where a busy machine leaves the time of a command in doubt, one try can miss it.
    assert!(again.any(|again| again.failure.is_some()), "{failure:?} is not found again");
    failure
}

#[test]
fn an_altered_number_is_found_and_shrunk() {
    let failure = failure_of(|command, reply| {
        if let (Command::XAck { .. }, Ok(Reply::Integer(number @ 1..))) = (command, reply) {
            *number += 1;
        }
    });
    assert!(failure.shrunk <= 4 && failure.shrunk < failure.steps, "{failure:?}");
    assert!(failure.text.contains("server: (integer) 1\n    model:  (integer) 2"), "{failure:?}");
}

#[test]
fn an_altered_refusal_is_found_to_the_word() {
    let failure = failure_of(|_, reply| {
        if let Err(Refusal { message, .. }) = reply {
            message.push('.');
        }
    });
    // What is refused, and what it takes to be refused.
    assert!(failure.shrunk <= 2, "{failure:?}");
}

#[test]
fn an_answer_given_to_a_blocked_read_is_compared_too() {
    let failure = failure_of(|command, reply| {
        if let (Command::XReadGroup { block: Some(_), .. }, Ok(Reply::Entries(entries))) =
            (command, reply)
        {
            entries.pop();
        }
    });
    assert!(failure.shrunk <= 4, "{failure:?}");
}

#[test]
fn an_idle_time_that_is_off_by_one_is_found() {
    let failure = failure_of(|_, reply| {
        if let Ok(Reply::PendingRange(pending)) = reply {
            for entry in pending {
                entry.idle_ms += 1;
            }
        }
    });
    assert!(failure.shrunk <= 5, "{failure:?}");
}

/// What the model does differently from version to version is seen: no server is both.
#[test]
fn a_model_of_another_version_is_found_out() {
    let found = [Version::new(6, 2, 0), Version::new(7, 0, 0), Version::new(9, 0, 0)].map(|it| {
        let version = Some(it);
        let summary = run(&Options { commands: 10_000, seed: SEED, version, ..Options::default() });
        summary.failure.is_some()
    });
    assert_eq!(found.iter().filter(|found| **found).count(), 2, "{found:?}");
}
