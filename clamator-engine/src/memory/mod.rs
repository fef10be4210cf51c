//! [`Streams`]: a Redis server's streams in memory, as a pure and exact state machine.
//!
//! Not a server: no socket, no thread, no clock. Commands go in with [`Streams::handle`], replies
//! come out of [`Streams::poll`]; a blocked read has no reply until something ends it. What real
//! servers answer, errors included, is the specification. The one thing a caller could break:
//! `now` must never go back.
//!
//! <https://redis.io/docs/latest/develop/data-types/streams/>

mod arguments;
mod commands;
mod dialect;
mod expiries;
mod group;
mod keyspace;
mod log;
mod node;
mod reads;
mod refusals;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod waits;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use self::commands::Outcome;
use self::dialect::Dialect;
use self::keyspace::Keyspace;
use self::waits::Waits;
use crate::command::Command;
use crate::engine::Version;
use crate::reply::{Fields, PendingEntry, Refusal, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// A Redis server, as far as [`Command`] goes.
///
/// Connections are served in the order in which their commands are handed in. A connection with a
/// blocked read is not served until the read ends; its later commands wait in a queue. Blocked
/// reads of one key are served in the order in which they began.
#[derive(Debug)]
pub struct Streams {
    /// Commands that wait for their connection's blocked read, by open connection.
    connections: BTreeMap<ConnectionId, VecDeque<(u64, Command)>>,
    connections_made: u64,
    epoch_ms: u64,
    keys: Keyspace,
    outbox: VecDeque<(ConnectionId, u64, Result<Reply, Refusal>)>,
    /// Connections that may have commands to carry out. Empty between calls.
    runnable: VecDeque<ConnectionId>,
    waits: Waits,
}

/// Which server is modelled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What the server's clock shows at [`Instant::ZERO`], in milliseconds since the Unix epoch.
    /// Default: a day in November 2023.
    pub epoch_ms: u64,
    /// Version of Redis, from [`Version::OLDEST`] on. Default 7.0.0. Valkey behaves as the Redis of
    /// its number.
    pub version: Version,
}

impl Default for Options {
    fn default() -> Self {
        Self { epoch_ms: 1_700_000_000_000, version: Version::new(7, 0, 0) }
    }
}

/// What all keys held at some time.
#[derive(Clone, Debug)]
pub struct Snapshot(Keyspace);

/// A connection to [`Streams`]. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// What `CLIENT ID` tells and [`Command::ClientUnblock`] takes.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What [`Streams::poll`] has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Progress {
    /// No reply before this instant, or before the next command if there is none.
    Idle(Option<Instant>),
    /// A command is answered. The replies of one connection come in the order of its commands.
    Replied {
        /// Whose command it was.
        connection: ConnectionId,
        /// What [`Streams::handle`] was given along with it.
        ticket: u64,
        /// The answer.
        reply: Result<Reply, Refusal>,
    },
}

