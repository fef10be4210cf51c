//! The fields of a stream entry, by name and in any order.
//!
//! Not the envelope's content: that is [`Envelope`](crate::Envelope). Fields are found by name at
//! the even places only, so a value that equals a field name is a value. `type` is never read.
//! Fields that are not known are ignored, and of a field written twice the last counts.

use thiserror::Error;

/// The field that says what an entry is. Written, never read.
pub const TYPE: &str = "type";
/// The value of [`TYPE`] in every entry.
pub const RPC: &str = "rpc";
/// The field with the JSON text.
pub const ENVELOPE: &str = "envelope";
/// The field with the key of the stream that wants the reply; only requests have it.
pub const REPLY_TO: &str = "reply-to";

/// What a server reads from an entry of a command stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandFields<'a> {
    /// The JSON text, any bytes but none.
    pub envelope: &'a [u8],
    /// Where the reply goes, unchecked and perhaps empty; `None` when the entry does not say.
    pub reply_to: Option<&'a [u8]>,
}

impl<'a> CommandFields<'a> {
    /// Finds the fields among an entry's (name, value) pairs.
    ///
    /// # Errors
    ///
    /// [`MissingEnvelope`] when there is no envelope or an empty one.
    pub fn read<I>(fields: I) -> Result<Self, MissingEnvelope>
    where
        I: IntoIterator<Item = (&'a [u8], &'a [u8])>,
    {
        let (mut envelope, mut reply_to) = (&b""[..], None);
        for (name, value) in fields {
            if name == ENVELOPE.as_bytes() {
                envelope = value;
            } else if name == REPLY_TO.as_bytes() {
                reply_to = Some(value);
            }
        }
        if envelope.is_empty() {
            return Err(MissingEnvelope);
        }
        Ok(Self { envelope, reply_to })
    }
}

/// What a client reads from an entry of its reply stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyFields<'a> {
    /// The JSON text, any bytes but none.
    pub envelope: &'a [u8],
}

impl<'a> ReplyFields<'a> {
    /// Finds the fields among an entry's (name, value) pairs.
    ///
    /// # Errors
    ///
    /// [`MissingEnvelope`] when there is no envelope or an empty one.
    pub fn read<I>(fields: I) -> Result<Self, MissingEnvelope>
    where
        I: IntoIterator<Item = (&'a [u8], &'a [u8])>,
    {
        let CommandFields { envelope, .. } = CommandFields::read(fields)?;
        Ok(Self { envelope })
    }
}

/// An entry without a JSON text; the fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("entry has no envelope")]
#[non_exhaustive]
pub struct MissingEnvelope;

#[cfg(test)]
mod tests {
    use super::*;

    type Field = (&'static [u8], &'static [u8]);

    const REQUEST: [Field; 3] = [
        (b"type", b"rpc"),
        (b"envelope", b"{}"),
        (b"reply-to", b"p:replies:i"),
    ];

    #[test]
    fn a_request_has_an_envelope_and_a_reply_stream() {
        let fields = CommandFields::read(REQUEST).unwrap();
        assert_eq!(fields.envelope, b"{}");
        assert_eq!(fields.reply_to, Some(&b"p:replies:i"[..]));
    }

    #[test]
    fn a_notification_has_no_reply_stream() {
        let fields = CommandFields::read(REQUEST.into_iter().take(2)).unwrap();
        assert_eq!(fields.reply_to, None);
    }

    #[test]
    fn the_order_of_fields_is_irrelevant() {
        let reversed = CommandFields::read(REQUEST.into_iter().rev());
        assert_eq!(reversed, CommandFields::read(REQUEST));
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
            assert_eq!(
                CommandFields::read(fields.iter().copied()),
                Err(MissingEnvelope)
            );
            assert_eq!(
                ReplyFields::read(fields.iter().copied()),
                Err(MissingEnvelope)
            );
        }
    }

    #[test]
    fn type_is_never_read() {
        for fields in [
            &[(b"envelope".as_slice(), b"{}".as_slice())][..],
            &[(b"type", b"\xff"), (b"envelope", b"{}")],
        ] {
            assert!(CommandFields::read(fields.iter().copied()).is_ok());
        }
    }

    #[test]
    fn a_value_that_equals_a_field_name_is_a_value() {
        let fields: [Field; 4] = [
            (b"x", b"envelope"),
            (b"type", b"reply-to"),
            (b"reply-to", b"envelope"),
            (b"envelope", b"reply-to"),
        ];
        let fields = CommandFields::read(fields).unwrap();
        assert_eq!(
            (fields.envelope, fields.reply_to),
            (&b"reply-to"[..], Some(&b"envelope"[..]))
        );
    }

    #[test]
    fn extra_fields_and_arbitrary_bytes_are_fine() {
        let fields: [Field; 4] = [
            (b"\xff\0", b"\xfe"),
            (b"", b""),
            (b"traceparent", b"00-"),
            (b"envelope", b"\xff\0"),
        ];
        assert_eq!(CommandFields::read(fields).unwrap().envelope, b"\xff\0");
        assert_eq!(ReplyFields::read(fields).unwrap().envelope, b"\xff\0");
    }

    #[test]
    fn of_a_field_written_twice_the_last_counts() {
        let twice: [Field; 4] = [
            (b"envelope", b"1"),
            (b"reply-to", b"a"),
            (b"envelope", b"2"),
            (b"reply-to", b"b"),
        ];
        let fields = CommandFields::read(twice).unwrap();
        assert_eq!(
            (fields.envelope, fields.reply_to),
            (&b"2"[..], Some(&b"b"[..]))
        );
        let emptied: [Field; 2] = [(b"envelope", b"1"), (b"envelope", b"")];
        assert_eq!(CommandFields::read(emptied), Err(MissingEnvelope));
    }

    #[test]
    fn the_fields_are_the_peers_fields() {
        assert_eq!(
            [TYPE, RPC, ENVELOPE, REPLY_TO],
            ["type", "rpc", "envelope", "reply-to"]
        );
    }
}
