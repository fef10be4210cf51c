//! The consumer group and its members (4.1, 4.10).
//!
//! Not the reading. Judged at Redis, by what was carried out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::lanes::{ASKING, Reach};
use super::{Fact, Invariant, Kind, Scene};
use crate::command::{ClaimAs, Command, GroupStart};
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::sim::by_node::ByNode;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{NodeKind, NodeState};
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// A group that is created leaves nothing behind that was not handled (4.1).
#[derive(Debug)]
pub(super) struct SkipsNothing;

impl Invariant for SkipsNothing {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-new-group-skips-nothing", "4.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XGroupCreate])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Executed(executed) = fact else { return Ok(()) };
        let Command::XGroupCreate { key, start, .. } = &executed.command else { return Ok(()) };
        let Some(service) = scene.history.service_of(key).filter(|_| executed.reply.is_ok()) else {
            return Ok(());
        };
        let streams = scene.network.streams();
        // The stream may be another one since it was looked at, whose ids begin below the mark.
        let back = FaultSet::of(&[Fault::RedisClockBack]);
        let back = scene.history.struck_within(scene.now, scene.plan.command_timeout, back);
        for call in scene.history.calls.values() {
            let Some(entry) = call.entries.last() else { continue };
            let skipped = match start {
                GroupStart::After(after) => entry <= after,
                GroupStart::New => true,
            };
            if call.service == service
                && skipped
                && !(call.past && back)
                && !call.is_handled()
                && call.lost.is_none()
                && streams.find(key, *entry).is_some()
            {
                return Err(format!("{} creates a group at {start:?}: {call:?}", executed.node));
            }
        }
        Ok(())
    }
}

/// A consumer is deleted only when it holds nothing (4.10).
#[derive(Debug)]
pub(super) struct LeavesEmpty;

impl Invariant for LeavesEmpty {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-consumer-is-deleted-only-when-it-holds-nothing", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XGroupDelConsumer])
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Executed(executed) = fact else { return Ok(()) };
        match (&executed.command, &executed.reply) {
            (Command::XGroupDelConsumer { .. }, Ok(Reply::Integer(held))) if *held != 0 => {
                Err(format!("{} deleted its consumer with {held} entries", executed.node))
            }
            _ => Ok(()),
        }
    }
}

/// A server that has stopped and says that it left nothing owns nothing, and its consumer is gone
/// (4.10).
#[derive(Debug, Default)]
pub(super) struct StopLeavesNothing {
    /// Whether every fault has ended.
    calm: bool,
}

