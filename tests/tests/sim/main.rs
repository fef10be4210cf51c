//! Whole deployments under every fault, in virtual time, one run for each seed.
//!
//! Not the simulator, which is `clamator_engine::sim`, nor the program that runs it for somebody
//! who looks on (`simulate`). `CLAMATOR_SEED` is the first seed, a number or a commit's hash
//! (default: 0x1c); `CLAMATOR_SEEDS` is how many there are. A seed that failed once has a
//! line in `tests/seeds.txt` and is run again first.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

mod canary;
mod repetition;
mod seeds;
