//! Simulations of a program's own clients and handlers: that they do what they promise, and find
//! what they are for.
//!
//! Not the simulation of the engines alone.
#![allow(
    clippy::exhaustive_structs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

mod charges;
mod failures;
mod faults;
mod processes;
mod time;

/// What a run says that fails.
fn failure(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("the run should fail");
    payload.downcast_ref::<String>().expect("a report").clone()
}
