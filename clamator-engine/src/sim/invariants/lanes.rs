//! What is promised about connections, and about how much a node says (3, 4.1).
//!
//! Not what the commands are for. A connection of which nothing is heard is given up; one that is
//! lost is made again, not at once; and whatever goes wrong, no node runs in circles.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Fact, Invariant, Kind, Scene};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::RefusalKind;
use crate::sim::by_node::ByNode;
use crate::sim::history::NodeKind;
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::time::Instant;

/// The shortest pause before a lane is opened again, with its jitter.
const PAUSE_MIN: Duration = Duration::from_millis(75);

/// What shows whether a process asks Redis as soon as it can, until it stops.
pub(super) const ASKING: &[Kind] = &[
    Kind::Closed,
    Kind::Idle,
    Kind::Lost,
    Kind::Opened,
    Kind::Replied,
    Kind::Sent,
    Kind::Stopping,
];

/// Which processes have a lane to ask Redis on.
#[derive(Debug, Default)]
pub(super) struct Reach(ByNode<bool>);

impl Reach {
    pub(super) fn observe(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Opened { node, lane: Lane::Command } => self.0.insert(*node, true),
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => self.0.insert(*node, false),
            _ => {}
        }
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.0.get(node).copied().unwrap_or_default()
    }
}

/// Lanes open, carry commands and end, in this order; tokens rise; what was lost is not opened
/// again at once (3).
#[derive(Debug, Default)]
pub(super) struct InTurn {
    nodes: ByNode<Lanes>,
}

#[derive(Debug, Default)]
struct Lanes {
    states: BTreeMap<Lane, State>,
    token: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ended(Instant),
    Open,
    Opening,
}

