//! [`Log`]: the entries of one stream, and the ids it gives them.
//!
//! Not consumer groups, which only refer to entries by id. A log without entries still knows the
//! last id it gave, and never gives a smaller one.
//!
//! <https://redis.io/docs/latest/commands/xadd/>

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::node::Node;
use crate::reply::{Entry, Fields};
use crate::stream_id::StreamId;

/// Most entries that one approximate trimming removes: `LIMIT`, 100 times the node size.
const TRIM_MAX: usize = 10_000;

/// The entries of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    last: StreamId,
    len: u64,
    /// By the id that started the node.
    nodes: BTreeMap<StreamId, Node>,
}

impl Log {
    /// Appends an entry; `None` when there is no greater id left.
    pub(super) fn add(&mut self, wall_ms: u64, fields: Fields) -> Option<StreamId> {
        if self.last == StreamId::MAX {
            return None;
        }
        let id = if wall_ms > self.last.ms { StreamId::new(wall_ms, 0) } else { self.last.next() };
        match self.nodes.last_entry() {
            Some(mut node) if node.get().takes(&fields) => node.get_mut().push(id, fields),
            Some(_) | None => {
                self.nodes.insert(id, Node::new(id, fields));
            }
        }
        self.last = id;
        self.len += 1;
        Some(id)
    }

    /// Those of these entries that are there.
    pub(super) fn entries(&self, ids: &[StreamId]) -> Vec<Entry> {
        let entry = |id: &StreamId| Some(Entry::new(*id, Some(self.find(*id)?.clone())));
        ids.iter().filter_map(entry).collect()
    }

    /// Deletes an entry. Tells whether it was there.
    pub(super) fn remove(&mut self, id: StreamId) -> bool {
        let Some((&first, node)) = self.nodes.range_mut(..=id).next_back() else { return false };
        if !node.remove(id) {
            return false;
        }
        if node.len() == 0 {
            self.nodes.remove(&first);
        }
        self.len -= 1;
        true
    }

    /// `MAXLEN ~`: removes whole nodes from the start while at least `max_len` entries remain.
    pub(super) fn trim(&mut self, max_len: u64) {
        let mut left = TRIM_MAX;
        while self.len > max_len
            && let Some(node) = self.nodes.first_entry()
        {
            let live = node.get().len();
            let len = u64::try_from(live).unwrap_or(u64::MAX);
            if live > left || self.len - len < max_len {
                break;
            }
            left -= live;
            self.len -= len;
            node.remove();
        }
    }

    /// How many entries [`Self::trim_below`] would remove, but for its limit.
    pub(super) fn trimmable(&self, min_id: StreamId) -> u64 {
        let nodes = self.nodes.values().take_while(|node| !node.reaches(min_id));
        nodes.map(|node| u64::try_from(node.len()).unwrap_or(u64::MAX)).sum()
    }

    /// `MINID ~`: removes whole nodes from the start while all their entries, deleted ones
    /// included, have smaller ids. Tells how many entries that were.
    pub(super) fn trim_below(&mut self, min_id: StreamId) -> usize {
        let mut removed = 0;
        while let Some(node) = self.nodes.first_entry() {
            let len = node.get().len();
            if node.get().reaches(min_id) || removed + len > TRIM_MAX {
                break;
            }
            removed += len;
            node.remove();
        }
        self.len -= u64::try_from(removed).unwrap_or(u64::MAX);
        removed
    }

    /// `MAXLEN =`: removes entries from the start until `max_len` remain. Tells how many.
    pub(super) fn trim_exactly(&mut self, max_len: u64) -> u64 {
        let surplus = usize::try_from(self.len.saturating_sub(max_len)).unwrap_or(usize::MAX);
        let oldest: Vec<StreamId> =
            self.from(StreamId::ZERO).take(surplus).map(|entry| entry.id).collect();
        oldest.iter().map(|id| u64::from(self.remove(*id))).sum()
    }

    /// Tells the last id that was given to an entry.
    pub(super) const fn last_generated(&self) -> StreamId {
        self.last
    }

    /// Tells how many entries there are.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Finds an entry.
    pub(super) fn find(&self, id: StreamId) -> Option<&Fields> {
        let (_, node) = self.nodes.range(..=id).next_back()?;
        node.find(id)
    }

    /// Tells whether an entry has a greater id.
    pub(super) fn reaches_beyond(&self, id: StreamId) -> bool {
        self.nodes.last_key_value().and_then(|(_, node)| node.last()).is_some_and(|last| last > id)
    }

    /// Lists the entries behind this id.
    pub(super) fn after(&self, id: StreamId) -> impl Iterator<Item = Entry> {
        self.from(id).filter(move |entry| entry.id > id)
    }

    /// Lists the ids of all entries.
    pub(super) fn ids(&self) -> impl Iterator<Item = StreamId> {
        self.nodes.values().flat_map(Node::ids)
    }

