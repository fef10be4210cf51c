//! Taking back, at a start, what an earlier process of the same name was given (rule 4.5).
//!
//! Not what other workers left, which is taken over when it has been idle for `claim_idle`
//! (`reclaim`): so would this be in the end. A worker that has a fixed name and is killed comes back
//! under it, and what it ran is pending for it. Whoever holds an entry renews it at a third of
//! `claim_idle`: what has been idle for two renewal intervals nobody of this name holds any more.
//! The claim asks that of Redis again, so that nothing is taken from a twin that renews in time.
//!
//! It is looked at first when the group is there, and again when the next of these entries may have
//! been idle for long enough, until nothing is left that was given out before the start, or
//! `claim_idle` has passed.
//!
//! <https://redis.io/docs/latest/commands/xpending/>, <https://redis.io/docs/latest/commands/xclaim/>

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::Server;
use super::aim::Aim;
use super::intake::{Given, wide};
use super::leases::{IDLE_MIN, period};
use super::reclaim::PENDING_COUNT;
use crate::command::{ClaimAs, Command};
use crate::reply::{PendingEntry, Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How long what was found may be claimed without another look. A turn takes time, in which handlers
/// end; what somebody else is given meanwhile is not idle any more, and is not claimed.
const FOUND_MAX: Duration = Duration::from_millis(100);

/// By how much longer than it was an entry may be said to have been idle: Redis counts milliseconds,
/// and its clock may go otherwise.
const IDLE_SLACK: Duration = Duration::from_millis(100);

/// How far a service has come with what is pending for its name.
#[derive(Debug, Default)]
pub(super) struct TakeBack {
    stage: Stage,
    started: Instant,
    follows: bool,
    /// What was found, and when.
    found: (Instant, Vec<StreamId>),
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    /// It is not known yet whether there is a group.
    #[default]
    Starting,
    /// To be looked at as soon as there is room.
    Due,
    /// Not before the tick that comes after this.
    Waiting(Instant),
    Done,
}

impl TakeBack {
    /// The group is there. If this is the first time, it is the start; `follows` says that an earlier
    /// process of this name may have read from it.
    pub(super) fn group_is_there(&mut self, now: Instant, follows: bool) {
        if self.stage == Stage::Starting {
            self.stage = if follows { Stage::Due } else { Stage::Done };
            self.started = now;
            self.follows = follows;
        }
    }

    /// Whether what an earlier process of this name has left unread in Redis, which lasts for as long
    /// as this, may still be given something.
    pub(super) fn may_be_given(&self, now: Instant, read: Duration) -> bool {
        self.follows && now < self.started + read
    }

    /// Whether an entry that is pending for this name was given to an earlier process of it, as far as
    /// its idle time says.
    pub(super) fn was_given_before(&self, row: &PendingEntry, told: Instant) -> bool {
        let age = told.since(self.started) + IDLE_SLACK;
        self.follows && Duration::from_millis(row.idle_ms) > age
    }

    pub(super) const fn is_due(&self) -> bool {
        matches!(self.stage, Stage::Due)
    }

    pub(super) fn tick(&mut self, now: Instant, claim_idle: Duration) {
        // From then on anybody takes it over.
        let over = self.started + claim_idle <= now;
        match self.stage {
            Stage::Due | Stage::Waiting(_) if over => self.stage = Stage::Done,
            Stage::Waiting(at) if at <= now => self.stage = Stage::Due,
            Stage::Starting | Stage::Due | Stage::Waiting(_) | Stage::Done => {}
        }
    }
}

impl Server {
    /// Claims so many of what was just found, or looks for what is pending for this name, if it is
    /// time. Tells whether it does.
    pub(super) fn take_back(&mut self, index: usize, count: usize) -> bool {
        let idle_min = self.idle_enough();
        let Some(service) = self.services.get(index).filter(|it| it.take_back.is_due()) else {
            return false;
        };
        if !service.take_back.found.1.is_empty() && self.is_behind_much() {
            return false;
        }
        let Some(service) = self.services.get_mut(index) else { return false };
        let sent = self.now;
        let (found_at, mut ids) = core::mem::take(&mut service.take_back.found);
        ids.truncate(if sent.since(found_at) <= FOUND_MAX { count } else { 0 });
        let Some(service) = self.services.get(index) else { return false };
        let (command, aim) = if ids.is_empty() {
            let command = self.own_pending(service, StreamId::ZERO, StreamId::MAX, PENDING_COUNT);
            (command, Aim::FindOwn { sent })
        } else {
            let (key, group) = (service.stream.clone(), service.group_name.clone());
            let (consumer, claim_as) = (service.consumer.clone(), ClaimAs::Delivered);
            let aim = Aim::TakeBack { ids: ids.clone(), sent };
            (Command::XClaim { key, group, consumer, idle_min, ids, claim_as }, aim)
        };
        let sent = self.send(index, command, aim);
        if let Some(service) = self.services.get_mut(index) {
            service.reclaim.under_way = sent;
        }
        sent
    }

    /// For how long an entry is idle that nobody renews.
    fn idle_enough(&self) -> Duration {
        let (claim_idle, seeded) = (self.config.peer_claim_idle(), self.config.seeded);
        let at_once = seeded.is(Bug::TwinRobbed);
        if at_once { IDLE_MIN } else { (period(claim_idle, seeded) * 2).max(IDLE_MIN) }
    }

    pub(super) fn handle_own_found(
        &mut self,
        index: usize,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let (now, idle_min) = (self.now, self.idle_enough());
        let Some(service) = self.services.get_mut(index) else { return };
        service.reclaim.under_way = false;
        let rows = match reply {
            Ok(Reply::PendingRange(rows)) => rows,
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                service.take_back.stage = Stage::Done;
                return;
            }
            Ok(_) | Err(_) => {
                service.take_back.stage = Stage::Waiting(now);
                return;
            }
        };
        let idle = |row: &PendingEntry| Duration::from_millis(row.idle_ms);
        // What this process was given it may have given up itself.
        let age = sent.since(service.take_back.started);
        let left =
            |row: &&PendingEntry| idle(row) >= age && !service.held.contains(service.entry(row.id));
        let (ripe, young): (Vec<&PendingEntry>, Vec<&PendingEntry>) =
            rows.iter().filter(left).partition(|row| idle(row) >= idle_min);
        let longest = young.into_iter().map(idle).max();
        let found: Vec<StreamId> = ripe.into_iter().map(|row| row.id).collect();
        service.take_back.stage = match longest {
            _ if !found.is_empty() => Stage::Due,
            Some(longest) => Stage::Waiting(now + idle_min.saturating_sub(longest)),
            // There may be more behind those that are held.
            None if wide(rows.len()) >= PENDING_COUNT => Stage::Waiting(now),
            None => Stage::Done,
        };
        service.take_back.found = (now, found);
    }

    pub(super) fn handle_taken_back(
        &mut self,
        index: usize,
        ids: Vec<StreamId>,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let now = self.now;
        let Some(service) = self.services.get_mut(index) else { return };
        service.reclaim.under_way = false;
        service.reclaim.page.answered();
        let take_back = &mut service.take_back;
        let entries = match reply {
            Ok(Reply::Entries(entries)) => entries,
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                take_back.stage = Stage::Done;
                return;
            }
            Ok(_) | Err(_) => {
                take_back.stage = Stage::Waiting(now);
                return;
            }
        };
        // The next look might find the same again.
        if entries.is_empty() {
            take_back.stage = Stage::Waiting(now);
        }
        // What is not named is somebody else's, or is gone.
        let named: BTreeSet<StreamId> = entries.iter().map(|entry| entry.id).collect();
        self.check_ghosts(index, ids.into_iter().filter(|id| !named.contains(id)).collect());
        for entry in entries {
            self.stats_of(index).entries_taken_back += 1;
            self.take_in(index, entry, Given::again(sent, self.now));
        }
    }
}
