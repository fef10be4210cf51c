//! [`Held`]: the entries of one service that this server has been given and has not settled.
//!
//! Not the sending of anything. An entry is here from the moment Redis gives it out until the
//! answer to its XACK; while it is here, nothing that Redis gives out again under its id starts a
//! second handler (rule 4.5). Entries of an earlier stream of the same name keep an older epoch,
//! so that an id that comes again there is not taken for the same entry.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::event::JobId;
use super::leases::Leases;
use super::look_back::GivenUp;
use super::outbound::{Outbound, Write};
use super::request::ReplyTo;
use super::under_way::Turn;
use crate::reply::Fields;
use crate::seeded::{Bug, Seeded};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How often an entry may have been given out before it is watched.
const UNSUSPICIOUS: u64 = 2;

/// Names an entry: the epoch of its stream, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) epoch: u32,
    pub(super) id: StreamId,
}

/// The entries that one service holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: BTreeMap<Key, State>,
    /// What waits to be started, oldest first.
    waiting: BTreeSet<Key>,
    /// What waits for its delivery count.
    uncounted: BTreeSet<Key>,
    running: usize,
    pub(super) leases: Leases,
    /// What needs nothing but to be acknowledged, once its lease is known to be valid.
    doubtful: BTreeSet<Key>,
    /// What waits or runs and may be what ends processes.
    wary: BTreeSet<Key>,
    /// Replies that Redis could not take.
    unsent: BTreeSet<Key>,
    /// Those among them that may be why their lanes ended.
    suspects: BTreeSet<Key>,
    pub(super) given_up: GivenUp,
    seeded: Seeded,
}

/// How far an entry has come.
#[derive(Debug)]
pub(super) enum State {
    /// Its handler was dropped before it ended; so often it has been started.
    Abandoned(u64),
    /// Its handler has ended; the reply is on its way.
    Replying(Outbound),
    /// Its handler is running.
    Running(Run),
    /// Nothing is left to do but to acknowledge it.
    Settling,
    /// Given out again, and how often is not known yet.
    Uncounted(Fields),
    /// Ready to be started.
    Waiting(Unstarted),
}

/// An entry that is ready to be started.
#[derive(Debug)]
pub(super) struct Unstarted {
    pub(super) fields: Fields,
    pub(super) deliveries: u64,
    /// Whether that is Redis's count, and not a guess.
    pub(super) counted: bool,
}

impl Unstarted {
    pub(super) const fn new(fields: Fields, deliveries: u64) -> Self {
        Self { fields, deliveries, counted: true }
    }
}

/// A running handler.
#[derive(Debug)]
pub(super) struct Run {
    /// What runs: an entry that comes again under its id need not be the same.
    pub(super) fields: Fields,
    pub(super) job: JobId,
    pub(super) started: Instant,
    pub(super) deliveries: u64,
    pub(super) reply: Option<ReplyTo>,
    /// Whether its lease is lost: what it comes to is not heard.
    pub(super) lost: bool,
    /// Whether it has run for too long and is being dropped.
    pub(super) overdue: bool,
    /// The body of the entry, if it was given to this server again since: it runs behind this run.
    pub(super) again: Option<Fields>,
}

impl State {
    /// The body of an entry that may run, or runs.
    const fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Running(Run { fields, .. })
            | Self::Uncounted(fields)
            | Self::Waiting(Unstarted { fields, .. }) => Some(fields),
            Self::Abandoned(_) | Self::Replying(_) | Self::Settling => None,
        }
    }
}

