//! [`Streams`]: a Redis server's streams in memory, as an exact and pure state machine.
//!
//! Not a server: no socket, no thread, no clock. Commands go in with [`Streams::handle`], replies
//! come out of [`Streams::poll`]; a blocked read has no reply until something ends it. The one
//! thing a caller could break: `now` must never go back.
//!
//! <https://redis.io/docs/latest/develop/data-types/streams/>

use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::command::Command;
use crate::engine::Version;
use crate::reply::{PendingEntry, Refusal, Reply};
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A Redis server, as far as the commands of [`Command`] go.
#[derive(Debug)]
pub struct Streams {
    options: Options,
    connections: u64,
    outbox: VecDeque<Progress>,
}

/// What a server is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The server's clock at [`Instant::ZERO`]: milliseconds since the Unix epoch.
    pub epoch_ms: u64,
    /// Which Redis it behaves like. Default 7.0.0. Valkey behaves like the Redis of its number.
    pub version: Version,
}

impl Default for Options {
    fn default() -> Self {
        Self { epoch_ms: 1_700_000_000_000, version: Version::new(7, 0, 0) }
    }
}

/// A connection to a [`Streams`]; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Its number: what `CLIENT ID` tells and [`Command::ClientUnblock`] takes.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What [`Streams::poll`] has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Progress {
    /// No reply before this instant, or before the next command if there is none.
    Idle(Option<Instant>),
    /// A command was answered. The replies of one connection come in the order of its commands.
    Replied {
        /// Whose command.
        connection: ConnectionId,
        /// What [`Streams::handle`] was given with the command.
        ticket: u64,
        /// The answer.
        reply: Result<Reply, Refusal>,
    },
}

impl Streams {
    /// Starts a server without any keys.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, connections: 0, outbox: VecDeque::new() }
    }

    /// Opens a connection.
    pub fn connect(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId(self.connections)
    }

    /// Ends a connection: its blocked read, its commands queued behind it and its replies not yet
    /// polled are gone.
    pub fn disconnect(&mut self, _now: Instant, connection: ConnectionId) {
        self.outbox
            .retain(|p| !matches!(p, Progress::Replied { connection: c, .. } if *c == connection));
    }

    /// Takes a command; `ticket` comes back with its reply. Commands of a connection that is not
    /// open are dropped.
    pub fn handle(
        &mut self,
        _now: Instant,
        connection: ConnectionId,
        ticket: u64,
        _command: Command,
    ) {
        let reply = Err(Refusal::new("ERR", "unknown command"));
        self.outbox.push_back(Progress::Replied { connection, ticket, reply });
    }

    /// Says the next thing: a reply, or until when there is none. Call until [`Progress::Idle`].
    pub fn poll(&mut self, _now: Instant) -> Progress {
        self.outbox.pop_front().unwrap_or(Progress::Idle(None))
    }

    /// Tells the server's clock (`TIME`): what has passed since the Unix epoch.
    #[must_use]
    pub fn time(&self, now: Instant) -> Duration {
        Duration::from_millis(self.options.epoch_ms).saturating_add(now.since_start())
    }

    /// Sets the server's clock: what it shows at [`Instant::ZERO`]. It may step back.
    pub fn set_epoch_ms(&mut self, epoch_ms: u64) {
        self.options.epoch_ms = epoch_ms;
    }

    /// `DEL key`, by somebody else. Tells whether there was such a key.
    pub fn delete(&mut self, _now: Instant, _key: &[u8]) -> bool {
        false
    }

    /// `XGROUP DESTROY key group`. Tells whether there was such a group.
    pub fn destroy_group(&mut self, _now: Instant, _key: &[u8], _group: &[u8]) -> bool {
        false
    }

    /// `FLUSHALL`.
    pub fn flush_all(&mut self, _now: Instant) {}

    /// `SET key …`: from now on stream commands on the key are refused with `WRONGTYPE`.
    pub fn set_string(&mut self, _now: Instant, _key: Bytes) {}

    /// `XLEN key`; 0 for a key that is no stream.
    #[must_use]
    pub fn len(&self, _key: &[u8]) -> usize {
        0
    }

    /// `XPENDING key group - + <all>`: what any consumer has pending.
    #[must_use]
    pub fn pending(&self, _now: Instant, _key: &[u8], _group: &[u8]) -> Vec<PendingEntry> {
        Vec::new()
    }
}
