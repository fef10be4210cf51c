//! [`CallError`]: how a call ends when it does not end with a result.
//!
//! Sorted by what the caller may do next, not by where it went wrong: see each variant. Not the
//! rules of when a call ends: those are the client's.
//!
//! <https://www.jsonrpc.org/specification#error_object>

use alloc::string::String;

use clamator_proto::{InvalidEnvelope, InvalidMethod, RpcError};

use crate::reply::Refusal;

/// Names one call or notification of one [`Client`](crate::Client).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(crate) u64);

/// How a call or notification failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The call itself is at fault. Nothing was sent; change the call.
    #[error("the call is not valid: {0}")]
    Invalid(InvalidCall),
    /// No worker was given the request within the call's timeout, and none will be: it was taken
    /// back, or not even queued, where it is known that nobody serves it. Safe to call again.
    ///
    /// Workers may be absent or busy. Redis says who was given what, so it is as certain as Redis is:
    /// not where the group is destroyed while a worker runs the request, nor where the connection
    /// leads to a master that another server has replaced and that does not know yet.
    ///
    /// The same call ends with [`Timeout`](Self::Timeout) on Redis before 7.0, when the client was told
    /// not to withdraw or its user was once refused to on this connection, when another consumer
    /// group reads the stream, when the connection was lost since the request was sent, when a worker
    /// was given the request and handed it back, and when there is no time for two round trips to
    /// Redis in the last sixteenth of the timeout, or its last 100 ms.
    #[error("no worker took this request")]
    NoWorkers,
    /// The request never left: Redis is out of reach, no place was free in time, or no time was left
    /// for it from the start. Safe to call again.
    #[error(
        "the request was not sent: Redis is out of reach, too many calls are under way, or no time \
         was left"
    )]
    NotSent,
    /// The connection ended before Redis confirmed the request. It may run, or may have run.
    #[error("the connection ended before Redis confirmed the request, which may have run")]
    OutcomeUnknown,
    /// A reply came that makes no sense. The request may have run.
    #[error("{0}")]
    Protocol(ProtocolFault),
    /// A handler called its own serial service on its own server, and would wait for itself. Nothing
    /// was sent; see `Service::allow_reentrant` of the driver.
    #[error("a handler called its own serial service, and would wait for itself")]
    Reentrant,
    /// Redis refused to queue the request; it will not run.
    #[error("Redis refused the request: {0}")]
    Refused(Refusal),
    /// The server answered with an error.
    #[error("{0}")]
    Rpc(RpcError),
    /// The client was stopped. A request that was sent may run.
    #[error("the client has been stopped")]
    Stopped,
    /// No reply came in time. The request may run or may have run, or waits for a worker where it
    /// could not be taken back: see [`NoWorkers`](Self::NoWorkers).
    #[error("call timeout")]
    Timeout,
}

/// What is wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCall {
    /// The client's instance name is empty, and servers refuse a reply stream without a name.
    #[error("the client's instance name is empty, so no reply could reach it: give another")]
    Instance,
    /// The method is not `<service>.<method>`.
    #[error("invalid method \"{method}\": {fault}")]
    Method {
        /// What is wrong with it.
        fault: InvalidMethod,
        /// The method as it was given.
        method: String,
    },
    /// The parameters cannot be written as JSON, or are nested deeper than
    /// [`PIECE_DEPTH_MAX`](clamator_proto::PIECE_DEPTH_MAX) (127).
    #[error("the parameters cannot be written as JSON: {detail}")]
    Params {
        /// What the encoder said.
        detail: String,
    },
    /// The request is larger than Redis takes in one value (512 MiB).
    #[error("the request has {bytes} bytes, more than Redis takes in one value")]
    TooLarge {
        /// Size of the envelope.
        bytes: usize,
    },
}

/// What is wrong with a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolFault {
    /// The reply is no JSON-RPC response.
    #[error("invalid response envelope: {} {_0}", _0.code())]
    Envelope(InvalidEnvelope),
    /// The result does not have the type that the caller asked for.
    #[error("the result does not have the expected type: {detail}")]
    Result {
        /// What the decoder said.
        detail: String,
    },
    /// The reply is a request or a notification.
    #[error("unexpected response kind: {kind}")]
    Kind {
        /// What it is: `request` or `notification`.
        kind: &'static str,
    },
}
