//! What a worker holds stays its own while it says so, and no longer (4.4).
//!
//! Not the taking over of what the dead left: see `taking`. Who has an entry, Redis knows; what a
//! worker may know of that is what it was answered.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use super::lanes::Reach;
use super::runs::NOTICED_WITHIN;
use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::{ClaimAs, Command};
use crate::engine::Lane;
use crate::reply::{RefusalKind, Reply};
use crate::sim::by_node::ByNode;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::given::{GIVING, given, handed};
use crate::sim::history::{NodeKind, NodeState, id_in, is_dead};
use crate::sim::network::{Executed, NodeId};
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// A renewal takes nothing back from a worker that has taken it over, unless it is on its way for
/// about `claim_idle` (4.4).
#[derive(Debug, Default)]
pub(super) struct NotTakenBack {
    /// Whom Redis gave each entry last.
    owners: BTreeMap<(Bytes, StreamId), NodeId>,
    /// When each renewal was sent.
    sent: BTreeMap<(NodeId, u64), Instant>,
}

impl NotTakenBack {
    /// An entry may be given to another worker before it has been idle for long, and what is on its
    /// way does not know of it.
    fn forget(&mut self) {
        self.owners.clear();
        self.sent.clear();
    }
}

impl Invariant for NotTakenBack {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-renewal-takes-nothing-back", "4.4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed, Kind::Healed, Kind::Sent, Kind::Struck]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            // For how long an entry is idle depends on Redis's clock, which is set right when all is healed.
            Fact::Healed => self.forget(),
            Fact::Struck(fault) if REWRITES.and(TAKING).contains(*fault) => self.forget(),
            Fact::Sent { node, command: Command::XClaim { .. }, ticket, .. } => {
                self.sent.insert((*node, *ticket), scene.now);
            }
            Fact::Executed(Executed { node, ticket, command, reply: Ok(reply), .. }) => {
                if let Some((key, entries)) = given(command, reply) {
                    let owned = entries.iter().map(|entry| ((key.clone(), entry.id), *node));
                    self.owners.extend(owned);
                }
                let (Command::XClaim { key, claim_as, .. }, Reply::Ids(ids)) = (command, reply)
                else {
                    return Ok(());
                };
                let late = is_late(scene, self.sent.remove(&(*node, *ticket)));
                // A group that is made anew gives out at once what others hold.
                let anew = scene.plan.claim_idle * 2 + NOTICED_WITHIN;
                let early = REWRITES.and(TAKING);
                let late = late || scene.history.struck_within(scene.now, anew, early);
                for id in ids {
                    let entry = (key.clone(), *id);
                    // What is handed back is nobody's, and whoever had it before may have it again.
                    let owner = if matches!(claim_as, ClaimAs::HandedBack { .. }) {
                        self.owners.remove(&entry)
                    } else {
                        self.owners.insert(entry, *node)
                    };
                    let foreign =
                        |owner: &NodeId| owner != node && !scene.history.succeeds(*node, *owner);
                    if let Some(owner) = owner.filter(|owner| foreign(owner) && !late) {
                        return Err(format!("{node} takes {id} back from {owner}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a handler comes to whose entry another worker has been given is not written (4.4).
#[derive(Debug, Default)]
pub(super) struct OutcomeIsOwn {
    /// Whom Redis gave each entry last, by service and id.
    owners: BTreeMap<(usize, StreamId), Option<NodeId>>,
    /// What may have been taken from a worker that cannot know.
    robbed: BTreeSet<(usize, StreamId)>,
    /// When each renewal was sent.
    sent: BTreeMap<(NodeId, u64), Instant>,
}

/// Whether a renewal was on its way for about `claim_idle`: it may take an entry from another worker
/// that has just been given it, and neither can know.
fn is_late(scene: &Scene<'_>, sent: Option<Instant>) -> bool {
    sent.is_none_or(|sent| scene.now.since(sent) >= scene.plan.claim_idle * 3 / 4)
}

/// Faults by which a worker is given what another one holds for good reason, or cannot help it.
const TAKING: FaultSet = FaultSet::of(&[Fault::NoPermission, Fault::RedisClockAhead]);

impl Invariant for OutcomeIsOwn {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-outcome-of-a-lost-lease-is-written", "4.4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd, Verb::XAutoClaim, Verb::XClaim, Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Sent { node, command: Command::XClaim { .. }, ticket, .. } = fact {
            self.sent.insert((*node, *ticket), scene.now);
        }
        if let Fact::Executed(Executed { node, ticket, command, reply: Ok(reply), .. }) = fact {
            let Some(service) = command.key().and_then(|key| scene.history.service_of(key)) else {
                return Ok(());
            };
            let claims = matches!(command, Command::XClaim { .. });
            let late = claims && is_late(scene, self.sent.remove(&(*node, *ticket)));
            // Redis 6.2 does not name what is gone from the stream, though it gives that as well.
            if let (Command::XAutoClaim { start, .. }, Reply::Claimed { next, nameless: 1.., .. }) =
                (command, reply)
            {
                let scanned = |id: &StreamId| id >= start && (*next == StreamId::ZERO || id < next);
                self.owners.retain(|(of, id), _| *of != service || !scanned(id));
            }
            // What is handed back is nobody's.
            let kept =
                !matches!(command, Command::XClaim { claim_as: ClaimAs::HandedBack { .. }, .. });
            for id in had(command, reply) {
                let entry = (service, id);
                if late {
                    self.robbed.insert(entry);
                } else {
                    self.owners.insert(entry, kept.then_some(*node));
                }
            }
        }
        let Fact::Sent {
            node, command: Command::XAdd { key, fields, max_len: Some(_), .. }, ..
        } = fact
        else {
            return Ok(());
        };
        if is_dead(key) {
            return Ok(());
        }
        let number = id_in(fields).and_then(|id| scene.history.number_by_id(&id));
        let Some(call) = number.and_then(|number| scene.history.calls.get(&number)) else {
            return Ok(());
        };
        let healed = Instant::ZERO + scene.plan.heal;
        if scene.history.kind_of(*node) != Some(NodeKind::Server)
            || (call.made_at < healed && healed <= scene.now)
            || scene.history.struck_since(call.made_at, REWRITES.and(TAKING))
            // Whoever could not renew goes on without leases until it tries again.
            || scene.history.struck_since(Instant::ZERO, FaultSet::of(&[Fault::NoPermission]))
        {
            return Ok(());
        }
        for entry in &call.entries {
            let entry = (call.service, *entry);
            let owner = self.owners.get(&entry).filter(|_| !self.robbed.contains(&entry));
            let own = |owner: NodeId| owner == *node || scene.history.succeeds(*node, owner);
            if let Some(owner) = owner.filter(|owner| !owner.is_some_and(own)) {
                return Err(format!(
                    "{node} answers {entry:?}, whose owner is {owner:?}: {call:?}"
                ));
            }
        }
        Ok(())
    }
}

/// The entries that whoever sent a command has by its answer.
fn had(command: &Command, reply: &Reply) -> Vec<StreamId> {
    match (command, reply) {
        (Command::XClaim { .. }, Reply::Ids(ids)) => ids.clone(),
        _ => given(command, reply)
            .into_iter()
            .flat_map(|(_, entries)| entries)
            .map(|entry| entry.id)
            .collect(),
    }
}

/// A worker that can reach Redis renews what it holds, running or waiting, at a third of
/// `claim_idle`, give or take half of that (4.4).
#[derive(Debug, Default)]
pub(super) struct RenewsInTime {
    reach: Reach,
    workers: ByNode<Touches>,
}

/// When a worker learnt last that it has an entry, by service and id, until it acknowledges it.
#[derive(Debug, Default)]
struct Touches {
    heard: BTreeMap<(usize, StreamId), Instant>,
    /// What a renewal, or a look at what is pending, is under way for.
    asked: BTreeSet<(usize, StreamId)>,
    /// Since when nothing has hindered it.
    free: Instant,
    /// When it acknowledged each entry last: what names it and was asked for before says nothing.
    acknowledged: BTreeMap<(usize, StreamId), Instant>,
    /// When the commands that are under way were sent.
    sent: BTreeMap<u64, Instant>,
    /// The ranges of the looks that are under way, by service.
    looks: BTreeMap<u64, (usize, RangeInclusive<StreamId>)>,
}

impl Touches {
    fn send(&mut self, ticket: u64, service: usize, command: &Command, now: Instant) {
        if let Command::XPendingRange { start, end, .. } = command {
            self.looks.insert(ticket, (service, *start..=*end));
        }
        self.sent.insert(ticket, now);
    }

    /// An entry is handed to it, with its body or without, that was asked for at `sent`.
    fn hand(&mut self, entry: (usize, StreamId), is_whole: bool, sent: Instant, now: Instant) {
        if !is_whole {
            self.heard.remove(&entry);
        } else if self.acknowledged.get(&entry).is_none_or(|at| *at < sent) {
            self.heard.insert(entry, now);
        }
    }

    fn is_asked(&self, entry: &(usize, StreamId)) -> bool {
        let looked_at = |(service, ids): &(usize, RangeInclusive<StreamId>)| {
            *service == entry.0 && ids.contains(&entry.1)
        };
        self.asked.contains(entry) || self.looks.values().any(looked_at)
    }
}

impl RenewsInTime {
    fn hear(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) {
        let (Fact::Replied { node, lane, command, ticket, .. }
        | Fact::Sent { node, lane, command, ticket, .. }) = fact
        else {
            return;
        };
        // Who looks for what it has not seen does not look at what it holds.
        if matches!((lane, command), (Lane::Blocking(_), Command::XPendingRange { .. })) {
            return;
        }
        let Some(service) = command.key().and_then(|key| scene.history.service_of(key)) else {
            return;
        };
        if !self.verbs().contains(Verb::of(command)) {
            return;
        }
        let worker = self.workers.of(*node);
        let asked: BTreeSet<(usize, StreamId)> = match command {
            Command::XClaim { ids, .. } => ids.iter().map(|id| (service, *id)).collect(),
            Command::XPendingRange { start, end, .. } => {
                let held = worker.heard.range((service, *start)..=(service, *end));
                held.map(|(entry, _)| *entry).collect()
            }
            _ => BTreeSet::new(),
        };
        let Fact::Replied { reply, .. } = fact else {
            if let Command::XAck { ids, .. } = command {
                worker.heard.retain(|(of, id), _| *of != service || !ids.contains(id));
                worker.acknowledged.extend(ids.iter().map(|id| ((service, *id), scene.now)));
            }
            worker.asked.extend(asked);
            return worker.send(*ticket, service, command, scene.now);
        };
        worker.looks.remove(ticket);
        let sent = worker.sent.remove(ticket).unwrap_or_default();
        worker.asked.retain(|entry| !asked.contains(entry));
        let reply = match reply {
            Ok(reply) => reply,
            Err(refusal) => {
                // Of a group that is gone nothing is held.
                if refusal.kind() == RefusalKind::NoGroup {
                    worker.heard.retain(|(of, _), _| *of != service);
                }
                worker.free = scene.now;
                return;
            }
        };
        // Until it knows that its stream is another one, a worker takes what that gives it for what
        // the one before gave, and renews nothing of it. What it asked the one before for is void.
        if scene.history.struck_within(scene.now, NOTICED_WITHIN, REWRITES)
            || scene.history.struck_since(sent, REWRITES)
        {
            worker.heard.clear();
            return;
        }
        for entry in handed(*lane, command, reply).into_iter().flat_map(|(_, entries)| entries) {
            worker.hand((service, entry.id), entry.fields.is_some(), sent, scene.now);
        }
        let here: BTreeSet<StreamId> = match reply {
            Reply::Ids(ids) => ids.iter().copied().collect(),
            Reply::PendingRange(rows) => rows.iter().map(|row| row.id).collect(),
            _ => return,
        };
        let lost = matches!(reply, Reply::PendingRange(_));
        for entry in asked {
            match worker.heard.get_mut(&entry) {
                Some(heard) if here.contains(&entry.1) => *heard = scene.now,
                Some(_) if lost => {
                    worker.heard.remove(&entry);
                }
                Some(_) | None => {}
            }
        }
    }
}

impl Invariant for RenewsInTime {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-is-held-is-renewed-in-time", "4.4")
    }

    fn about(&self) -> &'static [Kind] {
        &[
            Kind::Closed,
            Kind::Idle,
            Kind::Lost,
            Kind::Opened,
            Kind::Replied,
            Kind::Sent,
            Kind::Struck,
        ]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[
            Verb::XAck,
            Verb::XAutoClaim,
            Verb::XClaim,
            Verb::XPendingRange,
            Verb::XRange,
            Verb::XReadGroup,
        ])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.reach.observe(fact);
        self.hear(scene, fact);
        match fact {
            Fact::Struck(fault) if REWRITES.and(TAKING).contains(*fault) => {
                // What is under way stays so.
                let nodes: Vec<NodeId> = self.workers.keys().collect();
                for node in nodes {
                    self.workers.of(node).heard.clear();
                }
            }
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command }
            | Fact::Opened { node, lane: Lane::Command } => {
                if let Some(worker) = self.workers.get_mut(*node) {
                    worker.asked.clear();
                    worker.looks.clear();
                    worker.free = scene.now;
                }
            }
            Fact::Idle { node, .. } if self.reach.has(*node) => {
                let node = *node;
                let info = scene.history.nodes.get(node);
                let serves = info.is_some_and(|info| {
                    info.kind == NodeKind::Server && info.state == NodeState::Running
                });
                let Some(worker) = self.workers.get(node).filter(|_| serves) else {
                    return Ok(());
                };
                let longest = scene.plan.claim_idle / 2;
                for (entry, heard) in &worker.heard {
                    let age = scene.now.since((*heard).max(worker.free));
                    if age > longest && !worker.is_asked(entry) {
                        return Err(format!("{node} has not renewed {} for {age:?}", entry.1));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
