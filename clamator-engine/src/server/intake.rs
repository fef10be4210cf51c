//! Taking entries in: new ones, and own pending ones after a lost read.
//!
//! Rules 4.3 and 4.5. Not the starting of handlers, and not what dead workers left (`reclaim`):
//! everything joins one queue, oldest id first, and what is already held is dropped, so no entry runs
//! twice at once in this process. A read whose lane ended may have been given entries that nobody has
//! seen: they are read from the own pending list first, at once and again when the lost read's BLOCK
//! must have ended.
//!
//! <https://redis.io/docs/latest/commands/xreadgroup/>

use core::time::Duration;

use super::event::Notice;
use super::held::{State, Unstarted};
use super::service::{ReadKind, Reader, Service};
use super::{Aim, Purpose, Server};
use crate::command::{Command, ReadFrom};
use crate::engine::Lane;
use crate::reply::{Entry, Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire::{READ_PAUSE, READ_SLACK};

/// Most entries of one history read, and of one XAUTOCLAIM: a claim holds up all of Redis.
pub(super) const PAGE: usize = 100;
/// Most new entries of one read.
pub(super) const READ_MAX: usize = 1000;
/// How many times `prefetch_max` may be held in all, replies and acknowledgements under way
/// included.
const HELD_FACTOR: usize = 4;
/// What a seeded bug fetches whatever the free places, as the peers do.
const PEERS_COUNT: usize = 16;
/// How long a seeded bug blocks.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// How an entry came to be given to this server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// Whether it may have been given out before.
    pub(super) again: bool,
    /// When the command was sent that brought it.
    pub(super) sent: Instant,
}

impl Server {
    /// How many more entries may be taken in now.
    pub(super) fn free_places(&self, service: &Service) -> usize {
        if self.retry.is_some() || !self.lanes.is_open(Lane::Command) {
            return 0;
        }
        let (time, max) = (self.config.prefetch_time, self.config.prefetch_max);
        let handlers = service.concurrency.limit();
        // If this is the one that ends the process, whatever waits behind it is counted as well.
        let wary = service.held.is_wary() && !self.config.seeded.is(Bug::BystandersCounted);
        let alone = wary || !service.prefetch;
        let places = if alone { 0 } else { service.pace.places(handlers, time, max) };
        let idle = handlers.saturating_sub(service.held.running());
        let held_max = max.saturating_mul(HELD_FACTOR).saturating_add(handlers);
        let endless = self.config.seeded.is(Bug::PrefetchEndless);
        let unstarted = if endless { 0 } else { service.held.unstarted() };
        let free = places.max(idle).saturating_sub(unstarted);
        free.min(held_max.saturating_sub(service.held.len()))
    }

