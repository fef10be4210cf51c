//! [`Group`]: a consumer group, that is, who holds which entry since when.
//!
//! Not the entries: they are looked up in the group's [`Log`] and may be gone from it while they
//! are still pending. Every pending entry belongs to one consumer; both ways to look it up are
//! kept in step here and nowhere else.
//!
//! <https://redis.io/docs/latest/develop/data-types/streams/#consumer-groups>

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::dialect::Dialect;
use super::log::Log;
use super::refusals::claim_too_large;
use crate::reply::{Entry, PendingEntry, Refusal, Reply};
use crate::stream_id::StreamId;

/// Pending entries that one claim looks at, for each entry it may take.
const SCANNED_PER_CLAIM: u64 = 10;

/// A consumer group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What each consumer holds. A consumer exists from its first mention on.
    consumers: BTreeMap<Bytes, BTreeSet<StreamId>>,
    last_delivered: StreamId,
    pending: BTreeMap<StreamId, Pending>,
}

/// An entry that was given to a consumer and not acknowledged.
#[derive(Clone, Debug)]
struct Pending {
    consumer: Bytes,
    deliveries: u64,
    since_ms: u64,
}

/// What to take over from consumers that do not get on with it.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) consumer: Bytes,
    pub(super) count: u64,
    pub(super) dialect: Dialect,
    pub(super) idle_ms_min: u64,
    pub(super) start: StreamId,
}

impl Group {
    /// Makes a group that is given what lies behind this id.
    pub(super) const fn new(last_delivered: StreamId) -> Self {
        Self { consumers: BTreeMap::new(), last_delivered, pending: BTreeMap::new() }
    }

    /// Makes the consumer exist.
    pub(super) fn mention(&mut self, consumer: &Bytes) {
        self.consumers.entry(consumer.clone()).or_default();
    }

    /// `>`: gives the consumer the next entries; `count` 0 means all there are.
    pub(super) fn read_new(
        &mut self,
        log: &Log,
        wall_ms: u64,
        consumer: &Bytes,
        count: u64,
    ) -> Vec<Entry> {
        let entries = limited(log.after(self.last_delivered), count);
        let held = self.consumers.entry(consumer.clone()).or_default();
        for Entry { id, .. } in &entries {
            let pending = Pending { consumer: consumer.clone(), deliveries: 1, since_ms: wall_ms };
            self.pending.insert(*id, pending);
            held.insert(*id);
            self.last_delivered = *id;
        }
        entries
    }

    /// Gives the consumer again what it holds behind this id; `count` 0 means all. An entry that
    /// is gone from the stream keeps its count of deliveries and its idle time.
    pub(super) fn read_history(
        &mut self,
        log: &Log,
        wall_ms: u64,
        consumer: &Bytes,
        after: StreamId,
        count: u64,
    ) -> Vec<Entry> {
        let held = self.consumers.entry(consumer.clone()).or_default();
        let held = held.range((Bound::Excluded(after), Bound::Unbounded));
        let entries = held.map(|id| Entry::new(*id, log.find(*id).cloned()));
        let entries = limited(entries, count);
        for entry in entries.iter().filter(|entry| entry.fields.is_some()) {
            if let Some(pending) = self.pending.get_mut(&entry.id) {
                pending.deliveries = pending.deliveries.saturating_add(1);
                pending.since_ms = wall_ms;
            }
        }
        entries
    }

