//! [`Deadline`]: until when the caller of a handler waits, by the clock of its server's runtime.
//!
//! Not the engine's: what Redis's time is, and whether a request is run at all, is decided there.
//! It is told as what is left, since a client on another runtime may count from another origin.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clamator_engine::Instant;

use crate::runtime::Runtime;

/// The clock of a runtime. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    pub(crate) fn of(runtime: impl Runtime) -> Self {
        Self(Arc::new(move || runtime.now()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A point in time from which on nobody waits any more.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    clock: Clock,
}

impl Deadline {
    /// So long from now on.
    pub(crate) fn after(left: Duration, clock: &Clock) -> Self {
        Self { at: (clock.0)() + left, clock: clock.clone() }
    }

    /// How long it is until then; zero when it is over.
    pub(crate) fn left(&self) -> Duration {
        self.at.since((self.clock.0)())
    }

    /// The one that comes first, of those there are. Each may go by another clock.
    pub(crate) fn first(deadlines: [Option<Self>; 2]) -> Option<Self> {
        deadlines.into_iter().flatten().min_by_key(Self::left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualRuntime;

    #[test]
    fn of_two_deadlines_the_first_counts_and_none_puts_off_nothing() {
        const SECOND: Duration = Duration::from_secs(1);
        let (early, late) = (ManualRuntime::default(), ManualRuntime::default());
        late.set(Instant::from_start(100 * SECOND));
        let after = |runtime: &ManualRuntime, seconds| {
            Some(Deadline::after(seconds * SECOND, &Clock::of(runtime.clone())))
        };
        let left = |deadlines| Deadline::first(deadlines).map(|it| it.left());
        assert_eq!(left([after(&early, 5), after(&late, 3)]), Some(3 * SECOND));
        assert_eq!(left([after(&late, 3), after(&early, 5)]), Some(3 * SECOND));
        assert_eq!(left([after(&early, 5), None]), Some(5 * SECOND));
        assert_eq!(left([None, after(&late, 3)]), Some(3 * SECOND));
        assert_eq!(left([None, None]), None);
    }
}
