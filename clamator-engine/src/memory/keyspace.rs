//! [`Keyspace`]: the keys and what they hold.
//!
//! Not the commands, not connections and not time. A key on which a blocked read might go on is
//! put on a list, as Redis does; whoever executes a command must take the list afterwards.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::dialect::Dialect;
use super::expiries::Expiries;
use super::group::Group;
use super::log::Log;
use super::refusals::{no_group, wrong_type};
use crate::reply::Refusal;
use crate::stream_id::StreamId;

/// All keys.
#[derive(Clone, Debug)]
pub(super) struct Keyspace {
    dialect: Dialect,
    expiries: Expiries,
    keys: BTreeMap<Bytes, Value>,
    ready: Vec<Bytes>,
}

/// What a key holds.
#[derive(Clone, Debug)]
enum Value {
    Stream(Stream),
    /// Something else, such as a string.
    Other,
}

/// A stream and its consumer groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    pub(super) groups: BTreeMap<Bytes, Group>,
    pub(super) log: Log,
}

impl Keyspace {
    /// Makes a keyspace without keys.
    pub(super) fn new(dialect: Dialect) -> Self {
        let expiries = Expiries::default();
        Self { dialect, expiries, keys: BTreeMap::new(), ready: Vec::new() }
    }

    /// Deletes a key. Tells whether it existed.
    pub(super) fn delete(&mut self, key: &[u8]) -> bool {
        let Some((key, _)) = self.keys.remove_entry(key) else { return false };
        self.expiries.clear(&key);
        self.signal(key);
        true
    }

    /// Lets a key live so long from now on; not at all for zero. Tells whether there is such a key.
    pub(super) fn limit(&mut self, key: Bytes, wall_ms: u64, ttl_ms: u64) -> bool {
        if ttl_ms == 0 {
            return self.delete(&key);
        }
        let exists = self.keys.contains_key(&key);
        if exists {
            self.expiries.set(key, wall_ms.saturating_add(ttl_ms));
        }
        exists
    }

    /// Deletes the keys whose time is over.
    pub(super) fn expire(&mut self, wall_ms: u64) {
        while let Some(key) = self.expiries.over(wall_ms) {
            self.delete(&key);
        }
    }

    /// How long a key has left to live, in milliseconds; `None` for one that lives on.
    pub(super) fn ttl_ms(&self, key: &[u8], wall_ms: u64) -> Option<u64> {
        Some(self.expiries.of(key)?.saturating_sub(wall_ms))
    }

    /// Deletes all keys.
    pub(super) fn flush(&mut self) {
        self.expiries = Expiries::default();
        self.ready.extend(core::mem::take(&mut self.keys).into_keys());
    }

    /// The names of all keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.keys()
    }

    /// Makes the keys hold what others hold.
    pub(super) fn replace(&mut self, others: Self) {
        self.flush();
        self.expiries = others.expiries;
        self.keys = others.keys;
        self.ready.extend(self.keys.keys().cloned());
    }

    /// Makes a key hold something that is no stream.
    pub(super) fn set_other(&mut self, key: Bytes) {
        self.expiries.clear(&key);
        self.keys.insert(key.clone(), Value::Other);
        self.signal(key);
    }

    /// Deletes a consumer group. Tells whether it existed.
    pub(super) fn destroy_group(&mut self, key: &[u8], group: &[u8]) -> bool {
        let Ok(Some(stream)) = self.stream_mut(key) else { return false };
        let existed = stream.groups.remove(group).is_some();
        if existed {
            self.signal(Bytes::copy_from_slice(key));
        }
        existed
    }

    /// Notes that a blocked read on this key might go on.
    pub(super) fn signal(&mut self, key: Bytes) {
        self.ready.push(key);
    }

    /// Takes the keys on which a blocked read might go on, in the order of their events.
    pub(super) fn take_ready(&mut self) -> Vec<Bytes> {
        core::mem::take(&mut self.ready)
    }

    /// Finds a stream, to look at it.
    ///
    /// # Errors
    /// `WRONGTYPE` when the key holds something else.
    pub(super) fn stream(&self, key: &[u8]) -> Result<Option<&Stream>, Refusal> {
        match self.keys.get(key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(Value::Other) => Err(wrong_type()),
        }
    }

    /// Finds a stream, to change it.
    ///
    /// # Errors
    /// `WRONGTYPE` when the key holds something else.
    pub(super) fn stream_mut(&mut self, key: &[u8]) -> Result<Option<&mut Stream>, Refusal> {
        match self.keys.get_mut(key) {
            None => Ok(None),
            Some(Value::Stream(stream)) => Ok(Some(stream)),
            Some(Value::Other) => Err(wrong_type()),
        }
    }

    /// Finds a stream, or makes one without entries.
    ///
    /// # Errors
    /// `WRONGTYPE` when the key holds something else.
    pub(super) fn stream_or_new(&mut self, key: &Bytes) -> Result<&mut Stream, Refusal> {
        let empty = || Value::Stream(Stream::default());
        match self.keys.entry(key.clone()).or_insert_with(empty) {
            Value::Stream(stream) => Ok(stream),
            Value::Other => Err(wrong_type()),
        }
    }

    /// Finds a consumer group and the entries of its stream.
    ///
    /// # Errors
    /// `WRONGTYPE`, or `NOGROUP` when stream or group are missing.
    pub(super) fn group(&mut self, key: &[u8], name: &[u8]) -> Result<(&Log, &mut Group), Refusal> {
        let found = self.stream_mut(key)?.and_then(|stream| stream.group(name));
        found.ok_or_else(|| no_group(key, name, ""))
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }
}

impl Stream {
    /// Adds a consumer group that is given what lies behind this id. Tells whether it is new; an
    /// existing one stays as it is.
    pub(super) fn add_group(&mut self, name: Bytes, start: StreamId) -> bool {
        let is_new = !self.groups.contains_key(&name);
        self.groups.entry(name).or_insert_with(|| Group::new(start));
        is_new
    }

    /// Finds a consumer group, beside the entries it refers to.
    pub(super) fn group(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        Some((&self.log, self.groups.get_mut(name)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Version;

    const KEY: Bytes = Bytes::from_static(b"k");

    fn keyspace() -> Keyspace {
        let mut keys = Keyspace::new(Dialect::new(Version::new(7, 0, 0)));
        assert!(keys.stream_or_new(&KEY).is_ok_and(|stream| stream.add_group(KEY, StreamId::ZERO)));
        keys
    }

    #[test]
    fn an_existing_group_stays_as_it_is() {
        let mut keys = keyspace();
        assert!(keys.stream_or_new(&KEY).is_ok_and(|stream| !stream.add_group(KEY, StreamId::MAX)));
        let found = keys.group(&KEY, &KEY).map(|(_, group)| group.last_delivered());
        assert_eq!(found, Ok(StreamId::ZERO));
    }

    #[test]
    fn whatever_takes_a_stream_or_group_away_signals_its_key() {
        let mut keys = keyspace();
        assert!(keys.destroy_group(&KEY, &KEY) && !keys.destroy_group(&KEY, &KEY));
        assert_eq!(keys.take_ready(), [KEY]);
        assert!(keys.delete(&KEY) && !keys.delete(&KEY));
        assert_eq!(keys.take_ready(), [KEY]);
        keys.set_other(KEY);
        assert_eq!(keys.take_ready(), [KEY]);
        keys.flush();
        keys.flush();
        assert_eq!(keys.take_ready(), [KEY]);
    }
}
