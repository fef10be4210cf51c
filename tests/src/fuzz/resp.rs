//! Target `resp`: any data that a server may answer a command with.
//!
//! Decoding never panics whatever the data and the command; and what a Redis says, in RESP2 or in
//! RESP3, in the shapes of 6.2 or of later ones, is read back as it was meant. Not RESP's framing,
//! which belongs to whoever owns the socket.

use bytes::Bytes;
use clamator_engine::{
    Entry, Fields, GroupInfo, PendingEntry, Refusal, Reply, ReplyShape, StreamId, StreamInfo, Value,
};

use super::Seen;
use super::script::Script;

const SHAPES: [ReplyShape; 10] = [
    ReplyShape::Added,
    ReplyShape::Claimed,
    ReplyShape::Groups,
    ReplyShape::Integer,
    ReplyShape::Ok,
    ReplyShape::Pending,
    ReplyShape::PendingRange,
    ReplyShape::Range,
    ReplyShape::Read,
    ReplyShape::Stream,
];
/// Deepest tree that is made; replies that are understood have at most six levels.
const DEPTH: usize = 8;

pub(super) fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut script = Script::new(data);
    for _ in 0..8 {
        if script.once_in(2) {
            let shape = script.pick(&SHAPES);
            let meant = reply(&mut script, shape);
            let resp3 = script.once_in(2);
            let value = Writer { script: &mut script, resp3 }.reply(shape, &meant);
            assert_eq!(shape.decode(value.clone()), Ok(Ok(meant)), "{value:?}");
            seen.mark("read back");
            // One piece of it replaced is data all the same.
            let damaged = damage(&mut script, value);
            decode(&mut seen, shape, &damaged);
        } else {
            let value = tree(&mut script, DEPTH);
            for shape in SHAPES {
                decode(&mut seen, shape, &value);
            }
        }
        if script.is_over() {
            break;
        }
    }
    seen
}

fn decode(seen: &mut Seen, shape: ReplyShape, value: &Value) {
    match shape.decode(value.clone()) {
        Ok(Ok(_)) => seen.mark("decoded"),
        Ok(Err(refusal)) => {
            seen.mark("refusal");
            assert_eq!(*value, Value::Error(refusal));
        }
        Err(undecodable) => {
            seen.mark("undecodable");
            assert_eq!(undecodable.expected, shape);
        }
    }
}

/// Any tree of data.
fn tree(script: &mut Script<'_>, depth: usize) -> Value {
    match script.roll(if depth == 0 { 7 } else { 12 }) {
        0 => Value::Nil,
        1 => Value::Integer(i64::from_ne_bytes(script.number().to_ne_bytes())),
        2 => Value::Integer(i64::try_from(script.roll(8)).unwrap_or(0) - 2),
        3 => Value::Bytes(script.bytes(12)),
        4 => word(script),
        5 => Value::Error(Refusal::new("ERR", "text")),
        6 => Value::Other,
        7 | 8 => {
            let pairs = 0..script.roll(4);
            Value::Map(pairs.map(|_| (word(script), tree(script, depth - 1))).collect())
        }
        _ => Value::Array((0..script.roll(5)).map(|_| tree(script, depth - 1)).collect()),
    }
}

fn word(script: &mut Script<'_>) -> Value {
    let words: [&'static [u8]; 8] = [
        b"1-1",
        b"0-0",
        b"name",
        b"last-delivered-id",
        b"last-generated-id",
        b"18446744073709551615-18446744073709551615",
        b"5",
        b"envelope",
    ];
    Value::Bytes(Bytes::from_static(script.pick(&words)))
}

/// Puts another tree in the place of one of the pieces.
fn damage(script: &mut Script<'_>, value: Value) -> Value {
    match value {
        Value::Array(mut values) if !values.is_empty() && !script.once_in(4) => {
            let place = script.roll(values.len());
            let piece = values.remove(place);
            if !script.once_in(6) {
                values.insert(place, damage(script, piece));
            }
            Value::Array(values)
        }
        Value::Map(mut pairs) if !pairs.is_empty() && !script.once_in(4) => {
            let place = script.roll(pairs.len());
            let (name, piece) = pairs.remove(place);
            pairs.insert(place, (name, damage(script, piece)));
            Value::Map(pairs)
        }
        _ => tree(script, 2),
    }
}

fn id(script: &mut Script<'_>) -> StreamId {
    StreamId::new(script.number(), script.number())
}

fn entries(script: &mut Script<'_>) -> Vec<Entry> {
    let entry = |script: &mut Script<'_>| {
        let fields: Fields =
            (0..script.roll(4)).map(|_| (script.bytes(8), script.bytes(8))).collect();
        Entry::new(id(script), (!script.once_in(4)).then_some(fields))
    };
    (0..script.roll(4)).map(|_| entry(script)).collect()
}