impl Invariant for InTurn {
    fn title(&self) -> (&'static str, &'static str) {
        ("lanes-open-carry-and-end-in-turn", "3")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Opened, Kind::Opening, Kind::Sent]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Opening { node, lane } => {
                let state = self.nodes.of(*node).states.insert(*lane, State::Opening);
                // A clock that jumps ends every pause.
                let jumps = scene.plan.allows(crate::sim::fault::Fault::WorkerClockAhead)
                    || scene.plan.allows(crate::sim::fault::Fault::ClientClockAhead);
                match state {
                    None => {}
                    Some(State::Ended(at)) if jumps || scene.now.since(at) >= PAUSE_MIN => {}
                    Some(state) => return Err(format!("{node} opens {lane} while {state:?}")),
                }
            }
            Fact::Opened { node, lane } => {
                self.nodes.of(*node).states.insert(*lane, State::Open);
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                self.nodes.of(*node).states.insert(*lane, State::Ended(scene.now));
            }
            Fact::Sent { node, lane, ticket, .. } => {
                let lanes = self.nodes.of(*node);
                let state = lanes.states.get(lane).copied();
                if state != Some(State::Open) {
                    return Err(format!("{node} sends on {lane} while {state:?}: {fact:?}"));
                }
                let last = lanes.token.replace(*ticket);
                if last.is_some_and(|last| last >= *ticket) {
                    return Err(format!("{node} sends {ticket} after {last:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A lane whose reply is overdue is given up (3).
#[derive(Debug, Default)]
pub(super) struct GivesUp {
    /// What each process waits for: the ticket, the lane and how long.
    due: ByNode<Vec<(u64, Lane, Instant)>>,
}

impl Invariant for GivesUp {
    fn title(&self) -> (&'static str, &'static str) {
        ("an-overdue-lane-is-given-up", "3")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Idle, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent { node, lane, ticket, deadline, .. } => {
                self.due.of(*node).push((*ticket, *lane, *deadline));
            }
            Fact::Replied { node, ticket, .. } => {
                self.due.of(*node).retain(|(of, ..)| of != ticket);
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                self.due.of(*node).retain(|(_, of, _)| of != lane);
            }
            Fact::Idle { node, local, .. } => {
                let overdue = self.due.of(*node).iter().find(|(_, _, due)| due < local);
                if let Some((ticket, lane, due)) = overdue {
                    return Err(format!("{node} waits on {lane} for {ticket}, due at {due}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A client whose server says that it is not the one to write to reads there no more: a demoted one
/// answers reads, and knows of nothing new (5.1).
#[derive(Debug, Default)]
pub(super) struct ReadsWhereItWrites {
    clients: ByNode<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// The lanes that are open.
    open: BTreeSet<Lane>,
    /// Those that were when a write was refused.
    left: BTreeSet<Lane>,
}

impl Invariant for ReadsWhereItWrites {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-client-reads-where-it-writes", "5.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Idle, Kind::Lost, Kind::Opened, Kind::Replied]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Opened { node, lane } => {
                self.clients.of(*node).open.insert(*lane);
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                let reading = self.clients.of(*node);
                reading.open.remove(lane);
                reading.left.remove(lane);
            }
            Fact::Replied { node, reply: Err(refusal), .. }
                if refusal.kind() == RefusalKind::WrongServer
                    && scene.history.kind_of(*node) == Some(NodeKind::Client) =>
            {
                let reading = self.clients.of(*node);
                reading.left.clone_from(&reading.open);
            }
            Fact::Idle { node, .. } => {
                let left = &self.clients.of(*node).left;
                if !left.is_empty() {
                    return Err(format!("{node} stays on {left:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A node says no more than what it has to do explains (4.1, 4.5).
#[derive(Debug, Default)]
pub(super) struct NoHotLoop {
    /// How much each node holds: replies and acknowledgements are sent again on a new lane.
    held: ByNode<u64>,
    seconds: ByNode<Second>,
}

#[derive(Debug, Default)]
struct Second {
    number: u64,
    commands: u64,
    reasons: u64,
}

/// Commands a second that need no reason: reads, ticks, lanes that are made again.
const COMMANDS_FREE: u64 = 80;
/// Commands for each thing that happens: an entry given, a call made, a handler ended.
const COMMANDS_EACH: u64 = 12;

impl Invariant for NoHotLoop {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-node-runs-in-circles", "4.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[
            Kind::Called,
            Kind::Ended,
            Kind::Idle,
            Kind::Opened,
            Kind::Opening,
            Kind::Replied,
            Kind::Sent,
        ]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let (node, commands, reasons) = match fact {
            // What a client takes back together was sent one by one, maybe long ago.
            Fact::Sent {
                node,
                command: Command::XDel { .. } | Command::XInfoGroups { .. },
                ..
            } if scene.history.kind_of(*node) == Some(NodeKind::Client) => {
                return Ok(());
            }
            Fact::Sent { node, .. } => (*node, 1, 0),
            Fact::Opening { node, .. } => (*node, 1, 0),
            Fact::Opened { node, .. } => (*node, 0, *self.held.of(*node)),
            Fact::Idle { node, held, .. } => {
                *self.held.of(*node) = u64::try_from(*held).unwrap_or(u64::MAX);
                return Ok(());
            }
            Fact::Replied { node, reply, .. } => {
                let given = match reply {
                    Ok(crate::reply::Reply::Entries(entries)) => entries.len(),
                    Ok(crate::reply::Reply::Claimed { entries, deleted, nameless, .. }) => {
                        entries.len() + deleted.len() + nameless
                    }
                    Ok(_) | Err(_) => 0,
                };
                (*node, 0, u64::try_from(given).unwrap_or(u64::MAX))
            }
            Fact::Ended { node, .. } => (*node, 0, 1),
            Fact::Called { number } => match scene.history.calls.get(number) {
                Some(call) => (call.client, 0, 1),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        if scene.history.kind_of(node) == Some(NodeKind::Python) {
            return Ok(());
        }
        let number = scene.now.since_start().as_secs();
        let second = self.seconds.of(node);
        if second.number != number {
            // What came at the end of a second is worked on in the next.
            let carried = if second.number + 1 == number { second.reasons } else { 0 };
            *second = Second { number, commands: 0, reasons: carried };
        }
        second.commands += commands;
        second.reasons += reasons;
        if second.commands > COMMANDS_FREE + COMMANDS_EACH * second.reasons {
            return Err(format!("{node} in second {number}: {second:?}"));
        }
        Ok(())
    }
}

/// When there is nothing to do, a server sends few commands a second for each service, and a
/// client hardly any (4.1, 4.5).
#[derive(Debug, Default)]
pub(super) struct IdlesQuietly {
    /// Since when nothing happens, if so.
    since: Option<Instant>,
    commands: BTreeMap<NodeId, u64>,
}

/// How long after everything has settled nothing may happen any more.
const CALMS_WITHIN: Duration = Duration::from_secs(3);

impl Invariant for IdlesQuietly {
    fn title(&self) -> (&'static str, &'static str) {
        ("an-idle-node-is-quiet", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent, Kind::Settled, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            // What a worker of Python keeps for itself may be settled later, which is work.
            Fact::Settled => {
                let streams = scene.network.streams();
                let kept = scene.history.services.iter().any(|names| {
                    !streams.pending(scene.now, &names.stream, &names.group).is_empty()
                });
                self.since = (!kept).then_some(scene.now + CALMS_WITHIN);
            }
            Fact::Stopping { .. } if self.since.is_some_and(|since| since < scene.now) => {
                let since = self.since.take().unwrap_or_default();
                let seconds = scene.now.since(since).as_secs().max(1);
                let services = u64::try_from(scene.plan.services).unwrap_or(1);
                for (node, commands) in &self.commands {
                    // A server also asks for the time, whatever the number of its services.
                    let (each, besides) = match scene.history.kind_of(*node) {
                        Some(NodeKind::Server) => (3 * services, seconds / 3 + 1),
                        Some(NodeKind::Client) => (1, 0),
                        Some(NodeKind::Python) | None => continue,
                    };
                    let allowed = each * (seconds + 1) + besides;
                    if *commands > allowed {
                        return Err(format!("{node} sent {commands} in {seconds} s, of {allowed}"));
                    }
                }
            }
            // Runs have this far more often than once a minute.
            Fact::Sent { command: Command::DelIdleConsumers { .. }, .. } => {}
            Fact::Sent { node, .. } if self.since.is_some_and(|since| since <= scene.now) => {
                *self.commands.entry(*node).or_default() += 1;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Every key is under the prefix (1).
#[derive(Debug)]
pub(super) struct OwnKeys;

impl Invariant for OwnKeys {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-command-leaves-the-prefix", "4.7")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command, .. } = fact else { return Ok(()) };
        // Workers of Python write wherever they are told to.
        if scene.history.kind_of(*node) == Some(NodeKind::Python) {
            return Ok(());
        }
        match command.key() {
            Some(key) if !key.starts_with(b"app:") => Err(format!("{node}: {command:?}")),
            Some(_) | None => Ok(()),
        }
    }
}

/// The ticks of a server vary, so that those of a pool do not fall together (4.5).
#[derive(Debug, Default)]
pub(super) struct TicksVary {
    looks: BTreeMap<(NodeId, Bytes), Looks>,
}

/// When a server looked at a group last, how long before that, and how often so.
#[derive(Debug, Default)]
struct Looks {
    last: Instant,
    apart: Duration,
    alike: u32,
}

/// So many pauses of one length in a row are no accident.
const ALIKE_MAX: u32 = 5;

impl Invariant for TicksVary {
    fn title(&self) -> (&'static str, &'static str) {
        ("the-ticks-of-a-server-vary", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XPending])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command: Command::XPending { key, .. }, local, .. } = fact else {
            return Ok(());
        };
        if scene.history.kind_of(*node) != Some(NodeKind::Server) {
            return Ok(());
        }
        let looks = self.looks.entry((*node, key.clone())).or_default();
        let apart = local.since(looks.last);
        looks.alike = if apart == looks.apart { looks.alike + 1 } else { 0 };
        (looks.last, looks.apart) = (*local, apart);
        if looks.alike >= ALIKE_MAX && !apart.is_zero() {
            return Err(format!("{node} looks at its group every {apart:?}"));
        }
        Ok(())
    }
}
