//! The wire of clamator: JSON-RPC 2.0 envelopes, names, keys and entry fields as bytes and values.
//!
//! Everything here is a pure function of its arguments. It is not the rules of a client or a
//! server (those are `clamator-engine`), and it knows no Redis command and no runtime. JSON that
//! passes through (params, results, error data, ids) stays the text it was: nothing is rounded,
//! reordered or dropped. Input may be any bytes: it is refused with a reason, never with a panic.
//!
//! Spec: <https://www.jsonrpc.org/specification>, without batch.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod contract;
pub mod encode;
pub mod entry;
mod envelope;
mod error;
mod id;
pub mod integer;
mod invalid;
mod json;
mod keys;
mod members;
mod method;
mod name;
mod parse;
mod scan;
mod text;
mod traceparent;

pub use contract::{Contract, DuplicateMethod, MethodKind};
pub use envelope::{Envelope, Failure, Notification, Request, Success};
pub use error::{
    INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, RpcError,
};
pub use id::{RawId, RequestId};
pub use invalid::{InvalidEnvelope, InvalidJson, Reason};
pub use json::{DecodeError, EncodeError, Json};
pub use keys::Keys;
pub use method::{InvalidMethod, Method};
pub use name::{InvalidName, MethodName, NameKind, ServiceName};
pub use scan::{DATA_DEPTH_MAX, DEPTH_MAX, PIECE_DEPTH_MAX};
/// One JSON value as the text it was written in, borrowed from an envelope.
pub use serde_json::value::RawValue;
pub use traceparent::{InvalidTraceparent, Traceparent};
