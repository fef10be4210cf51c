//! [`Withdrawals`]: taking a request back that no worker was given, so that its caller may be told
//! so.
//!
//! Rule 5.2. Not when a call ends, which is `calls`' to say. A request is looked at shortly before
//! its call expires, and at once when its caller has gone: `XINFO GROUPS` tells whether a worker
//! was given it. If none was, it is deleted, and what `XINFO GROUPS` tells *behind* that is the
//! truth: nobody can be given it any more, and somebody was if the group has come as far meanwhile.
//! All of it happens on the connection on which Redis told the entry's id: on another one the same
//! id may be somebody else's request.
//!
//! <https://redis.io/docs/latest/commands/xinfo-groups/>,
//! <https://redis.io/docs/latest/commands/xdel/>

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Client, Purpose, Stage};
use crate::call::CallError;
use crate::command::Command;
use crate::engine::{Lane, Version};
use crate::reply::{GroupInfo, Refusal};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// The oldest Redis whose reclaiming goes on behind an entry that is gone (`XAUTOCLAIM`).
const OLDEST: Version = Version::new(7, 0, 0);

/// What is known of the withdrawals of one client.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    /// Calls that are to be looked at when the turn ends, and when it began.
    asked: Vec<u64>,
    asked_at: Instant,
    /// Counts the connections of the command lane.
    connection: u64,
    /// The last entry that the workers of each stream had been given, as far as this connection
    /// knows. A group that has been given less was made anew: it does not know who was given what.
    given: BTreeMap<Bytes, StreamId>,
    /// Streams about which this user may not ask, or whose entries it may not delete. Rights may
    /// be others on the next connection.
    denied: BTreeSet<Bytes>,
    /// What is under way, by number.
    rounds: BTreeMap<u64, Round>,
    next_round: u64,
}

/// Requests of one stream that are withdrawn together.
#[derive(Debug)]
struct Round {
    key: Bytes,
    /// Entries by the numbers of their calls: all of them at first, then those that no worker
    /// seems to have been given, then those that were deleted.
    entries: BTreeMap<u64, StreamId>,
}

/// One command of a round.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Who was given what, behind the deletion.
    Check { round: u64 },
    /// Deletes the request of a call.
    Delete { round: u64, call: u64 },
    /// Who was given what, so far.
    Look { round: u64 },
}

impl Step {
    const fn round(self) -> u64 {
        match self {
            Self::Check { round } | Self::Delete { round, .. } | Self::Look { round } => round,
        }
    }
}

impl Withdrawals {
    /// The command lane is open.
    pub(super) fn connected(&mut self) {
        self.connection += 1;
        self.given.clear();
        self.denied.clear();
    }

    /// Which of the command lane's connections this is.
    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    /// Redis said how many entries it deleted. Of what was gone before, nothing is known.
    pub(super) fn deleted(&mut self, step: Step, deleted: i64) {
        if deleted != 1 {
            self.void(step);
        }
    }

    /// The step was refused: the requests that it is about stay where they are.
    pub(super) fn refused(&mut self, step: Step, refusal: &Refusal) {
        if refusal.code == "NOPERM"
            && let Some(round) = self.rounds.get(&step.round())
        {
            self.denied.insert(round.key.clone());
        }
        self.void(step);
    }

    /// Nothing comes of the step.
    pub(super) fn void(&mut self, step: Step) {
        match step {
            Step::Check { round } | Step::Look { round } => {
                self.rounds.remove(&round);
            }
            Step::Delete { round, call } => {
                if let Some(round) = self.rounds.get_mut(&round) {
                    round.entries.remove(&call);
                }
            }
        }
    }

    /// Forgets what it knows of streams but for those with requests under way.
    pub(super) fn forget(&mut self, under_way: impl Fn(&Bytes) -> bool) {
        self.given.retain(|key, _| under_way(key));
        self.denied.retain(&under_way);
    }

    fn begin(&mut self, key: Bytes, entries: BTreeMap<u64, StreamId>) -> u64 {
        self.next_round += 1;
        self.rounds.insert(self.next_round, Round { key, entries });
        self.next_round
    }

    fn is_denied(&self, round: u64) -> bool {
        self.rounds.get(&round).is_some_and(|round| self.denied.contains(&round.key))
    }

    fn is_under_way(&self, id: u64) -> bool {
        self.rounds.values().any(|round| round.entries.contains_key(&id))
    }
}

impl Client {
    /// Looks at a call when the turn ends, if its request may be withdrawn.
    pub(super) fn ask_to_withdraw(&mut self, now: Instant, id: u64) {
        if self.may_withdraw() && !self.config.seeded.is(Bug::WithdrawMissing) {
            self.withdrawals.asked_at = now;
            self.withdrawals.asked.push(id);
        }
    }

