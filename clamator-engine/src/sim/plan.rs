//! [`Plan`]: what a seed decides before a run begins: who takes part, how fast everything is, and
//! what may go wrong.
//!
//! Not what happens then. Sizes are drawn so that short and long times, small and large pools and
//! few and many faults are all common: a bug that needs only one thing to be extreme is met soon.

use alloc::vec::Vec;
use core::time::Duration;

use super::dice::Dice;
use super::fault::{self, Fault, FaultSet};
use crate::engine::Version;
use crate::seeded::Seeded;
use crate::server::Concurrency;

/// How many times `claim_idle` a run lasts at least.
const CLAIMS_PER_RUN: u32 = 20;
/// The shortest run.
const RUN_MIN: Duration = Duration::from_secs(30);
/// How long everything may take to settle, besides what has to be waited for.
const SETTLES: Duration = Duration::from_secs(5);
/// How long fresh calls are made, answered, and followed by quiet.
const FRESH: Duration = Duration::from_secs(7);
/// Calls of a run, at least.
pub(super) const CALLS_MIN: u64 = 100;
/// Calls that are made when everything has settled.
pub(super) const FRESH_CALLS: u64 = 12;
/// First part of every key.
pub(super) const PREFIX: &str = "app";
/// The services there may be.
pub(super) const SERVICES: [&str; 2] = ["arith", "mail"];

/// What a run is going to be like.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The bug that is built into every engine, to see whether it is noticed.
    pub(super) bug: Seeded,
    pub(super) calls: u64,
    pub(super) claim_idle: Duration,
    pub(super) clients: u32,
    pub(super) command_timeout: Duration,
    /// How long a consumer may be idle that holds nothing.
    pub(super) consumer_idle_max: Duration,
    /// How long the deadline of a request is past before it is skipped.
    pub(super) deadline_slack: Duration,
    /// How often an entry may be started.
    pub(super) deliveries_max: u64,
    pub(super) concurrency: Concurrency,
    /// What may go wrong, in order and as a set.
    pub(super) faults: Vec<Fault>,
    pub(super) allowed: FaultSet,
    pub(super) in_flight_max: usize,
    pub(super) latency: Duration,
    /// How long Python's workers let an entry be before they take it over.
    pub(super) python_claim_idle: Duration,
    /// How long a blocking read waits.
    pub(super) read_block: Duration,
    pub(super) reply_stream_max_len: u64,
    pub(super) reply_stream_ttl: Duration,
    pub(super) servers: u32,
    pub(super) services: usize,
    pub(super) timeout: Duration,
    pub(super) version: Version,
    /// Whether clients take requests back.
    pub(super) withdraw: bool,
    /// When the faults end.
    pub(super) heal: Duration,
    /// When everything has to be settled, and fresh calls are made.
    pub(super) settled: Duration,
    /// When everybody is stopped.
    pub(super) end: Duration,
}

impl Plan {
    /// Draws a plan.
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        // Long ones are rare: their runs are long.
        let longest = dice.scale(Duration::from_secs(1), Duration::from_secs(10));
        let claim_idle = dice.scale(Duration::from_millis(500), longest);
        let run = (claim_idle * CLAIMS_PER_RUN).max(RUN_MIN);
        let timeout = dice.scale(Duration::from_secs(1), Duration::from_secs(8));
        let command_timeout = dice.scale(Duration::from_secs(1), Duration::from_secs(5));
        let read_block = dice.scale(Duration::from_secs(1), Duration::from_secs(5));
        // What dead workers left is overdue, and taken over once whoever takes it has noticed that
        // its connections are dead. A call that expires keeps its place for one timeout more.
        let taken_over = claim_idle * 2 + command_timeout + read_block;
        let settles = taken_over.max(timeout * 2) + SETTLES;
        let end = run - Duration::from_secs(2);
        let heal = (end - FRESH).saturating_sub(settles).max(run / 3);
        let settled = heal + settles;
        let faults = fault::draw(&mut dice);
        let overflows = faults.contains(&Fault::ReplyOverflow);
        let versions = [(6, 2, 14), (7, 0, 15), (7, 4, 0), (9, 1, 2)];
        let (major, minor, patch) = *dice.pick(&versions).unwrap_or(&(7, 0, 15));
        Self {
            seed,
            bug: Seeded::default(),
            calls: CALLS_MIN + dice.roll(8),
            claim_idle,
            // Replies to one client only overflow its stream sooner.
            clients: if overflows { 1 } else { u32::try_from(dice.between(1, 3)).unwrap_or(1) },
            command_timeout,
            // No less than a clock may be off unnoticed.
            deadline_slack: dice.scale(Duration::from_millis(600), Duration::from_secs(3)),
            deliveries_max: if dice.chance(60) { dice.between(1, 3) } else { 10 },
            concurrency: match dice.roll(3) {
                0 => Concurrency::Limit(usize::try_from(dice.between(2, 40)).unwrap_or(2)),
                _ => Concurrency::Serial,
            },
            allowed: FaultSet::of(&faults),
            faults,
            in_flight_max: usize::try_from(dice.scale_number(4, 1000)).unwrap_or(1000),
            latency: dice.scale(Duration::from_micros(50), Duration::from_millis(4)),
            python_claim_idle: claim_idle * u32::try_from(dice.between(1, 6)).unwrap_or(1),
            read_block,
            consumer_idle_max: dice.scale(Duration::from_secs(8), Duration::from_secs(60)),
            reply_stream_max_len: if overflows { 2 } else { 1024 },
            // Much longer than a client can be kept from reading.
            reply_stream_ttl: dice.scale(Duration::from_secs(60), Duration::from_secs(3600)),
            servers: u32::try_from(dice.between(1, 3)).unwrap_or(1),
            services: if dice.chance(25) { 2 } else { 1 },
            timeout,
            version: Version::new(major, minor, patch),
            withdraw: dice.chance(80),
            heal,
            settled,
            end: (settled + FRESH).max(end),
        }
    }

    /// Whether this may go wrong.
    pub(super) fn allows(&self, fault: Fault) -> bool {
        self.allowed.contains(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_lasts_twenty_times_claim_idle_and_its_phases_follow_each_other() {
        for seed in 0..2000 {
            let plan = Plan::draw(seed);
            assert!(plan.end + Duration::from_secs(2) >= plan.claim_idle * 20, "{plan:?}");
            assert!(plan.heal >= plan.end / 4, "{plan:?}");
            assert!(plan.settled >= plan.heal + plan.claim_idle * 2, "{plan:?}");
            assert!(plan.end >= plan.settled + FRESH, "{plan:?}");
            assert!((500..=10_000).contains(&plan.claim_idle.as_millis()), "{plan:?}");
        }
    }
}
