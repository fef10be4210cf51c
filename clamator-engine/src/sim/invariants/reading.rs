//! How servers and clients read (4.3, 4.5, 5.1).
//!
//! Not what becomes of what they are given: see `runs` and `settling`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use bytes::Bytes;

use super::lanes::{ASKING, Reach};
use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Entry, PendingEntry, Reply};
use crate::server::Notice;
use crate::sim::by_node::ByNode;
use crate::sim::given::{GIVING, asked, handed};
use crate::sim::history::{NodeKind, NodeState, dead_entry};
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How much later than its BLOCK a read's reply may be due.
pub(super) const SLACK: Duration = Duration::from_secs(1);

/// A blocking read ends, and so does the wait for its reply; no other command waits longer than
/// was allowed (3).
#[derive(Debug)]
pub(super) struct Bounded;

impl Invariant for Bounded {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-command-waits-for-ever", "3")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command, local, deadline, .. } = fact else { return Ok(()) };
        if scene.history.kind_of(*node) == Some(NodeKind::Python) {
            return Ok(());
        }
        let limit = scene.plan.read_block;
        let (blocks, allowed) = match command {
            Command::XRead { block, .. } | Command::XReadGroup { block, .. } => {
                (*block, limit + SLACK)
            }
            _ => (Some(limit), scene.plan.command_timeout),
        };
        let blocks = blocks.is_some_and(|block| !block.is_zero() && block <= limit);
        if blocks && *deadline > *local && *deadline <= *local + allowed {
            return Ok(());
        }
        Err(format!("{node} at {local}: {fact:?}"))
    }
}

/// A server asks for no more entries than it has free places for, by reading or by taking over
/// (4.3).
#[derive(Debug, Default)]
pub(super) struct WithinPlaces {
    services: BTreeMap<(NodeId, usize), Places>,
    started: BTreeMap<(NodeId, u64), (usize, Instant)>,
}

/// What a server has of one service.
#[derive(Debug, Default)]
struct Places {
    /// The shortest time that a handler took.
    shortest: Option<Duration>,
    /// Calls that it was given and has neither started nor settled.
    waiting: BTreeSet<StreamId>,
    /// Those that it has started.
    had: BTreeSet<StreamId>,
}

/// How much work may wait unstarted, by default.
const PREFETCH: Duration = Duration::from_millis(5);
/// How many requests may wait unstarted, by default.
const PREFETCH_MAX: u128 = 256;

