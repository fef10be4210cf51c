//! Leases: what this server holds stays its own for as long as it says so often enough (rule 4.4).
//!
//! Not the taking over of what others hold (`reclaim`). A lease is renewed by XCLAIM at a third of
//! `claim_idle`, for what waits, what runs and what is answered but not yet acknowledged. The
//! command asks that an entry be idle for as long as nobody but this server can have touched it:
//! so it never takes back what somebody else has taken over meanwhile. XPENDING tells whether what
//! it leaves out is still ours, and so it does of an entry whose answer was so long on its way that
//! somebody may have taken it over before it arrived. What it does not find is looked for in
//! `missing`.
//!
//! A lease that has run out, as that of a process that was frozen, is renewed before its entry is
//! started, answered or acknowledged. One that is lost is given up: what waits is dropped, and
//! what a handler that runs will say is not heard. When another group takes the place of the one
//! that gave the entries out, all leases are void: neither trusted nor given up until it is known
//! who has the entry now.
//!
//! <https://redis.io/docs/latest/commands/xclaim/>

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Notice, ServerEvent};
use super::held::{Key, State};
use super::intake::Given;
use super::leases::{Group, IDLE_MIN, Lease, Standing, period, window};
use super::missing::Missing;
use super::reclaim::PENDING_COUNT;
use super::{Aim, Server};
use crate::command::{ClaimAs, Command};
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// Pause after a renewal that Redis did not take.
const RENEW_PAUSE: Duration = Duration::from_secs(1);

impl Server {
    /// Whether nobody else can have been given the entry. If it is not sure, it is found out.
    pub(super) fn is_ours(&mut self, index: usize, key: Key) -> bool {
        let now = self.now;
        let is_serving = self.is_serving();
        let Some(service) = self.services.get_mut(index) else { return false };
        // A server that stops waits for no group, and without one there is nobody to ask.
        let valid = service.held.leases.is_valid(key, now) || (!is_serving && service.is_absent());
        if !valid {
            service.held.leases.hurry(now);
        }
        valid
    }

    /// Renews what has to be renewed, if it is time.
    pub(super) fn renew(&mut self, index: usize) {
        let (now, claim_idle) = (self.now, self.config.peer_claim_idle());
        let period = period(claim_idle, self.config.seeded);
        let Some(service) = self.services.get_mut(index) else { return };
        let ready = service.is_ready() && self.lanes.is_open(Lane::Command);
        let leases = &mut service.held.leases;
        if leases.due.is_none_or(|due| due > now) {
            return;
        }
        if leases.all.is_empty() || !ready {
            // The group that is made, and the lane that is opened, look at them again.
            leases.due = None;
            return;
        }
        if self.is_behind_much() {
            return;
        }
        let Some(service) = self.services.get_mut(index) else { return };
        service.held.leases.due = Some(now + period);
        let aging = self.aging(index, claim_idle.saturating_sub(period / 2));
        let Some(service) = self.services.get(index) else { return };
        let window = window(claim_idle, self.config.seeded);
        let (groups, doubtful) = service.held.leases.sort(aging.into_iter(), window);
        for group in groups {
            self.send_claim(index, group, None);
        }
        self.check_leases(index, doubtful, false);
    }

    /// What is not valid for longer than this.
    fn aging(&self, index: usize, span: Duration) -> Vec<Key> {
        let Some(service) = self.services.get(index) else { return Vec::new() };
        let (now, all) = (self.now, !self.config.seeded.is(Bug::BufferedNotRenewed));
        let runs = |key| matches!(service.held.state(key), Some(State::Running(_)));
        let ages = |(key, lease): (&Key, &Lease)| {
            let short = lease.standing == Standing::Void || lease.until <= now + span;
            Some(*key).filter(|key| short && (all || runs(*key)))
        };
        service.held.leases.all.iter().filter_map(ages).collect()
    }

    /// Claims entries that nobody else has touched: again, or to hand them back as given out so
    /// often.
    pub(super) fn send_claim(&mut self, index: usize, group: Group, hand_back: Option<u64>) {
        let Group { keys, touched, .. } = group;
        let Some(service) = self.services.get_mut(index) else { return };
        service.held.leases.ask(&keys, true);
        let steals = self.config.seeded.is(Bug::StealsBack);
        let idle = self.now.since(touched);
        let own = hand_back.is_none();
        let consumer = if own { &service.consumer } else { &service.released };
        let command = Command::XClaim {
            key: service.stream.clone(),
            group: service.group_name.clone(),
            consumer: consumer.clone(),
            idle_min: if steals { IDLE_MIN } else { idle.max(IDLE_MIN) },
            ids: keys.iter().map(|key| key.id).collect(),
            claim_as: match hand_back {
                // Redis takes no more, though it counts on.
                Some(deliveries) => {
                    ClaimAs::HandedBack { deliveries: deliveries.min(i64::MAX.cast_unsigned()) }
                }
                None => ClaimAs::Renewed,
            },
        };
        let sent = self.now;
        let aim = if own { Aim::Renew { keys, sent } } else { Aim::HandBack { keys } };
        self.send(index, command, aim);
    }

