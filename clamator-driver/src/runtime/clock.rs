//! The system's monotonic clock as engines count time, for runtimes that have no clock of their
//! own.
//!
//! Not the engine's clock: engines have none, they are told the time. Every runtime of a process
//! counts from one origin, so clients and servers on different runtimes agree on the time. On Linux
//! it stands still while the host is suspended.

use std::sync::OnceLock;

use clamator_engine::Instant;

/// Reads the clock: what has passed since [`origin`].
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a runtime is where time comes from")]
pub fn now() -> Instant {
    Instant::from_start(std::time::Instant::now().saturating_duration_since(origin()))
}

/// What the clock of every client and server in this process counts from: its first use.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a runtime is where time comes from")]
pub fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_starts_at_the_origin_and_never_goes_back() {
        let origin = origin();
        let (one, two) = (now(), now());
        assert!(one <= two);
        assert_eq!(origin, super::origin());
    }
}
