//! What clients and servers do, whatever runtime they run on and wherever the streams live.
//!
//! Not faults, which are in `faults`, and not what a runtime can do beyond the others, which its
//! adapter tests. Each scenario is written once and runs on every runtime, over this process's
//! memory and over a real Redis.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

/// Makes tests of scenarios beside the macro, over both transports.
macro_rules! every_transport {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            use super::*;
            clamator_tests::scenarios!(on every world over crate::stage::Stage::memory: $($scenario),*);
        }

        mod redis {
            use super::*;
            clamator_tests::scenarios!(on every world over crate::stage::Stage::redis: $($scenario),*);
        }
    };
}

mod arith;
mod calls;
mod depth;
mod errors;
mod knowing;
mod lifecycle;
mod logging;
mod reentrancy;
mod stage;
mod traces;
