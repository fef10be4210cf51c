//! Interop: the same services and the same programs in Rust as the Python peer has in
//! `tests/python`, and the means to run any of them against any other.
//!
//! Not the scenarios, which are in `tests/tests/interop_*.rs`. What the programs read and write is
//! fixed by the headers of the Python ones: a change here is a change there.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "this crate's own tests are all that uses it"
)]

pub mod arith;
pub mod calls;
pub mod config;
pub mod peers;
pub mod runtime;
pub mod streams;