    pub(super) fn handle_renewed(
        &mut self,
        index: usize,
        keys: Vec<Key>,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let (now, claim_idle) = (self.now, self.config.peer_claim_idle());
        let claimed: BTreeSet<StreamId> = match reply {
            Ok(Reply::Ids(claimed)) => claimed.into_iter().collect(),
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                return self.renewal_refused(index, &keys, refusal);
            }
            Ok(_) | Err(_) => return self.void_renewal(index, &keys),
        };
        let Some(service) = self.services.get_mut(index) else { return };
        let leases = &mut service.held.leases;
        (leases.refused, leases.told) = (false, false);
        leases.ask(&keys, false);
        let known = keys.into_iter().filter(|key| leases.all.contains_key(key));
        let (renewed, left_out): (Vec<Key>, Vec<Key>) =
            known.partition(|key| claimed.contains(&key.id));
        for key in &renewed {
            leases.touch(*key, Given::again(sent, now), claim_idle);
        }
        self.confirm(index, &renewed);
        self.check_leases(index, left_out, false);
    }

    /// These entries are this server's. What only waited to know that is acknowledged.
    pub(super) fn confirm(&mut self, index: usize, keys: &[Key]) {
        let Some(service) = self.services.get_mut(index) else { return };
        for key in keys {
            if service.held.is_sure(*key) {
                service.acks.push(key.id);
            }
        }
        self.dirty.insert(index);
    }

    /// Asks which of these are pending for this consumer, and for how long they are idle. If all are
    /// known to be given out by the group, what is not found is somebody else's.
    pub(super) fn check_leases(&mut self, index: usize, keys: Vec<Key>, given_out: bool) {
        let Some(service) = self.services.get_mut(index) else { return };
        let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { return };
        let (first, last) = (first.id, last.id);
        service.held.leases.ask(&keys, true);
        let Some(service) = self.services.get(index) else { return };
        let command = self.own_pending(service, first, last, PENDING_COUNT);
        self.send(index, command, Aim::CheckLeases { keys, given_out, sent: self.now });
    }

    pub(super) fn handle_leases_checked(
        &mut self,
        index: usize,
        keys: Vec<Key>,
        given_out: bool,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let (now, claim_idle) = (self.now, self.config.peer_claim_idle());
        let rows = match reply {
            Ok(Reply::PendingRange(rows)) => rows,
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                return self.renewal_refused(index, &keys, refusal);
            }
            Ok(_) | Err(_) => return self.void_renewal(index, &keys),
        };
        let Some(service) = self.services.get_mut(index) else { return };
        let idle: BTreeMap<StreamId, Duration> =
            rows.iter().map(|row| (row.id, Duration::from_millis(row.idle_ms))).collect();
        // A full answer may go on behind its last row; a shorter one is complete.
        let full = u64::try_from(rows.len()).is_ok_and(|rows| rows >= PENDING_COUNT);
        let seen_to = rows.last().filter(|_| full).map(|row| row.id);
        let leases = &mut service.held.leases;
        leases.ask(&keys, false);
        let late = leases.is_late(sent, now, claim_idle);
        let standing = if late { Standing::Late } else { Standing::Sure };
        let (mut ours, mut missing) = (Vec::new(), Vec::new());
        for key in keys {
            // One that was given to this server since is not asked about.
            let lease = leases.all.get_mut(&key).filter(|lease| lease.touched <= sent);
            let Some(lease) = lease else { continue };
            match idle.get(&key.id) {
                // However Redis's clock was set meanwhile: nobody takes it over before Redis takes
                // it to be idle for long enough.
                Some(idle) => {
                    let before = |at: Instant| at.since_start().saturating_sub(*idle);
                    let until = Instant::from_start(before(sent + claim_idle));
                    let touched = Instant::from_start(before(now));
                    *lease = Lease { until, touched, standing, asked: false };
                    ours.push(key);
                }
                None if seen_to.is_some_and(|seen_to| seen_to < key.id) => {}
                None => missing.push(Missing { key, valid: now < lease.until }),
            }
        }
        let valid = |key: &Key| leases.is_valid(*key, now);
        let (valid, run_out): (Vec<Key>, Vec<Key>) = ours.into_iter().partition(valid);
        if !run_out.is_empty() || seen_to.is_some() {
            leases.hurry(now);
        }
        self.confirm(index, &valid);
        if given_out {
            self.seek_given_out(index, missing, sent);
        } else {
            self.seek_missing(index, missing, sent);
        }
    }

    /// The outcome of a renewal or of a look is unknown, or it was refused for a while.
    pub(super) fn void_renewal(&mut self, index: usize, keys: &[Key]) {
        let period = period(self.config.peer_claim_idle(), self.config.seeded);
        let Some(service) = self.services.get_mut(index) else { return };
        service.held.leases.ask(keys, false);
        service.held.leases.pause(self.now + RENEW_PAUSE.min(period));
    }

    /// A lane has ended with a renewal under way. Redis may carry it out after what is sent next.
    pub(super) fn lose_renewal(&mut self, index: usize, keys: &[Key], sent: bool) {
        let until = self.now + self.config.command_timeout;
        let service = self.services.get_mut(index).filter(|_| sent);
        if let Some(service) = service {
            service.held.leases.stray_until = until;
        }
        self.void_renewal(index, keys);
    }

    /// This server may not renew anything: it goes on without, and tries again in its time.
    pub(super) fn renewal_refused(&mut self, index: usize, keys: &[Key], refusal: Refusal) {
        let Some(service) = self.services.get_mut(index) else { return };
        let leases = &mut service.held.leases;
        leases.ask(keys, false);
        leases.refused = true;
        service.stats.renewals_refused += 1;
        let told = core::mem::replace(&mut leases.told, true);
        let notice = Notice::RenewalRefused { service: service.name(), refusal };
        if !told {
            self.notice(notice);
        }
        self.confirm(index, keys);
    }

    /// Somebody else may have the entry: it is given up.
    pub(super) fn lose_lease(&mut self, index: usize, key: Key) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.stats.leases_lost += 1;
        if let Some(job) = service.held.lose(key) {
            self.events.push_back(ServerEvent::LeaseLost(job));
        }
        self.dirty.insert(index);
        self.stop_waiting();
    }
}
