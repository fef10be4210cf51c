//! The engine's own time: an [`Instant`] is how long ago its owner's clock started.
//!
//! Not a clock: nothing here can tell what time it is. Instants of two owners are never
//! comparable, and an instant says nothing about Redis's time. Arithmetic saturates, so an absurd
//! timeout is "never", not a crash.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point in time: what has passed since the start of whoever drives the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The start of time.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// Makes the instant that lies `elapsed` after the start.
    #[must_use]
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Tells how long after the start this instant lies.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Tells how long after `earlier` this instant lies; zero when it does not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0.as_secs(), self.0.subsec_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_for_ever_saturates() {
        let late = Instant::from_start(Duration::MAX) + Duration::from_secs(1);
        assert_eq!(late, Instant::from_start(Duration::MAX));
    }

    #[test]
    fn nothing_has_passed_since_a_later_instant() {
        let later = Instant::ZERO + Duration::from_secs(2);
        assert_eq!(Instant::ZERO.since(later), Duration::ZERO);
        assert_eq!(later.since(Instant::ZERO), Duration::from_secs(2));
    }
}