    /// `XAUTOCLAIM`.
    ///
    /// # Errors
    /// Redis's memory does not suffice for such a count; nothing was taken.
    pub(super) fn claim(
        &mut self,
        log: &Log,
        wall_ms: u64,
        claim: &Claim,
    ) -> Result<Reply, Refusal> {
        let dialect = claim.dialect;
        if dialect.claim_lacks_memory(claim.count) {
            return Err(claim_too_large());
        }
        if dialect.trying_makes_consumer() {
            self.mention(&claim.consumer);
        }
        let (mut entries, mut deleted, mut nameless) = (Vec::new(), Vec::new(), 0);
        let mut places = claim.count;
        let mut looks = claim.count.saturating_mul(SCANNED_PER_CLAIM);
        let mut from = Bound::Included(claim.start);
        while places > 0
            && looks > 0
            && let Some((&id, pending)) = self.pending.range_mut((from, Bound::Unbounded)).next()
        {
            looks -= 1;
            from = Bound::Excluded(id);
            let fields = log.find(id);
            if fields.is_none() && dialect.claims_drop_deleted() {
                self.settle(id);
                deleted.push(id);
                places -= 1;
                continue;
            }
            if wall_ms.saturating_sub(pending.since_ms) < claim.idle_ms_min {
                continue;
            }
            pending.deliveries = pending.deliveries.saturating_add(1);
            pending.since_ms = wall_ms;
            self.assign(id, &claim.consumer);
            places -= 1;
            match fields {
                Some(fields) => entries.push(Entry::new(id, Some(fields.clone()))),
                None => nameless += 1,
            }
        }
        let next = self.pending.range((from, Bound::Unbounded)).next();
        let next = next.map_or(StreamId::ZERO, |(id, _)| *id);
        Ok(Reply::Claimed { next, entries, deleted, nameless })
    }

    /// `XACK` of one entry: it is no longer pending. Tells whether it was.
    pub(super) fn settle(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.release(id, &pending.consumer);
        true
    }

    /// Deletes a consumer and what it holds. Tells how much that was.
    pub(super) fn delete_consumer(&mut self, consumer: &[u8]) -> usize {
        let held = self.consumers.remove(consumer).unwrap_or_default();
        for id in &held {
            self.pending.remove(id);
        }
        held.len()
    }

    /// Tells the last entry that was given to a consumer.
    pub(super) const fn last_delivered(&self) -> StreamId {
        self.last_delivered
    }

    /// Tells who there is.
    pub(super) fn consumers(&self) -> impl Iterator<Item = &Bytes> {
        self.consumers.keys()
    }

    /// `XPENDING`: the summary.
    pub(super) fn summary(&self) -> Reply {
        let count = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        Reply::Pending { count, first: self.pending.keys().next().copied() }
    }

    /// Tells all that is pending.
    pub(super) fn pending(&self, wall_ms: u64) -> impl Iterator<Item = PendingEntry> {
        self.pending.iter().map(move |(id, pending)| pending.tell(*id, wall_ms))
    }

    /// Tells about one entry, if it is pending.
    pub(super) fn pending_entry(&self, wall_ms: u64, id: StreamId) -> Option<PendingEntry> {
        Some(self.pending.get(&id)?.tell(id, wall_ms))
    }

    /// Tells what the consumer holds from this id on.
    pub(super) fn held(
        &self,
        wall_ms: u64,
        consumer: &[u8],
        start: StreamId,
    ) -> impl Iterator<Item = PendingEntry> {
        let held =
            self.consumers.get(consumer).into_iter().flat_map(move |held| held.range(start..));
        held.filter_map(move |id| Some(self.pending.get(id)?.tell(*id, wall_ms)))
    }

    fn assign(&mut self, id: StreamId, consumer: &Bytes) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        if pending.consumer != *consumer {
            let before = core::mem::replace(&mut pending.consumer, consumer.clone());
            self.release(id, &before);
            self.consumers.entry(consumer.clone()).or_default().insert(id);
        }
    }

    fn release(&mut self, id: StreamId, consumer: &[u8]) {
        if let Some(held) = self.consumers.get_mut(consumer) {
            held.remove(&id);
        }
    }
}

impl Pending {
    /// A clock that stepped back makes an entry look as if it was just delivered.
    fn tell(&self, id: StreamId, wall_ms: u64) -> PendingEntry {
        let idle_ms = wall_ms.saturating_sub(self.since_ms);
        PendingEntry::new(id, self.consumer.clone(), idle_ms, self.deliveries)
    }
}

