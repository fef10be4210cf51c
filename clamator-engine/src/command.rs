//! [`Command`]: every Redis command that an engine may send, one variant each, named after it.
//!
//! Not a general client: only the forms in use exist. [`Command::args`] is the one place that
//! knows how a command is spelled, so whoever drives an engine needs no knowledge of Redis beyond
//! framing. What a command's reply looks like is [`crate::ReplyShape`].
//!
//! <https://redis.io/docs/latest/commands/>

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::stream_id::StreamId;

/// A Redis command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `CLIENT UNBLOCK client`: ends another connection's blocking read without a result.
    ClientUnblock {
        /// Connection that is blocked.
        client: u64,
    },
    /// `DEL key`.
    Del {
        /// Key to delete.
        key: Bytes,
    },
    /// `EVAL` of a script that deletes the consumers of a group that hold nothing and have been
    /// idle for long, as `XINFO CONSUMERS` tells it. Nothing comes between the look and the deletion.
    DelIdleConsumers {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Consumers idle for at least this long are deleted; whole milliseconds.
        idle_min: Duration,
        /// The consumer that is not deleted, however idle it is.
        keep: Bytes,
    },
    /// `PEXPIRE key ttl`.
    PExpire {
        /// Key that is deleted when the time is over.
        key: Bytes,
        /// How long it lives from now on; whole milliseconds.
        ttl: Duration,
    },
    /// `TIME`.
    Time,
    /// `XACK key group id…`.
    XAck {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Entries to acknowledge; at least one.
        ids: Vec<StreamId>,
    },
    /// `XADD key [NOMKSTREAM] [MAXLEN ~ max_len] * field value…`.
    XAdd {
        /// Stream.
        key: Bytes,
        /// Whether a missing stream is created; if not, nothing is added to it.
        create: bool,
        /// About how many entries the stream keeps; `None` keeps all.
        max_len: Option<u64>,
        /// Fields and values, in order; at least one.
        fields: Vec<(Bytes, Bytes)>,
    },
    /// `XAUTOCLAIM key group consumer idle_min start COUNT count`.
    XAutoClaim {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Who takes the entries over.
        consumer: Bytes,
        /// Entries idle for at least this long are taken; whole milliseconds.
        idle_min: Duration,
        /// First id to look at: the cursor.
        start: StreamId,
        /// Most entries to take.
        count: u64,
    },
    /// `XCLAIM key group consumer idle_min id… [TIME 0 RETRYCOUNT deliveries] [JUSTID]`: entries that
    /// are pending for anybody become this consumer's.
    XClaim {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Whose the entries become.
        consumer: Bytes,
        /// Entries idle for at least this long are claimed; whole milliseconds.
        idle_min: Duration,
        /// Which entries.
        ids: Vec<StreamId>,
        /// What they are claimed as.
        claim_as: ClaimAs,
    },
    /// `XDEL key id…`.
    XDel {
        /// Stream.
        key: Bytes,
        /// Entries to delete; at least one.
        ids: Vec<StreamId>,
    },
    /// `XGROUP CREATE key group start MKSTREAM`.
    XGroupCreate {
        /// Stream, created when missing.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Where the group starts to read.
        start: GroupStart,
    },
    /// `XGROUP DELCONSUMER key group consumer`. Destroys what the consumer has pending.
    XGroupDelConsumer {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Consumer to delete.
        consumer: Bytes,
    },
    /// `XINFO GROUPS key`.
    XInfoGroups {
        /// Stream.
        key: Bytes,
    },
    /// `XINFO STREAM key`.
    XInfoStream {
        /// Stream.
        key: Bytes,
    },
    /// `XPENDING key group`: the summary.
    XPending {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
    },
    /// `XPENDING key group start end count consumer`: entry by entry.
    XPendingRange {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// First id.
        start: StreamId,
        /// Last id.
        end: StreamId,
        /// Most entries to tell.
        count: u64,
        /// Whose pending entries.
        consumer: Bytes,
    },
    /// `XRANGE key start end COUNT count`.
    XRange {
        /// Stream.
        key: Bytes,
        /// First id.
        start: StreamId,
        /// Last id.
        end: StreamId,
        /// Most entries to read.
        count: u64,
    },
    /// `XREAD COUNT count [BLOCK block] STREAMS key after`.
    XRead {
        /// Stream.
        key: Bytes,
        /// Last id that was seen.
        after: StreamId,
        /// Most entries to read.
        count: u64,
        /// How long to wait for an entry, whole milliseconds, never zero; `None` does not wait.
        block: Option<Duration>,
    },
    /// `XREADGROUP GROUP group consumer COUNT count [BLOCK block] STREAMS key >`: entries that no
    /// consumer of the group was given yet.
    XReadGroup {
        /// Stream.
        key: Bytes,
        /// Consumer group.
        group: Bytes,
        /// Who reads.
        consumer: Bytes,
        /// Most entries to read.
        count: u64,
        /// How long to wait for an entry, whole milliseconds, never zero; `None` does not wait.
        block: Option<Duration>,
    },
    /// `XTRIM key MINID ~ min_id`: deletes the oldest entries, as far as that is cheap.
    XTrim {
        /// Stream.
        key: Bytes,
        /// Entries from this id on are kept.
        min_id: StreamId,
    },
}

