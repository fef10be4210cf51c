//! [`Waits`]: the connections that are blocked in a read, by key, by deadline and by name.
//!
//! Not what ends a wait. All three views name the same waits; a connection waits at most once.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::ConnectionId;
use super::reads::Read;
use crate::time::Instant;

/// All blocked reads.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// By when they end, then by when they began.
    deadlines: BTreeMap<(Instant, u64), ConnectionId>,
    /// By key, then by when they began.
    keys: BTreeMap<Bytes, BTreeMap<u64, ConnectionId>>,
    number: u64,
    waits: BTreeMap<ConnectionId, Wait>,
}

/// A blocked read.
#[derive(Debug)]
pub(super) struct Wait {
    number: u64,
    pub(super) read: Read,
    pub(super) ticket: u64,
    until: Instant,
}

impl Waits {
    /// Lets a connection wait, behind all others that wait on the key.
    pub(super) fn begin(
        &mut self,
        connection: ConnectionId,
        ticket: u64,
        read: Read,
        until: Instant,
    ) {
        self.number += 1;
        let number = self.number;
        self.deadlines.insert((until, number), connection);
        self.keys.entry(read.key.clone()).or_default().insert(number, connection);
        self.waits.insert(connection, Wait { number, read, ticket, until });
    }

    /// Ends a connection's wait, if it has one.
    pub(super) fn end(&mut self, connection: ConnectionId) -> Option<Wait> {
        let wait = self.waits.remove(&connection)?;
        self.deadlines.remove(&(wait.until, wait.number));
        if let Some(waiting) = self.keys.get_mut(&wait.read.key) {
            waiting.remove(&wait.number);
            if waiting.is_empty() {
                self.keys.remove(&wait.read.key);
            }
        }
        Some(wait)
    }

    /// Tells who waits on a key, in the order in which they began.
    pub(super) fn on(&self, key: &[u8]) -> Vec<ConnectionId> {
        self.keys.get(key).into_iter().flat_map(BTreeMap::values).copied().collect()
    }

    /// Tells which wait ends first, and when.
    pub(super) fn first(&self) -> Option<(Instant, ConnectionId)> {
        let ((until, _), connection) = self.deadlines.first_key_value()?;
        Some((*until, *connection))
    }

    /// Finds what a connection waits for.
    pub(super) fn find(&self, connection: ConnectionId) -> Option<&Wait> {
        self.waits.get(&connection)
    }

    /// Tells whether a connection waits.
    pub(super) fn contains(&self, connection: ConnectionId) -> bool {
        self.waits.contains_key(&connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::reads::Source;
    use crate::stream_id::StreamId;
    use core::time::Duration;

    const KEY: Bytes = Bytes::from_static(b"k");

    fn waits(untils: [u64; 3]) -> Waits {
        let mut waits = Waits::default();
        for (number, until) in (1..).zip(untils) {
            let read =
                Read { key: KEY, count: 1, source: Source::Stream { after: StreamId::ZERO } };
            waits.begin(ConnectionId(number), number * 10, read, at(until));
        }
        waits
    }

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn waits_on_a_key_are_listed_as_they_began() {
        let mut waits = waits([3, 2, 1]);
        assert_eq!(waits.on(b"k"), [1, 2, 3].map(ConnectionId));
        assert_eq!(waits.end(ConnectionId(2)).map(|wait| wait.ticket), Some(20));
        assert_eq!(waits.on(b"k"), [1, 3].map(ConnectionId));
        assert_eq!(waits.on(b"other"), []);
    }

    #[test]
    fn the_first_deadline_comes_first_and_the_earlier_wait_among_equals() {
        let mut waits = waits([2, 1, 1]);
        let mut order = Vec::new();
        while let Some((until, connection)) = waits.first() {
            order.push((until, connection.0));
            waits.end(connection);
        }
        assert_eq!(order, [(at(1), 2), (at(1), 3), (at(2), 1)]);
    }

    #[test]
    fn an_ended_wait_leaves_nothing_behind() {
        let mut waits = waits([1, 2, 3]);
        for number in 1..=3 {
            assert!(waits.contains(ConnectionId(number)));
            assert!(waits.end(ConnectionId(number)).is_some());
            assert!(waits.end(ConnectionId(number)).is_none());
        }
        assert!(waits.deadlines.is_empty() && waits.keys.is_empty() && waits.waits.is_empty());
    }
}
