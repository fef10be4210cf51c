//! The fields of a stream entry, by name and in any order.
//!
//! Not the envelope's content: that is [`Envelope`](crate::Envelope). Fields are found by name at
//! the even places only, so a value that equals a field name is a value. `type` is never read.
//! Fields that are not known are ignored, and of a field written twice the last counts.
//!
//! A request may have two fields more than the peers know, [`TIMEOUT_MS`] and [`TRACEPARENT`], a
//! notification the second. They stand behind theirs, and no value of them can be equal to a name:
//! the TypeScript peer takes a value for a name that is equal to one.

use core::str;
use core::time::Duration;

use alloc::string::{String, ToString};
use bytes::Bytes;
use thiserror::Error;

use crate::traceparent::Traceparent;

/// The field that says what an entry is. Written, never read.
pub const TYPE: &str = "type";
/// The value of [`TYPE`] in every entry.
pub const RPC: &str = "rpc";
/// The field with the JSON text.
pub const ENVELOPE: &str = "envelope";
/// The field with the key of the stream that wants the reply; only requests have it.
pub const REPLY_TO: &str = "reply-to";
/// The field with the time for which the caller still waited when it sent the request: decimal, in
/// milliseconds. The deadline is the milliseconds of the entry's id plus this.
pub const TIMEOUT_MS: &str = "timeout-ms";
/// The field with the trace that a request or notification belongs to. Peers ignore it. It stands
/// behind theirs, and its value is never equal to a name: the TypeScript peer would take it for one.
pub const TRACEPARENT: &str = "traceparent";

/// The field of a dead letter with the id that the entry had on its command stream.
pub const DEAD_ENTRY: &str = "dead-entry";
/// The field of a dead letter that says why it is one.
pub const DEAD_REASON: &str = "dead-reason";
/// The field of a dead letter that says how often the entry had been given out before.
pub const DEAD_DELIVERIES: &str = "dead-deliveries";

/// What a server reads from an entry of a command stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandFields<'a> {
    /// The JSON text, any bytes but none.
    pub envelope: &'a Bytes,
    /// Where the reply goes, unchecked and perhaps empty; `None` when the entry does not say.
    pub reply_to: Option<&'a Bytes>,
    /// For how long the caller still waited when it sent the request; `None` when the entry does
    /// not say, or not in a way that can be read.
    pub timeout: Option<Duration>,
    /// The trace it belongs to; `None` when the entry does not say, or not in a way that can be
    /// read.
    pub traceparent: Option<Traceparent>,
}

impl<'a> CommandFields<'a> {
    /// Finds the fields among an entry's (name, value) pairs.
    ///
    /// # Errors
    ///
    /// [`MissingEnvelope`] when there is no envelope or an empty one.
    pub fn read(fields: &'a [(Bytes, Bytes)]) -> Result<Self, MissingEnvelope> {
        let envelope = envelope(fields)?;
        let timeout = last(fields, TIMEOUT_MS).and_then(|text| decode_timeout(text));
        let traceparent = last(fields, TRACEPARENT).and_then(|text| Traceparent::parse(text));
        Ok(Self { envelope, reply_to: last(fields, REPLY_TO), timeout, traceparent })
    }
}

/// Writes a timeout as the value of [`TIMEOUT_MS`], rounded up: nobody is to think that it is over
/// before it is. `None` for one so long that it is no number of milliseconds of 64 bits.
#[must_use]
pub fn encode_timeout(timeout: Duration) -> Option<String> {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).ok().map(|millis| millis.to_string())
}

/// Reads the value of [`TIMEOUT_MS`]; `None` unless it is decimal digits that fit 64 bits.
fn decode_timeout(text: &[u8]) -> Option<Duration> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(text).ok().filter(|_| digits)?;
    text.parse().ok().map(Duration::from_millis)
}

/// The value of this name that counts.
fn last<'a>(fields: &'a [(Bytes, Bytes)], wanted: &str) -> Option<&'a Bytes> {
    let mut named = fields.iter().rev().filter(|(name, _)| name == wanted.as_bytes());
    named.next().map(|(_, value)| value)
}

fn envelope(fields: &[(Bytes, Bytes)]) -> Result<&Bytes, MissingEnvelope> {
    last(fields, ENVELOPE).filter(|text| !text.is_empty()).ok_or(MissingEnvelope)
}

/// What a client reads from an entry of its reply stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyFields<'a> {
    /// The JSON text, any bytes but none.
    pub envelope: &'a Bytes,
}

impl<'a> ReplyFields<'a> {
    /// Finds the fields among an entry's (name, value) pairs.
    ///
    /// # Errors
    ///
    /// [`MissingEnvelope`] when there is no envelope or an empty one.
    pub fn read(fields: &'a [(Bytes, Bytes)]) -> Result<Self, MissingEnvelope> {
        Ok(Self { envelope: envelope(fields)? })
    }
}