    /// Reads, if nothing is being read and there is room.
    pub(super) fn read(&mut self, index: usize) {
        let seeded = self.config.seeded;
        let serving = self.is_serving() || seeded.is(Bug::StopReadsOn);
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if service.reader.paused_until.is_some_and(|until| self.now < until) {
            return;
        }
        service.reader.paused_until = None;
        if !serving || !service.is_ready() || service.reader.under_way.is_some() {
            return;
        }
        let history = service.reader.history;
        if history.is_none() && service.reader.history_again.is_none() && service.held.len() == 0 {
            service.reader.rereads = 0;
        }
        let Some(service) = self.services.get(index) else {
            return;
        };
        // Without prefetch there is one question at a time, and what is overdue comes first.
        let claims = !service.prefetch && service.has_overdue() && history.is_none();
        if claims || !service.may_ask() {
            return;
        }
        let epoch = service.epoch;
        let (from, count, block, kind, aim) = match history {
            Some(after) => {
                let aim = Aim::History { epoch, sent: self.now };
                (ReadFrom::History(after), PAGE, None, ReadKind::History, aim)
            }
            None => {
                let fixed = seeded.is(Bug::PrefetchFixed);
                let count = if fixed { PEERS_COUNT } else { self.free_places(service) };
                let for_ever = seeded.is(Bug::BlockForEver);
                let block = Some(if for_ever { FOR_EVER } else { self.read_block(service) });
                (ReadFrom::New, count, block, ReadKind::New, Aim::Read { epoch, sent: self.now })
            }
        };
        if count == 0 {
            return;
        }
        let count = count.min(service.reader.page.limit());
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
            service.reader.rereads += u64::from(kind == ReadKind::History);
            service.reader.under_way = Some(kind);
            service.reader.unanswered.get_or_insert(self.now);
            service.reader.asked = count;
        }
    }

    /// How long a read may wait. Where claims wait for it, no longer than for their own time.
    fn read_block(&self, service: &Service) -> Duration {
        let block = self.config.read_block;
        if service.prefetch { block } else { block.min(self.config.reclaim_tick) }
    }

    pub(super) fn handle_read(
        &mut self,
        index: usize,
        epoch: u32,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reader.answered();
        match reply {
            Ok(Reply::Entries(_)) if self.is_doubtful(index, epoch) => {}
            Ok(Reply::Entries(entries)) => {
                for entry in entries {
                    self.take_in(index, entry, Given { again: false, sent });
                }
            }
            Ok(_) => self.garbled(index),
            Err(refusal) => self.read_refused(index, refusal),
        }
        self.forget_settled(index);
    }

    /// Whether a read was sent before the stream was found to be another one: nothing says of which
    /// of the two its entries are. Those of the new one are in the pending list, which is read next.
    fn is_doubtful(&mut self, index: usize, epoch: u32) -> bool {
        let service = self.services.get_mut(index).filter(|it| it.epoch != epoch);
        let is_doubtful = service.is_some();
        if let Some(service) = service {
            service.reader.history = Some(StreamId::ZERO);
        }
        is_doubtful
    }

    /// No read is under way that could still name what was settled meanwhile.
    fn forget_settled(&mut self, index: usize) {
        if let Some(service) = self.services.get_mut(index) {
            service.reader.settled.clear();
        }
    }

    pub(super) fn handle_history(
        &mut self,
        index: usize,
        epoch: u32,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reader.answered();
        match reply {
            Ok(Reply::Entries(_)) if self.is_doubtful(index, epoch) => {}
            Ok(Reply::Entries(entries)) => {
                let Some(service) = self.services.get_mut(index) else { return };
                service.reader.history = entries.last().map(|entry| entry.id);
                for entry in entries {
                    self.take_in(index, entry, Given { again: true, sent });
                }
            }
            Ok(_) => self.garbled(index),
            Err(refusal) => self.read_refused(index, refusal),
        }
        self.forget_settled(index);
        self.tick_history();
    }

    fn read_refused(&mut self, index: usize, refusal: Refusal) {
        let seeded = self.config.seeded;
        let hot = seeded.is(Bug::ReadWithoutPause);
        let until = if hot { self.now } else { self.now + READ_PAUSE };
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if seeded.is(Bug::UnblockedFatal) && refusal.code == "UNBLOCKED" {
            service.reader.under_way = Some(ReadKind::New);
        }
        if seeded.is(Bug::HistoryRefusedForGood) {
            service.reader.history = None;
        }
        if seeded.is(Bug::GroupNotRestored) {
            service.reader.paused_until = Some(until);
        }
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
        service.reader.settled.clear();
        service.reader.lost(sent);
        if sent {
            self.look_back(index);
        }
    }

    /// What this consumer was given on a lane that ended is to be read from its pending list: at
    /// once, and again when what Redis still had to do for that lane must be done.
    pub(super) fn look_back(&mut self, index: usize) {
        let again = self.now + self.config.read_block + READ_SLACK;
        let seeded = self.config.seeded;
        let Some(service) = self.services.get_mut(index) else { return };
        if seeded.is(Bug::HistoryMissing) {
            return;
        }
        service.reader.history = Some(StreamId::ZERO);
        service.reader.history_again = (!seeded.is(Bug::HistorySecondLookMissing)).then_some(again);
    }

    /// A lane was opened. If a look back waits for it, Redis may have been out of reach until now:
    /// the time until the second look counts from here.
    pub(super) fn expect_history(&mut self, lane: Lane) {
        let waits = |service: &Service| service.lane == lane && service.reader.history.is_some();
        if let Some(index) = self.services.iter().position(waits) {
            self.look_back(index);
        }
    }

    pub(super) fn void_history(&mut self, index: usize, sent: bool) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        service.reader.lost(sent);
        service.reader.settled.clear();
        service.reader.history = Some(StreamId::ZERO);
    }

    pub(super) fn tick_history(&mut self) {
        for service in &mut self.services {
            // A history read under way goes on first: its end would be taken for this one's.
            let free = service.reader.under_way != Some(ReadKind::History);
            if free && service.reader.history_again.is_some_and(|at| at <= self.now) {
                service.reader.history_again = None;
                service.reader.history = Some(StreamId::ZERO);
            }
        }
    }

    /// Takes in an entry.
    pub(super) fn take_in(&mut self, index: usize, entry: Entry, given: Given) {
        let (seeded, claim_idle) = (self.config.seeded, self.config.peer_claim_idle());
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let mut key = service.entry(entry.id);
        if seeded.is(Bug::SelfReclaim) && service.held.contains(key) {
            key.epoch = u32::MAX;
        }
        // Redis does not count it as given out again that an entry is told to be gone.
        if entry.fields.is_some() {
            service.held.leases.touch(key, given.sent, self.now, claim_idle);
        }
        if service.held.keep_again(key, entry.fields.as_ref()) {
            return;
        }
        match service.held.state(key) {
            // Given out again by a group that was created anew: it must be acknowledged there.
            Some(State::Settling) => return service.acks.push(key.id),
            Some(_) => return,
            None if service.reader.settled.contains(&key) && !seeded.is(Bug::SettledForgotten) => {
                service.held.leases.remove(key);
                return self.settle(index, key);
            }
            None => service.group.moved = true,
        }
        let adopts = !seeded.is(Bug::SelfReclaim);
        if let Some(fields) = entry.fields.as_ref().filter(|_| adopts)
            && let Some(job) = service.held.adopt(key, fields)
        {
            self.jobs.insert(job, (index, key));
            return;
        }
        let again = given.again && key.epoch != u32::MAX && !seeded.is(Bug::DeliveriesAssumed);
        match entry.fields {
            None if seeded.is(Bug::NilBodyKept) => {}
            None => {
                service.stats.entries_deleted += 1;
                self.settle(index, key);
            }
            Some(fields) if again => service.held.insert_uncounted(key, fields),
            Some(fields) => service.held.insert_waiting(key, Unstarted::new(fields, 1)),
        }
    }
}

impl Reader {
    fn answered(&mut self) {
        self.under_way = None;
        self.unanswered = None;
        self.page.answered();
    }

    fn lost(&mut self, sent: bool) {
        self.under_way = None;
        if sent {
            self.page.lost(self.asked);
        } else {
            self.unanswered = None;
        }
    }
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
