//! Reading replies: from RESP's data ([`Value`]) to [`Reply`], in one tolerant place.
//!
//! Not a RESP parser: framing belongs to whoever owns the socket. Takes RESP2 and RESP3 shapes,
//! the two and three elements of `XAUTOCLAIM`, and bodies that are nil. Any value is data: what
//! does not fit is [`Undecodable`], upon which the lane should be given up, since what it says
//! next cannot be trusted.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::command::{ClaimAs, Command};
use crate::reply::{Entry, Fields, GroupInfo, PendingEntry, Refusal, Reply, StreamInfo};
use crate::stream_id::StreamId;

/// A piece of RESP data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// An array, a set or a push.
    Array(Vec<Self>),
    /// A bulk string or a simple string.
    Bytes(Bytes),
    /// An error: its first word and the rest.
    Error(Refusal),
    /// An integer.
    Integer(i64),
    /// A map (RESP3).
    Map(Vec<(Self, Self)>),
    /// Nil of any kind.
    Nil,
    /// Data of a kind that no command in use answers with.
    Other,
}

/// Which reply a command expects. Small, so it can be kept while the command is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyShape {
    /// For [`Reply::Added`].
    Added,
    /// For [`Reply::Claimed`].
    Claimed,
    /// For [`Reply::Entries`] that were claimed by their ids; of those that are gone Redis 6.2 says
    /// nil, which is left out.
    Delivered,
    /// For [`Reply::Groups`].
    Groups,
    /// For [`Reply::Ids`].
    Ids,
    /// For [`Reply::Integer`].
    Integer,
    /// For [`Reply::Ok`].
    Ok,
    /// For [`Reply::Pending`].
    Pending,
    /// For [`Reply::PendingRange`].
    PendingRange,
    /// For [`Reply::Entries`] of one stream (`XRANGE`).
    Range,
    /// For [`Reply::Entries`] of a read that names its streams.
    Read,
    /// For [`Reply::Stream`].
    Stream,
    /// For [`Reply::Time`].
    Time,
}

/// A reply that does not have its command's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply is not shaped as {expected:?}")]
#[non_exhaustive]
pub struct Undecodable {
    /// What was expected.
    pub expected: ReplyShape,
}

impl Command {
    /// Tells which reply the command expects.
    #[must_use]
    pub const fn reply_shape(&self) -> ReplyShape {
        match self {
            Self::ClientUnblock { .. }
            | Self::Del { .. }
            | Self::DelIdleConsumers { .. }
            | Self::PExpire { .. }
            | Self::XAck { .. }
            | Self::XDel { .. }
            | Self::XGroupDelConsumer { .. }
            | Self::XTrim { .. } => ReplyShape::Integer,
            Self::Time => ReplyShape::Time,
            Self::XAdd { .. } => ReplyShape::Added,
            Self::XAutoClaim { .. } => ReplyShape::Claimed,
            Self::XClaim { claim_as: ClaimAs::Delivered, .. } => ReplyShape::Delivered,
            Self::XClaim { .. } => ReplyShape::Ids,
            Self::XGroupCreate { .. } => ReplyShape::Ok,
            Self::XInfoGroups { .. } => ReplyShape::Groups,
            Self::XInfoStream { .. } => ReplyShape::Stream,
            Self::XPending { .. } => ReplyShape::Pending,
            Self::XPendingRange { .. } => ReplyShape::PendingRange,
            Self::XRange { .. } => ReplyShape::Range,
            Self::XRead { .. } | Self::XReadGroup { .. } => ReplyShape::Read,
        }
    }
}

impl ReplyShape {
    /// Reads a reply of this shape.
    ///
    /// # Errors
    /// [`Undecodable`] when the value is neither an error nor of this shape.
    pub fn decode(self, value: Value) -> Result<Result<Reply, Refusal>, Undecodable> {
        if let Value::Error(refusal) = value {
            return Ok(Err(refusal));
        }
        let reply = match self {
            Self::Added => added(&value),
            Self::Claimed => claimed(value),
            Self::Delivered => named(value).map(|(entries, _)| Reply::Entries(entries)),
            Self::Groups => groups(value),
            Self::Ids => ids(value).map(Reply::Ids),
            Self::Integer => integer(&value).map(Reply::Integer),
            Self::Ok => bytes(value).map(|_| Reply::Ok),
            Self::Pending => pending(value),
            Self::PendingRange => pending_range(value),
            Self::Range => range(value),
            Self::Read => read(value),
            Self::Stream => stream(value),
            Self::Time => time(value).map(Reply::Time),
        };
        reply.map(Ok).ok_or(Undecodable { expected: self })
    }
}

