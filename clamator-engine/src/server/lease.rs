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
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Notice, ServerEvent};
use super::held::{Key, State};
use super::missing::Missing;
use super::reclaim::PENDING_COUNT;
use super::{Aim, Server};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::{Bug, Seeded};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// Most entries of one XCLAIM.
const RENEWED_MAX: usize = 256;
/// The shortest idle time that Redis asks for at all.
const IDLE_MIN: Duration = Duration::from_millis(1);
/// Pause after a renewal that Redis did not take.
const RENEW_PAUSE: Duration = Duration::from_secs(1);

/// The leases of one service.
#[derive(Debug, Default)]
pub(super) struct Leases {
    all: BTreeMap<Key, Lease>,
    /// When they are looked at next, if there are any.
    due: Option<Instant>,
    /// Redis has not taken the last renewal: none is made before this time.
    paused_until: Instant,
    /// Whether this server may not renew any: until it is tried again, none runs out.
    refused: bool,
    /// Whether that was told.
    told: bool,
    /// Since when the group is there: what was asked before may tell of the one before.
    group_since: Instant,
    seeded: Seeded,
}

/// From when on an entry is this server's.
#[derive(Clone, Copy, Debug)]
struct Lease {
    /// Until when nobody else can be given the entry: for `claim_idle` after the last command that
    /// touched it was sent.
    until: Instant,
    /// When that was answered.
    touched: Instant,
    standing: Standing,
    /// Whether an answer about it is awaited.
    asked: bool,
}

/// What is known of an entry's touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// From the last answer on, any touch is somebody else's.
    Sure,
    /// Somebody else may have touched it before that answer came.
    Late,
    /// It was given out by a group that is gone.
    Void,
}

impl Lease {
    /// Whether nobody else can have been given the entry.
    fn is_valid(&self, now: Instant) -> bool {
        now < self.until && self.standing != Standing::Void
    }
}

impl Leases {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self { seeded, ..Self::default() }
    }

    /// An entry was given to this server, or given again, by a command that was sent at `sent`.
    pub(super) fn touch(&mut self, key: Key, sent: Instant, now: Instant, claim_idle: Duration) {
        let until = sent + claim_idle;
        // What was on its way for longer may be somebody else's before the next renewal arrives.
        let late = now >= sent + claim_idle / 2 && !self.seeded.is(Bug::LateAnswerTrusted);
        let standing = match () {
            () if sent < self.group_since => Standing::Void,
            () if late => Standing::Late,
            () => Standing::Sure,
        };
        self.all.insert(key, Lease { until, touched: now, standing, asked: false });
        let due = sent + period(claim_idle, self.seeded);
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }

    /// The group that gave the entries out is gone, and another one is there.
    pub(super) fn void(&mut self, now: Instant) {
        self.group_since = now;
        for lease in self.all.values_mut() {
            lease.standing = Standing::Void;
        }
    }

    /// The entry is no longer held.
    pub(super) fn remove(&mut self, key: Key) {
        self.all.remove(&key);
    }

    /// The stream is another one: nobody else can be given the entries of the old one.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.due = None;
    }

    /// Whether nobody else can have been given the entry. One without a lease is of an earlier
    /// stream, or a lease cannot be had.
    fn is_valid(&self, key: Key, now: Instant) -> bool {
        let trusted = self.refused || self.seeded.is(Bug::RunOutTrusted);
        let lease = self.all.get(&key).filter(|_| !trusted);
        lease.is_none_or(|lease| lease.is_valid(now))
    }

    /// Whether there is one that can be renewed, or given to somebody else.
    pub(super) fn has(&self, key: Key) -> bool {
        !self.refused && self.all.contains_key(&key)
    }

    /// None is renewed or handed back before this time.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = until;
        self.due = Some(until);
    }

    /// Whether commands about them have to wait.
    pub(super) fn are_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }

    /// Those that nothing is asked about of these entries: as groups that one command may claim,
    /// and those of which nobody knows since when nobody else has touched them.
    pub(super) fn sort(
        &self,
        keys: impl Iterator<Item = Key>,
        window: Duration,
    ) -> (Vec<Group>, Vec<Key>) {
        let (mut known, mut doubtful) = (Vec::new(), Vec::new());
        for key in keys {
            let Some(lease) = self.all.get(&key).filter(|lease| !lease.asked) else { continue };
            match lease.standing {
                Standing::Sure => {
                    let (touched, until) = (lease.touched, lease.until);
                    known.push(Group { since: touched, touched, until, keys: vec![key] });
                }
                Standing::Late | Standing::Void => doubtful.push(key),
            }
        }
        (grouped(known, window), doubtful)
    }

    /// Whether the entry was not given to this server again since this time.
    pub(super) fn is_untouched(&self, key: Key, since: Instant) -> bool {
        self.all.get(&key).is_some_and(|lease| lease.touched <= since)
    }

    /// They are to be looked at as soon as they may be, and none that has run out is trusted before.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.refused = false;
        if !self.all.is_empty() {
            self.due = Some(now.max(self.paused_until));
        }
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// An answer about these is awaited, or no longer.
    pub(super) fn ask(&mut self, keys: &[Key], asked: bool) {
        for key in keys {
            if let Some(lease) = self.all.get_mut(key) {
                lease.asked = asked;
            }
        }
    }
}

/// Entries that one command may renew.
#[derive(Debug)]
pub(super) struct Group {
    /// The times since which nobody else has touched them: the earliest and the latest. They are
    /// near to each other: the command asks for the shorter idle time, which has to be longer than
    /// it is on its way.
    since: Instant,
    touched: Instant,
    /// The earliest of the times until which nobody else can be given them. It is later than both:
    /// so whoever is given one of them touches it after the latest of these times.
    until: Instant,
    keys: Vec<Key>,
}

