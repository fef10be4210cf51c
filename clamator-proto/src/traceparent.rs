//! [`Traceparent`]: which trace a request belongs to, and which span of it made it, as text.
//!
//! Not a span, and no library that makes them: the text is carried from the one that the caller
//! uses to the one that the handler uses. What is no such text is as good as none, so that no
//! request fails because of it.
//!
//! <https://www.w3.org/TR/trace-context/#traceparent-header>

use core::fmt;
use core::str::{self, FromStr};

use bytes::Bytes;
use thiserror::Error;

/// How long a text of version 00 is. Those of later versions begin with as much.
const LEN: usize = 55;
/// The dashes between version, trace, span and flags.
const DASHES: [usize; 3] = [2, 35, 52];

/// The W3C's `traceparent`: version, trace, span and flags, such as
/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent([u8; LEN]);

impl Traceparent {
    /// Reads the text; `None` when it is no valid one: hexadecimal digits are small, and neither
    /// trace nor span is all zeros. Of a version later than 00, which may say more, as much is taken
    /// as version 00 has.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (text, more) = text.split_first_chunk::<LEN>()?;
        let is_dash = |place: usize| DASHES.contains(&place);
        let well_formed = text.iter().enumerate().all(|(place, byte)| match byte {
            b'-' => is_dash(place),
            b'0'..=b'9' | b'a'..=b'f' => !is_dash(place),
            _ => false,
        });
        let [version, trace, span] = [0..2, 3..35, 36..52].map(|part| text.get(part));
        let named = [trace?, span?].iter().all(|part| part.iter().any(|digit| *digit != b'0'));
        let ends = match version? {
            b"00" => more.is_empty(),
            b"ff" => false,
            _ => matches!(more.first(), None | Some(b'-')),
        };
        (well_formed && named && ends).then_some(Self(*text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It has digits, letters and dashes only.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The value of the entry field
    /// [`traceparent`](crate::entry::TRACEPARENT).
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        Self::parse(text.as_bytes()).ok_or(InvalidTraceparent)
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Traceparent`]; the fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a traceparent as the W3C defines it")]
#[non_exhaustive]
pub struct InvalidTraceparent;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_the_text_that_it_was_read_from() {
        let read: Traceparent = VALID.parse().unwrap();
        assert_eq!((read.as_str(), read.to_string().as_str()), (VALID, VALID));
        assert_eq!(read.to_bytes(), VALID);
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let rows = [
            "",
            "00",
            "envelope",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473--00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
        ];
        for text in rows {
            assert_eq!(text.parse::<Traceparent>(), Err(InvalidTraceparent), "{text}");
        }
        let mut bytes = [b'\xff'; LEN];
        assert_eq!(Traceparent::parse(&bytes), None);
        bytes.copy_from_slice(VALID.as_bytes());
        assert!(Traceparent::parse(&bytes).is_some());
    }

    #[test]
    fn of_a_later_version_as_much_is_taken_as_this_one_has() {
        let later = VALID.replacen("00", "cc", 1);
        for more in ["", "-", "-what the future brings"] {
            let read: Traceparent = (later.clone() + more).parse().unwrap();
            assert_eq!(read.as_str(), later);
        }
    }
}
