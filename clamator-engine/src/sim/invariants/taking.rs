//! How a server finds what was given out and not handled: its own of a lane that ended, and what
//! dead workers left (4.2, 4.5).
//!
//! Not the reading of new entries: see `reading`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::groups::{TELLING, is_there};
use super::lanes::{ASKING, Reach};
use super::reading::SLACK;
use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::{ClaimAs, Command};
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::sim::by_node::ByNode;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::given::{GIVING, given};
use crate::sim::history::NodeKind;
use crate::sim::network::{Executed, NodeId};
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
    /// Whether what was sent last is a look.
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
    /// A look is sent; `late` says that all that the lost lane had sent must be done.
    fn look(&mut self, local: Instant, block: Duration, late: bool) {
        self.looks = true;
        self.first = core::mem::take(&mut self.owed);
        self.refused = false;
        if !self.first {
            self.again = None;
        } else if self.again.is_none() {
            self.again = Some(local + block + SLACK + LOOK_SLACK);
        }
        let due = self.again.is_some_and(|again| again <= local + LOOK_SLACK);
        self.both = late || due;
    }

    /// A read of new entries is sent. Tells whether it is in its turn.
    fn read(&mut self, local: Instant) -> bool {
        (self.looks, self.reading) = (false, true);
        !self.owed && !self.refused && self.again.is_none_or(|again| again >= local)
    }

    /// A look was answered.
    fn looked(&mut self, refusal: Option<&Refusal>) {
        match refusal.map(|refusal| (refusal.kind(), refusal.is_wrong_type())) {
            None if self.both => self.again = None,
            // Whoever may not look does without.
            Some((RefusalKind::Final, false)) if self.both => self.again = None,
            None | Some((RefusalKind::Final, false)) => {}
            Some((RefusalKind::NoGroup, _)) => {
                *self = Self { opened: self.opened, ..Self::default() };
            }
            Some(_) => {
                self.refused = self.looks;
                self.owed = self.first;
            }
        }
    }
}

/// Whether a command is the beginning of a look, on a lane where otherwise new entries are read.
fn is_look(lane: Lane, command: &Command) -> bool {
    let lists = matches!(command, Command::XPendingRange { start: StreamId::ZERO, .. });
    lists && matches!(lane, Lane::Blocking(_))
}

