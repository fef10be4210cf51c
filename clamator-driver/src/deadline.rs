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
}