/// Where a consumer group starts to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupStart {
    /// Behind this id; [`StreamId::ZERO`] for the whole stream.
    After(StreamId),
    /// `$`: only what is added from now on.
    New,
}

/// What [`Command::XClaim`] claims entries as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimAs {
    /// Given out once more: a delivery is counted, and their bodies are answered.
    Delivered,
    /// `TIME 0 RETRYCOUNT deliveries JUSTID`: for the next to claim. They look as idle as any can.
    HandedBack {
        /// How often they are to be taken to have been given out.
        deliveries: u64,
    },
    /// `JUSTID`: as if they were just given out, without a delivery being counted.
    Renewed,
}

impl Command {
    /// The key that the command is about; `None` for one that is about a connection.
    #[must_use]
    pub const fn key(&self) -> Option<&Bytes> {
        match self {
            Self::ClientUnblock { .. } | Self::Time => None,
            Self::Del { key }
            | Self::DelIdleConsumers { key, .. }
            | Self::PExpire { key, .. }
            | Self::XAck { key, .. }
            | Self::XAdd { key, .. }
            | Self::XAutoClaim { key, .. }
            | Self::XClaim { key, .. }
            | Self::XDel { key, .. }
            | Self::XGroupCreate { key, .. }
            | Self::XGroupDelConsumer { key, .. }
            | Self::XInfoGroups { key }
            | Self::XInfoStream { key }
            | Self::XPending { key, .. }
            | Self::XPendingRange { key, .. }
            | Self::XRange { key, .. }
            | Self::XRead { key, .. }
            | Self::XReadGroup { key, .. }
            | Self::XTrim { key, .. } => Some(key),
        }
    }

    /// Spells the command: hands its name and arguments to `arg`, one call each, in order.
    pub fn args(&self, arg: &mut dyn FnMut(&[u8])) {
        let mut spell = Speller(arg);
        match self {
            Self::ClientUnblock { client } => spell.words(&["CLIENT", "UNBLOCK"]).number(*client),
            Self::Del { key } => spell.words(&["DEL"]).bytes(key),
            Self::DelIdleConsumers { key, group, idle_min, keep } => {
                spell.words(&["EVAL", DEL_IDLE_CONSUMERS, "1"]).all(&[key, group]);
                spell.millis(*idle_min).bytes(keep)
            }
            Self::PExpire { key, ttl } => spell.words(&["PEXPIRE"]).bytes(key).millis(*ttl),
            Self::Time => spell.words(&["TIME"]),
            Self::XAck { key, group, ids } => spell.words(&["XACK"]).all(&[key, group]).ids(ids),
            Self::XAdd { key, create, max_len, fields } => {
                spell.words(&["XADD"]).bytes(key).words(if *create {
                    &[]
                } else {
                    &["NOMKSTREAM"]
                });
                spell.max_len(*max_len).words(&["*"]).fields(fields)
            }
            Self::XAutoClaim { key, group, consumer, idle_min, start, count } => {
                spell.words(&["XAUTOCLAIM"]).all(&[key, group, consumer]);
                spell.millis(*idle_min).id(*start).count(*count)
            }
            Self::XClaim { key, group, consumer, idle_min, ids, claim_as } => {
                spell.words(&["XCLAIM"]).all(&[key, group, consumer]).millis(*idle_min).ids(ids);
                spell.claim_as(*claim_as)
            }
            Self::XDel { key, ids } => spell.words(&["XDEL"]).bytes(key).ids(ids),
            Self::XGroupCreate { key, group, start } => {
                spell.words(&["XGROUP", "CREATE"]).all(&[key, group]);
                match start {
                    GroupStart::After(id) => spell.id(*id).words(&["MKSTREAM"]),
                    GroupStart::New => spell.words(&["$", "MKSTREAM"]),
                }
            }
            Self::XGroupDelConsumer { key, group, consumer } => {
                spell.words(&["XGROUP", "DELCONSUMER"]).all(&[key, group, consumer])
            }
            Self::XInfoGroups { key } => spell.words(&["XINFO", "GROUPS"]).bytes(key),
            Self::XInfoStream { key } => spell.words(&["XINFO", "STREAM"]).bytes(key),
            Self::XPending { key, group } => spell.words(&["XPENDING"]).all(&[key, group]),
            Self::XPendingRange { key, group, start, end, count, consumer } => {
                spell.words(&["XPENDING"]).all(&[key, group]);
                spell.id(*start).id(*end).number(*count).bytes(consumer)
            }
            Self::XRange { key, start, end, count } => {
                spell.words(&["XRANGE"]).bytes(key).id(*start).id(*end).count(*count)
            }
            Self::XRead { key, after, count, block } => {
                spell.words(&["XREAD"]).count(*count).block(*block);
                spell.words(&["STREAMS"]).bytes(key).id(*after)
            }
            Self::XReadGroup { key, group, consumer, count, block } => {
                spell.words(&["XREADGROUP", "GROUP"]).all(&[group, consumer]);
                spell.count(*count).block(*block).words(&["STREAMS"]).bytes(key).words(&[">"])
            }
            Self::XTrim { key, min_id } => {
                spell.words(&["XTRIM"]).bytes(key).words(&["MINID", "~"]).id(*min_id)
            }
        };
    }
}

