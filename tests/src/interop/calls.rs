//! [`Call`] and [`Outcome`]: what `interop-client` reads and writes, and `arith_client.py` too.
//!
//! Not the calling. Params, results and error data are the text they were, so that a test can see
//! what a peer wrote: numbers, escapes and spaces included.

use clamator_driver::{CallError, Json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// One call or notification to make.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// `<service>.<method>`, or a method of `arith`.
    pub method: String,
    pub params: Option<Json>,
    #[serde(default)]
    pub notification: bool,
    pub timeout_ms: Option<u64>,
    /// Which trace it belongs to. The Python peer's client knows of none.
    pub traceparent: Option<String>,
}

/// What became of a call or notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub ok: bool,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub result: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Written as null for an RPC error without data.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub data: Option<Json>,
}

/// How a call or notification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Notification,
    ProtocolError,
    Result,
    RpcError,
    TransportError,
    UnknownError,
}

impl Call {
    /// The method with its service.
    pub fn full_method(&self) -> String {
        if self.method.contains('.') {
            self.method.clone()
        } else {
            format!("arith.{}", self.method)
        }
    }
}

impl Outcome {
    pub fn result(result: Json) -> Self {
        Self { ok: true, result: Some(result), ..Self::of(Kind::Result) }
    }

    pub fn notification() -> Self {
        Self { ok: true, ..Self::of(Kind::Notification) }
    }

    pub fn error(error: CallError) -> Self {
        let message = Some(error.to_string());
        match error {
            CallError::Rpc(error) => Self {
                code: Some(error.code),
                message: Some(error.message),
                data: Some(error.data.unwrap_or_else(Json::null)),
                ..Self::of(Kind::RpcError)
            },
            // The Python peer's client refuses a bad name with an error of its own kind.
            CallError::Invalid(_) | CallError::Protocol(_) => {
                Self { message, ..Self::of(Kind::ProtocolError) }
            }
            _ => Self { message, ..Self::of(Kind::TransportError) },
        }
    }

    fn of(kind: Kind) -> Self {
        Self { ok: false, kind, result: None, code: None, message: None, data: None }
    }

    /// The result as text, as the peer's client printed it.
    pub fn text(&self) -> &str {
        match &self.result {
            Some(result) => result.as_str(),
            None => panic!("no result: {self:?}"),
        }
    }

    /// The result as a value.
    pub fn value<T: DeserializeOwned>(&self) -> T {
        let value = serde_json::from_str(self.text());
        value.unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The member `sum` of the result. Python and Rust write `5.0` where it is a float.
    pub fn sum(&self) -> f64 {
        let result: serde_json::Value = self.value();
        result["sum"].as_f64().unwrap_or_else(|| panic!("no sum: {self:?}"))
    }

    /// The error's code, message and data.
    pub fn rpc_error(&self) -> (i64, &str, serde_json::Value) {
        let parts = (self.kind, self.code, &self.message, &self.data);
        let (Kind::RpcError, Some(code), Some(message), Some(data)) = parts else {
            panic!("no error with data: {self:?}")
        };
        (code, message, serde_json::from_str(data.as_str()).expect("data is JSON"))
    }

    /// The message of an outcome of this kind.
    pub fn message(&self, kind: Kind) -> &str {
        match &self.message {
            Some(message) if self.kind == kind => message,
            _ => panic!("not a {kind:?}: {self:?}"),
        }
    }

    pub fn is_timeout(&self) -> bool {
        self.kind == Kind::TransportError && self.message.as_deref() == Some("call timeout")
    }
}

/// Reads null as a value, not as absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}