impl Group {
    /// Whether one command may renew these too, whose time is not earlier.
    fn takes(&self, next: &Self, window: Duration) -> bool {
        next.touched < self.until.min(self.since + window) && self.keys.len() < RENEWED_MAX
    }
}

/// Joins entries as far as one command may renew them.
fn grouped(mut all: Vec<Group>, window: Duration) -> Vec<Group> {
    all.sort_unstable_by_key(|group| group.touched);
    let mut groups: Vec<Group> = Vec::new();
    for next in all {
        match groups.last_mut() {
            Some(group) if group.takes(&next, window) => {
                group.touched = next.touched;
                group.until = group.until.min(next.until);
                group.keys.extend(next.keys);
            }
            _ => groups.push(next),
        }
    }
    groups
}

/// Touches so near to each other are renewed together.
pub(super) fn window(claim_idle: Duration, seeded: Seeded) -> Duration {
    period(claim_idle, seeded) / 4
}

/// How long after its last touch a lease is renewed.
fn period(claim_idle: Duration, seeded: Seeded) -> Duration {
    if seeded.is(Bug::RenewedLate) { claim_idle } else { claim_idle / 3 }
}

impl Server {
    /// Whether nobody else can have been given the entry. If it is not sure, it is found out.
    pub(super) fn is_ours(&mut self, index: usize, key: Key) -> bool {
        let now = self.now;
        let is_serving = self.is_serving();
        let Some(service) = self.services.get_mut(index) else { return false };
        // A server that stops waits for no group, and without one there is nobody to ask.
        let valid = service.held.leases.is_valid(key, now) || !(is_serving || service.is_ready());
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
        leases.due = None;
        if leases.all.is_empty() || !ready {
            // The group that is made, and the lane that is opened, look at them again.
            return;
        }
        leases.due = Some(now + period);
        let aging = self.aging(index, claim_idle.saturating_sub(period / 2));
        let Some(service) = self.services.get(index) else { return };
        let window = window(claim_idle, self.config.seeded);
        let (groups, doubtful) = service.held.leases.sort(aging.into_iter(), window);
        for group in groups {
            self.send_claim(index, group, None);
        }
        self.check_leases(index, doubtful);
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
            hand_back,
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
            leases.touch(*key, sent, now, claim_idle);
        }
        self.confirm(index, &renewed);
        self.check_leases(index, left_out);
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

    /// Asks which of these are pending for this consumer, and for how long they are idle.
    pub(super) fn check_leases(&mut self, index: usize, keys: Vec<Key>) {
        let Some(service) = self.services.get_mut(index) else { return };
        let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { return };
        let (first, last) = (first.id, last.id);
        service.held.leases.ask(&keys, true);
        let Some(service) = self.services.get(index) else { return };
        let command = self.own_pending(service, first, last, PENDING_COUNT);
        self.send(index, command, Aim::CheckLeases { keys, sent: self.now });
    }

    pub(super) fn handle_leases_checked(
        &mut self,
        index: usize,
        keys: Vec<Key>,
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
                    *lease = Lease { until, touched, standing: Standing::Sure, asked: false };
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
        self.seek_missing(index, missing, sent);
    }

    /// The outcome of a renewal or of a look is unknown, or it was refused for a while.
    pub(super) fn void_renewal(&mut self, index: usize, keys: &[Key]) {
        let period = period(self.config.peer_claim_idle(), self.config.seeded);
        let Some(service) = self.services.get_mut(index) else { return };
        service.held.leases.ask(keys, false);
        service.held.leases.pause(self.now + RENEW_PAUSE.min(period));
    }

    /// This server may not renew anything: it goes on without, and tries again in its time.
    pub(super) fn renewal_refused(&mut self, index: usize, keys: &[Key], refusal: Refusal) {
        let Some(service) = self.services.get_mut(index) else { return };
        let leases = &mut service.held.leases;
        leases.ask(keys, false);
        leases.refused = true;
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
        self.counters.leases_lost += 1;
        if let Some(job) = service.held.lose(key) {
            self.events.push_back(ServerEvent::LeaseLost(job));
        }
        self.dirty.insert(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(8);

    /// What was touched at this second, and is valid for ten from then on.
    fn touched(second: u64) -> Group {
        let at = Instant::from_start(Duration::from_secs(second));
        let key = Key { epoch: 0, id: StreamId::new(second, 0) };
        let until = at + Duration::from_secs(10);
        Group { since: at, touched: at, until, keys: vec![key] }
    }

    fn seconds(groups: Vec<Group>) -> Vec<Vec<u64>> {
        let seconds = |group: Group| group.keys.iter().map(|key| key.id.ms).collect();
        groups.into_iter().map(seconds).collect()
    }

    #[test]
    fn no_entry_is_renewed_with_one_that_was_touched_when_somebody_else_could_have_it() {
        let all = [12, 1, 30, 9, 11, 20].map(touched);
        let groups = grouped(all.into(), 10 * WINDOW);
        assert_eq!(seconds(groups), [vec![1, 9], vec![11, 12, 20], vec![30]]);
    }

    #[test]
    fn what_was_touched_long_after_another_is_renewed_apart() {
        let all = [1, 8, 9, 16].map(touched);
        assert_eq!(seconds(grouped(all.into(), WINDOW)), [vec![1, 8], vec![9, 16]]);
    }

    #[test]
    fn one_command_renews_a_bounded_number() {
        let all: Vec<Group> = (0..600).map(|_| touched(1)).collect();
        let counts: Vec<usize> =
            grouped(all, WINDOW).iter().map(|group| group.keys.len()).collect();
        assert_eq!(counts, [256, 256, 88]);
    }
}