/// Any reply of this shape.
fn reply(script: &mut Script<'_>, shape: ReplyShape) -> Reply {
    match shape {
        ReplyShape::Added => Reply::Added((!script.once_in(4)).then(|| id(script))),
        ReplyShape::Claimed => Reply::Claimed {
            next: id(script),
            entries: entries(script),
            deleted: (0..script.roll(3)).map(|_| id(script)).collect(),
            nameless: script.roll(3),
        },
        ReplyShape::Groups => {
            let group = |script: &mut Script<'_>| GroupInfo::new(script.bytes(8), id(script));
            Reply::Groups((0..script.roll(3)).map(|_| group(script)).collect())
        }
        ReplyShape::Integer => Reply::Integer(i64::from_ne_bytes(script.number().to_ne_bytes())),
        ReplyShape::Pending => Reply::Pending {
            count: script.number() >> 1,
            first: (!script.once_in(4)).then(|| id(script)),
        },
        ReplyShape::PendingRange => {
            let row = |script: &mut Script<'_>| {
                let (idle, deliveries) = (script.number() >> 1, script.number() >> 1);
                PendingEntry::new(id(script), script.bytes(8), idle, deliveries)
            };
            Reply::PendingRange((0..script.roll(3)).map(|_| row(script)).collect())
        }
        ReplyShape::Range | ReplyShape::Read => Reply::Entries(entries(script)),
        ReplyShape::Stream => Reply::Stream(StreamInfo::new(id(script))),
        _ => Reply::Ok,
    }
}

/// Writes replies as a Redis does.
struct Writer<'a, 'b> {
    script: &'a mut Script<'b>,
    resp3: bool,
}

impl Writer<'_, '_> {
    fn reply(&mut self, shape: ReplyShape, reply: &Reply) -> Value {
        match reply {
            Reply::Added(added) => added.map_or(Value::Nil, text),
            Reply::Claimed { next, entries, deleted, nameless } => {
                let mut list: Vec<Value> = entries.iter().map(|entry| self.entry(entry)).collect();
                for _ in 0..*nameless {
                    list.insert(self.script.roll(list.len() + 1), Value::Nil);
                }
                let mut parts = vec![text(*next), Value::Array(list)];
                // Redis 6.2 ends here.
                if !deleted.is_empty() || self.script.once_in(2) {
                    parts.push(Value::Array(deleted.iter().copied().map(text).collect()));
                }
                Value::Array(parts)
            }
            Reply::Entries(entries) => {
                let list = Value::Array(entries.iter().map(|entry| self.entry(entry)).collect());
                if shape == ReplyShape::Range {
                    return list;
                }
                if entries.is_empty() && self.script.once_in(2) {
                    return Value::Nil;
                }
                let key = Value::Bytes(Bytes::from_static(b"app:cmds:arith"));
                if self.resp3 {
                    Value::Map(vec![(key, list)])
                } else {
                    Value::Array(vec![Value::Array(vec![key, list])])
                }
            }
            Reply::Groups(groups) => {
                let info = |group: &GroupInfo| {
                    let name = ("name", Value::Bytes(group.name.clone()));
                    vec![name, ("last-delivered-id", text(group.last_delivered))]
                };
                let groups: Vec<_> = groups.iter().map(info).collect();
                Value::Array(groups.into_iter().map(|group| self.info(group)).collect())
            }
            Reply::Integer(integer) => Value::Integer(*integer),
            Reply::Pending { count, first } => {
                let first = first.map_or(Value::Nil, text);
                Value::Array(vec![integer(*count), first.clone(), first, Value::Nil])
            }
            Reply::PendingRange(rows) => {
                let row = |row: &PendingEntry| {
                    let (idle, count) = (integer(row.idle_ms), integer(row.deliveries));
                    Value::Array(vec![
                        text(row.id),
                        Value::Bytes(row.consumer.clone()),
                        idle,
                        count,
                    ])
                };
                Value::Array(rows.iter().map(row).collect())
            }
            Reply::Stream(stream) => {
                self.info(vec![("last-generated-id", text(stream.last_generated))])
            }
            _ => Value::Bytes(Bytes::from_static(b"OK")),
        }
    }

    fn entry(&self, entry: &Entry) -> Value {
        let fields = entry.fields.as_ref().map_or(Value::Nil, |fields| {
            let pairs = fields.iter().flat_map(|(name, value)| [name, value]);
            Value::Array(pairs.cloned().map(Value::Bytes).collect())
        });
        Value::Array(vec![text(entry.id), fields])
    }

    /// Fields by name, among others that nobody asks for.
    fn info(&mut self, mut fields: Vec<(&'static str, Value)>) -> Value {
        for _ in 0..self.script.roll(3) {
            let place = self.script.roll(fields.len() + 1);
            fields.insert(place, ("lag", tree(self.script, 1)));
        }
        let name = |name: &'static str| Value::Bytes(Bytes::from_static(name.as_bytes()));
        let fields = fields.into_iter().map(|(field, value)| (name(field), value));
        if self.resp3 {
            Value::Map(fields.collect())
        } else {
            Value::Array(fields.flat_map(|(name, value)| [name, value]).collect())
        }
    }
}

fn text(id: StreamId) -> Value {
    id.to_string().into()
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
