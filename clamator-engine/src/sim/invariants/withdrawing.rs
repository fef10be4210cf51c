//! What clients take back of what they have sent, and what they say of it (5.2, 5.4).
//!
//! Not how calls end otherwise: see `calls`. What is judged is what a client was told on its
//! connection and sends on it, and who was given what by Redis.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::call::CallError;
use crate::command::Command;
use crate::engine::{Lane, Version};
use crate::reply::{GroupInfo, Reply};
use crate::sim::by_node::ByNode;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{Call, Given, NodeKind, Outcome, number_in};
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// What is said to have no worker was given to none, is on no stream, and never starts (5.2, 5.4).
#[derive(Debug)]
pub(super) struct GivenToNobody;

impl GivenToNobody {
    /// What is wrong with a call that is said to have no worker.
    fn wrong(scene: &Scene<'_>, call: &Call) -> Option<&'static str> {
        let stream = &scene.history.services.get(call.service)?.stream;
        let there = |entry: &StreamId| scene.network.streams().find(stream, *entry).is_some();
        if call.starts > 0 {
            Some("was started")
        } else if call.withdrawn == Some(Given::ToWorker) {
            Some("had been given to a worker")
        } else if call.entries.last().is_some_and(there) {
            Some("is on its stream")
        } else {
            None
        }
    }
}

impl Invariant for GivenToNobody {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-has-no-worker-never-runs", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished, Kind::Over, Kind::Started]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let numbers: Vec<u64> = match fact {
            Fact::Finished { number, .. } => alloc::vec![*number],
            Fact::Started { start, .. } => start.number.into_iter().collect(),
            _ => scene.history.calls.keys().copied().collect(),
        };
        for number in numbers {
            let call = scene.history.calls.get(&number);
            let call = call.filter(|call| call.outcome == Some(Outcome::NoWorkers));
            // What Redis forgot it cannot tell.
            let Some(call) = call.filter(|it| !scene.history.struck_since(it.made_at, REWRITES))
            else {
                continue;
            };
            if let Some(wrong) = Self::wrong(scene, call) {
                return Err(format!("call {number} has no worker and {wrong}: {call:?}"));
            }
        }
        Ok(())
    }
}

/// Nothing is deleted that, as the client was just told, a worker or another group may have; and
/// nothing where that would break the reclaiming of a worker (5.2).
#[derive(Debug, Default)]
pub(super) struct LooksFirst {
    /// What each client was told of each stream, when it was told last.
    told: BTreeMap<(NodeId, Bytes), Told>,
}

/// What a client was told in one turn: when, and each time the last entry that was given, if
/// nobody else reads the stream.
type Told = (Instant, Vec<Option<StreamId>>);

/// The last entry that the service was given, if nobody else reads the stream.
fn last_given(groups: &[GroupInfo], own: &[u8]) -> Option<StreamId> {
    if groups.iter().any(|group| group.name != own) {
        return None;
    }
    Some(groups.first().map_or(StreamId::ZERO, |group| group.last_delivered))
}

