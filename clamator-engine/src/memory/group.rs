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
use core::time::Duration;

use bytes::Bytes;

use super::dialect::Dialect;
use super::log::Log;
use super::refusals::claim_too_large;
use crate::command::{ClaimAs, IDLE_CONSUMERS_MAX};
use crate::reply::{Entry, PendingEntry, Refusal, Reply};
use crate::stream_id::StreamId;

/// Pending entries that one claim looks at, for each entry it may take.
const SCANNED_PER_CLAIM: u64 = 10;

/// A consumer group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// A consumer exists from its first mention on.
    consumers: BTreeMap<Bytes, Consumer>,
    last_delivered: StreamId,
    pending: BTreeMap<StreamId, Pending>,
}

/// Who reads.
#[derive(Clone, Debug, Default)]
struct Consumer {
    held: BTreeSet<StreamId>,
    /// When it was mentioned last.
    seen_ms: u64,
}

/// An entry that was given to a consumer and not acknowledged.
#[derive(Clone, Debug)]
struct Pending {
    consumer: Bytes,
    deliveries: u64,
    since_ms: u64,
}

/// How entries are claimed.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) claim_as: ClaimAs,
    pub(super) consumer: Bytes,
    pub(super) dialect: Dialect,
    pub(super) idle_ms_min: u64,
}

/// What to take over from consumers that do not get on with it.
#[derive(Debug)]
pub(super) struct Scan {
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

    /// Makes the consumer exist, and seen now.
    pub(super) fn mention(&mut self, wall_ms: u64, consumer: &Bytes) {
        self.seen(wall_ms, consumer);
    }

    fn seen(&mut self, wall_ms: u64, consumer: &Bytes) -> &mut Consumer {
        let found = self.consumers.entry(consumer.clone()).or_default();
        found.seen_ms = wall_ms;
        found
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
        self.seen(wall_ms, consumer).held.extend(entries.iter().map(|entry| entry.id));
        for Entry { id, .. } in &entries {
            let pending = Pending { consumer: consumer.clone(), deliveries: 1, since_ms: wall_ms };
            self.pending.insert(*id, pending);
            self.last_delivered = *id;
        }
        entries
    }

    /// `XAUTOCLAIM`.
    ///
    /// # Errors
    /// Redis's memory does not suffice for such a count; nothing was taken.
    pub(super) fn scan(&mut self, log: &Log, wall_ms: u64, scan: &Scan) -> Result<Reply, Refusal> {
        let dialect = scan.dialect;
        if dialect.claim_lacks_memory(scan.count) {
            return Err(claim_too_large());
        }
        if dialect.trying_makes_consumer() {
            self.mention(wall_ms, &scan.consumer);
        }
        let (mut entries, mut deleted, mut nameless) = (Vec::new(), Vec::new(), 0);
        let mut places = scan.count;
        let mut looks = scan.count.saturating_mul(SCANNED_PER_CLAIM);
        let mut from = Bound::Included(scan.start);
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
            if wall_ms.saturating_sub(pending.since_ms) < scan.idle_ms_min {
                continue;
            }
            pending.deliveries = pending.deliveries.saturating_add(1);
            pending.since_ms = wall_ms;
            self.assign(wall_ms, id, &scan.consumer);
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

    /// `XCLAIM`. Tells what was claimed.
    pub(super) fn claim(
        &mut self,
        log: &Log,
        wall_ms: u64,
        claim: &Claim,
        ids: &[StreamId],
    ) -> Vec<StreamId> {
        if claim.dialect.trying_makes_consumer() {
            self.mention(wall_ms, &claim.consumer);
        }
        let mut claimed = Vec::new();
        for &id in ids {
            if claim.dialect.claims_drop_deleted() && log.find(id).is_none() {
                self.settle(id);
                continue;
            }
            let Some(pending) = self.pending.get_mut(&id) else { continue };
            if wall_ms.saturating_sub(pending.since_ms) < claim.idle_ms_min {
                continue;
            }
            (pending.since_ms, pending.deliveries) = match claim.claim_as {
                ClaimAs::Delivered => (wall_ms, pending.deliveries.saturating_add(1)),
                ClaimAs::HandedBack { deliveries } => (0, deliveries),
                ClaimAs::Renewed => (wall_ms, pending.deliveries),
            };
            self.assign(wall_ms, id, &claim.consumer);
            claimed.push(id);
        }
        claimed
    }

    /// `XACK` of one entry: it is no longer pending. Tells whether it was.
    pub(super) fn settle(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.release(id, &pending.consumer);
        true
    }

    /// Deletes a consumer and what it holds. Tells how much that was.
    pub(super) fn delete_consumer(&mut self, consumer: &[u8]) -> usize {
        let held = self.consumers.remove(consumer).unwrap_or_default().held;
        for id in &held {
            self.pending.remove(id);
        }
        held.len()
    }

    /// Deletes those who hold nothing and were seen at least so long ago, but for one. Tells how
    /// many that were.
    pub(super) fn delete_idle_consumers(
        &mut self,
        wall_ms: u64,
        idle_ms_min: u64,
        keep: &[u8],
    ) -> usize {
        let mut deleted = 0;
        self.consumers.retain(|name, consumer| {
            let idle = wall_ms.saturating_sub(consumer.seen_ms) >= idle_ms_min;
            let goes = consumer.held.is_empty() && idle && name != keep;
            let deletes = goes && deleted < usize::from(IDLE_CONSUMERS_MAX);
            deleted += usize::from(deletes);
            !deletes
        });
        deleted
    }

    /// Tells the last entry that was given to a consumer.
    pub(super) const fn last_delivered(&self) -> StreamId {
        self.last_delivered
    }

    /// Tells who there is.
    pub(super) fn consumers(&self) -> impl Iterator<Item = &Bytes> {
        self.consumers.keys()
    }

    /// Tells who holds nothing, and how long ago each was seen.
    pub(super) fn idle_consumers(&self, wall_ms: u64) -> impl Iterator<Item = (&Bytes, Duration)> {
        let idle = self.consumers.iter().filter(|(_, consumer)| consumer.held.is_empty());
        idle.map(move |(name, consumer)| {
            (name, Duration::from_millis(wall_ms.saturating_sub(consumer.seen_ms)))
        })
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
            self.consumers.get(consumer).into_iter().flat_map(move |it| it.held.range(start..));
        held.filter_map(move |id| Some(self.pending.get(id)?.tell(*id, wall_ms)))
    }

    fn assign(&mut self, wall_ms: u64, id: StreamId, consumer: &Bytes) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let before = core::mem::replace(&mut pending.consumer, consumer.clone());
        if before != *consumer {
            self.release(id, &before);
        }
        self.seen(wall_ms, consumer).held.insert(id);
    }

    fn release(&mut self, id: StreamId, consumer: &[u8]) {
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.held.remove(&id);
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
mod tests;
