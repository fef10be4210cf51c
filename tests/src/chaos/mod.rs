//! Chaos: pools of worker processes that are ended on purpose, and the ledger of what came of it.
//!
//! Not the scenarios, which are in `tests/tests/chaos` and `tests/tests/volume.rs`. Counts are small
//! by default; with `CLAMATOR_CHAOS=full` they are those of a release, which take ten minutes.
//! Everything is bounded in count and time, and on loopback.

use std::time::Duration;

pub mod ledger;
pub mod pool;

/// How long an entry may be idle in these pools.
pub const CLAIM_IDLE: Duration = Duration::from_secs(1);

/// So many in every run, and so many with `CLAMATOR_CHAOS=full`.
pub fn count(usual: usize, full: usize) -> usize {
    let is_full = std::env::var("CLAMATOR_CHAOS").is_ok_and(|what| what == "full");
    if is_full { full } else { usual }
}