fn added(value: &Value) -> Option<Reply> {
    if *value == Value::Nil {
        Some(Reply::Added(None))
    } else {
        Some(Reply::Added(Some(id(value)?)))
    }
}

/// `[next, entries, deleted]`; Redis 6.2 has no third element and reports deleted entries as nil.
fn claimed(value: Value) -> Option<Reply> {
    let mut parts = array(value)?.into_iter();
    let next = id(&parts.next()?)?;
    let (entries, nameless) = named(parts.next()?)?;
    let deleted = match parts.next() {
        Some(deleted) => ids(deleted)?,
        None => Vec::new(),
    };
    Some(Reply::Claimed { next, entries, deleted, nameless })
}

/// The entries, and how many have no id, as they are gone.
fn named(value: Value) -> Option<(Vec<Entry>, usize)> {
    let mut entries = Vec::new();
    let mut nameless = 0;
    for part in array(value)? {
        if part == Value::Nil {
            nameless += 1;
        } else {
            entries.push(entry(part)?);
        }
    }
    Some((entries, nameless))
}

fn ids(value: Value) -> Option<Vec<StreamId>> {
    array(value)?.iter().map(id).collect()
}

/// Entries; nil when not even one was asked for.
fn range(value: Value) -> Option<Reply> {
    let entries = if value == Value::Nil { Vec::new() } else { entries(value)? };
    Some(Reply::Entries(entries))
}

/// Nil when nothing came; else streams with their entries, of which engines ask for one.
fn read(value: Value) -> Option<Reply> {
    if value == Value::Nil {
        return Some(Reply::Entries(Vec::new()));
    }
    let streams = if let Value::Map(pairs) = value {
        pairs.into_iter().map(|(_, entries)| entries).collect()
    } else {
        array(value)?
            .into_iter()
            .map(|stream| array(stream)?.into_iter().nth(1))
            .collect::<Option<Vec<_>>>()?
    };
    let mut all = Vec::new();
    for stream in streams {
        all.append(&mut entries(stream)?);
    }
    Some(Reply::Entries(all))
}

fn entries(value: Value) -> Option<Vec<Entry>> {
    array(value)?.into_iter().map(entry).collect()
}

/// `[id, [field, value, …]]`, or nil for the body of an entry that is gone.
fn entry(value: Value) -> Option<Entry> {
    let mut parts = array(value)?.into_iter();
    let id = id(&parts.next()?)?;
    let body = parts.next()?;
    let fields = if body == Value::Nil { None } else { Some(fields(body)?) };
    Some(Entry::new(id, fields))
}

fn fields(value: Value) -> Option<Fields> {
    let mut fields = Vec::new();
    for (name, value) in pairs(value)? {
        fields.push((bytes(name)?, bytes(value)?));
    }
    Some(fields)
}

fn groups(value: Value) -> Option<Reply> {
    let groups = array(value)?.into_iter().map(group).collect::<Option<_>>()?;
    Some(Reply::Groups(groups))
}

fn group(value: Value) -> Option<GroupInfo> {
    let (mut name, mut last_delivered) = (None, None);
    for (field, value) in pairs(value)? {
        match &*bytes(field)? {
            b"name" => name = Some(bytes(value)?),
            b"last-delivered-id" => last_delivered = Some(id(&value)?),
            _ => {}
        }
    }
    Some(GroupInfo::new(name?, last_delivered?))
}

/// `[count, first, last, consumers]`.
fn pending(value: Value) -> Option<Reply> {
    let mut parts = array(value)?.into_iter();
    let count = u64::try_from(integer(&parts.next()?)?).ok()?;
    let first = parts.next()?;
    let first = if first == Value::Nil { None } else { Some(id(&first)?) };
    Some(Reply::Pending { count, first })
}

fn pending_range(value: Value) -> Option<Reply> {
    let entries = array(value)?.into_iter().map(pending_entry).collect::<Option<_>>()?;
    Some(Reply::PendingRange(entries))
}

