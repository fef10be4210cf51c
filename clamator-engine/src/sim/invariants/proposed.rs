//! Observations that bugs built in on purpose need to be seen.
//!
//! Not sorted by subject: to be moved to the files they belong to.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use bytes::Bytes;

use super::{Fact, Invariant, Scene};
use crate::command::{Command, GroupStart, ReadFrom};
use crate::engine::{Lane, Timer};
use crate::reply::{RefusalKind, Reply};
use crate::sim::fault::Fault;
use crate::sim::history::{NodeKind, NodeState};
use crate::sim::network::NodeId;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// A handler is dropped only when the grace is over (4.10).
#[derive(Debug, Default)]
pub(super) struct GraceIsGiven {
    until: BTreeMap<NodeId, Instant>,
}

impl Invariant for GraceIsGiven {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-handler-is-dropped-within-the-grace", "4.10")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Stopping { node, grace } => {
                self.until.insert(*node, scene.now + *grace);
            }
            Fact::Dropped { node, .. } if !scene.plan.allows(Fault::WorkerClockAhead) => {
                let until = self.until.get(node);
                if until.is_none_or(|until| *until > scene.now) {
                    return Err(format!("{node}, grace until {until:?}: {fact:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A group that is gone is created again at its low-water mark: the lowest of what is pending and
/// what was given out, read in this order: given out, then pending (4.1).
#[derive(Debug, Default)]
pub(super) struct RestoredAtMark {
    groups: BTreeMap<(NodeId, Bytes), Mark>,
}

#[derive(Debug, Default)]
struct Mark {
    delivered: Option<StreamId>,
    mark: Option<StreamId>,
    /// What the stream's last id is, when it was looked at because the group is gone.
    inspected: Option<Option<StreamId>>,
    /// Whether the group is known to be gone.
    gone: bool,
}

impl Invariant for RestoredAtMark {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-lost-group-is-created-at-its-mark", "4.1")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Replied {
                node,
                command: Command::XInfoGroups { key },
                reply: Ok(Reply::Groups(groups)),
                ..
            } => {
                let service = scene.history.service_of(key);
                let names = service.and_then(|service| scene.history.services.get(service));
                let own = groups
                    .iter()
                    .find(|group| names.is_some_and(|names| names.group == group.name));
                let mark = self.groups.entry((*node, key.clone())).or_default();
                mark.gone |= own.is_none();
                mark.delivered = own.map(|group| group.last_delivered).filter(|_| !mark.gone);
            }
            Fact::Replied {
                node,
                command: Command::XPending { key, .. },
                reply: Ok(Reply::Pending { first, .. }),
                ..
            } => {
                let mark = self.groups.entry((*node, key.clone())).or_default();
                if let Some(delivered) = mark.delivered.take().filter(|_| !mark.gone) {
                    mark.mark =
                        Some(first.map_or(delivered, |first| first.previous().min(delivered)));
                }
            }
            Fact::Replied {
                node,
                command:
                    Command::XReadGroup { key, .. }
                    | Command::XAutoClaim { key, .. }
                    | Command::XPending { key, .. }
                    | Command::XPendingRange { key, .. },
                reply: Err(refusal),
                ..
            } if refusal.kind() == RefusalKind::NoGroup => {
                let mark = self.groups.entry((*node, key.clone())).or_default();
                (mark.gone, mark.delivered) = (true, None);
            }
            Fact::Sent { node, command: Command::XInfoStream { key }, .. } => {
                let mark = self.groups.entry((*node, key.clone())).or_default();
                (mark.gone, mark.delivered) = (true, None);
            }
            Fact::Replied { node, command: Command::XGroupCreate { key, .. }, .. } => {
                self.groups.entry((*node, key.clone())).or_default().gone = false;
            }
            Fact::Sent { node, command: Command::XInfoGroups { key }, .. } => {
                self.groups.entry((*node, key.clone())).or_default().delivered = None;
            }
            Fact::Replied { node, command: Command::XInfoStream { key }, reply, .. } => {
                let mark = self.groups.entry((*node, key.clone())).or_default();
                mark.inspected = match reply {
                    Ok(Reply::Stream(stream)) => Some(Some(stream.last_generated)),
                    Err(refusal) if refusal.code == "ERR" => Some(None),
                    _ => None,
                };
            }
            Fact::Sent { node, command: Command::XGroupCreate { key, start, .. }, .. } => {
                let mark = self.groups.entry((*node, key.clone())).or_default();
                let Some(last) = mark.inspected.take() else { return Ok(()) };
                let Some(known) = mark.mark else { return Ok(()) };
                let other = last.is_none_or(|last| last < known);
                let wanted = GroupStart::After(if other { StreamId::ZERO } else { known });
                if other {
                    mark.mark = Some(StreamId::ZERO);
                }
                if *start != wanted {
                    return Err(format!(
                        "{node} at {start:?}, not {wanted:?}; stream ends {last:?}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A reply that Redis will never take is not sent again (4.6).
#[derive(Debug, Default)]
pub(super) struct RefusedForGood {
    refused: BTreeSet<(NodeId, Bytes)>,
}

impl Invariant for RefusedForGood {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-that-was-refused-for-good-is-not-sent-again", "4.6")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Replied {
                node,
                command: Command::XAdd { key, fields, .. },
                reply: Err(refusal),
                ..
            } if refusal.kind() == RefusalKind::Final
                && scene.history.kind_of(*node) == Some(NodeKind::Server)
                && key.starts_with(b"app:replies:") =>
            {
                let envelope = fields.iter().find(|(name, _)| &name[..] == b"envelope");
                self.refused.extend(envelope.map(|(_, envelope)| (*node, envelope.clone())));
            }
            // Run again, it is another reply.
            Fact::Started { node, .. } => self.refused.retain(|(of, _)| of != node),
            Fact::Sent { node, command: Command::XAdd { fields, .. }, .. } => {
                let again =
                    fields.iter().any(|(_, value)| self.refused.contains(&(*node, value.clone())));
                if again {
                    return Err(format!("{fact:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The ticks of a server are spread (4.5).
#[derive(Debug, Default)]
pub(super) struct Jitters {
    ticks: BTreeMap<NodeId, (Instant, core::time::Duration, u32)>,
}

/// How many equal pauses in a row are no chance.
const EQUAL_MAX: u32 = 6;

impl Invariant for Jitters {
    fn title(&self) -> (&'static str, &'static str) {
        ("ticks-are-spread", "4.5")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Idle { node, due: Some(due), .. } = fact else { return Ok(()) };
        if due.timer != Timer::Reclaim || scene.history.kind_of(*node) != Some(NodeKind::Server) {
            return Ok(());
        }
        let (at, pause, equal) = self.ticks.entry(*node).or_default();
        if due.at == *at {
            return Ok(());
        }
        let next = due.at.since(*at);
        *equal = if next == *pause { *equal + 1 } else { 0 };
        (*at, *pause) = (due.at, next);
        if *equal >= EQUAL_MAX {
            return Err(format!("{node} ticks every {pause:?}"));
        }
        Ok(())
    }
}

/// Reads and claims whose answers are not in.
#[derive(Debug, Default)]
struct UnderWay(BTreeMap<(NodeId, Lane), BTreeMap<u64, (Bytes, bool)>>);

impl UnderWay {
    fn observe(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Sent { node, lane, command, ticket, .. } => {
                let (key, read) = match command {
                    Command::XReadGroup { key, from, .. } => (key, *from == ReadFrom::New),
                    Command::XAutoClaim { key, .. } => (key, false),
                    _ => return,
                };
                let lane = self.0.entry((*node, *lane)).or_default();
                lane.insert(*ticket, (key.clone(), read));
            }
            Fact::Replied { node, lane, ticket, .. } => {
                if let Some(lane) = self.0.get_mut(&(*node, *lane)) {
                    lane.remove(ticket);
                }
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                self.0.remove(&(*node, *lane));
            }
            _ => {}
        }
    }

    fn of(&self, node: NodeId) -> impl Iterator<Item = &(Bytes, bool)> {
        let all = (node, Lane::Command)..=(node, Lane::Blocking(u16::MAX));
        self.0.range(all).flat_map(|(_, lane)| lane.values())
    }
}

/// No consumer is deleted under its own read or claim; what waits when a stop begins is ended at
/// once (4.10).
#[derive(Debug, Default)]
pub(super) struct EndsReads {
    under_way: UnderWay,
    command_lanes: BTreeSet<NodeId>,
    /// How many unblocks are owed.
    owed: BTreeMap<NodeId, usize>,
}

impl Invariant for EndsReads {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-stop-ends-reads-and-awaits-them", "4.10")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.under_way.observe(fact);
        match fact {
            Fact::Opened { node, lane: Lane::Command } => {
                self.command_lanes.insert(*node);
            }
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                self.command_lanes.remove(node);
                self.owed.remove(node);
            }
            Fact::Stopping { node, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server)
                    && self.command_lanes.contains(node) =>
            {
                let reads = self.under_way.of(*node).filter(|(_, read)| *read).count();
                self.owed.insert(*node, reads);
            }
            Fact::Sent { node, command: Command::ClientUnblock { .. }, .. } => {
                if let Some(owed) = self.owed.get_mut(node) {
                    *owed = owed.saturating_sub(1);
                }
            }
            Fact::Replied { node, .. } | Fact::Closed { node, .. } | Fact::Lost { node, .. } => {
                // What ends by itself needs no help.
                self.owed.remove(node);
            }
            Fact::Idle { node, .. } => {
                if let Some(owed) = self.owed.remove(node).filter(|owed| *owed > 0) {
                    return Err(format!("{node} lets {owed} reads wait"));
                }
            }
            Fact::Sent { node, command: Command::XGroupDelConsumer { key, .. }, .. } => {
                if self.under_way.of(*node).any(|(of, _)| of == key) {
                    return Err(format!("{node} deletes its consumer under its read: {key:?}"));
                }
            }
            _ => {}
        }
        let _ = NodeState::Running;
        Ok(())
    }
}

/// The first read of a new reply lane is from the start of the stream; what a server adds to a
/// reply stream trims it (5.1, 4.11).
#[derive(Debug, Default)]
pub(super) struct ReplyStreams {
    fresh: BTreeSet<NodeId>,
}

impl Invariant for ReplyStreams {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-stream-is-read-from-its-start-and-bounded", "5.1")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Opened { node, lane: Lane::Blocking(_) } => {
                self.fresh.insert(*node);
            }
            Fact::Sent { node, command: Command::XRead { after, .. }, .. } => {
                if self.fresh.remove(node) && *after != StreamId::ZERO {
                    return Err(format!("{node} reads from {after}"));
                }
            }
            Fact::Sent { node, command: Command::XAdd { key, max_len: None, .. }, .. } => {
                if scene.history.service_of(key).is_none() {
                    return Err(format!("{node} adds to {key:?} without a bound"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
