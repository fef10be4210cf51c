//! What the tests share: runtimes to run on, servers of their own, programs of peers, raw
//! connections.
//!
//! Not the scenarios: those are in `tests/`, the programs they run in `src/bin/`. Everything here
//! talks to loopback only, is bounded in time, and ends the processes it started.
#![allow(
    clippy::disallowed_methods,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

pub mod bench;
pub mod capture;
pub mod certificates;
pub mod chaos;
pub mod differential;
pub mod fuzz;
pub mod interop;
pub mod process;
pub mod redis;
pub mod rights;
pub mod seed;
pub mod simulate;
pub mod world;

/// The README, whose Rust code is compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
