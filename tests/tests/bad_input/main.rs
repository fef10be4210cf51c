//! Garbage on a real Redis: any bytes in any field of any entry, on either stream.
//!
//! Not what an envelope may look like, which `clamator-proto` tests, nor what answers a bad
//! request, which the interop tests compare with the peers. Whatever somebody writes: one warning,
//! the entry settled, the next one served.
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

mod generated;
mod replies;
mod requests;
mod stage;
