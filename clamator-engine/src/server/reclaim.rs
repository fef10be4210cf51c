//! Taking over what dead workers left (rule 4.5).
//!
//! Not the reading of new entries (`intake`), whose queue what is taken over joins once it is
//! known how often it has been given out. The cursor of the scan is carried from claim to claim;
//! one tick scans only so far. Entries that are no longer in the stream are settled, also where
//! Redis 6.2 does not say which they are.
//!
//! <https://redis.io/docs/latest/commands/xautoclaim/>

use alloc::vec::Vec;
use core::time::Duration;

use super::intake::{Given, wide};
use super::service::{Counting, Service};
use super::{Aim, Server};
use crate::command::Command;
use crate::reply::{Entry, PendingEntry, Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// Most pending entries asked for at once.
pub(super) const PENDING_COUNT: u64 = 1000;
/// Most scans in one tick that find nothing, so that a long pending list is not scanned at once.
const EMPTY_SCANS_MAX: u32 = 16;
/// Most ghosts looked at after one claim.
const GHOSTS_MAX: usize = 100;

impl Server {
    /// A new tick: every service is looked at for what dead workers left.
    pub(super) fn tick_reclaim(&mut self) {
        let for_good = self.config.seeded.is(Bug::ClaimRefusedForGood);
        if self.config.seeded.is(Bug::ReclaimSeldom) && !self.ticks.is_multiple_of(10) {
            return;
        }
        for service in &mut self.services {
            if for_good && service.reclaim.empty_scans == u32::MAX {
                continue;
            }
            service.reclaim.more = true;
            service.reclaim.empty_scans = 0;
            service.take_back.tick(self.now, self.config.claim_idle);
            if service.reclaim.counting == Counting::Refused {
                service.reclaim.counting = Counting::Idle;
            }
        }
    }

    /// Takes over what dead workers left, as much as there is room for.
    pub(super) fn claim(&mut self, index: usize) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let seeded = self.config.seeded;
        let waits =
            seeded.is(Bug::ClaimWaitsForAll) && matches!(self.stage, super::Stage::Starting);
        let serving = self.is_serving() && !waits || seeded.is(Bug::StopReadsOn);
        if seeded.is(Bug::ReclaimMissing)
            || !serving
            || !service.is_ready()
            || service.reclaim.under_way
            || !service.has_overdue()
            || !service.may_ask()
        {
            return;
        }
        // A read that waits has places set aside for new entries, which come in their own time;
        // what is overdue does not wait for them, unless it would wait behind what they bring.
        let count = self.free_places(service).min(service.reclaim.page.limit());
        if count > 0 && !self.take_back(index, count) {
            self.scan(index, count);
        }
    }

    fn scan(&mut self, index: usize, count: usize) {
        let seeded = self.config.seeded;
        let Some(service) = self.services.get(index) else { return };
        let dropped = seeded.is(Bug::CursorDropped);
        let start = if dropped { StreamId::ZERO } else { service.reclaim.cursor };
        let at_once = seeded.is(Bug::ReclaimAtOnce);
        let command = Command::XAutoClaim {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            consumer: service.consumer.clone(),
            idle_min: if at_once { Duration::ZERO } else { self.config.claim_idle },
            start,
            count: wide(count),
        };
        let sent = self.send(index, command, Aim::Claim { start, count, sent: self.now });
        if let Some(service) = self.services.get_mut(index) {
            service.reclaim.under_way = sent;
        }
    }

    pub(super) fn handle_claimed(
        &mut self,
        index: usize,
        start: StreamId,
        count: usize,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reclaim.under_way = false;
        service.reclaim.page.answered();
        let Ok(Reply::Claimed { next, entries, deleted, nameless }) = reply else {
            // Tried again with the next tick.
            service.reclaim.more = false;
            if self.config.seeded.is(Bug::ClaimRefusedForGood) {
                service.reclaim.empty_scans = u32::MAX;
            }
            return;
        };
        let taken = entries.len() + deleted.len() + nameless;
        let held = |entry: &&Entry| service.held.contains(service.entry(entry.id));
        let news = taken > entries.iter().filter(held).count();
        service.reclaim.cursor = next;
        service.reclaim.empty_scans += u32::from(!news);
        let scans_left = service.reclaim.empty_scans < EMPTY_SCANS_MAX;
        let full = news && taken >= count;
        service.reclaim.more = full || (next != StreamId::ZERO && scans_left);
        service.stats.entries_deleted += u64::try_from(deleted.len()).unwrap_or(u64::MAX);
        for entry in entries {
            self.take_in(index, entry, Given::again(sent, self.now));
        }
        if nameless > 0 && !self.config.seeded.is(Bug::NilBodyKept) {
            self.find_ghosts(index, start, next);
        }
    }

    /// A claim whose answer is lost may have given this consumer entries that nobody has seen, or may
    /// yet do so.
    pub(super) fn void_claim(&mut self, index: usize, count: usize, sent: bool) {
        let stray_until = self.now + self.config.command_timeout;
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reclaim.under_way = false;
        if sent {
            service.held.leases.stray_until = stray_until;
            service.reclaim.page.lost(count);
            self.look_back(index);
        }
    }

    /// Asks how often the entries that were given out again have been given out.
    pub(super) fn count_deliveries(&mut self, index: usize) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let uncounted = service.held.uncounted();
        let (Some(first), Some(last)) = (uncounted.first(), uncounted.last()) else {
            return;
        };
        if service.reclaim.counting != Counting::Idle {
            return;
        }
        let (first, last) = (first.id, last.id);
        let command = self.own_pending(service, first, last, PENDING_COUNT);
        if self.send(index, command, Aim::Count { first, last })
            && let Some(service) = self.services.get_mut(index)
        {
            service.reclaim.counting = Counting::UnderWay;
        }
    }

    pub(super) fn own_pending(
        &self,
        service: &Service,
        start: StreamId,
        end: StreamId,
        count: u64,
    ) -> Command {
        Command::XPendingRange {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            start,
            end,
            count,
            consumer: service.consumer.clone(),
        }
    }

    pub(super) fn handle_counted(
        &mut self,
        index: usize,
        first: StreamId,
        last: StreamId,
        reply: Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.reclaim.counting = Counting::Idle;
        let rows = match reply {
            Ok(Reply::PendingRange(rows)) => rows,
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                return service.count_by_guess();
            }
            Ok(_) | Err(_) => {
                service.reclaim.counting = Counting::Refused;
                return;
            }
        };
        // A full answer may go on behind its last row; a shorter one is complete.
        let full = wide(rows.len()) >= PENDING_COUNT;
        let seen_to = rows.last().filter(|_| full).map_or(last, |row| row.id);
        for row in &rows {
            service.held.count(service.entry(row.id), row.deliveries);
        }
        if !self.config.seeded.is(Bug::UncountedKept) {
            service.drop_lost_to_others(first, seen_to);
        }
    }

    pub(super) fn void_count(&mut self, index: usize) {
        if let Some(service) = self.services.get_mut(index) {
            service.reclaim.counting = Counting::Idle;
        }
    }

    /// Redis 6.2 reports entries that are no longer in the stream without their ids: they are among
    /// the own pending ones of the range that was scanned.
    fn find_ghosts(&mut self, index: usize, start: StreamId, next: StreamId) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let end = if next == StreamId::ZERO { StreamId::MAX } else { next };
        let command = self.own_pending(service, start, end, PENDING_COUNT);
        self.send(index, command, Aim::FindGhosts);
    }

    /// Asks for the bodies of own pending entries that are not held. They may be ghosts, or just
    /// given to this consumer by a read whose answer is on its way.
    pub(super) fn handle_ghosts(&mut self, index: usize, reply: Result<Reply, Refusal>) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let Ok(Reply::PendingRange(rows)) = reply else {
            return;
        };
        let unknown = |row: &&PendingEntry| !service.held.contains(service.entry(row.id));
        self.check_ghosts(index, rows.iter().filter(unknown).map(|row| row.id).collect());
    }

    /// Looks whether these entries are in the stream, which may be pending for this consumer.
    pub(super) fn check_ghosts(&mut self, index: usize, ids: Vec<StreamId>) {
        for id in ids.into_iter().take(GHOSTS_MAX) {
            let Some(service) = self.services.get(index) else {
                return;
            };
            let key = service.stream.clone();
            let command = Command::XRange { key, start: id, end: id, count: 1 };
            self.send(index, command, Aim::CheckGhost(id));
        }
    }

    pub(super) fn handle_ghost_checked(
        &mut self,
        index: usize,
        id: StreamId,
        reply: &Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let key = service.entry(id);
        let gone = matches!(reply, Ok(Reply::Entries(entries)) if entries.is_empty());
        if gone && !service.held.contains(key) {
            self.stats_of(index).entries_deleted += 1;
            self.settle(index, key);
        }
    }
}

impl Service {
    /// Starts what cannot be counted, as when XPENDING is not allowed.
    pub(super) fn count_by_guess(&mut self) {
        for key in self.held.uncounted().clone() {
            self.held.guess_count(key);
        }
    }

    /// Drops entries of this range that turned out to be another consumer's before they were
    /// started.
    fn drop_lost_to_others(&mut self, first: StreamId, last: StreamId) {
        let asked = self.entry(first)..=self.entry(last);
        let lost: Vec<_> = self.held.uncounted().range(asked).copied().collect();
        for key in lost {
            self.held.remove(key);
        }
    }
}
