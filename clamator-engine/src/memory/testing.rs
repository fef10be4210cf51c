//! What the tests of this module share: a server with a clock, and short spellings of commands.
//!
//! One stream `s`, one group `g`. Replies are shown as text, since tests compare many of them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{ConnectionId, Options, Progress, Streams};
use crate::command::{Command, GroupStart};
use crate::engine::Version;
use crate::reply::{Entry, Refusal, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

pub(super) const GROUP: Bytes = Bytes::from_static(b"g");
pub(super) const KEY: Bytes = Bytes::from_static(b"s");

/// A server whose clock starts at 1000 ms, and the connection that asks when no other is named.
pub(super) struct Desk {
    answered: BTreeMap<ConnectionId, u64>,
    pub(super) main: ConnectionId,
    pub(super) now: Instant,
    pub(super) streams: Streams,
    ticket: u64,
}

impl Desk {
    pub(super) fn new(version: Version) -> Self {
        let mut streams = Streams::new(Options { epoch_ms: 1000, version });
        let main = streams.connect();
        Self { answered: BTreeMap::new(), main, now: Instant::ZERO, streams, ticket: 0 }
    }

    /// A server that has the stream and the group, as Redis 7.0.
    pub(super) fn with_group() -> Self {
        Self::with_group_on(Version::new(7, 0, 0))
    }

    pub(super) fn with_group_on(version: Version) -> Self {
        let mut desk = Self::new(version);
        assert_eq!(desk.ask(create_group(GroupStart::New)), "ok");
        desk
    }

    pub(super) fn sleep(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    /// Hands a command in; its ticket is the number of the command.
    pub(super) fn send(&mut self, connection: ConnectionId, command: Command) {
        self.ticket += 1;
        self.streams.handle(self.now, connection, self.ticket, command);
    }

    /// Opens a connection and hands a command in there.
    pub(super) fn send_anew(&mut self, command: Command) -> ConnectionId {
        let connection = self.streams.connect();
        self.send(connection, command);
        connection
    }

    /// Hands a command in and shows its reply, which must be the only one.
    pub(super) fn ask(&mut self, command: Command) -> String {
        self.send(self.main, command);
        let replies = self.replies();
        let [(connection, reply)] = replies.as_slice() else { unreachable!("{replies:?}") };
        assert_eq!(*connection, self.main);
        reply.clone()
    }

    /// Hands a command in and shows the replies that another connection gets for it.
    pub(super) fn ask_among(&mut self, command: Command, other: ConnectionId) -> Vec<String> {
        self.send(self.main, command);
        let replies = self.replies().into_iter();
        replies.filter(|(to, _)| *to == other).map(|(_, reply)| reply).collect()
    }

    /// How many entries the group has pending.
    pub(super) fn pending(&self) -> usize {
        self.streams.pending(self.now, &KEY, &GROUP).len()
    }

    /// Shows all replies there are. Tickets must come back in order.
    pub(super) fn replies(&mut self) -> Vec<(ConnectionId, String)> {
        let mut replies = Vec::new();
        while let Progress::Replied { connection, ticket, reply } = self.streams.poll(self.now) {
            let before = self.answered.insert(connection, ticket);
            assert!(before < Some(ticket), "the replies of {connection} are out of order");
            replies.push((connection, show(reply)));
        }
        replies
    }
}

/// Adds an entry to the stream.
pub(super) fn add() -> Command {
    add_to(KEY)
}

pub(super) fn add_to(key: Bytes) -> Command {
    let fields = vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))];
    Command::XAdd { key, create: true, max_len: None, fields }
}

pub(super) fn ack(ids: &[StreamId]) -> Command {
    Command::XAck { key: KEY, group: GROUP, ids: ids.to_vec() }
}

pub(super) fn create_group(start: GroupStart) -> Command {
    Command::XGroupCreate { key: KEY, group: GROUP, start }
}

pub(super) fn delete(ids: &[StreamId]) -> Command {
    Command::XDel { key: KEY, ids: ids.to_vec() }
}

/// Reads from the start, waiting for so many milliseconds if not 0.
pub(super) fn read(block_ms: u64) -> Command {
    let block = Some(Duration::from_millis(block_ms)).filter(|block| !block.is_zero());
    Command::XRead { key: KEY, after: StreamId::ZERO, count: 9, block }
}

/// Reads on behalf of consumer `c`, waiting for so many milliseconds if not 0.
pub(super) fn read_group(block_ms: u64) -> Command {
    let block = Some(Duration::from_millis(block_ms)).filter(|block| !block.is_zero());
    let consumer = Bytes::from_static(b"c");
    Command::XReadGroup { key: KEY, group: GROUP, consumer, count: 9, block }
}

/// An id of the stream, counted from its first millisecond.
pub(super) const fn id(ms: u64) -> StreamId {
    StreamId::new(1000 + ms, 0)
}

fn show(reply: Result<Reply, Refusal>) -> String {
    let reply = match reply {
        Ok(reply) => reply,
        Err(refusal) => return refusal.to_string(),
    };
    match reply {
        Reply::Added(id) => id.map_or_else(|| "nil".into(), |id| id.to_string()),
        Reply::Claimed { next, entries, deleted, nameless } => {
            format!("next {next}, {}, deleted {deleted:?}, nameless {nameless}", list(&entries))
        }
        Reply::Entries(entries) => list(&entries),
        Reply::Integer(integer) => integer.to_string(),
        Reply::Ok => "ok".into(),
        other @ (Reply::Groups(_)
        | Reply::Ids(_)
        | Reply::Pending { .. }
        | Reply::PendingRange(_)
        | Reply::Stream(_)
        | Reply::Time(_)) => format!("{other:?}"),
    }
}

fn list(entries: &[Entry]) -> String {
    let show = |entry: &Entry| match entry.fields {
        Some(_) => entry.id.to_string(),
        None => format!("{} gone", entry.id),
    };
    format!("[{}]", entries.iter().map(show).collect::<Vec<_>>().join(", "))
}