/// An entry without a JSON text; the fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("entry has no envelope")]
#[non_exhaustive]
pub struct MissingEnvelope;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    type Field = (&'static [u8], &'static [u8]);
    type Read = Result<(&'static [u8], Option<&'static [u8]>), MissingEnvelope>;

    const REQUEST: [Field; 3] =
        [(b"type", b"rpc"), (b"envelope", b"{}"), (b"reply-to", b"p:replies:i")];

    fn entry(fields: &[Field]) -> Vec<(Bytes, Bytes)> {
        let bytes = |&(name, value): &Field| (Bytes::from_static(name), Bytes::from_static(value));
        fields.iter().map(bytes).collect()
    }

    /// Asserts what a server and a client read.
    fn assert_read(fields: &[Field], wanted: Read) {
        let entry = entry(fields);
        let command = CommandFields::read(&entry);
        let command = command.map(|read| (&read.envelope[..], read.reply_to.map(|key| &key[..])));
        assert_eq!(command, wanted, "{fields:?}");
        let reply = ReplyFields::read(&entry).map(|read| &read.envelope[..]);
        assert_eq!(reply, wanted.map(|(envelope, _)| envelope), "{fields:?}");
    }

    #[test]
    fn a_request_has_an_envelope_and_a_reply_stream() {
        assert_read(&REQUEST, Ok((b"{}", Some(b"p:replies:i"))));
    }

    #[test]
    fn a_notification_has_no_reply_stream() {
        assert_read(&REQUEST[..2], Ok((b"{}", None)));
    }

    #[test]
    fn the_order_of_fields_is_irrelevant() {
        let [first, second, third] = REQUEST;
        assert_read(&[third, second, first], Ok((b"{}", Some(b"p:replies:i"))));
    }

    #[test]
    fn an_entry_without_an_envelope_or_with_an_empty_one_is_refused() {
        let rows: [&[Field]; 5] = [
            &[],
            &[(b"type", b"rpc")],
            &[(b"envelope", b"")],
            &[(b"Envelope", b"{}")],
            &[(b"type", b"envelope"), (b"reply-to", b"envelope")],
        ];
        for fields in rows {
            assert_read(fields, Err(MissingEnvelope));
        }
    }

    #[test]
    fn type_is_never_read() {
        assert_read(&[(b"envelope", b"{}")], Ok((b"{}", None)));
        assert_read(&[(b"type", b"\xff"), (b"envelope", b"{}")], Ok((b"{}", None)));
    }

    #[test]
    fn a_value_that_equals_a_field_name_is_a_value() {
        let fields: [Field; 4] = [
            (b"x", b"envelope"),
            (b"type", b"reply-to"),
            (b"reply-to", b"envelope"),
            (b"envelope", b"reply-to"),
        ];
        assert_read(&fields, Ok((b"reply-to", Some(b"envelope"))));
    }

    #[test]
    fn extra_fields_and_arbitrary_bytes_are_fine() {
        let fields: [Field; 4] =
            [(b"\xff\0", b"\xfe"), (b"", b""), (b"traceparent", b"00-"), (b"envelope", b"\xff\0")];
        assert_read(&fields, Ok((b"\xff\0", None)));
    }

    #[test]
    fn of_a_field_written_twice_the_last_counts() {
        let twice: [Field; 4] =
            [(b"envelope", b"1"), (b"reply-to", b"a"), (b"envelope", b"2"), (b"reply-to", b"b")];
        assert_read(&twice, Ok((b"2", Some(b"b"))));
        assert_read(&[(b"envelope", b"1"), (b"envelope", b"")], Err(MissingEnvelope));
    }

    #[test]
    fn a_trace_is_read_and_what_is_none_is_absent() {
        const VALID: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = |value: &'static [u8]| {
            let entry = entry(&[REQUEST[0], REQUEST[1], REQUEST[2], (b"traceparent", value)]);
            CommandFields::read(&entry).unwrap().traceparent
        };
        assert_eq!(read(VALID).unwrap().to_bytes(), VALID);
        for garbage in [&b""[..], b"envelope", b"00-", b"\xff\0", &VALID[1..]] {
            assert_eq!(read(garbage), None, "{garbage:?}");
        }
        assert_eq!(CommandFields::read(&entry(&REQUEST)).unwrap().traceparent, None);
    }

    #[test]
    fn the_fields_are_the_peers_fields() {
        assert_eq!([TYPE, RPC, ENVELOPE, REPLY_TO], ["type", "rpc", "envelope", "reply-to"]);
    }

    fn timeout(text: &'static [u8]) -> Option<Duration> {
        let entry = entry(&[&REQUEST[..], &[(b"timeout-ms", text)]].concat());
        CommandFields::read(&entry).expect("an envelope").timeout
    }

    #[test]
    fn a_timeout_is_read_as_it_was_written() {
        for millis in [0, 1, 1500, u64::MAX] {
            let written = encode_timeout(Duration::from_millis(millis)).expect("it fits");
            assert_eq!(written, millis.to_string());
            assert_eq!(timeout(written.leak().as_bytes()), Some(Duration::from_millis(millis)));
        }
        let entry = entry(&REQUEST);
        assert_eq!(CommandFields::read(&entry).expect("an envelope").timeout, None);
    }

    #[test]
    fn a_timeout_is_rounded_up_and_one_that_does_not_fit_is_not_written() {
        let written = |nanos| encode_timeout(Duration::from_nanos(nanos));
        assert_eq!(written(1).as_deref(), Some("1"));
        assert_eq!(written(1_000_000).as_deref(), Some("1"));
        assert_eq!(written(1_000_001).as_deref(), Some("2"));
        assert_eq!(encode_timeout(Duration::MAX), None);
        let most = Duration::from_millis(u64::MAX);
        assert_eq!(encode_timeout(most + Duration::from_nanos(1)), None);
    }

    #[test]
    fn a_timeout_that_cannot_be_read_is_none() {
        let rows: [&[u8]; 9] =
            [b"", b"-1", b"+1", b" 1", b"1.0", b"1e3", b"\xff", b"x", b"18446744073709551616"];
        for text in rows {
            assert_eq!(timeout(text), None, "{text:?}");
        }
        assert_eq!(timeout(b"007"), Some(Duration::from_millis(7)));
    }
}