impl Invariant for StopLeavesNothing {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-drained-server-owns-nothing", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Settled, Kind::Stopped]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Settled => self.calm = true,
            Fact::Stopped { node, left } if self.calm => {
                let Some(info) = scene.history.nodes.get(*node) else { return Ok(()) };
                if info.kind != NodeKind::Server {
                    return Ok(());
                }
                if *left != 0 {
                    return Err(format!("{node} left {left} entries when everything worked"));
                }
                let streams = scene.network.streams();
                for names in &scene.history.services {
                    let consumer = format!("{}:{}", names.service, info.name);
                    let twin = scene.history.nodes.iter().any(|(id, other)| {
                        id != *node && other.name == info.name && other.state != NodeState::Gone
                    });
                    let mut consumers = streams.consumers(&names.stream, &names.group);
                    if !twin && consumers.any(|name| *name == consumer.as_bytes()) {
                        return Err(format!("{node} left its consumer {consumer}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A group that is created again goes on at a mark that its creator has read, groups first and then
/// what is pending; in another stream of the name, at the start (4.1).
#[derive(Debug, Default)]
pub(super) struct GoesOnAtMark {
    /// By the number of the service.
    known: ByNode<BTreeMap<usize, Known>>,
}

/// Whose answers tell a server of its group, or of its stream.
pub(super) const TELLING: Verbs = Verbs::of(&[
    Verb::DelIdleConsumers,
    Verb::XAutoClaim,
    Verb::XClaim,
    Verb::XGroupCreate,
    Verb::XGroupDelConsumer,
    Verb::XInfoGroups,
    Verb::XInfoStream,
    Verb::XPending,
    Verb::XPendingRange,
    Verb::XReadGroup,
]);

/// What a reply tells a server of its group: whether it is there. `None` when nothing.
pub(super) fn is_there(
    group: &Bytes,
    command: &Command,
    reply: &Result<Reply, Refusal>,
) -> Option<bool> {
    match (command, reply.as_ref().map_err(Refusal::kind)) {
        // What another group has pending is asked for as well.
        (Command::XPending { group: of, .. }, _) if of != group => None,
        (Command::XGroupCreate { .. }, Ok(_)) | (_, Err(RefusalKind::GroupExists)) => Some(true),
        (Command::XInfoGroups { .. }, Ok(Reply::Groups(groups))) => {
            let missing = groups.iter().all(|it| it.name != *group);
            missing.then_some(false)
        }
        (_, Err(RefusalKind::NoGroup)) => Some(false),
        _ => None,
    }
}

/// What a server knows of its group.
#[derive(Debug, Default)]
struct Known {
    /// The last-delivered-id of its last look at the groups, until what is pending is told.
    delivered: Option<StreamId>,
    /// That of the look before, if another look was sent behind it: one for what it misses does not
    /// void one for the mark.
    earlier: Option<StreamId>,
    /// Whether it was told that the group is not there. Marks told since are of another history.
    lost: bool,
    /// The mark it has read last in this stream.
    mark: StreamId,
    /// All that it ever read. What it is told by a lane that it gives up may pass it by, also that
    /// the stream is another one.
    marks: BTreeSet<StreamId>,
}

impl Known {
    fn told(&mut self, group: &Bytes, command: &Command, reply: &Result<Reply, Refusal>) {
        self.lost = is_there(group, command, reply).map_or(self.lost, |there| !there);
        match (command, reply) {
            (Command::XInfoGroups { .. }, Ok(Reply::Groups(groups))) => {
                let own = groups.iter().find(|it| it.name == *group);
                self.delivered = own.map(|own| own.last_delivered);
            }
            (Command::XInfoGroups { .. }, Err(_)) => self.delivered = None,
            (Command::XPending { .. }, reply) => {
                let delivered = self.delivered.take().filter(|_| !self.lost);
                let earlier = self.earlier.take().filter(|_| !self.lost);
                let Ok(Reply::Pending { first, .. }) = reply else { return };
                let below = first.map_or(StreamId::MAX, StreamId::previous);
                self.mark = delivered.map_or(self.mark, |delivered| delivered.min(below));
                let marks = [delivered, earlier].into_iter().flatten();
                self.marks.extend(marks.map(|delivered| delivered.min(below)));
            }
            (Command::XInfoStream { .. }, Ok(Reply::Stream(stream)))
                if stream.last_generated < self.mark =>
            {
                self.mark = StreamId::ZERO;
            }
            // There is no such key.
            (Command::XInfoStream { .. }, Err(refusal)) if refusal.code == "ERR" => {
                self.mark = StreamId::ZERO;
            }
            _ => {}
        }
    }

    fn allows(&self, start: GroupStart) -> bool {
        match start {
            GroupStart::New => false,
            GroupStart::After(StreamId::ZERO) => self.mark == StreamId::ZERO,
            GroupStart::After(mark) => self.marks.contains(&mark),
        }
    }
}

impl Invariant for GoesOnAtMark {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-group-goes-on-at-its-mark", "4.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        TELLING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Replied { node, command, reply, .. } if TELLING.contains(Verb::of(command)) => {
                let found = command.key().and_then(|key| scene.history.find_service(key));
                let Some((service, names)) = found else { return Ok(()) };
                let known = self.known.of(*node).entry(service).or_default();
                known.told(&names.group, command, reply);
            }
            Fact::Sent { node, command: Command::XInfoGroups { key }, .. } => {
                // One look at a time: what an earlier one has told is forgotten.
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let known = self.known.of(*node).entry(service).or_default();
                known.earlier = known.delivered.take().or(known.earlier);
            }
            Fact::Sent { node, command: Command::XGroupCreate { key, start, .. }, .. } => {
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let known = self.known.of(*node).entry(service).or_default();
                if !known.allows(*start) {
                    return Err(format!("{node} creates a group at {start:?}, knows {known:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A consumer is deleted once nothing can be given to it any more: its reads and claims are
/// answered, or went with their lane (4.10).
#[derive(Debug, Default)]
pub(super) struct LeavesLast {
    /// What each process asked for, by ticket: on which lane, and of which stream.
    asked: ByNode<Vec<(u64, Lane, Bytes)>>,
}

impl Invariant for LeavesLast {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-consumer-is-deleted-after-its-last-read", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAutoClaim, Verb::XClaim, Verb::XGroupDelConsumer, Verb::XReadGroup])
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent {
                node,
                lane,
                command:
                    Command::XAutoClaim { key, .. }
                    | Command::XClaim { key, claim_as: ClaimAs::Delivered, .. }
                    | Command::XReadGroup { key, .. },
                ticket,
                ..
            } => {
                self.asked.of(*node).push((*ticket, *lane, key.clone()));
            }
            Fact::Replied { node, ticket, .. } => {
                if let Some(asked) = self.asked.get_mut(*node) {
                    asked.retain(|(of, ..)| of != ticket);
                }
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                self.asked.of(*node).retain(|(_, of, _)| of != lane);
            }
            Fact::Sent { node, command: Command::XGroupDelConsumer { key, .. }, .. }
                if self.asked.of(*node).iter().any(|(_, _, of)| of == key) =>
            {
                return Err(format!("{node} leaves {key:?} while it reads"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A group that is not there is made again within two seconds (4.1).
#[derive(Debug, Default)]
pub(super) struct RestoresSoon {
    /// By the number of the service.
    nodes: ByNode<BTreeMap<usize, Restoring>>,
    reach: Reach,
}

/// What a server does about its group.
#[derive(Debug, Default)]
struct Restoring {
    /// Whether it was told that the group is not there.
    lost: bool,
    /// Whether it waits for an answer that it needs to make it.
    asked: bool,
    /// Since when it could have asked.
    since: Instant,
}

const RESTORED_WITHIN: Duration = Duration::from_secs(2);

impl Restoring {
    /// An answer to `command` has come, which says this of the group.
    fn told(&mut self, now: Instant, command: &Command, is_there: Option<bool>) {
        let asked = makes_group(command);
        self.asked &= !asked;
        if asked || !self.lost {
            self.since = now;
        }
        self.lost = is_there.map_or(self.lost, |there| !there);
    }
}

/// Whether this is one of the steps in which a group is made.
const fn makes_group(command: &Command) -> bool {
    matches!(command, Command::XGroupCreate { .. } | Command::XInfoStream { .. })
}

impl Invariant for RestoresSoon {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-lost-group-is-made-again-soon", "4.1")
    }

    fn about(&self) -> &'static [Kind] {
        ASKING
    }

    fn verbs(&self) -> Verbs {
        TELLING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.reach.observe(fact);
        match fact {
            Fact::Opened { node, lane: Lane::Command } => {
                for group in self.nodes.of(*node).values_mut() {
                    (group.since, group.asked) = (scene.now, false);
                }
            }
            Fact::Stopping { node, .. } => self.nodes.of(*node).clear(),
            Fact::Sent { node, command, .. } if makes_group(command) => {
                let service = command.key().and_then(|key| scene.history.service_of(key));
                let Some(service) = service else { return Ok(()) };
                self.nodes.of(*node).entry(service).or_default().asked = true;
            }
            Fact::Replied { node, command, reply, .. } if TELLING.contains(Verb::of(command)) => {
                let serves = scene.history.nodes.get(*node).is_some_and(|node| {
                    node.kind == NodeKind::Server && node.state == NodeState::Running
                });
                let key = command.key().filter(|_| serves);
                let found = key.and_then(|key| scene.history.find_service(key));
                let Some((service, names)) = found else { return Ok(()) };
                let group = self.nodes.of(*node).entry(service).or_default();
                group.told(scene.now, command, is_there(&names.group, command, reply));
            }
            Fact::Idle { node, .. } if self.reach.has(*node) => {
                for (service, group) in self.nodes.of(*node) {
                    let waits = group.lost && !group.asked;
                    if waits && scene.now.since(group.since) > RESTORED_WITHIN {
                        return Err(format!("{node} has not made group {service}: {group:?}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
