//! [`Script`]: bytes read as decisions, by `arbitrary`.
//!
//! Not a random source: the same bytes make the same decisions. At the end of the bytes every
//! decision is the first one, so each loop over a script has an end of its own.

use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;

/// Bytes that decide.
pub(crate) struct Script<'a>(Unstructured<'a>);

impl<'a> Script<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `sides`; one byte up to 256 sides.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0.int_in_range(0..=sides.max(1) - 1).unwrap_or(0)
    }

    /// True once in `sides`; never at the end of the bytes.
    pub(crate) fn once_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == sides - 1
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// Up to `max` bytes as they stand.
    pub(crate) fn bytes(&mut self, max: usize) -> Bytes {
        let wanted = self.roll(max + 1).min(self.0.len());
        Bytes::copy_from_slice(self.0.bytes(wanted).unwrap_or_default())
    }

    /// A time span between nothing and a minute, of any magnitude.
    pub(crate) fn span(&mut self) -> Duration {
        let micros = [0, 1, 1_000, 50_000, 300_000, 1_000_000, 2_500_000, 6_000_000, 60_000_000];
        let base: u64 = self.pick(&micros);
        let more = u64::try_from(self.roll(256)).unwrap_or(0);
        Duration::from_micros(base + base * more / 256)
    }
}
