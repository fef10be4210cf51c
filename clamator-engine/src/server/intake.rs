//! Taking entries in: new ones, own pending ones after a lost read, and those of dead workers.
//!
//! Rules 4.3 and 4.5. Not the starting of handlers: everything joins one queue, oldest id first,
//! and what is already held is dropped, so no entry runs twice at once in this process. A read
//! whose lane ended may have been given entries that nobody has seen: they are read from the own
//! pending list first, at once and again when the lost read's BLOCK must have ended.
//!
//! <https://redis.io/docs/latest/commands/xautoclaim/>

use alloc::vec::Vec;
use core::time::Duration;

use super::event::Notice;
use super::held::{State, Unstarted};
use super::service::{Counting, ReadKind, Service};
use super::{Aim, Purpose, Server, Stage};
use crate::command::{Command, ReadFrom};
use crate::engine::Lane;
use crate::reply::{Entry, PendingEntry, Refusal, RefusalKind, Reply};
use crate::stream_id::StreamId;

/// Most entries of one history read, and of one XAUTOCLAIM: a claim holds up all of Redis.
const PAGE: usize = 100;
/// Most pending entries asked for at once.
const PENDING_COUNT: u64 = 1000;
/// Most scans in one tick that find nothing, so that a long pending list is not scanned at once.
const EMPTY_SCANS_MAX: u32 = 16;
/// Most ghosts looked at after one claim.
const GHOSTS_MAX: usize = 100;
/// How many times `prefetch_max` may be held in all, replies and acknowledgements under way
/// included.
const HELD_FACTOR: usize = 4;
/// Pause after a refused read.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// How much longer than its BLOCK a blocking read may take to be answered.
const READ_SLACK: Duration = Duration::from_secs(1);

impl Server {
    /// How many more entries may be taken in now.
    fn free_places(&self, service: &Service) -> usize {
        if self.retry.is_some() || !self.lanes.is_open(Lane::Command) {
            return 0;
        }
        let (time, max) = (self.config.prefetch_time, self.config.prefetch_max);
        let handlers = service.concurrency.limit();
        let places = service.pace.places(handlers, time, max);
        let idle = handlers.saturating_sub(service.held.running());
        let held_max = max.saturating_mul(HELD_FACTOR).saturating_add(handlers);
        let free = places.max(idle).saturating_sub(service.held.unstarted());
        free.min(held_max.saturating_sub(service.held.len()))
    }