impl Streams {
    /// Starts a server that has no keys.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { epoch_ms, version } = options;
        Self {
            connections: BTreeMap::new(),
            connections_made: 0,
            epoch_ms,
            keys: Keyspace::new(Dialect::new(version)),
            outbox: VecDeque::new(),
            runnable: VecDeque::new(),
            waits: Waits::default(),
        }
    }

    /// Opens a connection.
    pub fn connect(&mut self) -> ConnectionId {
        self.connections_made += 1;
        let connection = ConnectionId(self.connections_made);
        self.connections.insert(connection, VecDeque::new());
        connection
    }

    /// Takes a command. `ticket` is handed back with its reply; nothing else is done with it. A
    /// command of a connection that is not open is dropped.
    pub fn handle(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        ticket: u64,
        command: Command,
    ) {
        self.catch_up(now);
        if let Some(queue) = self.connections.get_mut(&connection) {
            queue.push_back((ticket, command));
            self.runnable.push_back(connection);
            self.run(now);
        }
    }

    /// Closes a connection. Its blocked read, the commands behind it and the replies that were not
    /// polled are gone; what was carried out stays.
    pub fn disconnect(&mut self, now: Instant, connection: ConnectionId) {
        self.catch_up(now);
        self.connections.remove(&connection);
        self.waits.end(connection);
    }

    /// Says the next reply, or until when there is none. Call until [`Progress::Idle`].
    pub fn poll(&mut self, now: Instant) -> Progress {
        self.expire(now, |until| until <= now);
        while let Some((connection, ticket, reply)) = self.outbox.pop_front() {
            if self.connections.contains_key(&connection) {
                return Progress::Replied { connection, ticket, reply };
            }
        }
        Progress::Idle(self.waits.first().map(|(until, _)| until))
    }

    /// When the next blocked read ends, if any is blocked.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.waits.first().map(|(until, _)| until)
    }

    /// `TIME`: what has passed since the Unix epoch by the server's clock.
    #[must_use]
    pub const fn time(&self, now: Instant) -> Duration {
        Duration::from_millis(self.epoch_ms).saturating_add(now.since_start())
    }

    /// Sets the server's clock, forward or back: what it shows at [`Instant::ZERO`]. Blocked reads
    /// wait as long as before.
    pub const fn set_epoch_ms(&mut self, epoch_ms: u64) {
        self.epoch_ms = epoch_ms;
    }

    /// `DEL key`. Tells whether there was such a key.
    pub fn delete(&mut self, now: Instant, key: &[u8]) -> bool {
        self.meddle(now, |keys| keys.delete(key))
    }

    /// `XGROUP DESTROY key group`. Tells whether there was such a group.
    pub fn destroy_group(&mut self, now: Instant, key: &[u8], group: &[u8]) -> bool {
        self.meddle(now, |keys| keys.destroy_group(key, group))
    }

    /// `FLUSHALL`. Blocked reads of several keys end in the order of the keys; Redis promises none.
    pub fn flush_all(&mut self, now: Instant) {
        self.meddle(now, Keyspace::flush);
    }

    /// `SET key`: from now on the key is of the wrong type for every stream command.
    pub fn set_string(&mut self, now: Instant, key: Bytes) {
        self.meddle(now, |keys| keys.set_other(key));
    }

    /// `XTRIM key MAXLEN = max_len`: drops the oldest entries, pending or not. Tells how many.
    pub fn trim(&mut self, now: Instant, key: &[u8], max_len: u64) -> u64 {
        self.meddle(now, |keys| match keys.stream_mut(key) {
            Ok(Some(stream)) => stream.log.trim_exactly(max_len),
            Ok(None) | Err(_) => 0,
        })
    }

    /// Carries out a command that no connection sent, such as an operator's. A blocking read is
    /// answered at once, with what there is.
    ///
    /// # Errors
    /// What Redis answers when it does not carry the command out; nothing was changed.
    pub fn carry_out(&mut self, now: Instant, command: Command) -> Result<Reply, Refusal> {
        self.catch_up(now);
        let operator = self.connect();
        self.execute(now, operator, 0, command);
        self.run(now);
        let waited = self.end_wait(operator, Ok(Reply::Entries(Vec::new())));
        self.connections.remove(&operator);
        let place = self.outbox.iter().position(|(connection, ..)| *connection == operator);
        match place.and_then(|place| self.outbox.remove(place)) {
            Some((_, _, reply)) => reply,
            None => unreachable!("a command is answered or waits, which was ended: {waited}"),
        }
    }

    /// What the keys hold now, to be put back with [`Self::restore`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.keys.clone())
    }

    /// Puts all keys back to what they held when the snapshot was taken, as a server does that
    /// comes up from an older copy of its data. Connections are the caller's business.
    pub fn restore(&mut self, now: Instant, snapshot: Snapshot) {
        self.meddle(now, |keys| keys.replace(snapshot.0));
    }

    /// `KEYS *`, in the order of their bytes.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.names()
    }

    /// `PTTL key`; `None` for a key that lives on, or is not there.
    #[must_use]
    pub fn ttl(&self, now: Instant, key: &[u8]) -> Option<Duration> {
        self.keys.ttl_ms(key, self.wall_ms(now)).map(Duration::from_millis)
    }

    /// The ids of a stream's entries, oldest first; none when there is no such stream.
    pub fn ids(&self, key: &[u8]) -> impl Iterator<Item = StreamId> {
        let stream = self.keys.stream(key).ok().flatten();
        stream.into_iter().flat_map(|stream| stream.log.ids())
    }

    /// An entry's fields; `None` when there is no such entry.
    #[must_use]
    pub fn find(&self, key: &[u8], id: StreamId) -> Option<&Fields> {
        self.keys.stream(key).ok().flatten()?.log.find(id)
    }

    /// What `XPENDING` tells of one entry; `None` when it is not pending.
    #[must_use]
    pub fn pending_entry(
        &self,
        now: Instant,
        key: &[u8],
        group: &[u8],
        id: StreamId,
    ) -> Option<PendingEntry> {
        let stream = self.keys.stream(key).ok().flatten()?;
        stream.groups.get(group)?.pending_entry(self.wall_ms(now), id)
    }

    /// The names of a stream's groups, in the order of their bytes.
    pub fn groups(&self, key: &[u8]) -> impl Iterator<Item = &Bytes> {
        let stream = self.keys.stream(key).ok().flatten();
        stream.into_iter().flat_map(|stream| stream.groups.keys())
    }

    /// What `XINFO STREAM` tells of the last-generated-id; `None` when there is no such stream.
    #[must_use]
    pub fn last_generated(&self, key: &[u8]) -> Option<StreamId> {
        self.keys.stream(key).ok().flatten().map(|stream| stream.log.last_generated())
    }

    /// What `XINFO GROUPS` tells of a group's last-delivered-id; `None` when there is no such
    /// group.
    #[must_use]
    pub fn last_delivered(&self, key: &[u8], group: &[u8]) -> Option<StreamId> {
        let stream = self.keys.stream(key).ok().flatten()?;
        stream.groups.get(group).map(group::Group::last_delivered)
    }

    /// The consumers of a group, in the order of their names; none when there is no such group.
    pub fn consumers(&self, key: &[u8], group: &[u8]) -> impl Iterator<Item = &Bytes> {
        let stream = self.keys.stream(key).ok().flatten();
        let group = stream.and_then(|stream| stream.groups.get(group));
        group.into_iter().flat_map(group::Group::consumers)
    }

    /// The consumers of a group that hold nothing, and for how long each has been idle.
    pub fn idle_consumers(
        &self,
        now: Instant,
        key: &[u8],
        group: &[u8],
    ) -> impl Iterator<Item = (&Bytes, Duration)> {
        let wall_ms = self.wall_ms(now);
        let stream = self.keys.stream(key).ok().flatten();
        let group = stream.and_then(|stream| stream.groups.get(group));
        group.into_iter().flat_map(move |group| group.idle_consumers(wall_ms))
    }

    /// `XLEN key`; 0 when there is no such stream.
    #[must_use]
    pub fn len(&self, key: &[u8]) -> u64 {
        self.keys.stream(key).ok().flatten().map_or(0, |stream| stream.log.len())
    }

    /// How many entries `XTRIM key MINID ~ min_id` would delete.
    #[must_use]
    pub fn trimmable(&self, key: &[u8], min_id: StreamId) -> u64 {
        let stream = self.keys.stream(key).ok().flatten();
        stream.map_or(0, |stream| stream.log.trimmable(min_id))
    }

    /// `XPENDING key group - +` without a limit; nothing when there is no such group.
    #[must_use]
    pub fn pending(&self, now: Instant, key: &[u8], group: &[u8]) -> Vec<PendingEntry> {
        let stream = self.keys.stream(key).ok().flatten();
        let group = stream.and_then(|stream| stream.groups.get(group));
        group.map_or_else(Vec::new, |group| group.pending(self.wall_ms(now)).collect())
    }

    /// Does what has to be done before this instant. At the very instant a blocked read still gets
    /// what is added.
    fn catch_up(&mut self, now: Instant) {
        self.expire(now, |until| until < now);
    }

    fn expire(&mut self, now: Instant, is_over: impl Fn(Instant) -> bool) {
        self.keys.expire(self.wall_ms(now));
        self.wake(now);
        while let Some((until, connection)) = self.waits.first()
            && is_over(until)
        {
            self.end_wait(connection, Ok(Reply::Entries(Vec::new())));
        }
        self.run(now);
    }

    /// Does something to the keys that no connection asked for.
    fn meddle<T>(&mut self, now: Instant, deed: impl FnOnce(&mut Keyspace) -> T) -> T {
        self.catch_up(now);
        let result = deed(&mut self.keys);
        self.wake(now);
        self.run(now);
        result
    }

    /// Carries out commands until every connection waits or has none left.
    fn run(&mut self, now: Instant) {
        while let Some(connection) = self.runnable.pop_front() {
            while !self.waits.contains(connection)
                && let Some(queue) = self.connections.get_mut(&connection)
                && let Some((ticket, command)) = queue.pop_front()
            {
                self.execute(now, connection, ticket, command);
            }
        }
    }

    fn execute(&mut self, now: Instant, connection: ConnectionId, ticket: u64, command: Command) {
        let reply = match self.keys.execute(self.wall_ms(now), command) {
            Ok(Outcome::Reply(reply)) => Ok(reply),
            Ok(Outcome::Unblock(client)) => {
                let ended = self.end_wait(ConnectionId(client), Ok(Reply::Entries(Vec::new())));
                Ok(Reply::Integer(ended.into()))
            }
            Ok(Outcome::Wait(read, block)) => {
                return self.waits.begin(connection, ticket, read, now + block);
            }
            Err(refusal) => Err(refusal),
        };
        self.outbox.push_back((connection, ticket, reply));
        self.wake(now);
    }

    /// Tries the blocked reads again on whose keys something happened.
    fn wake(&mut self, now: Instant) {
        let wall_ms = self.wall_ms(now);
        for key in self.keys.take_ready() {
            for connection in self.waits.on(&key) {
                let Some(wait) = self.waits.find(connection) else { continue };
                let result = self.keys.read_again(wall_ms, &wait.read);
                if let Some(reply) = result.map(|entries| entries.map(Reply::Entries)).transpose() {
                    self.end_wait(connection, reply);
                }
            }
        }
    }

    /// Ends a connection's blocked read with this reply. Tells whether it had one.
    fn end_wait(&mut self, connection: ConnectionId, reply: Result<Reply, Refusal>) -> bool {
        let Some(wait) = self.waits.end(connection) else { return false };
        self.outbox.push_back((connection, wait.ticket, reply));
        self.runnable.push_back(connection);
        true
    }

    fn wall_ms(&self, now: Instant) -> u64 {
        arguments::whole_millis(self.time(now))
    }
}