impl Held {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self { leases: Leases::new(seeded), seeded, ..Self::default() }
    }

    /// Takes in an entry that is ready to be started.
    pub(super) fn insert_waiting(&mut self, key: Key, unstarted: Unstarted) {
        self.uncounted.remove(&key);
        self.waiting.insert(key);
        self.watch(key, unstarted.deliveries);
        self.entries.insert(key, State::Waiting(unstarted));
    }

    /// Takes in an entry whose delivery count has to be asked for first.
    pub(super) fn insert_uncounted(&mut self, key: Key, fields: Fields) {
        self.uncounted.insert(key);
        self.entries.insert(key, State::Uncounted(fields));
    }

    /// An entry is given out that has this body. If it is held as one of an earlier stream of the
    /// same name, which an older copy of the data brought back, it is from now on held under this
    /// key; says which job runs it. What had not started is dropped: it comes anew.
    pub(super) fn adopt(&mut self, key: Key, fields: &Fields) -> Option<JobId> {
        let mut earlier = self.entries.iter().take_while(|(old, _)| old.epoch < key.epoch);
        let (old, _) = earlier.find(|(old, state)| {
            old.id == key.id && state.fields().is_some_and(|held| held == fields)
        })?;
        let old = *old;
        match self.remove(old)? {
            State::Running(mut run) => {
                let job = run.job;
                run.again = run.lost.then(|| fields.clone());
                self.insert_running(key, run);
                Some(job)
            }
            State::Abandoned(_)
            | State::Replying(_)
            | State::Settling
            | State::Uncounted(_)
            | State::Waiting(_) => None,
        }
    }

    /// Takes in an entry whose handler was dropped after it was started for the so manieth time.
    pub(super) fn insert_abandoned(&mut self, key: Key, deliveries: u64) {
        self.entries.insert(key, State::Abandoned(deliveries));
    }

    /// Takes in an entry that needs nothing but to be acknowledged.
    pub(super) fn insert_settling(&mut self, key: Key) {
        self.take(key);
        self.entries.insert(key, State::Settling);
    }

    /// Takes in an entry that was settled before, unless it has been started again since. Tells
    /// whether it needs to be acknowledged.
    pub(super) fn keep_settled(&mut self, key: Key) -> bool {
        let settled = match self.entries.get(&key) {
            None | Some(State::Settling | State::Uncounted(_) | State::Waiting(_)) => true,
            Some(State::Abandoned(_) | State::Replying(_) | State::Running(_)) => false,
        };
        if settled {
            self.insert_settling(key);
        }
        settled
    }

    /// The same, once its lease is known to be valid.
    pub(super) fn insert_doubtful(&mut self, key: Key) {
        self.insert_settling(key);
        self.doubtful.insert(key);
    }

    /// The lease of an entry is valid. Tells whether it waited for that to be acknowledged.
    pub(super) fn is_sure(&mut self, key: Key) -> bool {
        self.doubtful.remove(&key)
    }

    /// Somebody else may have been given the entry. Tells which job runs for it, if one does.
    pub(super) fn lose(&mut self, key: Key) -> Option<JobId> {
        self.leases.remove(key);
        let under_way = !self.unsent.contains(&key) && !self.suspects.contains(&key);
        match self.entries.get_mut(&key)? {
            State::Running(run) if !run.lost => {
                run.lost = true;
                return Some(run.job);
            }
            State::Replying(outbound) if under_way => outbound.lost = true,
            State::Running(_) => {}
            State::Settling if !self.doubtful.contains(&key) => {}
            State::Abandoned(_)
            | State::Replying(_)
            | State::Settling
            | State::Uncounted(_)
            | State::Waiting(_) => {
                self.remove(key);
            }
        }
        None
    }

    /// An entry is given to this server again whose lease it had lost while a handler ran: it is
    /// kept until that has ended. Tells whether this is one.
    pub(super) fn keep_again(&mut self, key: Key, fields: Option<&Fields>) -> bool {
        match self.entries.get_mut(&key) {
            Some(State::Running(run)) if run.lost => {
                run.again = fields.cloned();
                true
            }
            _ => false,
        }
    }

    /// An entry that was started is left to others, who may not be there: it stays pending for this
    /// server.
    pub(super) fn give_up(&mut self, key: Key, deliveries: u64) {
        self.leases.remove(key);
        self.given_up.insert(key, deliveries);
    }

    /// Whether an entry that is pending for this server, and has been given out so often, is one that
    /// it has not seen.
    pub(super) fn is_unseen(&self, key: Key, deliveries: u64) -> bool {
        match self.entries.get(&key) {
            Some(State::Running(run)) if run.lost => {
                run.again.is_none() && deliveries > run.deliveries
            }
            Some(_) => false,
            None => !self.given_up.knows(key, deliveries),
        }
    }

    /// The delivery count of an entry is known: it is ready to be started.
    pub(super) fn count(&mut self, key: Key, deliveries: u64) {
        if let Some(State::Uncounted(fields)) = self.entries.get_mut(&key) {
            let fields = core::mem::take(fields);
            self.insert_waiting(key, Unstarted::new(fields, deliveries));
        }
    }

    /// The delivery count of an entry cannot be known: it is ready to be started, and was given out
    /// again, so twice at the least, unless it was handed back.
    pub(super) fn guess_count(&mut self, key: Key) {
        self.count(key, 2);
        if let Some(State::Waiting(unstarted)) = self.entries.get_mut(&key) {
            unstarted.counted = false;
        }
    }

    /// The entry that is started next.
    pub(super) fn next_waiting(&self) -> Option<Key> {
        self.waiting.first().copied()
    }

    /// Takes out the oldest entry that is ready to be started.
    pub(super) fn pop_waiting(&mut self) -> Option<(Key, Unstarted)> {
        let newest = self.seeded.is(Bug::NewestFirst);
        let key = if newest { self.waiting.pop_last()? } else { self.waiting.pop_first()? };
        self.wary.remove(&key);
        match self.entries.remove(&key) {
            Some(State::Waiting(unstarted)) => Some((key, unstarted)),
            other => unreachable!("what waits is held as waiting, not as {other:?}"),
        }
    }

    /// Whether what waits or runs has been given out so often that it may be what ends processes.
    pub(super) fn is_wary(&self) -> bool {
        !self.wary.is_empty()
    }

    /// The handler of an entry is running.
    pub(super) fn insert_running(&mut self, key: Key, run: Run) {
        self.running += 1;
        self.watch(key, run.deliveries);
        self.entries.insert(key, State::Running(run));
    }

    /// Takes out an entry whose handler was running.
    pub(super) fn take_running(&mut self, key: Key) -> Option<Run> {
        match self.take(key) {
            Some(State::Running(run)) => Some(run),
            Some(other) => unreachable!("a job's entry is held as running, not as {other:?}"),
            None => None,
        }
    }

    /// The reply to an entry is to be sent.
    pub(super) fn insert_replying(&mut self, key: Key, outbound: Outbound) {
        self.unsent.insert(key);
        self.entries.insert(key, State::Replying(outbound));
    }

    /// Marks a reply as under way, and gives it out.
    pub(super) fn send_reply(&mut self, key: Key) -> Option<Outbound> {
        self.unsent.remove(&key);
        self.suspects.remove(&key);
        match self.entries.get(&key) {
            Some(State::Replying(outbound)) => Some(outbound.clone()),
            _ => None,
        }
    }

    /// A reply that was under way has to be sent again.
    pub(super) fn unsend_reply(&mut self, key: Key) {
        if let Some(State::Replying(outbound)) = self.entries.get(&key) {
            if outbound.lost {
                self.remove(key);
                return;
            }
            let suspect = outbound.is_suspect();
            if suspect { &mut self.suspects } else { &mut self.unsent }.insert(key);
        }
    }

    /// A lane has ended with this reply under way.
    pub(super) fn lose_reply(&mut self, key: Key) -> Option<&Outbound> {
        let Some(State::Replying(outbound)) = self.entries.get_mut(&key) else { return None };
        // What Redis has taken once as an entry does not end lanes as a dead letter.
        if outbound.lost || matches!(outbound.write, Write::DeadLetter { .. }) {
            return None;
        }
        outbound.losses += 1;
        Some(outbound)
    }

    /// Notes whether a reply creates its stream.
    pub(super) fn note_creation(&mut self, key: Key, creates: bool) {
        if let Some(State::Replying(outbound)) = self.entries.get_mut(&key) {
            outbound.creates = creates;
        }
    }

    /// The stream of a reply that does not create it.
    pub(super) fn missing_stream(&self, key: Key) -> Option<Bytes> {
        let Some(State::Replying(outbound)) = self.entries.get(&key) else { return None };
        (!outbound.creates).then(|| outbound.key.clone())
    }

    /// Redis has answered this reply: it is not what ends lanes.
    pub(super) fn clear_reply(&mut self, key: Key) {
        if let Some(State::Replying(outbound)) = self.entries.get_mut(&key) {
            outbound.losses = 0;
        }
    }

    /// Drops an entry, whatever became of it.
    pub(super) fn remove(&mut self, key: Key) -> Option<State> {
        self.leases.remove(key);
        self.take(key)
    }

    fn watch(&mut self, key: Key, deliveries: u64) {
        if deliveries > UNSUSPICIOUS {
            self.wary.insert(key);
        }
    }

    /// Takes an entry out to put it back in another state.
    fn take(&mut self, key: Key) -> Option<State> {
        self.doubtful.remove(&key);
        self.waiting.remove(&key);
        self.wary.remove(&key);
        self.uncounted.remove(&key);
        self.unsent.remove(&key);
        self.suspects.remove(&key);
        let state = self.entries.remove(&key);
        if let Some(State::Running(_)) = state {
            self.running -= 1;
        }
        state
    }

    /// Drops an entry that was acknowledged.
    pub(super) fn remove_settled(&mut self, key: Key) {
        if let Some(State::Settling) = self.entries.get(&key) {
            self.remove(key);
        }
    }

    /// How far an entry has come.
    pub(super) fn state(&self, key: Key) -> Option<&State> {
        self.entries.get(&key)
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.entries.contains_key(&key)
    }

    /// How many entries are held.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many handlers are running.
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// How many entries wait to be started, counted or not.
    pub(super) fn unstarted(&self) -> usize {
        self.waiting.len() + self.uncounted.len()
    }

    /// Entries whose delivery count has to be asked for, oldest first.
    pub(super) const fn uncounted(&self) -> &BTreeSet<Key> {
        &self.uncounted
    }

    /// The oldest reply that has to be sent, and may be. Those that may end their lane come last.
    pub(super) fn next_unsent(&self, turn: Turn) -> Option<Key> {
        let (others, suspects) = (self.unsent.first(), self.suspects.first());
        match turn {
            Turn::Alone => suspects,
            Turn::Any => others.or(suspects),
            Turn::Nothing => None,
            Turn::Others => others,
        }
        .copied()
    }

    /// What needs nothing but to be acknowledged, once its lease is known to be valid.
    pub(super) fn doubtful(&self) -> Vec<Key> {
        self.doubtful.iter().copied().collect()
    }

    /// The replies that have to be sent alone.
    pub(super) const fn suspects(&self) -> &BTreeSet<Key> {
        &self.suspects
    }

    /// Whether any reply has to be sent or is under way.
    pub(super) fn has_replies(&self) -> bool {
        self.entries.values().any(|state| matches!(state, State::Replying(_)))
    }

    /// Handlers that have been running since then, or longer, are to be dropped. Gives their entries
    /// and jobs, once.
    pub(super) fn take_overdue(&mut self, since: Instant) -> Vec<(Key, JobId)> {
        let mut overdue = Vec::new();
        for (key, state) in &mut self.entries {
            let State::Running(run) = state else { continue };
            if run.started <= since && !run.overdue {
                (run.lost, run.overdue) = (true, true);
                // However long it takes to drop it, others may have its entry in time. One that was
                // given to this server again is held for the run that is behind it.
                if run.again.is_none() {
                    self.leases.remove(*key);
                }
                overdue.push((*key, run.job));
            }
        }
        overdue
    }

    /// Jobs whose handlers are running, and nobody was told to drop.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.entries.values().filter_map(|state| match state {
            State::Running(run) => Some(run.job).filter(|_| !run.overdue),
            State::Abandoned(_)
            | State::Replying(_)
            | State::Settling
            | State::Uncounted(_)
            | State::Waiting(_) => None,
        })
    }

    /// Entries whose handler has not ended, if it ever started.
    pub(super) fn not_ended(&self) -> impl Iterator<Item = (Key, &State)> {
        let ended = |state: &State| matches!(state, State::Replying(_) | State::Settling);
        self.entries.iter().filter(move |(_, state)| !ended(state)).map(|(key, it)| (*key, it))
    }

    /// Drops what needs nothing but to be acknowledged.
    pub(super) fn drop_settling(&mut self) {
        self.entries.retain(|_, state| !matches!(state, State::Settling));
        self.doubtful.clear();
    }
}

#[cfg(test)]
mod tests;
