//! [`Reply`] and [`Refusal`]: what Redis answers to a command, as values.
//!
//! Not the reading of RESP: that is `resp`. A refusal is an answer too: Redis did not carry the
//! command out. What may be done next depends on [`Refusal::kind`], the one place that sorts
//! Redis's error codes.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors>

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use crate::stream_id::StreamId;

/// Fields and values of a stream entry, in order. Any bytes; names may repeat.
pub type Fields = Vec<(Bytes, Bytes)>;

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// `XADD`: the new entry's id; `None` when the stream is missing and was not to be created.
    Added(Option<StreamId>),
    /// `XAUTOCLAIM`.
    Claimed {
        /// Where the next scan starts; [`StreamId::ZERO`] when the scan is complete.
        next: StreamId,
        /// What was taken over.
        entries: Vec<Entry>,
        /// Entries that are no longer in the stream; Redis dropped them from the pending list.
        deleted: Vec<StreamId>,
        /// How many such entries Redis 6.2 reported without an id; they stay in the pending list.
        nameless: usize,
    },
    /// `XREAD`, `XREADGROUP` and `XRANGE`: entries, oldest first; none when a wait ran out.
    Entries(Vec<Entry>),
    /// `XINFO GROUPS`.
    Groups(Vec<GroupInfo>),
    /// `XCLAIM … JUSTID`: what was claimed.
    Ids(Vec<StreamId>),
    /// `XACK`, `XDEL`, `XTRIM`, `DEL`, `PEXPIRE`, `CLIENT UNBLOCK`, `XGROUP DELCONSUMER`, and the
    /// deletion of idle consumers: how many.
    Integer(i64),
    /// `XGROUP CREATE`: done.
    Ok,
    /// `XPENDING key group`: how many entries are pending, and the first of them.
    Pending {
        /// Number of pending entries.
        count: u64,
        /// Smallest pending id, if any is pending.
        first: Option<StreamId>,
    },
    /// `XPENDING key group start end count consumer`.
    PendingRange(Vec<PendingEntry>),
    /// `XINFO STREAM`.
    Stream(StreamInfo),
    /// `TIME`: what has passed since the Unix epoch by Redis's clock.
    Time(Duration),
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its id.
    pub id: StreamId,
    /// Its body; `None` when the entry is pending but no longer in the stream.
    pub fields: Option<Fields>,
}

impl Entry {
    /// Makes an entry.
    #[must_use]
    pub const fn new(id: StreamId, fields: Option<Fields>) -> Self {
        Self { id, fields }
    }
}

/// A consumer group, as `XINFO GROUPS` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// Its name.
    pub name: Bytes,
    /// Last entry that was given to a consumer.
    pub last_delivered: StreamId,
}

impl GroupInfo {
    /// Makes a description of a group.
    #[must_use]
    pub const fn new(name: Bytes, last_delivered: StreamId) -> Self {
        Self { name, last_delivered }
    }
}

/// A pending entry, as `XPENDING` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingEntry {
    /// Its id.
    pub id: StreamId,
    /// Who holds it.
    pub consumer: Bytes,
    /// Milliseconds since it was last given to a consumer.
    pub idle_ms: u64,
    /// How often it was given to a consumer.
    pub deliveries: u64,
}

impl PendingEntry {
    /// Makes a description of a pending entry.
    #[must_use]
    pub const fn new(id: StreamId, consumer: Bytes, idle_ms: u64, deliveries: u64) -> Self {
        Self { id, consumer, idle_ms, deliveries }
    }
}

/// A stream, as `XINFO STREAM` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Greatest id that was ever added, also if that entry is gone.
    pub last_generated: StreamId,
}

impl StreamInfo {
    /// Makes a description of a stream.
    #[must_use]
    pub const fn new(last_generated: StreamId) -> Self {
        Self { last_generated }
    }
}

/// Redis's answer that it did not carry a command out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// First word of the error, such as `WRONGTYPE`.
    pub code: String,
    /// The rest of the error.
    pub message: String,
}

impl Refusal {
    /// Makes a refusal from its code and its text.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// Whether it says that there is no such stream.
    pub(crate) fn is_no_such_key(&self) -> bool {
        self.code == "ERR" && self.message == "no such key"
    }

    /// Whether it says that the key holds no stream, which may be a stream again.
    pub(crate) fn is_wrong_type(&self) -> bool {
        self.code == "WRONGTYPE"
    }

    /// Sorts the refusal by what may be done next.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        match self.code.as_str() {
            "BUSYGROUP" => RefusalKind::GroupExists,
            "NOGROUP" | "UNBLOCKED" => RefusalKind::NoGroup,
            "BUSY" | "CLUSTERDOWN" | "MISCONF" | "NOREPLICAS" | "OOM" | "TRYAGAIN" => {
                RefusalKind::Heals
            }
            "ASK" | "LOADING" | "MASTERDOWN" | "MOVED" | "NOAUTH" | "READONLY" => {
                RefusalKind::WrongServer
            }
            _ => RefusalKind::Final,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl core::error::Error for Refusal {}

/// What may be done after a [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The same command will never be accepted (`WRONGTYPE`, `NOPERM`, a bad key).
    Final,
    /// `BUSYGROUP`: the group is there already.
    GroupExists,
    /// The same command on the same connection may be accepted later (`OOM`, `MISCONF`).
    Heals,
    /// The stream or its group is gone (`NOGROUP`, `UNBLOCKED`).
    NoGroup,
    /// This connection leads to a server that cannot serve it now (`READONLY`, `LOADING`,
    /// `NOAUTH`): connect again.
    WrongServer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_sorted_by_what_may_be_done_next() {
        let cases = [
            ("ASK", RefusalKind::WrongServer),
            ("BUSY", RefusalKind::Heals),
            ("BUSYGROUP", RefusalKind::GroupExists),
            ("CLUSTERDOWN", RefusalKind::Heals),
            ("ERR", RefusalKind::Final),
            ("LOADING", RefusalKind::WrongServer),
            ("MASTERDOWN", RefusalKind::WrongServer),
            ("MISCONF", RefusalKind::Heals),
            ("MOVED", RefusalKind::WrongServer),
            ("NOAUTH", RefusalKind::WrongServer),
            ("NOGROUP", RefusalKind::NoGroup),
            ("NOPERM", RefusalKind::Final),
            ("NOREPLICAS", RefusalKind::Heals),
            ("OOM", RefusalKind::Heals),
            ("READONLY", RefusalKind::WrongServer),
            ("TRYAGAIN", RefusalKind::Heals),
            ("UNBLOCKED", RefusalKind::NoGroup),
            ("WRONGTYPE", RefusalKind::Final),
        ];
        for (code, kind) in cases {
            assert_eq!(Refusal::new(code, "").kind(), kind, "{code}");
        }
    }
}
