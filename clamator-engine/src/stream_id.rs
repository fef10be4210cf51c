//! [`StreamId`]: the id of a stream entry, milliseconds and sequence number.
//!
//! Not the special ids (`$`, `>`, `-`, `+`, `*`): those are words of single commands and live with
//! them. Ids order as Redis orders them.
//!
//! <https://redis.io/docs/latest/develop/data-types/streams/#entry-ids>

use core::fmt;

/// The id of a stream entry.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "an id has these two parts for good")]
pub struct StreamId {
    /// Redis's clock when the entry was added, in milliseconds since the Unix epoch.
    pub ms: u64,
    /// Number of the entry within its millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The greatest id.
    pub const MAX: Self = Self::new(u64::MAX, u64::MAX);
    /// `0-0`, which no entry can have: "before everything" and, as a cursor, "done".
    pub const ZERO: Self = Self::new(0, 0);

    /// Makes an id from its two parts.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// Reads `<ms>-<seq>`, or `<ms>` alone for sequence number 0; `None` for anything else.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(text).ok()?;
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Some(Self::new(decimal(ms)?, decimal(seq)?))
    }

    /// The next greater id; [`Self::MAX`] is its own successor.
    #[must_use]
    pub const fn next(self) -> Self {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Self::new(self.ms, seq),
            (None, Some(ms)) => Self::new(ms, 0),
            (None, None) => Self::MAX,
        }
    }

    /// The next smaller id; [`Self::ZERO`] is its own predecessor.
    #[must_use]
    pub const fn previous(self) -> Self {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Self::new(self.ms, seq),
            (None, Some(ms)) => Self::new(ms, u64::MAX),
            (None, None) => Self::ZERO,
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads an unsigned decimal; `str::parse` alone would take a leading `+`.
fn decimal(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for id in [StreamId::ZERO, StreamId::new(1_700_000_000_000, 7), StreamId::MAX] {
            assert_eq!(StreamId::parse(id.to_string().as_bytes()), Some(id));
        }
    }

    #[test]
    fn milliseconds_alone_mean_sequence_number_zero() {
        assert_eq!(StreamId::parse(b"5"), Some(StreamId::new(5, 0)));
    }

    #[test]
    fn other_text_is_no_id() {
        for text in [&b""[..], b"-", b"1-", b"-1", b"+1-1", b"1-1-1", b"1-x", b"\xff", b"$"] {
            assert_eq!(StreamId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn neighbours_carry_over_the_sequence_number() {
        let last = StreamId::new(5, u64::MAX);
        assert_eq!(last.next(), StreamId::new(6, 0));
        assert_eq!(last.next().previous(), last);
        assert_eq!(StreamId::ZERO.previous(), StreamId::ZERO);
        assert_eq!(StreamId::MAX.next(), StreamId::MAX);
    }

    #[test]
    fn ids_order_by_time_then_by_number() {
        assert!(StreamId::new(1, 9) < StreamId::new(2, 0));
        assert!(StreamId::new(2, 0) < StreamId::new(2, 1));
    }
}
