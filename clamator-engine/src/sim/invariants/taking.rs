//! How a server finds what was given out and not handled: its own of a lane that ended, and what
//! dead workers left (4.2, 4.5).
//!
//! Not the reading of new entries: see `reading`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use bytes::Bytes;

use super::groups::{TELLING, is_there};
use super::lanes::{ASKING, Reach};
use super::reading::SLACK;
use super::{Fact, Invariant, Kind, Scene};
use crate::command::{Command, ReadFrom};
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::sim::by_node::ByNode;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::NodeKind;
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// After a lane has ended with a read unanswered, its successor reads first what this consumer was
/// given, and once more when the lost read must have ended (4.5).
#[derive(Debug, Default)]
pub(super) struct LooksBack {
    lanes: BTreeMap<(NodeId, Lane), LookBack>,
}

#[derive(Debug, Default)]
struct LookBack {
    /// When the lane was opened.
    opened: Instant,
    /// Whether a read of new entries is under way.
    reading: bool,
    /// Whether a look is owed before anything new.
    owed: bool,
    /// When the second look is over at the latest, if one is owed.
    again: Option<Instant>,
    /// Whether a look was sent since the group is there.
    looks: bool,
    /// Whether the look that was sent last was the first.
    first: bool,
    /// Whether it was sent so late that it is the second as well.
    both: bool,
    /// Whether a look was refused, and is owed once more.
    refused: bool,
}

/// What the second look may be late by: the read that is under way when it gets due, and replies.
const LOOK_SLACK: Duration = Duration::from_secs(3);

impl LookBack {
    /// A read is sent; `late` says that all that the lost lane had sent must be done. Tells whether
    /// it is in its turn.
    fn read(&mut self, from: ReadFrom, local: Instant, block: Duration, late: bool) -> bool {
        self.looks = matches!(from, ReadFrom::History(_));
        match from {
            ReadFrom::History(StreamId::ZERO) => {
                self.first = core::mem::take(&mut self.owed);
                self.refused = false;
                if !self.first {
                    self.again = None;
                } else if self.again.is_none() {
                    self.again = Some(local + block + SLACK + LOOK_SLACK);
                }
                let due = self.again.is_some_and(|again| again <= local + LOOK_SLACK);
                self.both = late || due;
                true
            }
            ReadFrom::History(_) => {
                self.refused = false;
                true
            }
            ReadFrom::New => {
                self.reading = true;
                !self.owed && !self.refused && self.again.is_none_or(|again| again >= local)
            }
        }
    }
}

impl Invariant for LooksBack {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-a-lost-read-was-given-is-looked-for", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Opened, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XGroupCreate, Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent { node, lane, command: Command::XReadGroup { from, .. }, local, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let look = self.lanes.entry((*node, *lane)).or_default();
                let jumps = FaultSet::of(&[Fault::WorkerClockAhead]);
                let block = scene.plan.read_block;
                let late = scene.now.since(look.opened) >= block + SLACK
                    || scene.history.struck_since(look.opened, jumps);
                if !look.read(*from, *local, block, late) {
                    return Err(format!("{node} does not look back: {look:?}, {fact:?}"));
                }
            }
            Fact::Opened { node, lane } => {
                self.lanes.entry((*node, *lane)).or_default().opened = scene.now;
            }
            // What was given out by a group that is gone is void.
            Fact::Replied { node, command: Command::XGroupCreate { key, .. }, reply, .. }
                if reply.as_ref().err().is_none_or(|it| it.kind() == RefusalKind::GroupExists) =>
            {
                let service = scene.history.service_of(key).and_then(|it| u16::try_from(it).ok());
                let lane = service.map(|service| (*node, Lane::Blocking(service)));
                if let Some(look) = lane.and_then(|lane| self.lanes.get_mut(&lane)) {
                    let (reading, opened) = (look.reading, look.opened);
                    *look = LookBack { reading, opened, ..LookBack::default() };
                }
            }
            Fact::Replied {
                node, lane, command: Command::XReadGroup { from, .. }, reply, ..
            } => {
                let look = self.lanes.entry((*node, *lane)).or_default();
                look.reading &= *from != ReadFrom::New;
                match reply.as_ref().err().map(Refusal::kind) {
                    Some(RefusalKind::NoGroup) => {
                        *look = LookBack { opened: look.opened, ..LookBack::default() };
                    }
                    Some(_) if matches!(from, ReadFrom::History(_)) => {
                        look.refused = look.looks;
                        look.owed = look.first && *from == ReadFrom::History(StreamId::ZERO);
                    }
                    None if look.both && matches!(from, ReadFrom::History(_)) => look.again = None,
                    Some(_) | None => {}
                }
            }
            // A claim may be lost with it: then both looks are taken anew, the second one later.
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                let own = self.lanes.iter_mut().filter(|((of, _), _)| of == node);
                own.for_each(|(_, look)| look.again = None);
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                let look = self.lanes.entry((*node, *lane)).or_default();
                let owed = look.owed || look.reading;
                *look = LookBack { owed, ..LookBack::default() };
            }
            _ => {}
        }
        Ok(())
    }
}

/// A server that has nothing to do looks at every tick for what dead workers left, for each service
/// whose group it has, whatever becomes of the others (4.2, 4.5).
#[derive(Debug, Default)]
pub(super) struct ScansOften {
    nodes: ByNode<Scans>,
    reach: Reach,
}

#[derive(Debug, Default)]
struct Scans {
    stopping: bool,
    /// By the number of the service.
    services: BTreeMap<usize, Scan>,
}

/// How a server takes over from a group.
#[derive(Debug, Default)]
struct Scan {
    /// Whether the group is there, as far as the server knows.
    ready: bool,
    under_way: bool,
    /// Since when it could have asked and has not.
    free: Instant,
}

/// A tick with its jitter, and some.
const TICK_MAX: Duration = Duration::from_millis(1500);

impl Scan {
    fn told(&mut self, group: &Bytes, command: &Command, reply: &Result<Reply, Refusal>) {
        self.under_way &= !matches!(command, Command::XAutoClaim { .. });
        self.ready = is_there(group, command, reply).unwrap_or(self.ready);
    }
}

impl Invariant for ScansOften {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-free-server-looks-for-what-the-dead-left-at-every-tick", "4.5")
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
            Fact::Stopping { node, .. } => self.nodes.of(*node).stopping = true,
            Fact::Opened { node, lane: Lane::Command } => {
                for scan in self.nodes.of(*node).services.values_mut() {
                    (scan.free, scan.under_way) = (scene.now, false);
                }
            }
            Fact::Sent { node, command: Command::XAutoClaim { key, .. }, .. } => {
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let scan = self.nodes.of(*node).services.entry(service).or_default();
                (scan.free, scan.under_way) = (scene.now, true);
            }
            Fact::Replied { node, command, reply, .. }
                if TELLING.contains(Verb::of(command))
                    && scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let found = command.key().and_then(|key| scene.history.find_service(key));
                let Some((service, names)) = found else { return Ok(()) };
                let scans = self.nodes.of(*node);
                let new = || Scan { free: scene.now, ..Scan::default() };
                let scan = scans.services.entry(service).or_insert_with(new);
                scan.told(&names.group, command, reply);
            }
            Fact::Idle { node, held, .. } => {
                let Scans { stopping, services } = self.nodes.of(*node);
                let could = self.reach.has(*node) && !*stopping && *held == 0;
                for (service, scan) in services {
                    if !could || !scan.ready || scan.under_way {
                        scan.free = scene.now;
                    } else if scene.now.since(scan.free) > TICK_MAX {
                        return Err(format!("{node} does not look at {service}: {scan:?}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
