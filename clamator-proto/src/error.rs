//! What a failure says on the wire: a code, a message and data.
//!
//! Not the errors of this crate's own functions: each of those stands beside its function. Codes
//! from -32768 to -32000 belong to the spec; an application is free to use all others, and the
//! peers use -32000 too. The caller sees the message and the data, so no secret belongs in them.
//!
//! Spec: <https://www.jsonrpc.org/specification#error_object>

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
};
use core::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::{
    invalid::InvalidEnvelope,
    json::Json,
    scan::{self, DATA_DEPTH_MAX},
    text,
};

/// The text is not JSON. The peers document this code and never send it.
pub const PARSE_ERROR: i64 = -32700;
/// The JSON is no envelope. The peers document this code and never send it.
pub const INVALID_REQUEST: i64 = -32600;
/// The service has no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The params are not what the method takes.
pub const INVALID_PARAMS: i64 = -32602;
/// The handler failed, or what it returned is not what the method returns.
pub const INTERNAL_ERROR: i64 = -32603;

/// The name, in data, of the failure to write what the data should have been.
const UNWRITABLE: &str = "EncodeError";

/// The error that a caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code} {message}")]
#[non_exhaustive]
pub struct RpcError {
    /// What kind of failure it is; the reserved ones are constants of this crate.
    pub code: i64,
    /// One short sentence for people.
    pub message: String,
    /// Whatever else the caller is told; `None` is written as null. What is nested deeper than
    /// [`DATA_DEPTH_MAX`] is replaced when it is written, as by [`with_data`](Self::with_data).
    pub data: Option<Json>,
}

impl RpcError {
    /// Makes an error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// Replaces the data; null is the same as none.
    ///
    /// Data that cannot be written as JSON, or is nested deeper than [`DATA_DEPTH_MAX`] (126), is
    /// replaced by `{name, message}`, which say why: the error itself always reaches its caller.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(self, data: &T) -> Self {
        let data = Json::encode_within(data, DATA_DEPTH_MAX);
        let data = data.unwrap_or_else(|error| named(UNWRITABLE, &error));
        Self { data: Some(data).filter(|data| !data.is_null()), ..self }
    }

    /// The data to write. The field may have been given a value that is too deep here, such as
    /// params.
    pub(crate) fn data_to_write(&self) -> Option<Cow<'_, Json>> {
        let data = self.data.as_ref()?;
        Some(match scan::depth(data.as_str(), DATA_DEPTH_MAX) {
            Ok(()) => Cow::Borrowed(data),
            Err(error) => Cow::Owned(named(UNWRITABLE, &error)),
        })
    }

    /// The answer to a method that the service does not have.
    pub fn method_not_found() -> Self {
        Self::new(METHOD_NOT_FOUND, "Method not found")
    }

    /// The answer to params that do not fit: data is `{name, message}` of what went wrong.
    pub fn invalid_params(name: &str, message: impl fmt::Display) -> Self {
        Self { data: Some(named(name, &message)), ..Self::new(INVALID_PARAMS, "Invalid params") }
    }

    /// The answer of a handler that failed: data is `{name, message}` of what went wrong.
    pub fn internal(name: &str, message: impl fmt::Display) -> Self {
        Self { data: Some(named(name, &message)), ..Self::new(INTERNAL_ERROR, "Internal error") }
    }

    /// The answer when a result does not fit or cannot be written: data is `{name, message}`.
    pub fn invalid_result(name: &str, message: impl fmt::Display) -> Self {
        let error = Self::new(INTERNAL_ERROR, "Result validation failed");
        Self { data: Some(named(name, &message)), ..error }
    }
}

impl From<&InvalidEnvelope> for RpcError {
    /// The answer to a text that is no envelope, for the id it carries.
    fn from(invalid: &InvalidEnvelope) -> Self {
        Self::new(invalid.code(), invalid.to_string())
    }
}

/// The data that the peers' callers expect of a failure they do not know.
fn named(name: &str, message: &dyn fmt::Display) -> Json {
    let (name, message) = (text::quote(name), text::quote(&message.to_string()));
    Json::from_valid(format!(r#"{{"name":{name},"message":{message}}}"#))
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec};

    use super::*;
    use crate::envelope::Envelope;

    fn shown(error: &RpcError) -> (i64, &str, Option<&str>) {
        (error.code, error.message.as_str(), error.data.as_ref().map(Json::as_str))
    }

    #[test]
    fn reserved_errors_have_the_codes_and_texts_of_the_peers() {
        let data = Some(r#"{"name":"Missing","message":"no \"a\""}"#);
        assert_eq!(shown(&RpcError::method_not_found()), (-32601, "Method not found", None));
        let error = RpcError::invalid_params("Missing", "no \"a\"");
        assert_eq!(shown(&error), (-32602, "Invalid params", data));
        let error = RpcError::internal("Missing", "no \"a\"");
        assert_eq!(shown(&error), (-32603, "Internal error", data));
        let error = RpcError::invalid_result("Missing", "no \"a\"");
        assert_eq!(shown(&error), (-32603, "Result validation failed", data));
    }

    #[test]
    fn an_invalid_envelope_is_answered_with_its_own_text() {
        let error = RpcError::from(&Envelope::parse(b"[]").unwrap_err());
        assert_eq!(shown(&error), (-32600, "Invalid Request: batch requests not supported", None));
        let error = RpcError::from(&Envelope::parse(b"{").unwrap_err());
        assert_eq!(shown(&error), (-32700, "Parse error: invalid JSON at line 1 column 1", None));
    }

    #[test]
    fn data_is_any_value_and_null_is_none() {
        let error =
            RpcError::new(-32000, "division by zero").with_data(&BTreeMap::from([("a", 10)]));
        assert_eq!(shown(&error), (-32000, "division by zero", Some(r#"{"a":10}"#)));
        assert_eq!(error.with_data(&()).data, None);
    }

    #[test]
    fn data_that_cannot_be_written_is_replaced_and_the_error_goes_out() {
        let error = RpcError::new(1, "m").with_data(&BTreeMap::from([(vec![1], 1)]));
        assert_eq!(
            shown(&error),
            (1, "m", Some(r#"{"name":"EncodeError","message":"key must be a string"}"#))
        );
    }

    #[test]
    fn data_of_126_levels_is_taken_and_deeper_data_replaced() {
        let nested = |depth| Json::parse("[".repeat(depth) + &"]".repeat(depth)).unwrap();
        let error = RpcError::new(1, "m").with_data(&nested(126));
        assert_eq!(error.data, Some(nested(126)));
        let data = r#"{"name":"EncodeError","message":"nested deeper than 126"}"#;
        for error in [error.clone().with_data(&nested(127)), error.with_data(&[nested(127)])] {
            assert_eq!(shown(&error), (1, "m", Some(data)));
        }
    }

    #[test]
    fn an_error_shows_code_and_message() {
        assert_eq!(RpcError::method_not_found().to_string(), "-32601 Method not found");
    }
}
