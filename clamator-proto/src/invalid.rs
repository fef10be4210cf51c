//! Why a text is no envelope: always the fault of whoever wrote it.
//!
//! The texts of [`Reason`] are the ones the peers write, in the order they check. Not the errors of
//! encoding or of decoding into a type: those are in `json`. When the text is JSON and has an id
//! that can be answered, [`InvalidEnvelope`] carries it, so a caller need not wait for its timeout.
//!
//! Spec: <https://www.jsonrpc.org/specification#error_object>

use thiserror::Error;

use crate::{
    error::{INVALID_REQUEST, PARSE_ERROR},
    id::RequestId,
    method::InvalidMethod,
};

/// A text that is no envelope, and who may be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {reason}", self.title())]
#[non_exhaustive]
pub struct InvalidEnvelope {
    /// The first rule that the text breaks.
    pub reason: Reason,
    /// The id it carries, when the text is JSON and its `id` is a string or a number.
    pub id: Option<RequestId>,
}

impl InvalidEnvelope {
    /// The code to answer with: [`PARSE_ERROR`] for a text that is not JSON, else
    /// [`INVALID_REQUEST`].
    pub fn code(&self) -> i64 {
        if self.reason.is_json() { INVALID_REQUEST } else { PARSE_ERROR }
    }

    fn title(&self) -> &'static str {
        if self.reason.is_json() { "Invalid Request" } else { "Parse error" }
    }
}

impl<R: Into<Reason>> From<R> for InvalidEnvelope {
    fn from(reason: R) -> Self {
        Self { reason: reason.into(), id: None }
    }
}

/// The rule that a text breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The text is not JSON, or nested too deeply to be read.
    #[error(transparent)]
    Json(#[from] InvalidJson),
    /// The text is an array.
    #[error("batch requests not supported")]
    Batch,
    /// The text is neither an array nor an object.
    #[error("not an object")]
    NotObject,
    /// `jsonrpc` is anything but the string `2.0`.
    #[error("jsonrpc must equal \"2.0\"")]
    Version,
    /// `method` is a string of another form.
    #[error(transparent)]
    Method(#[from] InvalidMethod),
    /// The id of a request is a bool, an array or an object.
    #[error("id must be string or number")]
    Id,
    /// There is a result and no id to match it with.
    #[error("response must have id")]
    ResponseId,
    /// `error` is not an object with an integral `code` and a string `message`.
    #[error("error must have numeric code + string message")]
    Error,
    /// There is neither a method nor exactly one of result and error.
    #[error("envelope must be request, notification, or response")]
    Kind,
}

impl Reason {
    /// Whether the text is JSON all the same.
    fn is_json(self) -> bool {
        match self {
            Self::Json(
                InvalidJson::ByteOrderMark
                | InvalidJson::InvalidUtf8 { .. }
                | InvalidJson::Syntax { .. },
            ) => false,
            Self::Json(InvalidJson::TooDeep { .. })
            | Self::Batch
            | Self::NotObject
            | Self::Version
            | Self::Method(_)
            | Self::Id
            | Self::ResponseId
            | Self::Error
            | Self::Kind => true,
        }
    }
}

/// Why bytes are not taken as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidJson {
    /// The text begins with U+FEFF.
    #[error("byte order mark before the text")]
    ByteOrderMark,
    /// The bytes are not UTF-8.
    #[error("invalid UTF-8 at byte {offset}")]
    InvalidUtf8 {
        /// How many bytes before the first bad one are good.
        offset: usize,
    },
    /// The text breaks JSON's grammar: also NaN, an unfinished text, anything behind the value.
    #[error("invalid JSON at line {line} column {column}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1; 0 is the end of the line before.
        column: usize,
    },
    /// The text is JSON, with more arrays and objects around a value than may be there.
    #[error("nested deeper than {depth_max}")]
    TooDeep {
        /// How many may be: [`DEPTH_MAX`](crate::DEPTH_MAX) in an envelope,
        /// [`PIECE_DEPTH_MAX`](crate::PIECE_DEPTH_MAX) in a [`Json`](crate::Json).
        depth_max: usize,
    },
}

impl From<serde_json::Error> for InvalidJson {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax { line: error.line(), column: error.column() }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_broken_rule_is_told_in_the_words_of_the_peers() {
        let rows = [
            (Reason::Batch, "batch requests not supported"),
            (Reason::NotObject, "not an object"),
            (Reason::Version, "jsonrpc must equal \"2.0\""),
            (InvalidMethod::Shape.into(), "method must be \"<service>.<method>\""),
            (InvalidMethod::Service.into(), "invalid service segment"),
            (InvalidMethod::Name.into(), "invalid method segment"),
            (Reason::Id, "id must be string or number"),
            (Reason::ResponseId, "response must have id"),
            (Reason::Error, "error must have numeric code + string message"),
            (Reason::Kind, "envelope must be request, notification, or response"),
            (InvalidJson::TooDeep { depth_max: 128 }.into(), "nested deeper than 128"),
        ];
        for (reason, text) in rows {
            assert_eq!(reason.to_string(), text);
            let invalid = InvalidEnvelope::from(reason);
            assert_eq!(invalid.to_string().strip_prefix("Invalid Request: "), Some(text));
            assert_eq!(invalid.code(), -32600);
        }
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        let rows = [
            (InvalidJson::ByteOrderMark, "byte order mark before the text"),
            (InvalidJson::InvalidUtf8 { offset: 3 }, "invalid UTF-8 at byte 3"),
            (InvalidJson::Syntax { line: 1, column: 2 }, "invalid JSON at line 1 column 2"),
        ];
        for (invalid, text) in rows {
            let invalid = InvalidEnvelope::from(invalid);
            assert_eq!(invalid.to_string().strip_prefix("Parse error: "), Some(text));
            assert_eq!(invalid.code(), -32700);
        }
    }
}
