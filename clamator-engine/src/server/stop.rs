//! The stop of a server: what runs is finished, what is finished is acknowledged (rule 4.10).
//!
//! In this order: no further reads (a waiting one is ended by CLIENT UNBLOCK, or runs out; its lane
//! is never closed under it) and nothing more is started → running handlers end within the grace →
//! replies and acknowledgements answered → the own consumer removed if nothing is pending →
//! the lanes closed. What is not settled is handed back meanwhile (`hand_back`).
//!
//! <https://redis.io/docs/latest/commands/xgroup-delconsumer/>

use alloc::vec::Vec;
use core::time::Duration;

use super::event::{JobId, Notice, ServerEvent};
use super::service::ReadKind;
use super::{Aim, Server, Stage};
use crate::command::Command;
use crate::reply::{Refusal, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire::READ_SLACK;

/// How far the stop has come.
#[derive(Debug)]
pub(super) struct Drain {
    /// End of the grace: handlers that still run are dropped.
    until: Instant,
    /// End of everything: what is unanswered then is left.
    end: Instant,
    step: Step,
    /// Entries that were not settled.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Handlers may run.
    Working,
    /// Handlers are being dropped; replies and acknowledgements are awaited.
    Settling,
    /// This many answers about the own consumers are awaited.
    Leaving(usize),
}

impl Drain {
    /// Whether handlers may run.
    pub(super) fn is_in_grace(&self, now: Instant) -> bool {
        matches!(self.step, Step::Working) && now < self.until
    }

    pub(super) const fn deadline(&self) -> Instant {
        match self.step {
            Step::Working => self.until,
            Step::Leaving(_) | Step::Settling => self.end,
        }
    }
}

impl Server {
    /// Stops: nothing new is read or started, handlers that run may end within `grace`, what is not
    /// settled is handed back to the pool, then [`ServerEvent::Stopped`]. Stopping twice is stopping
    /// once, in the time that ends first.
    pub fn drain(&mut self, now: Instant, grace: Duration) {
        self.now = now;
        let seeded = self.config.seeded;
        let until = if seeded.is(Bug::GraceIgnored) { now } else { now + grace };
        let end = until + self.config.command_timeout + self.config.read_block;
        let end = if seeded.is(Bug::StopUnbounded) { now + Duration::MAX } else { end };
        match &mut self.stage {
            Stage::Running | Stage::Starting => {}
            Stage::Draining(drain) => {
                drain.until = drain.until.min(until);
                drain.end = drain.end.min(end);
                return;
            }
            Stage::Stopped => return,
        }
        self.stage = Stage::Draining(Drain { until, end, step: Step::Working, left: 0 });
        for index in 0..self.services.len() {
            self.unblock(index);
            self.dirty.insert(index);
        }
    }

    /// Ends a waiting read without losing what it may be given at this moment.
    fn unblock(&mut self, index: usize) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let missing = self.config.seeded.is(Bug::UnblockMissing);
        if service.reader.under_way != Some(ReadKind::New) || missing {
            return;
        }
        let client = self.lanes.hello(service.lane).and_then(|hello| hello.client_id);
        if let Some(client) = client {
            self.send(index, Command::ClientUnblock { client }, Aim::Unblock);
        }
    }

    /// Takes the stop one step further, if it is time; says whether it did.
    pub(super) fn advance_stop(&mut self) -> bool {
        let Stage::Draining(drain) = &self.stage else {
            return false;
        };
        let (step, over) = (drain.step, self.now >= drain.end);
        match step {
            _ if over => self.finish_stop(),
            Step::Working if self.now >= drain.until => self.abandon(),
            Step::Settling | Step::Working if self.is_idle() => self.leave(),
            Step::Leaving(0) => self.finish_stop(),
            Step::Leaving(_) | Step::Settling | Step::Working => return false,
        }
        true
    }

    /// Whether nothing is held and nothing that was asked for may yet come.
    fn is_idle(&self) -> bool {
        let sure = !self.config.seeded.is(Bug::ConsumerRemovedUnderRead);
        self.services.iter().all(|service| {
            let asked = service.reader.under_way.is_some() || service.reclaim.under_way;
            service.held.len() == 0 && !(asked && sure)
        })
    }

    /// The grace is over: nothing at all is started, and handlers that still run are dropped.
    fn abandon(&mut self) {
        self.dirty.extend(0..self.services.len());
        let jobs: Vec<JobId> =
            self.services.iter().flat_map(|service| service.held.jobs()).collect();
        self.events.extend(jobs.into_iter().map(ServerEvent::Abandon));
        self.set_step(Step::Settling);
    }

    /// Drops handlers that have run for longer than they may. Their entries are left to others.
    pub(super) fn drop_overdue(&mut self) {
        let Some(longest) = self.config.handler_timeout else { return };
        let Some(since) = self.now.since_start().checked_sub(longest) else { return };
        for service in &mut self.services {
            for (key, job) in service.held.take_overdue(Instant::from_start(since)) {
                service.stats.handlers_overdue += 1;
                let (service, entry) = (service.name(), key.id);
                self.events
                    .push_back(ServerEvent::Notice(Notice::HandlerOverdue { service, entry }));
                self.events.push_back(ServerEvent::Abandon(job));
            }
        }
    }

    /// Removes the own consumers that have nothing pending.
    fn leave(&mut self) {
        let mut awaited = 0;
        for index in 0..self.services.len() {
            let Some(service) = self.services.get(index) else {
                continue;
            };
            // A read whose lane ended may still be given something until its BLOCK ends, also one of an
            // earlier process, and a renewal take back what was handed back.
            let read = self.config.read_block + READ_SLACK;
            let unsure = service.reader.look.is_some()
                || service.reader.look_again.is_some()
                || service.take_back.may_be_given(self.now, read)
                || self.now < service.held.leases.stray_until;
            let unchecked = self.config.seeded.is(Bug::ConsumerRemovedUnchecked);
            if service.is_ready() && (!unsure || unchecked) {
                let command = self.own_pending(service, StreamId::ZERO, StreamId::MAX, 1);
                awaited += usize::from(self.send(index, command, Aim::CheckConsumer));
            }
        }
        self.set_step(Step::Leaving(awaited));
    }

    pub(super) fn handle_consumer_checked(&mut self, index: usize, reply: &Result<Reply, Refusal>) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let empty = matches!(reply, Ok(Reply::PendingRange(rows)) if rows.is_empty());
        let command = Command::XGroupDelConsumer {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            consumer: service.consumer.clone(),
        };
        let unchecked = self.config.seeded.is(Bug::ConsumerRemovedUnchecked);
        if !(empty || unchecked) || !self.send(index, command, Aim::RemoveConsumer) {
            self.consumer_done();
        }
    }

    pub(super) fn handle_consumer_removed(&mut self, index: usize, reply: &Result<Reply, Refusal>) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let destroyed = match reply {
            Ok(Reply::Integer(destroyed)) => u64::try_from(*destroyed).unwrap_or(0),
            Ok(_) | Err(_) => 0,
        };
        if destroyed > 0 || reply.is_err() {
            let service = service.name();
            self.notice(Notice::ConsumerLeft { service, destroyed });
        }
        self.consumer_done();
    }

    pub(super) fn consumer_done(&mut self) {
        if let Stage::Draining(drain) = &mut self.stage
            && let Step::Leaving(awaited) = &mut drain.step
        {
            *awaited = awaited.saturating_sub(1);
        }
    }

    /// Counts entries that were not settled.
    pub(super) const fn count_left(&mut self, entries: usize) {
        if let Stage::Draining(drain) = &mut self.stage {
            drain.left += entries;
        }
    }

    fn set_step(&mut self, step: Step) {
        if let Stage::Draining(drain) = &mut self.stage {
            drain.step = step;
        }
    }

    fn finish_stop(&mut self) {
        let held: usize = self.services.iter().map(|service| service.held.len()).sum();
        self.count_left(held);
        let left = if let Stage::Draining(drain) = &self.stage { drain.left } else { 0 };
        self.stage = Stage::Stopped;
        self.retry = None;
        for service in &mut self.services {
            service.acks_paused_until = None;
        }
        self.lanes.close_all();
        self.events.push_back(ServerEvent::Stopped { left });
    }
}
