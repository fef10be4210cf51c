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

mod charges;