impl Invariant for LooksFirst {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-withdrawn-that-somebody-may-have", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XDel, Verb::XInfoGroups])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                self.told.retain(|(of, _), _| of != node);
            }
            Fact::Replied {
                node,
                command: Command::XInfoGroups { key },
                reply: Ok(Reply::Groups(groups)),
                ..
            } if scene.history.kind_of(*node) == Some(NodeKind::Client) => {
                let Some((_, names)) = scene.history.find_service(key) else { return Ok(()) };
                let told = self.told.entry((*node, key.clone())).or_default();
                // What is told in one turn may be about several deletions.
                if told.0 != scene.now {
                    *told = (scene.now, Vec::new());
                }
                told.1.push(last_given(groups, &names.group));
            }
            Fact::Sent { node, command: Command::XDel { key, ids }, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Client) =>
            {
                if !scene.plan.withdraw || scene.plan.version < Version::new(7, 0, 0) {
                    return Err(format!("{node} deletes {ids:?}"));
                }
                let told = self.told.get(&(*node, key.clone())).filter(|told| told.0 == scene.now);
                let told = told.map_or(&[][..], |told| &told.1);
                let free = |id: &StreamId| told.iter().flatten().any(|last| last < id);
                if !ids.iter().all(free) {
                    return Err(format!("{node} deletes {ids:?}, and was told {told:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A client deletes only what Redis told it on the same connection to be its own (5.2).
#[derive(Debug, Default)]
pub(super) struct OwnEntries {
    told: BTreeMap<NodeId, BTreeSet<(Bytes, StreamId)>>,
}

impl Invariant for OwnEntries {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-client-deletes-its-own-requests-only", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd, Verb::XDel])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                self.told.remove(node);
            }
            Fact::Replied {
                node,
                command: Command::XAdd { key, max_len: None, .. },
                reply: Ok(Reply::Added(Some(id))),
                ..
            } => {
                self.told.entry(*node).or_default().insert((key.clone(), *id));
            }
            Fact::Sent { node, command: Command::XDel { key, ids }, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Client) =>
            {
                let told = self.told.get(node);
                let own = |id: &StreamId| told.is_some_and(|it| it.contains(&(key.clone(), *id)));
                if !ids.iter().all(own) {
                    return Err(format!("{node} deletes {ids:?} of {key:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Nothing is taken back of a call that is still waited for, but in the last moments of its time (5.2).
#[derive(Debug)]
pub(super) struct InTheEnd;

/// Whose clock goes otherwise, or who does not look at it.
const OTHER_TIMES: FaultSet = FaultSet::of(&[Fault::ClientClockAhead, Fault::ClientFrozen]);

impl Invariant for InTheEnd {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-withdrawn-before-its-time", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XDel])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command: Command::XDel { key, ids }, .. } = fact else {
            return Ok(());
        };
        let history = scene.history;
        let Some(service) = history.service_of(key).filter(|_| {
            history.kind_of(*node) == Some(NodeKind::Client)
                && !history.struck_since(Instant::ZERO, OTHER_TIMES)
        }) else {
            return Ok(());
        };
        for number in ids.iter().filter_map(|id| history.number_of(service, *id)) {
            let Some(call) = history.calls.get(&number) else { continue };
            let early = scene.now < call.made_at + call.timeout.saturating_sub(last_moments(call));
            if early && !call.cancelled {
                return Err(format!("{node} takes call {number} back: {call:?}"));
            }
        }
        Ok(())
    }
}

/// How long before its end a call begins to take its request back.
fn last_moments(call: &Call) -> Duration {
    (call.timeout / 16).min(Duration::from_millis(100))
}

/// A client that may not ask or delete does not try again on the same connection (5.2).
#[derive(Debug, Default)]
pub(super) struct KnowsItsRights {
    denied: BTreeMap<(NodeId, Bytes), Instant>,
}

impl Invariant for KnowsItsRights {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-a-client-may-not-do-it-does-not-try-again", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XDel, Verb::XInfoGroups])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                self.denied.retain(|(of, _), _| of != node);
            }
            Fact::Replied {
                node,
                command: Command::XDel { key, .. } | Command::XInfoGroups { key },
                reply: Err(refusal),
                ..
            } if refusal.code == "NOPERM" => {
                self.denied.entry((*node, key.clone())).or_insert(scene.now);
            }
            Fact::Sent {
                node,
                command: command @ (Command::XDel { key, .. } | Command::XInfoGroups { key }),
                ..
            } if scene.history.kind_of(*node) == Some(NodeKind::Client) => {
                // What was on its way to be sent when it was told is sent in the same turn.
                let at = self.denied.get(&(*node, key.clone()));
                if at.is_some_and(|at| *at < scene.now) {
                    return Err(format!("{node} sends {command:?}, which it may not"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where nothing is in the way, a request that no worker was given is not left behind by a call
/// that timed out (5.2).
#[derive(Debug, Default)]
pub(super) struct Withdraws {
    /// When each client lost its command lane last.
    lost: ByNode<Instant>,
    /// When each call's request was confirmed.
    confirmed: BTreeMap<u64, Instant>,
}

/// How long it takes at most to look, to delete and to look again, in usual latencies: now and then a
/// command or a reply takes thirty, and it would be odd if three of them did.
const TAKES: u32 = 70;

/// What may be in the way.
const IN_THE_WAY: FaultSet = REWRITES.and(FaultSet::of(&[
    Fault::ClientClockAhead,
    Fault::ClientFrozen,
    Fault::ClusterDown,
    Fault::ConnectHangs,
    Fault::ForeignGroup,
    Fault::HalfOpen,
    Fault::Loading,
    Fault::Misconfigured,
    Fault::NoPermission,
    Fault::ReadOnly,
    Fault::Slow,
]));

impl Invariant for Withdraws {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-no-worker-was-given-is-withdrawn", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Finished, Kind::Lost, Kind::Replied]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Closed { node, lane: Lane::Command }
        | Fact::Lost { node, lane: Lane::Command } = fact
        {
            self.lost.insert(*node, scene.now);
        }
        if let Fact::Replied { command: Command::XAdd { fields, max_len: None, .. }, .. } = fact {
            self.confirmed.extend(number_in(fields).map(|number| (number, scene.now)));
        }
        let Fact::Finished { number, outcome: Err(CallError::Timeout) } = fact else {
            return Ok(());
        };
        let able = scene.plan.withdraw && scene.plan.version >= Version::new(7, 0, 0);
        let hindered = scene.history.struck_since(Instant::ZERO, IN_THE_WAY);
        let call = scene.history.calls.get(number).filter(|_| able && !hindered);
        let takes = scene.plan.latency * TAKES;
        let call = call.filter(|call| last_moments(call) > takes);
        let Some(call) = call else { return Ok(()) };
        let Some(names) = scene.history.services.get(call.service) else { return Ok(()) };
        let lost = self.lost.get(call.client).is_some_and(|at| *at >= call.made_at)
            || self.confirmed.get(number).is_none_or(|at| scene.now.since(*at) < takes);
        let streams = scene.network.streams();
        let last = streams.last_delivered(&names.stream, &names.group).unwrap_or_default();
        let left = call.entries.last().filter(|entry| {
            !lost && **entry > last && streams.find(&names.stream, **entry).is_some()
        });
        match left {
            Some(entry) => {
                Err(format!("call {number} leaves {entry}, and nobody has it: {call:?}"))
            }
            None => Ok(()),
        }
    }
}
