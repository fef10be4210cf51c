//! Looking back: finding what this consumer was given by replies that nobody has seen (rule 4.5).
//!
//! Not what other workers hold (`reclaim`), nor what an earlier process of the same name held
//! (`take_back`). A lane that ends with a read or a claim unanswered may have been given entries. They
//! are looked for before anything new is read, at once and again when the lost read's BLOCK must have
//! ended: XPENDING lists what is pending for this consumer, and XRANGE gives the bodies of what is not
//! held. Neither counts as a delivery: XREADGROUP would count one more for all that is held, and what
//! is looked at often would be taken for what ends processes (rule 4.8).
//!
//! Both are answered by a replica as well. A lane is not opened to one; if its server becomes one while a
//! look is under way, what was settled elsewhere since may be found, and runs again, as after any
//! failover that lost an acknowledgement.
//!
//! A body that Redis cannot send, as it is larger than what a connection may have outstanding, ends
//! each lane on which it is asked for. Fewer and fewer are asked for, in the end that one alone; and
//! when lane after lane was closed with nothing else under way, it is settled, so that it does not end
//! this worker's lanes for ever, and then those of the next (rule 4.6). If it takes too long, or cannot
//! be read, which may be this worker's own trouble, it is left to others.
//!
//! <https://redis.io/docs/latest/commands/xpending/>, <https://redis.io/docs/latest/commands/xrange/>,
//! <https://redis.io/docs/latest/develop/reference/clients/#output-buffer-limits>

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::Notice;
use super::held::{Key, State};
use super::intake::{Given, PAGE};
use super::reclaim::PENDING_COUNT;
use super::service::{ReadKind, Service};
use super::settle::LOSSES_MAX;
use super::{Aim, Purpose, Server};
use crate::command::{ClaimAs, Command};
use crate::engine::Lane;
use crate::reply::{Entry, PendingEntry, Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire::READ_SLACK;

/// How far a look has come.
#[derive(Debug)]
pub(super) struct Look {
    /// From which id on the list is to be read; `None` when it has been.
    from: Option<StreamId>,
    /// What is pending and not held, whose bodies are to be asked for.
    unseen: VecDeque<Unseen>,
}

/// An entry that is pending for this consumer and is not held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unseen {
    id: StreamId,
    deliveries: u64,
    /// For how long it was idle.
    idle: Duration,
    /// When that was asked, and when it was told.
    asked: Instant,
    told: Instant,
}

/// What was started here, and is left to others: it stays pending for this server, and is not what a
/// look is for.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    /// As which delivery each was started.
    all: BTreeMap<Key, u64>,
}

/// How many of them are remembered.
const GIVEN_UP_MAX: usize = 1000;

impl GivenUp {
    pub(super) fn insert(&mut self, key: Key, deliveries: u64) {
        self.all.insert(key, deliveries);
        if self.all.len() > GIVEN_UP_MAX {
            self.all.pop_first();
        }
    }

    /// Whether an entry was started as this delivery, or as a later one.
    pub(super) fn knows(&self, key: Key, deliveries: u64) -> bool {
        self.all.get(&key).is_some_and(|started| deliveries <= *started)
    }
}

/// What may be why lanes end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    id: StreamId,
    /// How many lanes in succession have ended with nothing but its body asked for.
    losses: u32,
    /// How many of them were closed from the other side.
    closed: u32,
    /// When the first of them ended.
    since: Instant,
}

/// For how long lanes end with nothing but one body asked for before that is given up.
const GUILTY_AFTER: Duration = Duration::from_secs(3);

impl Look {
    pub(super) const fn new() -> Self {
        Self { from: Some(StreamId::ZERO), unseen: VecDeque::new() }
    }

    fn is_over(&self) -> bool {
        self.from.is_none() && self.unseen.is_empty()
    }
}

impl Unseen {
    fn new(row: &PendingEntry, asked: Instant, told: Instant) -> Self {
        let idle = Duration::from_millis(row.idle_ms);
        Self { id: row.id, deliveries: row.deliveries, idle, asked, told }
    }

    const fn given(self) -> Given {
        let Self { deliveries, idle, asked, told, .. } = self;
        Given { deliveries: Some(deliveries), idle, sent: asked, told }
    }
}

impl Server {
    /// What this consumer was given on a lane that has ended is to be looked for: at once, and again when
    /// what Redis still had to do for that lane must be done.
    pub(super) fn look_back(&mut self, index: usize) {
        let again = self.now + self.config.read_block + READ_SLACK;
        let seeded = self.config.seeded;
        let Some(service) = self.services.get_mut(index) else { return };
        if seeded.is(Bug::LookMissing) {
            return;
        }
        service.reader.look = Some(Look::new());
        service.reader.look_again = (!seeded.is(Bug::SecondLookMissing)).then_some(again);
    }

