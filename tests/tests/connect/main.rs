//! Connecting to nothing, to the wrong thing, or as the wrong person, on every runtime.
//!
//! Not calls and requests once connected. Each mistake is a typed error that names what was wrong,
//! and a text that people can act on, within five seconds and never a hang; and whoever could not
//! connect leaves nothing behind.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

mod fake;
mod kinds;
mod urls;
mod words;