    fn may_withdraw(&self) -> bool {
        let oldest =
            if self.config.seeded.is(Bug::WithdrawnOnOldRedis) { Version::OLDEST } else { OLDEST };
        let hello = self.lanes.hello(Lane::Command);
        self.config.withdraw
            && self.stage == Stage::Running
            && hello.is_some_and(|hello| hello.version >= oldest)
    }

    /// Looks at what was asked about in this turn: once at each stream.
    pub(super) fn look(&mut self) {
        let mut streams: BTreeMap<Bytes, BTreeMap<u64, StreamId>> = BTreeMap::new();
        let asked = core::mem::take(&mut self.withdrawals.asked);
        let connection = self.withdrawals.connection;
        for id in asked.into_iter().filter(|_| self.may_withdraw()) {
            let Some((key, entry)) = self.calls.entry(id, connection) else { continue };
            let denied = self.withdrawals.denied.contains(key)
                && !self.config.seeded.is(Bug::WithdrawnWithoutRight);
            if !denied && !self.withdrawals.is_under_way(id) {
                streams.entry(key.clone()).or_default().insert(id, entry);
            }
        }
        let now = self.withdrawals.asked_at;
        for (key, entries) in streams {
            let round = self.withdrawals.begin(key.clone(), entries);
            if self.config.seeded.is(Bug::WithdrawnBlindly) {
                self.delete(now, round, StreamId::ZERO);
            } else {
                self.step(now, Command::XInfoGroups { key }, Step::Look { round });
            }
        }
    }

    fn step(&mut self, now: Instant, command: Command, step: Step) {
        let timeout = self.config.command_timeout;
        let purpose = Purpose::Withdraw(step);
        if self.lanes.send(now, Lane::Command, command, timeout, purpose).is_err() {
            self.withdrawals.void(step);
        }
    }

    /// Redis told who was given what, so far.
    pub(super) fn handle_look(&mut self, now: Instant, round: u64, groups: &[GroupInfo]) {
        match self.last_given(round, groups).filter(|_| !self.withdrawals.is_denied(round)) {
            Some(last_given) => self.delete(now, round, last_given),
            None => self.withdrawals.void(Step::Look { round }),
        }
    }

    /// Redis told who had been given what when it deleted. What was deleted and had been given to
    /// nobody by then never will be.
    pub(super) fn handle_check(&mut self, round: u64, groups: &[GroupInfo]) {
        let last_given = self.last_given(round, groups);
        let Some(mut round) = self.withdrawals.rounds.remove(&round) else { return };
        if !self.config.seeded.is(Bug::WithdrawnUnseen) {
            round.entries.retain(|_, entry| last_given.is_some_and(|last| *entry > last));
        }
        for call in round.entries.into_keys() {
            self.stats.withdrawn += 1;
            self.finish(call, CallError::NoWorkers);
        }
    }

    /// The last entry that the service's workers were given, which is `0-0` when nobody ever served
    /// it; `None` when somebody else reads the stream as well, who may miss what is deleted, and when
    /// the group has been made anew.
    fn last_given(&mut self, round: u64, groups: &[GroupInfo]) -> Option<StreamId> {
        let round = self.withdrawals.rounds.get(&round)?;
        let service = self.keys.service(&round.key)?;
        let of_service = |group: &&GroupInfo| group.name == service;
        if groups.iter().any(|group| !of_service(&group))
            && !self.config.seeded.is(Bug::WithdrawnForOthers)
        {
            return None;
        }
        let own = groups.iter().find(of_service);
        let last = own.map_or(StreamId::ZERO, |group| group.last_delivered);
        let known = self.withdrawals.given.entry(round.key.clone()).or_insert(last);
        if last < *known {
            return None;
        }
        *known = last;
        Some(last)
    }

    /// Deletes what no worker seems to have been given. One command for each: of several entries
    /// Redis would only say how many were there.
    fn delete(&mut self, now: Instant, number: u64, last_given: StreamId) {
        let Some(round) = self.withdrawals.rounds.get_mut(&number) else { return };
        round.entries.retain(|_, entry| *entry > last_given);
        if round.entries.is_empty() {
            self.withdrawals.rounds.remove(&number);
            return;
        }
        let key = round.key.clone();
        let entries: Vec<(u64, StreamId)> =
            round.entries.iter().map(|(call, entry)| (*call, *entry)).collect();
        for (call, entry) in entries {
            let command = Command::XDel { key: key.clone(), ids: vec![entry] };
            self.step(now, command, Step::Delete { round: number, call });
        }
        self.step(now, Command::XInfoGroups { key }, Step::Check { round: number });
    }
}