    /// Lists the entries from this id on.
    pub(super) fn from(&self, start: StreamId) -> impl Iterator<Item = Entry> {
        let first = self.nodes.range(..=start).next_back().map_or(start, |(first, _)| *first);
        let nodes = self.nodes.range(first..);
        nodes
            .flat_map(move |(_, node)| node.from(start))
            .map(|(id, fields)| Entry::new(id, Some(fields.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use bytes::Bytes;

    fn fields() -> Fields {
        vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))]
    }

    fn filled(entries: u64) -> Log {
        let mut log = Log::default();
        for ms in 1..=entries {
            assert_eq!(log.add(ms, fields()), Some(StreamId::new(ms, 0)));
        }
        log
    }

    fn ids(log: &Log, start: StreamId) -> Vec<u64> {
        log.from(start).map(|entry| entry.id.ms).collect()
    }

    #[test]
    fn entries_of_one_millisecond_are_numbered() {
        let mut log = Log::default();
        assert_eq!(log.add(5, fields()), Some(StreamId::new(5, 0)));
        assert_eq!(log.add(5, fields()), Some(StreamId::new(5, 1)));
        assert_eq!(log.add(6, fields()), Some(StreamId::new(6, 0)));
    }

    #[test]
    fn ids_rise_even_if_the_clock_steps_back() {
        let mut log = filled(9);
        assert_eq!(log.add(3, fields()), Some(StreamId::new(9, 1)));
    }

    #[test]
    fn the_first_id_is_never_0_0() {
        assert_eq!(Log::default().add(0, fields()), Some(StreamId::new(0, 1)));
    }

    #[test]
    fn a_log_that_gave_the_greatest_id_takes_nothing_more() {
        let mut log = Log { last: StreamId::MAX, ..Log::default() };
        assert_eq!(log.add(1, fields()), None);
        log.last = StreamId::new(u64::MAX, u64::MAX - 1);
        assert_eq!(log.add(1, fields()), Some(StreamId::MAX));
    }

    #[test]
    fn a_log_emptied_entry_by_entry_remembers_its_last_id() {
        let mut log = filled(2);
        assert!(log.remove(StreamId::new(2, 0)));
        assert!(!log.reaches_beyond(StreamId::new(1, 0)));
        assert!(log.remove(StreamId::new(1, 0)));
        assert!(!log.remove(StreamId::new(1, 0)));
        assert_eq!((log.len(), log.last_generated()), (0, StreamId::new(2, 0)));
        assert_eq!(log.add(1, fields()), Some(StreamId::new(2, 1)));
    }

    #[test]
    fn entries_are_found_and_listed_across_nodes_in_order() {
        let mut log = filled(250);
        assert!(log.remove(StreamId::new(101, 0)));
        assert_eq!(ids(&log, StreamId::new(99, 1)), [vec![100], (102..=250).collect()].concat());
        assert_eq!(log.after(StreamId::new(249, 0)).count(), 1);
        assert!(log.find(StreamId::new(250, 0)).is_some());
        assert!(log.find(StreamId::new(101, 0)).is_none());
    }

    #[test]
    fn approximate_trimming_removes_whole_nodes_and_keeps_at_least_the_bound() {
        let mut log = filled(350);
        log.trim(201);
        assert_eq!(ids(&log, StreamId::ZERO), (101..=350).collect::<Vec<_>>());
        log.trim(150);
        assert_eq!(log.len(), 150);
        log.trim(0);
        assert_eq!((log.len(), log.last_generated()), (0, StreamId::new(350, 0)));
    }

    #[test]
    fn deleted_entries_of_a_node_do_not_count_for_the_bound() {
        let mut log = filled(200);
        for ms in 1..=99 {
            assert!(log.remove(StreamId::new(ms, 0)));
        }
        log.trim(100);
        assert_eq!(log.len(), 100);
    }

    #[test]
    fn trimming_by_id_removes_whole_nodes_and_nothing_from_the_bound_on() {
        let mut log = filled(350);
        let below = |ms| StreamId::new(ms, 0);
        assert_eq!((log.trim_below(below(100)), log.len()), (0, 350));
        assert_eq!((log.trim_below(below(101)), log.len()), (100, 250));
        // A deleted entry keeps its node as long as it would itself.
        assert!(log.remove(below(200)));
        assert_eq!((log.trim_below(below(200)), log.len()), (0, 249));
        assert_eq!((log.trim_below(below(201)), log.len()), (99, 150));
        assert_eq!(log.trim_below(StreamId::MAX), 150);
        assert_eq!((log.len(), log.last_generated()), (0, below(350)));
    }

    #[test]
    fn one_trimming_by_id_removes_at_most_10000_entries() {
        let mut log = filled(10_500);
        assert_eq!((log.trim_below(StreamId::MAX), log.len()), (10_000, 500));
    }

    #[test]
    fn one_trimming_removes_at_most_10000_entries() {
        let mut log = filled(10_500);
        log.trim(0);
        assert_eq!(log.len(), 500);
    }
}
