//! [`Pace`]: how fast the handlers of a service are, and so how many requests may wait unstarted.
//!
//! Rule 4.3: what waits here cannot be served by another worker, so no more is held than about
//! `prefetch_time` of work, at least one request, at most `prefetch_max`. Not a limit of what runs.

use core::time::Duration;

/// Share of a new sample in the average: one in this many.
const WEIGHT: u32 = 8;

/// The average time a handler takes.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Duration>);

impl Pace {
    /// Takes a sample.
    pub(super) fn observe(&mut self, took: Duration) {
        self.0 = Some(match self.0 {
            None => took,
            Some(average) => (average.saturating_mul(WEIGHT - 1).saturating_add(took)) / WEIGHT,
        });
    }

    /// How many requests may wait unstarted for this many handlers at once.
    pub(super) fn places(&self, handlers: usize, time: Duration, max: usize) -> usize {
        let max = max.max(1);
        let Some(average) = self.0 else {
            return handlers.clamp(1, max);
        };
        let per_handler = time.as_nanos() / average.as_nanos().max(1);
        let per_handler = usize::try_from(per_handler).unwrap_or(usize::MAX);
        per_handler.saturating_mul(handlers).clamp(1, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFETCH: Duration = Duration::from_millis(5);

    fn places(samples: &[Duration], handlers: usize) -> usize {
        let mut pace = Pace::default();
        for sample in samples {
            pace.observe(*sample);
        }
        pace.places(handlers, PREFETCH, 256)
    }

    #[test]
    fn before_the_first_sample_each_handler_may_have_one_waiting() {
        assert_eq!(places(&[], 1), 1);
        assert_eq!(places(&[], 8), 8);
    }

    #[test]
    fn fast_handlers_may_have_many_waiting_and_slow_ones_one() {
        assert_eq!(places(&[Duration::ZERO], 1), 256);
        assert_eq!(places(&[Duration::from_micros(100)], 1), 50);
        assert_eq!(places(&[Duration::from_micros(100)], 4), 200);
        assert_eq!(places(&[Duration::from_secs(60)], 1), 1);
    }

    #[test]
    fn the_average_follows_a_change_of_pace() {
        let slow = [Duration::from_millis(50); 30];
        assert_eq!(places(&[&[Duration::ZERO][..], &slow].concat(), 1), 1);
    }
}
