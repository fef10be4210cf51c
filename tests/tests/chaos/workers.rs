//! What becomes of calls when workers are killed, frozen and stopped.

use std::time::{Duration, Instant};

use clamator_engine::sim::Dice;
use clamator_tests::chaos::ledger::Ending;
use clamator_tests::chaos::pool::{Pool, Setup};
use clamator_tests::chaos::{CLAIM_IDLE, count};
use clamator_tests::redis::RedisServer;

use crate::{SETUP, WORKERS, alone, pause};

fn pool(setup: Setup) -> (Pool, Dice) {
    let pool = Pool::start(RedisServer::start(), setup).busy();
    let dice = Dice::new(pool.seed());
    (pool, dice)
}

fn anybody(dice: &mut Dice) -> usize {
    usize::try_from(dice.between(0, WORKERS as u64 - 1)).unwrap()
}

#[test]
fn whatever_workers_are_killed_every_call_is_answered_and_every_second_run_explained() {
    let _alone = alone();
    let (mut pool, mut dice) = pool(SETUP);
    for _ in 0..count(12, 200) {
        pause(&mut dice, 50, 400);
        pool.end_worker(anybody(&mut dice), Ending::Killed);
    }
    let account = pool.finish();
    println!("{account}");
    account.assert_sound();
    assert!(account.killed > 0 && account.answered > 500, "{account}");
}

#[test]
fn whatever_workers_of_a_mixed_pool_are_killed_every_call_is_answered() {
    let _alone = alone();
    let (mut pool, mut dice) = pool(Setup { mixed: true, ..SETUP });
    let end = Instant::now() + Duration::from_secs(count(10, 120) as u64);
    while Instant::now() < end {
        pause(&mut dice, 50, 400);
        pool.end_worker(anybody(&mut dice), Ending::Killed);
    }
    let account = pool.finish();
    println!("{account}");
    account.assert_sound();
    assert!(account.killed > 0 && account.answered > 500, "{account}");
}

#[test]
fn whoever_was_frozen_past_claim_idle_takes_nothing_back() {
    let _alone = alone();
    let (pool, mut dice) = pool(SETUP);
    for _ in 0..count(5, 100) {
        pause(&mut dice, 50, 300);
        pool.freeze(anybody(&mut dice), CLAIM_IDLE * 5 / 4);
    }
    let account = pool.finish();
    println!("{account}");
    account.assert_sound();
    assert!(account.frozen > 0 && account.again > 0, "{account}");
    // Whoever looked at its leases before it was frozen, and not behind, starts all that waits.
    assert!(account.thawed() * 10 <= account.frozen.max(10), "{account}");
}

#[test]
fn whoever_is_told_to_stop_answers_what_runs_and_hands_back_the_rest() {
    let _alone = alone();
    // What is not handed back waits longer than is allowed below.
    let (mut pool, mut dice) = pool(Setup { claim_idle: Duration::from_secs(60), ..SETUP });
    for _ in 0..count(12, 100) {
        pause(&mut dice, 50, 300);
        pool.end_worker(anybody(&mut dice), Ending::Stopped);
    }
    let account = pool.finish();
    println!("{account}");
    account.assert_sound();
    assert_eq!((account.again, account.consumers), (0, 0), "{account}");
    assert!(account.slowest < Duration::from_millis(1500), "{account}");
}
