//! Taking entries in, and reading new ones.
//!
//! Rules 4.3 and 4.5. Not the starting of handlers, nor how else an entry is come by (`look_back`,
//! `reclaim`, `take_back`): everything joins one queue, oldest id first, and what is already held is
//! dropped, so no entry runs twice at once in this process.
//!
//! <https://redis.io/docs/latest/commands/xreadgroup/>

use core::time::Duration;

use super::event::Notice;
use super::held::{State, Unstarted};
use super::look_back::Look;
use super::service::{ReadKind, Reader, Service};
use super::{Aim, Purpose, Server};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Entry, Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::time::Instant;
use crate::wire::{READ_PAUSE, READ_SLACK};

/// Most bodies asked for at once, and most entries of one XAUTOCLAIM: a claim holds up all of Redis.
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
    /// How often it has been given out, if that is known.
    pub(super) deliveries: Option<u64>,
    /// For how long it had been idle.
    pub(super) idle: Duration,
    /// When the command was sent that told of that, and when it was answered.
    pub(super) sent: Instant,
    pub(super) told: Instant,
}

impl Given {
    /// It is given for the first time, by a command that was sent at `sent`.
    const fn first(sent: Instant, told: Instant) -> Self {
        Self { deliveries: Some(1), idle: Duration::ZERO, sent, told }
    }

    /// It has been given out before.
    pub(super) const fn again(sent: Instant, told: Instant) -> Self {
        Self { deliveries: None, idle: Duration::ZERO, sent, told }
    }
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
        let looks = service.reader.look.is_some();
        // Without prefetch there is one question at a time, and what is overdue comes first.
        let claims = !service.prefetch && service.has_overdue() && !looks;
        if claims || !service.may_ask() {
            return;
        }
        if looks {
            return self.look_on(index);
        }
        self.read_new(index);
    }

    fn read_new(&mut self, index: usize) {
        let seeded = self.config.seeded;
        let Some(service) = self.services.get(index) else {
            return;
        };
        let fixed = seeded.is(Bug::PrefetchFixed);
        let count = if fixed { PEERS_COUNT } else { self.free_places(service) };
        if count == 0 {
            return;
        }
        let count = count.min(service.reader.page.limit());
        let for_ever = seeded.is(Bug::BlockForEver);
        let block = if for_ever { FOR_EVER } else { self.read_block(service) };
        let command = Command::XReadGroup {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            consumer: service.consumer.clone(),
            count: wide(count),
            block: Some(block),
        };
        let aim = Aim::Read { epoch: service.epoch, sent: self.now };
        let (lane, purpose) = (service.lane, Purpose { service: index, aim });
        let sent = self.lanes.send(self.now, lane, command, block + READ_SLACK, purpose).is_ok();
        if let Some(service) = self.services.get_mut(index).filter(|_| sent) {
            service.reader.under_way = Some(ReadKind::New);
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
                let given = Given::first(sent, self.now);
                for entry in entries {
                    self.take_in(index, entry, given);
                }
            }
            Ok(_) => self.garbled(index),
            Err(refusal) => self.read_refused(index, refusal),
        }
        if let Some(service) = self.services.get_mut(index) {
            service.reader.forget_settled();
        }
    }

    /// Whether a read was sent before the stream was found to be another one: nothing says of which
    /// of the two its entries are. Those of the new one are pending, and are looked for next.
    pub(super) fn is_doubtful(&mut self, index: usize, epoch: u32) -> bool {
        let service = self.services.get_mut(index).filter(|it| it.epoch != epoch);
        let is_doubtful = service.is_some();
        if let Some(service) = service {
            service.reader.look = Some(Look::new());
        }
        is_doubtful
    }

    pub(super) fn read_refused(&mut self, index: usize, refusal: Refusal) {
        let seeded = self.config.seeded;
        let hot = seeded.is(Bug::ReadWithoutPause);
        let until = if hot { self.now } else { self.now + READ_PAUSE };
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if seeded.is(Bug::UnblockedFatal) && refusal.code == "UNBLOCKED" {
            service.reader.under_way = Some(ReadKind::New);
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

    pub(super) fn garbled(&mut self, index: usize) {
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
            service.reader.page.lost(service.reader.asked);
            self.look_back(index);
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
            service.held.leases.touch(key, given, claim_idle);
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
        let assumed = key.epoch == u32::MAX || seeded.is(Bug::DeliveriesAssumed);
        let deliveries = if assumed { Some(1) } else { given.deliveries };
        match (entry.fields, deliveries) {
            (None, _) if seeded.is(Bug::NilBodyKept) => {}
            (None, _) => {
                service.stats.entries_deleted += 1;
                self.settle(index, key);
            }
            (Some(fields), None) => service.held.insert_uncounted(key, fields),
            (Some(fields), Some(deliveries)) => {
                service.held.insert_waiting(key, Unstarted::new(fields, deliveries));
            }
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
        if !sent {
            self.unanswered = None;
        }
    }

    /// One of the commands of a look was answered.
    pub(super) fn own_answered(&mut self) {
        self.looking = self.looking.saturating_sub(1);
        if self.looking == 0 {
            self.under_way = None;
            self.unanswered = None;
        }
    }

    /// The lane has ended with a command of a look under way: the look is taken anew.
    pub(super) fn own_lost(&mut self, sent: bool) {
        self.lost(sent);
        self.looking = 0;
        self.settled.clear();
        self.look = Some(Look::new());
    }

    /// Whether what is under way may still name what was settled meanwhile.
    pub(super) const fn may_name_settled(&self) -> bool {
        self.under_way.is_some() || self.look.is_some()
    }

    /// Forgets what was settled, unless it may still be named.
    pub(super) fn forget_settled(&mut self) {
        if !self.may_name_settled() {
            self.settled.clear();
        }
    }
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