    /// A lane was opened. If a look waits for it, Redis may have been out of reach until now: the
    /// time until the second look counts from here.
    pub(super) fn expect_look(&mut self, lane: Lane) {
        let waits = |service: &Service| service.lane == lane && service.reader.look.is_some();
        if let Some(index) = self.services.iter().position(waits) {
            self.look_back(index);
        }
    }

    pub(super) fn tick_looks(&mut self) {
        for service in &mut self.services {
            // A look under way goes on first: its end would be taken for this one's.
            let free = service.reader.under_way != Some(ReadKind::Own);
            if free && service.reader.look_again.is_some_and(|at| at <= self.now) {
                service.reader.look_again = None;
                service.reader.look = Some(Look::new());
            }
        }
    }

    /// Takes the next step of a look.
    pub(super) fn look_on(&mut self, index: usize) {
        let Some(service) = self.services.get_mut(index) else { return };
        let count = service.reader.page.limit().min(PAGE);
        let Some(look) = &mut service.reader.look else { return };
        let count = count.min(look.unseen.len());
        let next: Vec<Unseen> = look.unseen.drain(..count).collect();
        let from = look.from;
        if next.is_empty() {
            from.into_iter().for_each(|from| self.list_own(index, from));
        } else {
            self.fetch(index, next);
        }
    }

    fn list_own(&mut self, index: usize, from: StreamId) {
        let Some(service) = self.services.get(index) else { return };
        let command = self.own_pending(service, from, StreamId::MAX, PENDING_COUNT);
        let (epoch, sent) = (service.epoch, self.now);
        self.ask_reader(index, command, Aim::ListOwn { epoch, sent });
    }

    /// Asks for bodies. What is never answered is given up.
    fn fetch(&mut self, index: usize, unseen: Vec<Unseen>) {
        let now = self.now;
        let Some(service) = self.services.get_mut(index) else { return };
        let suspect = service.reader.suspect.filter(|it| it.losses >= LOSSES_MAX);
        let guilty = suspect.filter(|it| it.since + GUILTY_AFTER <= now);
        if let [alone] = unseen[..]
            && let Some(guilty) = guilty.filter(|it| it.id == alone.id)
        {
            return self.give_up_entry(index, alone, guilty.closed == guilty.losses);
        }
        service.reader.asked = unseen.len();
        for unseen in unseen {
            let Some(service) = self.services.get(index) else { return };
            let (key, id, epoch) = (service.stream.clone(), unseen.id, service.epoch);
            let command = if self.config.seeded.is(Bug::LookCounted) {
                let (group, consumer) = (service.group_name.clone(), service.consumer.clone());
                let (idle_min, claim_as) = (Duration::ZERO, ClaimAs::Delivered);
                Command::XClaim { key, group, consumer, idle_min, ids: vec![id], claim_as }
            } else {
                Command::XRange { key, start: id, end: id, count: 1 }
            };
            self.ask_reader(index, command, Aim::Fetch { epoch, unseen });
        }
    }

    /// Sends a command where otherwise new entries are read.
    fn ask_reader(&mut self, index: usize, command: Command, aim: Aim) {
        let Some(lane) = self.services.get(index).map(|service| service.lane) else { return };
        let purpose = Purpose { service: index, aim };
        let sent = self.lanes.send(self.now, lane, command, self.config.command_timeout, purpose);
        if let Some(service) = self.services.get_mut(index).filter(|_| sent.is_ok()) {
            service.reader.under_way = Some(ReadKind::Own);
            service.reader.unanswered.get_or_insert(self.now);
            service.reader.looking += 1;
        }
    }

    pub(super) fn handle_listed(
        &mut self,
        index: usize,
        epoch: u32,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let now = self.now;
        let Some(service) = self.services.get_mut(index) else { return };
        service.reader.own_answered();
        match reply {
            Ok(Reply::PendingRange(_)) if self.is_doubtful(index, epoch) => {}
            Ok(Reply::PendingRange(rows)) => {
                let forgets = self.config.seeded.is(Bug::FoundForgotten);
                let Some(service) = self.services.get_mut(index) else { return };
                service.listed(if forgets { &[] } else { &rows }, sent, now);
            }
            Ok(_) => self.look_garbled(index),
            Err(refusal) => self.look_refused(index, refusal),
        }
        self.end_look(index);
    }

    pub(super) fn handle_fetched(
        &mut self,
        index: usize,
        epoch: u32,
        unseen: Unseen,
        reply: Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.reader.own_answered();
        if service.reader.looking == 0 {
            service.reader.page.answered();
            service.reader.suspect = None;
        }
        match reply {
            Ok(Reply::Entries(_)) if self.is_doubtful(index, epoch) => {}
            Ok(Reply::Entries(entries)) => self.found(index, unseen, entries),
            Ok(_) => self.look_garbled(index),
            Err(refusal) => self.look_refused(index, refusal),
        }
        self.end_look(index);
    }

