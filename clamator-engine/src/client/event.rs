//! [`ClientConfig`] and [`ClientEvent`]: what a client is told before it starts and what it tells its
//! application.
//!
//! Not the rules that use them.

use alloc::string::String;
use core::fmt::Write;
use core::time::Duration;

use clamator_proto::{InvalidEnvelope, Json};

use crate::call::{CallError, CallId};
use crate::engine::Loss;
use crate::reply::Refusal;
use crate::seeded::Seeded;
use crate::stream_id::StreamId;

/// Settings of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How long any command but a blocking read may take. Default 5 s.
    pub command_timeout: Duration,
    /// How long connecting a lane may take, handshake included. Default 2 s.
    pub connect_timeout: Duration,
    /// Most calls under way at once; further ones wait for a place within their own timeout. Once a
    /// client has called several services, those of one get three quarters at most, so that one that
    /// nobody serves leaves some to the others. Default 1000, at least 1; keep it below the servers'
    /// `reply_stream_max_len`.
    pub in_flight_max: usize,
    /// Names the client's reply stream, which it deletes when it stops. Must be unique, and not
    /// empty. Default: the nonce in hexadecimal.
    pub instance: String,
    /// Makes request ids unique to this start of this client. Take it from a random source.
    pub nonce: [u8; 16],
    /// First part of every key.
    pub prefix: String,
    /// How long a blocking read waits. Default 1 s, at least 1 ms, at most an hour.
    pub read_block: Duration,
    /// Decides the spread of timers. Take it from a random source, or fix it to repeat a run.
    pub seed: u64,
    pub(crate) seeded: Seeded,
    /// How long a call may take from being made to its reply. Default 30 s.
    pub timeout: Duration,
    /// Whether the request of a call that is about to end unanswered, or was cancelled, is taken
    /// back if no worker was given it. Default `true`. Redis before 7.0 is left alone: its
    /// reclaiming stumbles over what is gone.
    pub withdraw: bool,
}

impl ClientConfig {
    /// Makes the default settings for this key prefix, nonce and seed.
    #[must_use]
    pub fn new(prefix: impl Into<String>, nonce: [u8; 16], seed: u64) -> Self {
        Self {
            command_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            in_flight_max: 1000,
            instance: hexadecimal(&nonce),
            nonce,
            prefix: prefix.into(),
            read_block: Duration::from_secs(1),
            seed,
            seeded: Seeded::default(),
            timeout: Duration::from_secs(30),
            withdraw: true,
        }
    }
}

/// Writes bytes as hexadecimal text.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a client tells its application.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Both lanes are open, for the first time or again.
    Connected,
    /// A lane that was open is not, or could not be opened. Said once until both are open again,
    /// and once more for each further kind of reason: out of reach, TLS, credentials, ….
    Disconnected(Loss),
    /// A call ended. Said once for each call, unless it was cancelled.
    Finished(CallId, Result<Json, CallError>),
    /// A notification is on its stream, or is not. Said once for each, unless it was cancelled.
    Notified(CallId, Result<(), CallError>),
    /// The reply stream could not be read. It is tried again.
    ReadRefused(Refusal),
    /// Stopped; both lanes are closed. The last event.
    Stopped,
    /// An entry of the reply stream is no response. It was dropped.
    Unparsable {
        /// Which entry.
        entry: StreamId,
        /// What is wrong with it; `None` when it has no envelope.
        fault: Option<InvalidEnvelope>,
    },
}

impl ClientEvent {
    /// The call or notification whose end this tells.
    pub(super) const fn call(&self) -> Option<CallId> {
        match self {
            Self::Finished(id, _) | Self::Notified(id, _) => Some(*id),
            Self::Connected
            | Self::Disconnected(_)
            | Self::ReadRefused(_)
            | Self::Stopped
            | Self::Unparsable { .. } => None,
        }
    }
}
