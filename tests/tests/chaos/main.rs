//! Pools of real processes against a real Redis: workers are killed, frozen and stopped, and Redis
//! is killed, while calls go on. A ledger says what became of every call and why anything ran twice.
//!
//! Not the rules one by one, which the engine's tests check, nor faults of connections, which are in
//! `faults`.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

mod outages;
mod workers;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clamator_engine::sim::Dice;
use clamator_tests::chaos::CLAIM_IDLE;
use clamator_tests::chaos::pool::Setup;

const WORKERS: usize = 4;

/// What these pools are like, unless a scenario says otherwise.
const SETUP: Setup = Setup {
    workers: WORKERS,
    program: env!("CARGO_BIN_EXE_chaos-worker"),
    mixed: false,
    claim_idle: CLAIM_IDLE,
    call_timeout: Duration::from_secs(60),
};

/// A pause of random length.
fn pause(dice: &mut Dice, least_ms: u64, most_ms: u64) {
    std::thread::sleep(Duration::from_millis(dice.between(least_ms, most_ms)));
}

/// One pool at a time: each takes the whole machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
