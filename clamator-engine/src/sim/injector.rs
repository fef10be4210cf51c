//! [`Injector`]: which faults of the network and of Redis happen in a run, and when.
//!
//! Not what goes wrong in processes: those belong to whoever runs them. Decided by a seed; the
//! faults of one run are a subset drawn by its owner. What an operator might do to the data is
//! done to the keys of one prefix.

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::dice::Dice;
use super::fault::{Fault, FaultCounts};
use super::garbage;
use super::network::{Cut, Network, NodeId, Revival, Trouble};
use crate::command::{Command, GroupStart};
use crate::engine::Lane;
use crate::memory::Snapshot;
use crate::reply::{Entry, Fields, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How many copies of the data are kept for a restart or a failover that loses the last writes.
const SNAPSHOTS_MAX: usize = 4;
/// Longest time between two strikes.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The shortest time that a lasting fault lasts.
const MOMENT: Duration = Duration::from_millis(5);
const COMMANDS: &[u8] = b"cmds:";
const REPLIES: &[u8] = b"replies:";

/// Strikes a network again and again.
#[derive(Debug)]
pub struct Injector {
    counts: FaultCounts,
    dice: Dice,
    /// The furthest that Redis's clock was ever ahead of its start.
    epoch_max: u64,
    /// What may happen.
    faults: Vec<Fault>,
    /// Keys that hold something that is no stream, and when they are deleted.
    spoiled: BTreeMap<Bytes, Instant>,
    next: Instant,
    prefix: Bytes,
    snapshots: VecDeque<Snapshot>,
    until: Instant,
}

impl Injector {
    /// Makes an injector that strikes with these of the faults until then, at the keys that start
    /// with `<prefix>:`. Faults that are not of the network or of Redis are left out.
    #[must_use]
    pub fn new(seed: u64, faults: &[Fault], prefix: &str, until: Instant) -> Self {
        let mut dice = Dice::new(seed);
        let next = Instant::ZERO + dice.time(Duration::from_millis(1), PAUSE_MAX);
        Self {
            counts: FaultCounts::default(),
            dice,
            epoch_max: 0,
            faults: faults.iter().copied().filter(|fault| !fault.is_of_process()).collect(),
            spoiled: BTreeMap::new(),
            next,
            prefix: Bytes::from(format!("{prefix}:")),
            snapshots: VecDeque::new(),
            until,
        }
    }

    /// When [`Self::strike`] is to be called; `None` when nothing is going to happen.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let strikes = !self.faults.is_empty() && self.next < self.until;
        let mend = self.spoiled.values().min().copied();
        mend.into_iter().chain(strikes.then_some(self.next)).min()
    }

    /// Does what is due: tells which fault happened, if one did.
    pub fn strike(&mut self, now: Instant, network: &mut Network) -> Option<Fault> {
        self.mend(now, network);
        if self.next > now || now >= self.until {
            return None;
        }
        self.next = now + self.dice.scale(Duration::from_millis(1), PAUSE_MAX);
        if self.dice.chance(30) {
            self.snapshots.push_back(network.streams().snapshot());
            if self.snapshots.len() > SNAPSHOTS_MAX {
                self.snapshots.pop_front();
            }
        }
        let fault = *self.dice.pick(&self.faults)?;
        if !self.inflict(now, network, fault) {
            return None;
        }
        self.counts.add(fault);
        Some(fault)
    }

    /// Ends what still lasts: from now on everything works.
    pub fn heal(&mut self, now: Instant, network: &mut Network) {
        self.until = now;
        self.next = self.next.max(now);
        self.spoiled.clear();
        // An older copy of the data may have brought spoiled keys back.
        let keys: Vec<Bytes> = network.streams().keys().cloned().collect();
        for key in keys {
            delete_other(now, network, &key);
        }
        // A clock that was set back makes what is overdue look fresh until it catches up.
        if self.epoch_max > 0 {
            network.streams_mut().set_epoch_ms(self.epoch_max);
        }
        network.heal();
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counts(&self) -> &FaultCounts {
        &self.counts
    }

    fn mend(&mut self, now: Instant, network: &mut Network) {
        self.spoiled.retain(|key, until| {
            let lasts = *until > now;
            if !lasts {
                delete_other(now, network, key);
            }
            lasts
        });
    }

    /// Does a fault. Tells whether there was anything to do it to.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what happens to processes was left out at the start"
    )]
    fn inflict(&mut self, now: Instant, network: &mut Network, fault: Fault) -> bool {
        match fault {
            Fault::ClusterDown => self.trouble(now, network, Trouble::ClusterDown),
            Fault::ConnectHangs | Fault::ConnectRefused => {
                let lasts = self.dice.scale(MOMENT, Duration::from_secs(4));
                if fault == Fault::ConnectHangs {
                    network.hang_until(now + lasts);
                } else {
                    network.refuse_until(now + lasts);
                }
                // Few would notice without a connection to make; who is not there yet has one to make.
                self.cut(now, network, Cut::BeforeReply);
                true
            }
            Fault::ConsumerDeleted => self.delete_consumer(now, network),
            Fault::EntryDeleted => self.delete_entry(now, network),
            Fault::Failover => self.restore(network, |network, snapshot| {
                network.fail_over(now, snapshot);
            }),
            Fault::FlushAll => {
                network.streams_mut().flush_all(now);
                true
            }
            Fault::ForeignGroup => self.add_group(now, network),
            Fault::ForeignReply => self.add_reply(now, network),
            Fault::Garbage => self.add_garbage(now, network),
            Fault::GroupDestroyed => self
                .command_stream(network)
                .is_some_and(|(key, group)| network.streams_mut().destroy_group(now, &key, &group)),
            Fault::HalfOpen => self.cut(now, network, Cut::HalfOpen),
            Fault::Loading => self.trouble(now, network, Trouble::Loading),
            Fault::Misconfigured => self.trouble(now, network, Trouble::Misconfigured),
            Fault::NoPermission => {
                let trouble = self.dice.pick(Trouble::FORBIDDEN).copied();
                trouble.is_some_and(|trouble| self.trouble(now, network, trouble))
            }
            Fault::OutOfMemory => self.trouble(now, network, Trouble::OutOfMemory),
            Fault::ReadOnly => self.trouble(now, network, Trouble::ReadOnly),
            Fault::RedisClockAhead => self.turn_clock(now, network, Duration::saturating_add),
            Fault::RedisClockBack => self.turn_clock(now, network, Duration::saturating_sub),
            Fault::ReplyDuplicated => self.repeat_reply(now, network),
            Fault::ReplyKeyWrongType => self.spoil(now, network, REPLIES),
            Fault::ResetBeforeReply => self.cut(now, network, Cut::BeforeReply),
            Fault::ResetBeforeWrite => self.cut(now, network, Cut::BeforeWrite),
            Fault::RestartEmpty => self.restart(now, network, Revival::Empty),
            Fault::RestartKept => self.restart(now, network, Revival::Kept),
            Fault::RestartTruncated => {
                let up = self.up(now);
                self.restore(network, |network, snapshot| {
                    network.restart(now, up, Revival::Old(snapshot));
                })
            }
            Fault::Slow => self.slow(now, network),
            Fault::StreamDeleted => self
                .command_stream(network)
                .is_some_and(|(key, _)| network.streams_mut().delete(now, &key)),
            Fault::StreamTrimmed => {
                let left = self.dice.roll(4);
                self.command_stream(network)
                    .is_some_and(|(key, _)| network.streams_mut().trim(now, &key, left) > 0)
            }
            Fault::StreamWrongType if self.dice.chance(50) => self.spoil_dead(now, network),
            Fault::StreamWrongType => self.spoil(now, network, COMMANDS),
            _ => false,
        }
    }

    /// Cuts some lanes of one node, or of all.
    fn cut(&mut self, now: Instant, network: &mut Network, cut: Cut) -> bool {
        let lanes = self.lanes(network);
        let late = (cut == Cut::BeforeReply && self.dice.chance(70))
            .then(|| self.dice.scale(Duration::from_millis(500), Duration::from_secs(4)));
        lanes.into_iter().fold(false, |hurt, (node, lane)| {
            if let Some(late) = late {
                // Redis hears of the end later than the node does.
                network.slow(now, node, lane, late);
            }
            network.cut(now, node, lane, cut) || hurt
        })
    }

    fn slow(&mut self, now: Instant, network: &mut Network) -> bool {
        let lanes = self.lanes(network);
        let by = self.dice.scale(MOMENT, Duration::from_secs(4));
        lanes
            .into_iter()
            .fold(false, |hurt, (node, lane)| network.slow(now, node, lane, by) || hurt)
    }

    /// Some lanes of one node, or of all.
    fn lanes(&mut self, network: &Network) -> Vec<(NodeId, Lane)> {
        let nodes = network.nodes();
        let everybody = self.dice.chance(5);
        let one = self.dice.pick(&nodes).copied();
        let mut lanes = Vec::new();
        for node in nodes.into_iter().filter(|node| everybody || Some(*node) == one) {
            lanes.extend(network.lanes(node).into_iter().map(|lane| (node, lane)));
        }
        lanes.retain(|_| self.dice.chance(60));
        lanes
    }

    /// When a server that ends now is up again.
    fn up(&mut self, now: Instant) -> Instant {
        now + self.dice.scale(MOMENT, Duration::from_secs(3))
    }

    fn restart(&mut self, now: Instant, network: &mut Network, revival: Revival) -> bool {
        let up = self.up(now);
        network.restart(now, up, revival);
        true
    }

    /// Puts an older copy of the data in place, if there is one.
    fn restore(
        &mut self,
        network: &mut Network,
        restore: impl FnOnce(&mut Network, Snapshot),
    ) -> bool {
        let Some(snapshot) = self.snapshots.pop_back() else { return false };
        // Time goes on from there: the other copies are of another history.
        self.snapshots.clear();
        restore(network, snapshot);
        true
    }

    fn trouble(&mut self, now: Instant, network: &mut Network, trouble: Trouble) -> bool {
        let lasts = self.dice.scale(MOMENT, Duration::from_secs(3));
        network.trouble_until(now + lasts, trouble);
        true
    }

    fn turn_clock(
        &mut self,
        now: Instant,
        network: &mut Network,
        turn: fn(Duration, Duration) -> Duration,
    ) -> bool {
        let before = network.streams().time(now).saturating_sub(now.since_start());
        let epoch =
            turn(before, self.dice.scale(Duration::from_millis(2), Duration::from_secs(20)));
        let epoch = millis(epoch);
        self.epoch_max = self.epoch_max.max(millis(before)).max(epoch);
        network.streams_mut().set_epoch_ms(epoch);
        true
    }

    fn add_reply(&mut self, now: Instant, network: &mut Network) -> bool {
        let fields = garbage::reply(&mut self.dice);
        let key = self.pick_key(network, REPLIES);
        key.is_some_and(|key| add(now, network, key, fields))
    }

    fn repeat_reply(&mut self, now: Instant, network: &mut Network) -> bool {
        let Some(key) = self.pick_key(network, REPLIES) else { return false };
        let Some(entry) = self.pick_entry(now, network, &key) else { return false };
        add(now, network, key, entry.fields.unwrap_or_default())
    }

    fn spoil(&mut self, now: Instant, network: &mut Network, kind: &[u8]) -> bool {
        let Some(key) = self.pick_key(network, kind) else { return false };
        let lasts = self.dice.scale(MOMENT, Duration::from_secs(4));
        self.spoil_key(now, network, key, lasts)
    }

    /// Spoils the key of a service's dead letters, also where there are none yet, and for longer: one
    /// is seldom written.
    fn spoil_dead(&mut self, now: Instant, network: &mut Network) -> bool {
        let Some((_, service)) = self.command_stream(network) else { return false };
        let key = Bytes::from([&self.prefix[..], b"dead:", &service].concat());
        let lasts = self.dice.time(Duration::from_secs(1), Duration::from_secs(8));
        !self.spoiled.contains_key(&key) && self.spoil_key(now, network, key, lasts)
    }

    fn spoil_key(
        &mut self,
        now: Instant,
        network: &mut Network,
        key: Bytes,
        lasts: Duration,
    ) -> bool {
        network.streams_mut().set_string(now, key.clone());
        self.spoiled.insert(key, now + lasts);
        true
    }

    fn delete_consumer(&mut self, now: Instant, network: &mut Network) -> bool {
        let Some((key, group)) = self.command_stream(network) else { return false };
        let pending = network.streams().pending(now, &key, &group);
        let Some(held) = self.dice.pick(&pending) else { return false };
        let consumer = held.consumer.clone();
        let delete = Command::XGroupDelConsumer { key, group, consumer };
        network.streams_mut().carry_out(now, delete).is_ok()
    }

    fn delete_entry(&mut self, now: Instant, network: &mut Network) -> bool {
        let Some((key, _)) = self.command_stream(network) else { return false };
        let Some(entry) = self.pick_entry(now, network, &key) else { return false };
        let delete = Command::XDel { key, ids: vec![entry.id] };
        network.streams_mut().carry_out(now, delete).is_ok()
    }

    fn add_group(&mut self, now: Instant, network: &mut Network) -> bool {
        let Some((key, _)) = self.command_stream(network) else { return false };
        let group = Bytes::from_static(b"audit");
        let create = Command::XGroupCreate { key, group, start: GroupStart::New };
        network.streams_mut().carry_out(now, create).is_ok()
    }

    fn add_garbage(&mut self, now: Instant, network: &mut Network) -> bool {
        let Some((key, service)) = self.command_stream(network) else { return false };
        let prefix = self.prefix.clone();
        let fields = garbage::request(&mut self.dice, &prefix, &service);
        add(now, network, key, fields)
    }

    /// A command stream and the name of its service, which is its group's too.
    fn command_stream(&mut self, network: &Network) -> Option<(Bytes, Bytes)> {
        let key = self.pick_key(network, COMMANDS)?;
        let service = key.slice(self.prefix.len() + COMMANDS.len()..);
        Some((key, service))
    }

    fn pick_entry(&mut self, now: Instant, network: &mut Network, key: &Bytes) -> Option<Entry> {
        let (key, start, end) = (key.clone(), StreamId::ZERO, StreamId::MAX);
        let all = Command::XRange { key, start, end, count: 1000 };
        match network.streams_mut().carry_out(now, all) {
            Ok(Reply::Entries(entries)) => self.dice.pick(&entries).cloned(),
            Ok(_) | Err(_) => None,
        }
    }

    fn pick_key(&mut self, network: &Network, kind: &[u8]) -> Option<Bytes> {
        let start = [&self.prefix, kind].concat();
        let keys: Vec<Bytes> = network
            .streams()
            .keys()
            .filter(|key| key.starts_with(&start) && !self.spoiled.contains_key(*key))
            .cloned()
            .collect();
        self.dice.pick(&keys).cloned()
    }
}

/// Deletes a key if it holds no stream. What was spoiled may have been flushed, and be a stream
/// again.
fn delete_other(now: Instant, network: &mut Network, key: &Bytes) {
    let look = Command::XInfoStream { key: key.clone() };
    if network.streams_mut().carry_out(now, look).is_err() {
        network.streams_mut().delete(now, key);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes an entry to a stream that exists.
fn add(now: Instant, network: &mut Network, key: Bytes, fields: Fields) -> bool {
    let add = Command::XAdd { key, create: false, max_len: None, fields };
    network.streams_mut().carry_out(now, add).is_ok()
}
