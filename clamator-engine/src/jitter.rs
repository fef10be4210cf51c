//! Jitter: spreads timers of many processes apart, from a seed.
//!
//! Not a source of randomness: the seed is an argument, and the same seed gives the same spread.
//! Never used for names or anything that has to be unpredictable.

use core::time::Duration;

/// A deterministic spread (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Spreads `duration` evenly over 75 % to 125 % of itself.
    pub(crate) fn spread(&mut self, duration: Duration) -> Duration {
        let percent = 75 + u32::try_from(self.next() % 51).unwrap_or(0);
        duration.saturating_mul(percent) / 100
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_stays_within_a_quarter_and_reaches_both_sides() {
        let mut jitter = Jitter::new(7);
        let spread: alloc::vec::Vec<u128> =
            (0..1000).map(|_| jitter.spread(Duration::from_secs(1)).as_millis()).collect();
        assert!(spread.iter().all(|ms| (750..=1250).contains(ms)));
        assert!(spread.iter().any(|ms| *ms < 800) && spread.iter().any(|ms| *ms > 1200));
    }

    #[test]
    fn the_same_seed_spreads_alike() {
        let (mut one, mut two) = (Jitter::new(1), Jitter::new(1));
        assert_eq!(one.spread(Duration::from_secs(1)), two.spread(Duration::from_secs(1)));
    }
}
