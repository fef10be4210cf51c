//! Faults of a real Redis under a running server and client, and what must hold all the same.
//!
//! Not the rules one by one, which the engine's own tests check without a Redis. Each scenario runs
//! on every runtime, each time with a Redis of its own; a [`ledger`] counts what became of every
//! call and how often every handler ran. Whatever happens, every call ends, no reply is another
//! call's, and nothing that was accepted waits for `claim_idle` while its worker is alive.
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

mod dead;
mod deadlines;
mod full;
mod health;
mod keys;
mod leases;
mod ledger;
mod outages;
mod peers;
mod pool;
mod proxy;
mod reader;
mod scene;
mod slow;
mod trouble;
mod withdrawing;