impl Invariant for WithinPlaces {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-more-is-read-than-there-is-room-for", "4.3")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Ended, Kind::Noticed, Kind::Replied, Kind::Sent, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[
            Verb::XAck,
            Verb::XAdd,
            Verb::XAutoClaim,
            Verb::XClaim,
            Verb::XPendingRange,
            Verb::XRange,
            Verb::XReadGroup,
        ])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { node, job, start } => {
                self.started.insert((*node, *job), (start.service, scene.now));
                let places = self.services.entry((*node, start.service)).or_default();
                places.waiting.remove(&start.entry);
                places.had.insert(start.entry);
            }
            Fact::Ended { node, job, .. } => {
                let Some((service, at)) = self.started.remove(&(*node, *job)) else {
                    return Ok(());
                };
                let took = scene.now.since(at);
                let places = self.services.entry((*node, service)).or_default();
                let shortest = places.shortest.get_or_insert(took);
                *shortest = took.min(*shortest);
            }
            // What turns out to be another's is dropped.
            Fact::Replied {
                node,
                lane,
                command: Command::XPendingRange { key, start, end, .. },
                reply: Ok(Reply::PendingRange(rows)),
                ..
            } => {
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let places = self.services.entry((*node, service)).or_default();
                if *lane == Lane::Command {
                    let there = |id: &StreamId| rows.iter().any(|row| row.id == *id);
                    places.waiting.retain(|id| id < start || id > end || there(id));
                }
                places.put_aside(rows, scene.plan.deliveries_max);
            }
            Fact::Replied { node, lane, command, reply: Ok(reply), .. } => {
                self.hand(scene, *node, handed(*lane, command, reply));
            }
            Fact::Sent { node, command: Command::XAck { key, ids, .. }, .. } => {
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let places = self.services.entry((*node, service)).or_default();
                places.waiting.retain(|id| !ids.contains(id));
                // A read that was long on its way may name it once more.
                places.had.extend(ids);
            }
            // What has expired is not started.
            Fact::Noticed { node, notice: Notice::Expired { service, entry } } => {
                let service = scene.history.service_named(service.as_str());
                let Some(service) = service else { return Ok(()) };
                let places = self.services.entry((*node, service)).or_default();
                places.leave(*entry);
            }
            // What is put aside is not started.
            Fact::Sent { node, command: Command::XAdd { fields, .. }, .. } => {
                let Some(entry) = dead_entry(fields) else { return Ok(()) };
                for ((at, _), places) in &mut self.services {
                    if at == node {
                        places.leave(entry);
                    }
                }
            }
            Fact::Sent { node, command, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let Some((key, count)) = asked(command) else { return Ok(()) };
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                let places = self.services.entry((*node, service)).or_default();
                // What Redis forgot is no longer started nor settled.
                if scene.history.struck_since(Instant::ZERO, REWRITES) {
                    places.waiting.clear();
                }
                places.allow(scene.plan.concurrency.limit(), count).map_err(|all| {
                    format!("{node} asks for {count} entries, has {all} places and {places:?}")
                })?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl WithinPlaces {
    /// A server is answered what it asked for.
    fn hand(&mut self, scene: &Scene<'_>, node: NodeId, handed: Option<(&Bytes, &[Entry])>) {
        let Some((key, entries)) = handed else { return };
        let Some(service) = scene.history.service_of(key) else { return };
        let places = self.services.entry((node, service)).or_default();
        let there = entries.iter().filter(|entry| entry.fields.is_some());
        let calls = there.map(|entry| entry.id).filter(|id| {
            scene.history.number_of(service, *id).is_some() && !places.had.contains(id)
        });
        places.waiting.extend(calls);
    }
}

impl Places {
    /// What has been given out too often is put aside, perhaps behind other replies.
    fn put_aside(&mut self, rows: &[PendingEntry], deliveries_max: u64) {
        for row in rows.iter().filter(|row| row.deliveries > deliveries_max) {
            self.waiting.remove(&row.id);
            self.had.insert(row.id);
        }
    }

    /// An entry that waits is not going to be started.
    fn leave(&mut self, entry: StreamId) {
        if self.waiting.remove(&entry) {
            self.had.insert(entry);
        }
    }

    /// Whether so many more may be asked for.
    ///
    /// # Errors
    /// How many places there are.
    fn allow(&self, limit: usize, count: u64) -> Result<(), u128> {
        let (limit, waiting) = (limit as u128, self.waiting.len() as u128);
        let work = self.shortest.map_or(0, |it| PREFETCH.as_nanos() / it.as_nanos().max(1) * limit);
        let all = work.min(PREFETCH_MAX).max(limit);
        if u128::from(count) + waiting > all { Err(all) } else { Ok(()) }
    }
}

/// A scan for what dead workers left goes on where the last one ended, from the start when that
/// was the end or the group is another one, and takes only what is overdue (4.5).
#[derive(Debug, Default)]
pub(super) struct CarriesCursor {
    cursors: BTreeMap<(NodeId, Bytes), StreamId>,
}

impl Invariant for CarriesCursor {
    fn title(&self) -> (&'static str, &'static str) {
        ("the-reclaim-cursor-is-carried", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAutoClaim, Verb::XGroupCreate])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Replied {
                node,
                command: Command::XAutoClaim { key, .. },
                reply: Ok(Reply::Claimed { next, .. }),
                ..
            } => {
                self.cursors.insert((*node, key.clone()), *next);
            }
            Fact::Replied { node, command: Command::XGroupCreate { key, .. }, .. } => {
                self.cursors.remove(&(*node, key.clone()));
            }
            Fact::Sent {
                node,
                command: Command::XAutoClaim { key, start, idle_min, count, .. },
                ..
            } if scene.history.kind_of(*node) == Some(NodeKind::Server) => {
                let cursor = self.cursors.get(&(*node, key.clone())).copied();
                if *start != cursor.unwrap_or(StreamId::ZERO) {
                    return Err(format!("{node} scans from {start}, not from {cursor:?}"));
                }
                if *idle_min != scene.plan.claim_idle || *count > 100 {
                    return Err(format!("{node} claims too much: {fact:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A server that is stopping reads and claims nothing new (4.10).
#[derive(Debug)]
pub(super) struct StopsReading;

impl Invariant for StopsReading {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-server-that-stops-reads-nothing-new", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command, .. } = fact else { return Ok(()) };
        if asked(command).is_none() {
            return Ok(());
        }
        let running =
            scene.history.nodes.get(*node).is_some_and(|node| {
                node.state == NodeState::Running || node.kind != NodeKind::Server
            });
        if running { Ok(()) } else { Err(format!("{fact:?}")) }
    }
}

/// On a new lane a client reads its replies from the start: the stream may be another one (5.1).
#[derive(Debug, Default)]
pub(super) struct RereadsReplies {
    /// Clients whose lane is new, and has not been read on.
    fresh: BTreeSet<(NodeId, Lane)>,
}

impl Invariant for RereadsReplies {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-new-lane-reads-replies-from-the-start", "5.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Opened, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XRead])
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Opened { node, lane } => {
                self.fresh.insert((*node, *lane));
            }
            Fact::Sent { node, lane, command: Command::XRead { after, .. }, .. }
                if self.fresh.remove(&(*node, *lane)) && *after != StreamId::ZERO =>
            {
                return Err(format!("{node} reads behind {after} on a new lane"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A stop does not wait for a read that Redis can be asked to end (4.10).
#[derive(Debug, Default)]
pub(super) struct EndsReads {
    nodes: ByNode<Reads>,
    reach: Reach,
}

#[derive(Debug, Default)]
struct Reads {
    /// Lanes on which a read of new entries waits.
    waiting: BTreeSet<Lane>,
    /// Whether the server is stopping, and could ask ever since.
    asks: bool,
    /// How many reads it asked Redis to end.
    asked: usize,
}

impl Invariant for EndsReads {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-stop-ends-the-reads-that-wait", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        ASKING
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::ClientUnblock, Verb::XReadGroup])
    }

    fn observe(&mut self, _scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.reach.observe(fact);
        match fact {
            Fact::Stopping { node, .. } => {
                self.nodes.of(*node).asks = self.reach.has(*node);
            }
            Fact::Sent { node, command: Command::ClientUnblock { .. }, .. } => {
                self.nodes.of(*node).asked += 1;
            }
            Fact::Sent { node, lane, command: Command::XReadGroup { .. }, .. } => {
                self.nodes.of(*node).waiting.insert(*lane);
            }
            Fact::Replied { node, lane, command: Command::XReadGroup { .. }, .. } => {
                self.nodes.of(*node).waiting.remove(lane);
            }
            Fact::Closed { node, lane } | Fact::Lost { node, lane } => {
                let reads = self.nodes.of(*node);
                reads.waiting.remove(lane);
                reads.asks &= *lane != Lane::Command;
            }
            Fact::Idle { node, .. } => {
                let reads = self.nodes.of(*node);
                if reads.asks && reads.asked < reads.waiting.len() {
                    return Err(format!("{node} stops and waits: {reads:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