/// `[id, consumer, idle, deliveries]`; a clock that stepped back makes idle negative. Redis counts
/// deliveries without a sign, and tells them with one.
fn pending_entry(value: Value) -> Option<PendingEntry> {
    let mut parts = array(value)?.into_iter();
    let id = id(&parts.next()?)?;
    let consumer = bytes(parts.next()?)?;
    let idle_ms = u64::try_from(integer(&parts.next()?)?).unwrap_or(0);
    let deliveries = integer(&parts.next()?)?.cast_unsigned();
    Some(PendingEntry::new(id, consumer, idle_ms, deliveries))
}

fn stream(value: Value) -> Option<Reply> {
    for (field, value) in pairs(value)? {
        if &*bytes(field)? == b"last-generated-id" {
            return Some(Reply::Stream(StreamInfo::new(id(&value)?)));
        }
    }
    None
}

/// `[seconds, microseconds]`.
fn time(value: Value) -> Option<Duration> {
    let number = |value: Value| core::str::from_utf8(&bytes(value)?).ok()?.parse().ok();
    let mut parts = array(value)?.into_iter().map(number);
    let (seconds, micros) = (parts.next()??, parts.next()??);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros)))
}

/// A map, or RESP2's flat array of keys and values.
pub(crate) fn pairs(value: Value) -> Option<Vec<(Value, Value)>> {
    if let Value::Map(pairs) = value {
        return Some(pairs);
    }
    let mut flat = array(value)?.into_iter();
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    while let Some(key) = flat.next() {
        pairs.push((key, flat.next()?));
    }
    Some(pairs)
}

fn array(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

pub(crate) fn bytes(value: Value) -> Option<Bytes> {
    if let Value::Bytes(bytes) = value { Some(bytes) } else { None }
}

const fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(integer) = value { Some(*integer) } else { None }
}

fn id(value: &Value) -> Option<StreamId> {
    if let Value::Bytes(text) = value { StreamId::parse(text) } else { None }
}