    /// Reads, if nothing is being read and there is room.
    pub(super) fn read(&mut self, index: usize) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if service.reader.paused_until.is_some_and(|until| self.now < until) {
            return;
        }
        service.reader.paused_until = None;
        let serving = matches!(self.stage, Stage::Running | Stage::Starting);
        if !serving || !service.is_ready() || service.reader.under_way.is_some() {
            return;
        }
        let history = service.reader.history;
        let Some(service) = self.services.get(index) else {
            return;
        };
        let (from, count, block, kind, aim) = match history {
            Some(after) => (ReadFrom::History(after), PAGE, None, ReadKind::History, Aim::History),
            None => {
                let count = self.free_places(service);
                let block = Some(self.config.read_block);
                (ReadFrom::New, count, block, ReadKind::New, Aim::Read)
            }
        };
        if count == 0 {
            return;
        }
        let command = Command::XReadGroup {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            consumer: service.consumer.clone(),
            from,
            count: wide(count),
            block,
        };
        let timeout = block.map_or(self.config.command_timeout, |block| block + READ_SLACK);
        let (lane, purpose) = (service.lane, Purpose { service: index, aim });
        let sent = self.lanes.send(self.now, lane, command, timeout, purpose).is_ok();
        if let Some(service) = self.services.get_mut(index).filter(|_| sent) {
            service.reader.under_way = Some(kind);
        }
    }

    pub(super) fn handle_read(&mut self, index: usize, reply: Result<Reply, Refusal>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reader.under_way = None;
        match reply {
            Ok(Reply::Entries(entries)) => {
                for entry in entries {
                    self.take_in(index, entry, false);
                }
            }
            Ok(_) => self.garbled(index),
            Err(refusal) => self.read_refused(index, refusal),
        }
    }

    pub(super) fn handle_history(&mut self, index: usize, reply: Result<Reply, Refusal>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reader.under_way = None;
        match reply {
            Ok(Reply::Entries(entries)) => {
                service.reader.history = entries.last().map(|entry| entry.id);
                for entry in entries {
                    self.take_in(index, entry, true);
                }
            }
            Ok(_) => self.garbled(index),
            Err(refusal) => self.read_refused(index, refusal),
        }
        if let Some(service) = self.services.get_mut(index) {
            service.reader.settled.clear();
        }
    }

    fn read_refused(&mut self, index: usize, refusal: Refusal) {
        let until = self.now + READ_PAUSE;
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        match refusal.kind() {
            // The group is created again, or the lane opened again, before the next read.
            RefusalKind::NoGroup | RefusalKind::WrongServer => {}
            RefusalKind::Final | RefusalKind::GroupExists | RefusalKind::Heals => {
                service.reader.paused_until = Some(until);
                let notice = Notice::ReadRefused { service: service.name(), refusal };
                self.notice(notice);
            }
        }
    }

    fn garbled(&mut self, index: usize) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let detail = "a reply of another command".into();
        self.give_up(service.lane, crate::engine::Loss::Garbled { detail });
    }

    /// The lane ended with a read of new entries unanswered.
    pub(super) fn void_read(&mut self, index: usize, sent: bool) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.reader.under_way = None;
        if sent {
            self.look_back(index);
        }
    }

    /// What this consumer was given on a lane that ended is to be read from its pending list: at
    /// once, and again when what Redis still had to do for that lane must be done.
    fn look_back(&mut self, index: usize) {
        let again = self.now + self.config.read_block + READ_SLACK;
        let Some(service) = self.services.get_mut(index) else { return };
        service.reader.history = Some(StreamId::ZERO);
        service.reader.history_again = Some(again);
    }

    /// A lane was opened. If a look back waits for it, Redis may have been out of reach until now:
    /// the time until the second look counts from here.
    pub(super) fn expect_history(&mut self, lane: Lane) {
        let waits = |service: &Service| service.lane == lane && service.reader.history.is_some();
        if let Some(index) = self.services.iter().position(waits) {
            self.look_back(index);
        }
    }

    pub(super) fn void_history(&mut self, index: usize) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reader.under_way = None;
        service.reader.settled.clear();
        service.reader.history = Some(StreamId::ZERO);
    }

    pub(super) fn tick_history(&mut self) {
        for service in &mut self.services {
            if service.reader.history_again.is_some_and(|at| at <= self.now) {
                service.reader.history_again = None;
                service.reader.history = Some(StreamId::ZERO);
            }
        }
    }

    /// Takes in an entry; `again` says that it may have been given out before.
    fn take_in(&mut self, index: usize, entry: Entry, again: bool) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let key = service.entry(entry.id);
        match service.held.state(key) {
            Some(State::Settling) => {
                // Given out again by a group that was created anew: it must be acknowledged there.
                service.acks.push(key.id);
                return;
            }
            Some(_) => return,
            None if again && service.reader.settled.contains(&key) => return,
            None => service.group.moved = true,
        }
        if !self.may_start() {
            return self.count_left(1);
        }
        let Some(service) = self.services.get_mut(index) else { return };
        match entry.fields {
            None => {
                self.counters.entries_deleted += 1;
                self.settle(index, key);
            }
            Some(fields) if again => service.held.insert_uncounted(key, fields),
            Some(fields) => service.held.insert_waiting(key, Unstarted { fields, deliveries: 1 }),
        }
    }

    /// A new tick: every service is looked at for what dead workers left.
    pub(super) fn tick_reclaim(&mut self) {
        for service in &mut self.services {
            service.reclaim.more = true;
            service.reclaim.empty_scans = 0;
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
        let reclaim = &service.reclaim;
        if !self.is_running() || !service.is_ready() || reclaim.under_way || !reclaim.more {
            return;
        }
        // A read that waits has places set aside for new entries, which come in their own time;
        // what is overdue does not wait for them.
        let count = self.free_places(service).min(PAGE);
        if count == 0 {
            return;
        }
        let start = service.reclaim.cursor;
        let command = Command::XAutoClaim {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            consumer: service.consumer.clone(),
            idle_min: self.config.claim_idle,
            start,
            count: wide(count),
        };
        let sent = self.send(index, command, Aim::Claim { start, count });
        if let Some(service) = self.services.get_mut(index) {
            service.reclaim.under_way = sent;
        }
    }

    pub(super) fn handle_claimed(
        &mut self,
        index: usize,
        start: StreamId,
        count: usize,
        reply: Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reclaim.under_way = false;
        let Ok(Reply::Claimed { next, entries, deleted, nameless }) = reply else {
            // Tried again with the next tick.
            service.reclaim.more = false;
            return;
        };
        let taken = entries.len() + deleted.len() + nameless;
        service.reclaim.cursor = next;
        service.reclaim.empty_scans += u32::from(taken == 0);
        let scans_left = service.reclaim.empty_scans < EMPTY_SCANS_MAX;
        service.reclaim.more = taken >= count || (next != StreamId::ZERO && scans_left);
        self.counters.entries_deleted += u64::try_from(deleted.len()).unwrap_or(u64::MAX);
        for entry in entries {
            self.take_in(index, entry, true);
        }
        if nameless > 0 {
            self.find_ghosts(index, start, next);
        }
    }

    /// A claim whose answer is lost may have given this consumer entries that nobody has seen.
    pub(super) fn void_claim(&mut self, index: usize, sent: bool) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reclaim.under_way = false;
        if sent {
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
        let command = self.own_pending(service, first.id, last.id, PENDING_COUNT);
        if self.send(index, command, Aim::Count)
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

    pub(super) fn handle_counted(&mut self, index: usize, reply: Result<Reply, Refusal>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let Ok(Reply::PendingRange(rows)) = reply else {
            service.reclaim.counting = Counting::Refused;
            return;
        };
        service.reclaim.counting = Counting::Idle;
        // A full answer may go on behind its last row; a shorter one is complete.
        let full = wide(rows.len()) >= PENDING_COUNT;
        let seen_to = rows.last().filter(|_| full).map_or(StreamId::MAX, |row| row.id);
        for row in &rows {
            service.held.count(service.entry(row.id), row.deliveries);
        }
        service.drop_lost_to_others(seen_to);
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
        let ids: Vec<StreamId> =
            rows.iter().filter(unknown).take(GHOSTS_MAX).map(|row| row.id).collect();
        for id in ids {
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
            self.counters.entries_deleted += 1;
            self.settle(index, key);
        }
    }
}

impl Service {
    /// Drops entries that turned out to be another consumer's before they were started.
    fn drop_lost_to_others(&mut self, seen_to: StreamId) {
        let lost: Vec<_> =
            self.held.uncounted().iter().filter(|key| key.id <= seen_to).copied().collect();
        for key in lost {
            self.held.remove(key);
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
