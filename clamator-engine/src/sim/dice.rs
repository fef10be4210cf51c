//! [`Dice`]: the one source of chance in a simulated run, from a seed.
//!
//! Not a source of randomness, and not for anything that has to be unpredictable. Whoever draws
//! from a die of its own does not disturb the others': [`Dice::split`] makes one.

use core::time::Duration;

use crate::jitter::Jitter;

/// A die of any number of sides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(Jitter);

impl Dice {
    /// Makes a die. Equal seeds roll alike.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Jitter::new(seed))
    }

    /// Rolls any number.
    pub const fn word(&mut self) -> u64 {
        self.0.next()
    }

    /// Makes an independent die.
    #[must_use]
    pub const fn split(&mut self) -> Self {
        Self::new(self.word())
    }

    /// Rolls a number below `sides`; 0 when there is none.
    pub const fn roll(&mut self, sides: u64) -> u64 {
        let word = self.word();
        if sides == 0 { 0 } else { word % sides }
    }

    /// Rolls a number from `from` up to and including `to`.
    pub const fn between(&mut self, from: u64, to: u64) -> u64 {
        from.saturating_add(self.roll(to.saturating_sub(from).saturating_add(1)))
    }

    /// Says yes with a chance of `percent` in a hundred.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    /// Rolls a time between two, in microseconds.
    pub fn time(&mut self, from: Duration, to: Duration) -> Duration {
        Duration::from_micros(self.between(micros(from), micros(to)))
    }

    /// Rolls a time between two, short ones as likely as long ones: each doubling has the same
    /// chance. `from` is at least a microsecond.
    pub fn scale(&mut self, from: Duration, to: Duration) -> Duration {
        Duration::from_micros(self.scale_number(micros(from), micros(to)))
    }

    /// Rolls a number between two, small ones as likely as large ones. `from` is at least 1.
    pub fn scale_number(&mut self, from: u64, to: u64) -> u64 {
        let (from, to) = (from.max(1), to.max(from).max(1));
        let doublings = u64::from((to / from).ilog2());
        // What is left at the end is less than a doubling, and has that much less of a chance.
        loop {
            let low = from << self.between(0, doublings);
            let number = self.between(low, low.saturating_mul(2));
            if number <= to {
                return number;
            }
        }
    }

    /// Picks one of several; `None` when there is none.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let place = self.roll(u64::try_from(among.len()).unwrap_or(u64::MAX));
        among.get(usize::try_from(place).unwrap_or(usize::MAX))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_stay_in_their_range_and_reach_both_ends() {
        let mut dice = Dice::new(1);
        let rolls: alloc::vec::Vec<u64> = (0..1000).map(|_| dice.between(3, 6)).collect();
        assert_eq!((rolls.iter().min(), rolls.iter().max()), (Some(&3), Some(&6)));
        let (short, long) = (Duration::from_millis(500), Duration::from_secs(10));
        let times: alloc::vec::Vec<Duration> =
            (0..10_000).map(|_| dice.scale(short, long)).collect();
        assert!(times.iter().all(|time| (short..=long).contains(time)));
        let below_a_second = times.iter().filter(|time| time.as_secs() == 0).count();
        assert!((1500..3500).contains(&below_a_second), "{below_a_second}");
        assert!(times.iter().any(|time| *time > Duration::from_secs(9)));
        assert_eq!(dice.roll(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }

    #[test]
    fn equal_seeds_roll_alike_and_a_split_die_goes_its_own_way() {
        let (mut one, mut two) = (Dice::new(7), Dice::new(7));
        let mut own = one.split();
        assert_eq!(own.word(), two.split().word());
        own.word();
        assert_eq!(one.word(), two.word());
    }
}