impl From<Refusal> for Value {
    fn from(refusal: Refusal) -> Self {
        Self::Error(refusal)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn text(text: &'static str) -> Value {
        Value::Bytes(Bytes::from_static(text.as_bytes()))
    }

    fn list(values: impl Into<Vec<Value>>) -> Value {
        Value::Array(values.into())
    }

    fn body() -> Value {
        list([text("type"), text("rpc")])
    }

    fn entry_1() -> Entry {
        let fields = vec![(Bytes::from_static(b"type"), Bytes::from_static(b"rpc"))];
        Entry::new(StreamId::new(1, 1), Some(fields))
    }

    #[test]
    fn a_read_is_understood_in_resp2_and_resp3() {
        let resp2 = list([list([text("k"), list([list([text("1-1"), body()])])])]);
        let resp3 = Value::Map(vec![(text("k"), list([list([text("1-1"), body()])]))]);
        for value in [resp2, resp3] {
            let reply = ReplyShape::Read.decode(value);
            assert_eq!(reply, Ok(Ok(Reply::Entries(vec![entry_1()]))));
        }
        assert_eq!(ReplyShape::Read.decode(Value::Nil), Ok(Ok(Reply::Entries(vec![]))));
    }

    #[test]
    fn a_range_of_no_entries_may_be_nil() {
        let none = Ok(Ok(Reply::Entries(vec![])));
        assert_eq!(ReplyShape::Range.decode(Value::Nil), none);
        assert_eq!(ReplyShape::Range.decode(list([])), none);
    }

    #[test]
    fn an_entry_that_is_gone_is_named_without_its_body() {
        let value = list([list([text("k"), list([list([text("2-0"), Value::Nil])])])]);
        let gone = Entry::new(StreamId::new(2, 0), None);
        assert_eq!(ReplyShape::Read.decode(value), Ok(Ok(Reply::Entries(vec![gone]))));
    }

    #[test]
    fn a_claim_is_understood_from_redis_6_2_and_from_newer_ones() {
        let old = list([text("5-0"), list([Value::Nil, list([text("1-1"), body()])])]);
        assert_eq!(
            ReplyShape::Claimed.decode(old),
            Ok(Ok(Reply::Claimed {
                next: StreamId::new(5, 0),
                entries: vec![entry_1()],
                deleted: vec![],
                nameless: 1
            }))
        );
        let new = list([text("0-0"), list([]), list([text("3-0")])]);
        assert_eq!(
            ReplyShape::Claimed.decode(new),
            Ok(Ok(Reply::Claimed {
                next: StreamId::ZERO,
                entries: vec![],
                deleted: vec![StreamId::new(3, 0)],
                nameless: 0
            }))
        );
    }

    #[test]
    fn of_what_is_claimed_by_id_and_gone_redis_6_2_says_nil() {
        let entry = || list([text("4-0"), body()]);
        let named = entry_1().fields;
        let reply = ReplyShape::Delivered.decode(list([Value::Nil, entry(), Value::Nil]));
        let entries = vec![Entry::new(StreamId::new(4, 0), named)];
        assert_eq!(reply, Ok(Ok(Reply::Entries(entries))));
    }

    #[test]
    fn groups_and_streams_are_understood_flat_and_as_maps() {
        let flat = [text("name"), text("g"), text("lag"), Value::Nil];
        let id = [text("last-delivered-id"), text("4-0")];
        let flat = list([flat.to_vec(), id.to_vec()].concat());
        let map =
            Value::Map(vec![(text("last-delivered-id"), text("4-0")), (text("name"), text("g"))]);
        for value in [flat, map] {
            let group = GroupInfo::new(Bytes::from_static(b"g"), StreamId::new(4, 0));
            assert_eq!(
                ReplyShape::Groups.decode(list([value])),
                Ok(Ok(Reply::Groups(vec![group])))
            );
        }
        let stream =
            list([text("length"), Value::Integer(1), text("last-generated-id"), text("9-1")]);
        let info = StreamInfo::new(StreamId::new(9, 1));
        assert_eq!(ReplyShape::Stream.decode(stream), Ok(Ok(Reply::Stream(info))));
    }

    #[test]
    fn pending_entries_are_understood_also_when_redis_clock_stepped_back() {
        let summary = list([Value::Integer(2), text("1-0"), text("2-0"), list([])]);
        let first = Some(StreamId::new(1, 0));
        assert_eq!(ReplyShape::Pending.decode(summary), Ok(Ok(Reply::Pending { count: 2, first })));
        let none = list([Value::Integer(0), Value::Nil, Value::Nil, Value::Nil]);
        assert_eq!(
            ReplyShape::Pending.decode(none),
            Ok(Ok(Reply::Pending { count: 0, first: None }))
        );
        let row = |number, idle, deliveries| {
            let numbers = [Value::Integer(idle), Value::Integer(deliveries)];
            list([vec![text(number), text("c")], numbers.into()].concat())
        };
        let entry = |number, deliveries| {
            PendingEntry::new(StreamId::new(number, 0), Bytes::from_static(b"c"), 0, deliveries)
        };
        assert_eq!(
            ReplyShape::PendingRange.decode(list([row("1-0", -5, 3), row("2-0", 0, i64::MIN)])),
            Ok(Ok(Reply::PendingRange(vec![entry(1, 3), entry(2, 1 << 63)])))
        );
    }

    #[test]
    fn an_error_is_a_refusal_whatever_was_expected() {
        let refusal = Refusal::new("OOM", "command not allowed");
        for shape in [ReplyShape::Added, ReplyShape::Read, ReplyShape::Ok] {
            assert_eq!(shape.decode(refusal.clone().into()), Ok(Err(refusal.clone())));
        }
    }

    #[test]
    fn other_shapes_are_undecodable_and_never_crash() {
        let odd = [
            Value::Other,
            Value::Integer(1),
            text("x"),
            list([Value::Nil]),
            list([text("1-1")]),
            list([list([text("k")])]),
            list([list([text("k"), list([list([text("1-1"), list([text("odd")])])])])]),
            Value::Map(vec![(Value::Nil, Value::Nil)]),
        ];
        let shapes = [ReplyShape::Claimed, ReplyShape::Read, ReplyShape::Stream];
        for (value, shape) in odd.iter().flat_map(|value| shapes.map(|shape| (value, shape))) {
            let decoded = shape.decode(value.clone());
            assert_eq!(decoded, Err(Undecodable { expected: shape }), "{value:?}");
        }
    }
}