    /// The entry, or none if it is no longer in the stream, for which a look was taken.
    fn found(&mut self, index: usize, unseen: Unseen, entries: Vec<Entry>) {
        let Some(service) = self.services.get_mut(index) else { return };
        let key = service.entry(unseen.id);
        // Another lane may have brought it meanwhile.
        let settled = service.reader.settled.contains(&key)
            || matches!(service.held.state(key), Some(State::Settling));
        if !settled && !service.held.is_unseen(key, unseen.deliveries) {
            return;
        }
        let gone = Entry { id: unseen.id, fields: None };
        service.reader.refusal_told = false;
        let entry = entries.into_iter().next().unwrap_or(gone);
        self.stats_of(index).entries_found += u64::from(entry.fields.is_some());
        self.take_in(index, entry, unseen.given());
    }

    fn look_garbled(&mut self, index: usize) {
        if let Some(service) = self.services.get_mut(index) {
            service.reader.look = Some(Look::new());
        }
        self.garbled(index);
    }

    /// Looks again after a pause, unless that will not be allowed either: then what this consumer was
    /// given is taken over by whoever claims it (rule 4.5).
    fn look_refused(&mut self, index: usize, refusal: Refusal) {
        let for_good = self.config.seeded.is(Bug::LookRefusedForGood);
        let Some(service) = self.services.get_mut(index) else { return };
        let reader = &mut service.reader;
        if refusal.kind() == RefusalKind::Final && !refusal.is_wrong_type() {
            reader.look = None;
            let told = core::mem::replace(&mut reader.refusal_told, true);
            let notice = Notice::LookRefused { service: service.name(), refusal };
            if !told {
                self.notice(notice);
            }
            return;
        }
        reader.look = (!for_good).then(Look::new);
        // All that was asked for at once is refused at once.
        if reader.paused_until.is_none_or(|until| until <= self.now) {
            self.read_refused(index, refusal);
        }
    }

    fn end_look(&mut self, index: usize) {
        if let Some(service) = self.services.get_mut(index) {
            let reader = &mut service.reader;
            if reader.looking == 0 && reader.look.as_ref().is_some_and(Look::is_over) {
                reader.look = None;
            }
            reader.forget_settled();
        }
        self.tick_looks();
    }

    /// An entry's body does not come. If each lane was closed on which it was asked for, nobody can be
    /// given it: it is settled, unless a handler still runs for an earlier delivery of it.
    fn give_up_entry(&mut self, index: usize, unseen: Unseen, closed: bool) {
        let claim_idle = self.config.peer_claim_idle();
        let Some(service) = self.services.get_mut(index) else { return };
        let key = service.entry(unseen.id);
        let settles = closed && !service.held.contains(key);
        service.reader.suspect = None;
        service.stats.entries_unreadable += 1;
        service.held.leases.touch(key, unseen.given(), claim_idle);
        let notice =
            Notice::Unreadable { service: service.name(), entry: unseen.id, settled: settles };
        self.notice(notice);
        if settles {
            self.settle(index, key);
        } else if let Some(service) = self.services.get_mut(index) {
            service.held.give_up(key, unseen.deliveries);
        }
        self.end_look(index);
        self.dirty.insert(index);
    }

    /// The lane has ended with a list unanswered.
    pub(super) fn void_list(&mut self, index: usize, sent: bool) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.reader.own_lost(sent);
    }

    /// The lane has ended with a body unanswered.
    pub(super) fn void_fetch(&mut self, index: usize, unseen: Unseen, sent: bool, closed: bool) {
        let now = self.now;
        let Some(service) = self.services.get_mut(index) else { return };
        let reader = &mut service.reader;
        reader.own_lost(sent);
        if !sent {
            return;
        }
        reader.page.lost(reader.asked);
        if reader.asked == 1 {
            let new = Suspect { id: unseen.id, losses: 0, closed: 0, since: now };
            let mut suspect = reader.suspect.filter(|it| it.id == unseen.id).unwrap_or(new);
            suspect.losses += 1;
            suspect.closed += u32::from(closed);
            reader.suspect = Some(suspect);
        }
    }
}

impl Service {
    /// What is pending for this consumer: what is not held is to be asked for.
    fn listed(&mut self, rows: &[PendingEntry], asked: Instant, told: Instant) {
        let full = u64::try_from(rows.len()).is_ok_and(|rows| rows >= PENDING_COUNT);
        let from = rows.last().filter(|_| full).map(|row| row.id.next());
        let mut unseen = VecDeque::new();
        for row in rows {
            match self.held.state(self.entry(row.id)) {
                // Given out again by a group that was created anew: it must be acknowledged there.
                Some(State::Settling) => self.acks.push(row.id),
                _ if self.take_back.was_given_before(row, told) => {}
                _ if !self.held.is_unseen(self.entry(row.id), row.deliveries) => {}
                _ => unseen.push_back(Unseen::new(row, asked, told)),
            }
        }
        self.reader.look = Some(Look { from, unseen });
    }
}
