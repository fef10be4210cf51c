//! The ways to a real Redis: TLS, Unix sockets, users and databases, and the rights that users
//! need; and what is said when one is barred, at the first connection and after that.
//!
//! Not the plain connection, which every other test uses, nor a server that is no Redis, which is
//! in `connect`.
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

mod play;
mod probes;
mod rights;
mod stage;
mod tls;
mod unix;
mod users;