/// The first `count` entries; 0 means all.
pub(super) fn limited(entries: impl Iterator<Item = Entry>, count: u64) -> Vec<Entry> {
    match usize::try_from(count) {
        Ok(0) | Err(_) => entries.collect(),
        Ok(count) => entries.take(count).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Version;
    use alloc::vec;

    const ANA: Bytes = Bytes::from_static(b"ana");
    const BOB: Bytes = Bytes::from_static(b"bob");

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn log(entries: u64) -> Log {
        let mut log = Log::default();
        for ms in 1..=entries {
            log.add(ms, vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))]);
        }
        log
    }

    /// A group whose consumer `ana` was given all entries of the log at time 1000.
    fn group(log: &Log) -> Group {
        let mut group = Group::new(StreamId::ZERO);
        group.read_new(log, 1000, &ANA, 0);
        group
    }

    const fn on(major: u32, minor: u32) -> Dialect {
        Dialect::new(Version::new(major, minor, 0))
    }

    fn claim(count: u64) -> Claim {
        Claim { consumer: BOB, count, dialect: on(7, 0), idle_ms_min: 50, start: StreamId::ZERO }
    }

    fn ids(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.id.ms).collect()
    }

    /// Next, claimed, deleted, nameless.
    fn told(reply: Result<Reply, Refusal>) -> (u64, Vec<u64>, Vec<u64>, usize) {
        let Ok(Reply::Claimed { next, entries, deleted, nameless }) = reply else {
            unreachable!("a claim is answered by Claimed")
        };
        (next.ms, ids(&entries), deleted.iter().map(|id| id.ms).collect(), nameless)
    }

    fn held(group: &Group, consumer: &Bytes) -> Vec<u64> {
        group.held(1000, consumer, StreamId::ZERO).map(|entry| entry.id.ms).collect()
    }

    #[test]
    fn consumers_are_given_disjoint_entries_in_order() {
        let log = log(5);
        let mut group = Group::new(id(1));
        assert_eq!(ids(&group.read_new(&log, 9, &ANA, 2)), [2, 3]);
        assert_eq!(ids(&group.read_new(&log, 9, &BOB, 9)), [4, 5]);
        assert_eq!(ids(&group.read_new(&log, 9, &ANA, 9)), [0_u64; 0]);
        assert_eq!(group.last_delivered(), id(5));
        assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![2, 3], vec![4, 5]));
    }

    #[test]
    fn a_history_read_counts_as_a_delivery_of_own_entries_still_in_the_stream() {
        let mut log = log(3);
        let mut group = group(&log);
        log.remove(id(2));
        let entries = group.read_history(&log, 1070, &ANA, StreamId::ZERO, 0);
        assert_eq!(ids(&entries), [1, 2, 3]);
        assert_eq!(entries[1].fields, None);
        let pending: Vec<_> = group.pending(1080).collect();
        assert_eq!(pending[0], PendingEntry::new(id(1), ANA, 10, 2));
        assert_eq!(pending[1], PendingEntry::new(id(2), ANA, 80, 1));
        assert_eq!(group.read_history(&log, 1070, &BOB, StreamId::ZERO, 0), vec![]);
    }

    #[test]
    fn a_history_read_pages_behind_the_id() {
        let log = log(5);
        let mut group = group(&log);
        assert_eq!(ids(&group.read_history(&log, 1000, &ANA, id(2), 2)), [3, 4]);
        assert_eq!(ids(&group.read_history(&log, 1000, &ANA, id(4), 2)), [5]);
        assert_eq!(ids(&group.read_history(&log, 1000, &ANA, StreamId::MAX, 2)), [0_u64; 0]);
    }

    #[test]
    fn a_claim_takes_what_is_idle_for_exactly_the_minimum() {
        let log = log(2);
        let mut group = group(&log);
        assert_eq!(told(group.claim(&log, 1049, &claim(9))), (0, vec![], vec![], 0));
        assert_eq!(told(group.claim(&log, 1050, &claim(9))), (0, vec![1, 2], vec![], 0));
        assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![], vec![1, 2]));
        let pending: Vec<_> = group.pending(1050).collect();
        assert_eq!(pending[0], PendingEntry::new(id(1), BOB, 0, 2));
    }

    #[test]
    fn a_claim_of_own_entries_keeps_them() {
        let log = log(1);
        let mut group = group(&log);
        let own = Claim { consumer: ANA, ..claim(9) };
        assert_eq!(told(group.claim(&log, 1050, &own)), (0, vec![1], vec![], 0));
        assert_eq!(held(&group, &ANA), [1]);
    }

    #[test]
    fn a_claim_takes_count_entries_and_says_where_to_go_on() {
        let log = log(5);
        let mut group = group(&log);
        assert_eq!(told(group.claim(&log, 1050, &claim(2))), (3, vec![1, 2], vec![], 0));
        let rest = Claim { start: id(4), ..claim(2) };
        assert_eq!(told(group.claim(&log, 1050, &rest)), (0, vec![4, 5], vec![], 0));
    }

    #[test]
    fn a_claim_looks_at_ten_pending_entries_for_each_it_may_take() {
        let log = log(25);
        let mut group = group(&log);
        assert_eq!(told(group.claim(&log, 1001, &claim(2))), (21, vec![], vec![], 0));
        let rest = Claim { start: id(21), ..claim(2) };
        assert_eq!(told(group.claim(&log, 1001, &rest)), (0, vec![], vec![], 0));
    }

    #[test]
    fn a_claim_drops_deleted_entries_however_fresh_and_they_use_up_count() {
        let mut log = log(4);
        let mut group = group(&log);
        log.remove(id(1));
        log.remove(id(2));
        assert_eq!(told(group.claim(&log, 1000, &claim(1))), (2, vec![], vec![1], 0));
        assert_eq!(told(group.claim(&log, 1050, &claim(2))), (4, vec![3], vec![2], 0));
        assert_eq!((held(&group, &ANA), held(&group, &BOB)), (vec![4], vec![3]));
    }

    #[test]
    fn redis_6_2_claims_deleted_entries_without_naming_them() {
        let mut log = log(2);
        let mut group = group(&log);
        log.remove(id(1));
        let old = Claim { dialect: on(6, 2), ..claim(1) };
        assert_eq!(told(group.claim(&log, 1049, &old)), (0, vec![], vec![], 0));
        assert_eq!(told(group.claim(&log, 1050, &old)), (2, vec![], vec![], 1));
        assert_eq!(held(&group, &BOB), [1]);
    }

    #[test]
    fn before_7_2_a_claim_that_takes_nothing_leaves_no_consumer_behind() {
        let log = log(1);
        for (dialect, consumers) in
            [(on(6, 2), vec![&ANA]), (on(7, 0), vec![&ANA]), (on(7, 2), vec![&ANA, &BOB])]
        {
            let mut group = group(&log);
            let claim = Claim { dialect, ..claim(1) };
            assert_eq!(told(group.claim(&log, 1049, &claim)), (0, vec![], vec![], 0));
            assert_eq!(group.consumers().collect::<Vec<_>>(), consumers);
            assert_eq!(told(group.claim(&log, 1050, &claim)), (0, vec![1], vec![], 0));
            assert_eq!(group.consumers().collect::<Vec<_>>(), [&ANA, &BOB]);
        }
    }

    #[test]
    fn from_7_0_on_a_claim_of_more_than_any_memory_holds_is_refused() {
        let log = log(1);
        let most = i64::MAX.cast_unsigned() / 16;
        let mut group = group(&log);
        let refused = group.claim(&log, 1050, &claim(most));
        let text = "Insufficient memory, failed allocating transient memory, COUNT too high.";
        assert_eq!(refused, Err(Refusal::new("ERR", text)));
        let old = Claim { dialect: on(6, 2), ..claim(most) };
        assert_eq!(told(group.claim(&log, 1050, &old)), (0, vec![1], vec![], 0));
    }

    #[test]
    fn a_settled_entry_is_no_longer_pending() {
        let log = log(2);
        let mut group = group(&log);
        assert!(group.settle(id(1)));
        assert!(!group.settle(id(1)));
        assert_eq!(held(&group, &ANA), [2]);
        assert_eq!(group.summary(), Reply::Pending { count: 1, first: Some(id(2)) });
    }

    #[test]
    fn deleting_a_consumer_destroys_what_it_holds_for_good() {
        let log = log(3);
        let mut group = group(&log);
        assert_eq!(group.delete_consumer(&ANA), 3);
        assert_eq!(group.delete_consumer(&ANA), 0);
        assert_eq!(group.summary(), Reply::Pending { count: 0, first: None });
        assert_eq!(group.read_new(&log, 1000, &ANA, 9), vec![]);
    }

    #[test]
    fn idle_time_is_never_negative() {
        let group = group(&log(1));
        assert_eq!(group.pending(10).map(|entry| entry.idle_ms).collect::<Vec<_>>(), [0]);
    }
}