impl Invariant for LooksBack {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-a-lost-read-was-given-is-looked-for", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Opened, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XGroupCreate, Verb::XPendingRange, Verb::XRange, Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Sent { node, lane, command, local, .. } if is_look(*lane, command) => {
                let look = self.lanes.entry((*node, *lane)).or_default();
                let jumps = FaultSet::of(&[Fault::WorkerClockAhead]);
                let block = scene.plan.read_block;
                let late = scene.now.since(look.opened) >= block + SLACK
                    || scene.history.struck_since(look.opened, jumps);
                look.look(*local, block, late);
            }
            Fact::Sent { node, lane, command: Command::XReadGroup { .. }, local, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let look = self.lanes.entry((*node, *lane)).or_default();
                if !look.read(*local) {
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
            Fact::Replied { node, lane, command, reply, .. } if is_look(*lane, command) => {
                let look = self.lanes.entry((*node, *lane)).or_default();
                look.looked(reply.as_ref().err());
            }
            Fact::Replied { node, lane, command: Command::XReadGroup { .. }, reply, .. } => {
                let look = self.lanes.entry((*node, *lane)).or_default();
                look.reading = false;
                if reply.as_ref().is_err_and(|it| it.kind() == RefusalKind::NoGroup) {
                    *look = LookBack { opened: look.opened, ..LookBack::default() };
                }
            }
            Fact::Replied {
                node,
                lane: lane @ Lane::Blocking(_),
                command: Command::XRange { .. },
                reply: Err(refusal),
                ..
            } => {
                let look = self.lanes.entry((*node, *lane)).or_default();
                look.looked(Some(refusal));
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

/// What a start takes back nobody has renewed for two intervals, and a process of the same name had it
/// last (4.5).
#[derive(Debug, Default)]
pub(super) struct TakesBackTheDead {
    /// Who touched each entry last, and when.
    touched: BTreeMap<(Bytes, StreamId), (NodeId, Instant)>,
}

/// Faults by which an entry looks older than it is, or is not the one that was touched.
pub(super) const AGING: FaultSet = REWRITES.and(FaultSet::of(&[Fault::RedisClockAhead]));

impl Invariant for TakesBackTheDead {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-start-takes-back-only-what-nobody-renews", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed, Kind::Healed, Kind::Struck]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Healed => self.touched.clear(),
            Fact::Struck(fault) if AGING.contains(*fault) => self.touched.clear(),
            Fact::Executed(Executed { node, command, reply: Ok(reply), .. }) => {
                let Some(key) = command.key() else { return Ok(()) };
                let ids: Vec<StreamId> = match (given(command, reply), reply) {
                    (Some((_, entries)), _) => entries.iter().map(|entry| entry.id).collect(),
                    (None, Reply::Ids(ids)) => ids.clone(),
                    (None, _) => Vec::new(),
                };
                let takes = matches!(command, Command::XClaim { claim_as: ClaimAs::Delivered, .. });
                let name = |node| scene.history.nodes.get(node).map(|info| &info.name);
                let Some((_, names)) = scene.history.find_service(key) else { return Ok(()) };
                let streams = scene.network.streams();
                // Whoever waits is given an entry before that is seen to have been carried out.
                let touched = |id| {
                    let pending = streams.pending_entry(scene.now, key, &names.group, id);
                    let idle = pending.map_or(0, |pending| pending.idle_ms);
                    let at = scene.now.since_start().saturating_sub(Duration::from_millis(idle));
                    Instant::from_start(at)
                };
                if matches!(command, Command::XClaim { claim_as: ClaimAs::HandedBack { .. }, .. }) {
                    self.touched.retain(|(of, id), _| of != key || !ids.contains(id));
                    return Ok(());
                }
                for id in ids {
                    let before = self.touched.insert((key.clone(), id), (*node, touched(id)));
                    let Some((owner, at)) = before.filter(|_| takes) else { continue };
                    let idle = scene.now.since(at);
                    // Redis counts whole milliseconds.
                    let enough = (scene.plan.claim_idle / 3 * 2).saturating_sub(IDLE_UNIT);
                    if idle < enough || name(owner) != name(*node) {
                        return Err(format!("{node} takes {id} back from {owner} after {idle:?}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The unit of idle times.
const IDLE_UNIT: Duration = Duration::from_millis(1);

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
    /// The questions that are not answered: one is asked at a time.
    under_way: BTreeSet<u64>,
    /// Since when it could have asked and has not.
    free: Instant,
}

/// A tick with its jitter, and some.
const TICK_MAX: Duration = Duration::from_millis(1500);

impl Scan {
    fn told(&mut self, group: &Bytes, command: &Command, reply: &Result<Reply, Refusal>) {
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
                    (scan.free, scan.under_way) = (scene.now, BTreeSet::new());
                }
            }
            Fact::Sent {
                node,
                command:
                    command @ (Command::XAutoClaim { key, .. }
                    | Command::XClaim { key, claim_as: ClaimAs::Delivered, .. }
                    | Command::XPendingRange { key, .. }),
                ticket,
                ..
            } => {
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let scan = self.nodes.of(*node).services.entry(service).or_default();
                scan.under_way.insert(*ticket);
                if matches!(command, Command::XAutoClaim { .. }) {
                    scan.free = scene.now;
                }
            }
            Fact::Replied { node, command, ticket, reply, .. }
                if TELLING.contains(Verb::of(command))
                    && scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let found = command.key().and_then(|key| scene.history.find_service(key));
                let Some((service, names)) = found else { return Ok(()) };
                let scans = self.nodes.of(*node);
                let new = || Scan { free: scene.now, ..Scan::default() };
                let scan = scans.services.entry(service).or_insert_with(new);
                scan.under_way.remove(ticket);
                scan.told(&names.group, command, reply);
            }
            Fact::Idle { node, held, .. } => {
                let Scans { stopping, services } = self.nodes.of(*node);
                let could = self.reach.has(*node) && !*stopping && *held == 0;
                for (service, scan) in services {
                    if !could || !scan.ready || !scan.under_way.is_empty() {
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
