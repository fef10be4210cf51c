//! [`Leases`]: until when what one service holds is its own, as far as is known (rule 4.4).
//!
//! Only the state; what is sent to renew them, and what its answers mean, is in `lease`.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::held::Key;
use super::intake::Given;
use crate::seeded::{Bug, Seeded};
use crate::time::Instant;

/// Most entries of one XCLAIM.
const RENEWED_MAX: usize = 256;
/// The shortest idle time that Redis asks for at all.
pub(super) const IDLE_MIN: Duration = Duration::from_millis(1);
/// The leases of one service.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) all: BTreeMap<Key, Lease>,
    /// When they are looked at next, if there are any.
    pub(super) due: Option<Instant>,
    /// Redis has not taken the last renewal: none is made before this time.
    pub(super) paused_until: Instant,
    /// Whether this server may not renew any: until it is tried again, none runs out.
    pub(super) refused: bool,
    /// Whether that was told.
    pub(super) told: bool,
    /// Until when a renewal or another claim may be carried out that nobody hears of.
    pub(super) stray_until: Instant,
    /// Since when the group is there: what was asked before may tell of the one before.
    pub(super) group_since: Instant,
    pub(super) seeded: Seeded,
}

/// From when on an entry is this server's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// Until when nobody else can be given the entry: for `claim_idle` after the last command that
    /// touched it was sent.
    pub(super) until: Instant,
    /// When that was answered.
    pub(super) touched: Instant,
    pub(super) standing: Standing,
    /// Whether an answer about it is awaited.
    pub(super) asked: bool,
}

/// What is known of an entry's touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// From the last answer on, any touch is somebody else's.
    Sure,
    /// Somebody else may have touched it before that answer came.
    Late,
    /// It was given out by a group that is gone.
    Void,
}

impl Lease {
    /// Whether nobody else can have been given the entry.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        now < self.until && self.standing != Standing::Void
    }
}

impl Leases {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self { seeded, ..Self::default() }
    }

    /// An entry was given to this server, or given again.
    pub(super) fn touch(&mut self, key: Key, given: Given, claim_idle: Duration) {
        let Given { idle, sent, told, .. } = given;
        let before = |at: Instant| Instant::from_start(at.since_start().saturating_sub(idle));
        let (until, touched) = (before(sent + claim_idle), before(told));
        let standing = match () {
            () if sent < self.group_since => Standing::Void,
            () if self.is_late(sent, told, claim_idle) => Standing::Late,
            () => Standing::Sure,
        };
        // What is under way about it may still be answered.
        let asked = self.all.get(&key).is_some_and(|lease| lease.asked);
        self.all.insert(key, Lease { until, touched, standing, asked });
        let due = before(sent + period(claim_idle, self.seeded));
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }

    /// Whether an answer was on its way for so long that what it tells of may be somebody else's
    /// before the next renewal arrives.
    pub(super) fn is_late(&self, sent: Instant, now: Instant, claim_idle: Duration) -> bool {
        now >= sent + claim_idle / 2 && !self.seeded.is(Bug::LateAnswerTrusted)
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
    pub(super) fn is_valid(&self, key: Key, now: Instant) -> bool {
        let trusted = self.refused || self.seeded.is(Bug::RunOutTrusted);
        let lease = self.all.get(&key).filter(|_| !trusted);
        lease.is_none_or(|lease| lease.is_valid(now))
    }

    /// Whether there is one that can be renewed, or given to somebody else.
    pub(super) fn has(&self, key: Key) -> bool {
        !self.refused && self.all.contains_key(&key)
    }

    /// They may have been handed back: whoever claimed them since may have come to their end.
    pub(super) fn offer(&mut self, keys: &[Key]) {
        for key in keys {
            if let Some(lease) = self.all.get_mut(key) {
                (lease.until, lease.standing) = (Instant::ZERO, Standing::Late);
            }
        }
    }

    /// Whether an answer about the entry is awaited.
    pub(super) fn is_asked(&self, key: Key) -> bool {
        self.all.get(&key).is_some_and(|lease| lease.asked)
    }

    /// Whether Redis can tell that the entry was not touched since. If not yet, it is looked at
    /// again when it can.
    pub(super) fn is_ripe(&mut self, key: Key, now: Instant) -> bool {
        let Some(ripe) = self.all.get(&key).map(|lease| lease.touched + IDLE_MIN) else {
            return false;
        };
        if now < ripe {
            self.due = Some(self.due.map_or(ripe, |at| at.min(ripe)));
        }
        now >= ripe
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
    pub(super) since: Instant,
    pub(super) touched: Instant,
    /// The earliest of the times until which nobody else can be given them. It is later than both:
    /// so whoever is given one of them touches it after the latest of these times.
    pub(super) until: Instant,
    pub(super) keys: Vec<Key>,
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
pub(super) fn period(claim_idle: Duration, seeded: Seeded) -> Duration {
    if seeded.is(Bug::RenewedLate) { claim_idle } else { claim_idle / 3 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream_id::StreamId;

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