/// How many consumers one [`Command::DelIdleConsumers`] deletes at most, as its script says.
pub(crate) const IDLE_CONSUMERS_MAX: u16 = 1000;

/// What [`Command::DelIdleConsumers`] has carried out.
const DEL_IDLE_CONSUMERS: &str = include_str!("command/del_idle_consumers.lua");

/// Hands out arguments one by one.
struct Speller<'a>(&'a mut dyn FnMut(&[u8]));

impl Speller<'_> {
    fn words(&mut self, words: &[&str]) -> &mut Self {
        for word in words {
            (self.0)(word.as_bytes());
        }
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        (self.0)(bytes);
        self
    }

    fn all(&mut self, all: &[&Bytes]) -> &mut Self {
        for bytes in all {
            (self.0)(bytes);
        }
        self
    }

    fn fields(&mut self, fields: &[(Bytes, Bytes)]) -> &mut Self {
        for (name, value) in fields {
            self.all(&[name, value]);
        }
        self
    }

    fn max_len(&mut self, max_len: Option<u64>) -> &mut Self {
        match max_len {
            Some(max_len) => self.words(&["MAXLEN", "~"]).number(max_len),
            None => self,
        }
    }

    fn claim_as(&mut self, claim_as: ClaimAs) -> &mut Self {
        match claim_as {
            ClaimAs::Delivered => self,
            ClaimAs::HandedBack { deliveries } => {
                self.words(&["TIME", "0", "RETRYCOUNT"]).number(deliveries).words(&["JUSTID"])
            }
            ClaimAs::Renewed => self.words(&["JUSTID"]),
        }
    }

    fn number(&mut self, number: u64) -> &mut Self {
        let mut text = Text::default();
        text.decimal(number);
        self.bytes(text.as_bytes())
    }

    fn id(&mut self, id: StreamId) -> &mut Self {
        let mut text = Text::default();
        text.decimal(id.ms);
        text.push(b'-');
        text.decimal(id.seq);
        self.bytes(text.as_bytes())
    }

    fn ids(&mut self, ids: &[StreamId]) -> &mut Self {
        for id in ids {
            self.id(*id);
        }
        self
    }

    fn millis(&mut self, duration: Duration) -> &mut Self {
        self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    fn count(&mut self, count: u64) -> &mut Self {
        self.words(&["COUNT"]).number(count)
    }

    fn block(&mut self, block: Option<Duration>) -> &mut Self {
        match block {
            Some(block) => self.words(&["BLOCK"]).millis(block.max(Duration::from_millis(1))),
            None => self,
        }
    }
}

/// Room for two numbers and a dash, so that spelling allocates nothing.
#[derive(Default)]
struct Text {
    bytes: [[u8; 21]; 2],
    len: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.as_flattened_mut().get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn decimal(&mut self, number: u64) {
        let mut divisor = 1u64;
        while number / divisor >= 10 {
            divisor *= 10;
        }
        while divisor > 0 {
            let digit = u8::try_from(number / divisor % 10).unwrap_or(0);
            self.push(b'0' + digit);
            divisor /= 10;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.as_flattened().get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
