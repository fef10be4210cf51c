//! [`Watch`]: looks at every fact of a run and counts the points that are met.
//!
//! Not a judge, and never in the way: it only looks. Here is what it remembers, and who is shown
//! which fact; how points are recognised is in the files about their subjects. Most facts are
//! looked at without allocating anything.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::fact::Fact;
use super::super::history::NodeKind;
use super::super::invariants::Scene;
use super::super::network::NodeId;
use super::{Hits, Point, PointCounts};
use crate::engine::Lane;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// Counts the points of one run.
#[derive(Debug)]
pub(in super::super) struct Watch {
    pub(super) hits: Hits,
    /// What is known of each process, by its number.
    pub(super) eyes: Vec<Eye>,
    /// What is known of each entry that was given out, by service and id.
    pub(super) entries: BTreeMap<(usize, StreamId), Seen>,
    pub(super) running: Vec<Running>,
    /// Replies that are written and not read, by stream; only where streams are short.
    pub(super) unread: BTreeMap<Bytes, Vec<StreamId>>,
}

/// What is known of a process.
#[derive(Debug, Default)]
pub(super) struct Eye {
    pub(super) kind: Option<NodeKind>,
    pub(super) crashed: bool,
    pub(super) stopping: bool,
    /// Whether it has removed a consumer of its own.
    pub(super) left: bool,
    /// Whether it was just told that its server cannot serve it.
    pub(super) unfit: bool,
    /// How many of its reads Redis has ended because it asked for it, without its knowing.
    pub(super) unblocked: u8,
    /// Whether it has ever read.
    pub(super) has_read: bool,
    pub(super) lanes: Vec<LaneSeen>,
    /// What was sent and is not answered.
    pub(super) flights: Vec<Flight>,
    /// What was sent and will not be answered.
    pub(super) voided: Vec<Flight>,
    /// Replies that Redis did not take, to be sent again.
    pub(super) refused: Vec<Bytes>,
    /// Whether what it sent last was an acknowledgement.
    pub(super) acknowledges: bool,
    /// Whether it has had the group of each service.
    pub(super) groups: [bool; 2],
    /// How often it has looked back since a lane ended, by service.
    pub(super) looks: [u8; 2],
    /// Calls that were made, and requests sent, since it was idle.
    pub(super) called: u32,
    pub(super) requested: u32,
    /// The greatest id of a reply that it has had.
    pub(super) newest: StreamId,
    pub(super) reads_from: ReadsFrom,
}

/// Why a client reads where it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ReadsFrom {
    /// Behind the last reply.
    #[default]
    Last,
    /// From the start, as its lane is a new one.
    NewLane,
    /// From the start, as replies are missing.
    Silence,
}

/// What is known of a lane.
#[derive(Debug)]
pub(super) struct LaneSeen {
    pub(super) lane: Lane,
    pub(super) is_open: bool,
    pub(super) is_opening: bool,
    /// When it was lost last, and whether it was open then.
    pub(super) lost: Option<(Instant, bool)>,
}

/// A command that is not answered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ticket: u64,
    pub(super) lane: Lane,
    pub(super) what: What,
    pub(super) executed: bool,
    /// How many entries it gave.
    pub(super) given: usize,
}

/// What a command is, as far as it matters what becomes of it.
#[derive(Debug)]
pub(super) enum What {
    /// An acknowledgement that begins with this entry.
    Acknowledge(StreamId),
    Claim,
    Other,
    Read,
    /// A reply of this envelope.
    Reply(Bytes),
}

/// What is known of an entry.
#[derive(Debug)]
pub(super) struct Seen {
    /// Who has it, or had it last.
    pub(super) owner: NodeId,
    /// Whether the owner knows.
    pub(super) heard: bool,
    /// Who settled it.
    pub(super) settled: Option<NodeId>,
}

/// A handler that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) node: NodeId,
    pub(super) job: u64,
    pub(super) service: usize,
    pub(super) entry: StreamId,
    pub(super) since: Instant,
}

impl Watch {
    pub(in super::super) const fn new() -> Self {
        Self {
            hits: Hits::new(),
            eyes: Vec::new(),
            entries: BTreeMap::new(),
            running: Vec::new(),
            unread: BTreeMap::new(),
        }
    }

    /// What was met so far.
    pub(in super::super) fn counts(&self) -> PointCounts {
        self.hits.counts()
    }

    /// Looks at what happened.
    pub(in super::super) fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) {
        match fact {
            Fact::Born(node) => self.born(*node, scene.history.kind_of(*node)),
            Fact::Called { number } => {
                let client = scene.history.calls.get(number).map(|call| call.client);
                if let Some(eye) = client.and_then(|client| self.eye(client)) {
                    eye.called += 1;
                }
            }
            Fact::Closed { node, lane } => self.lane_closed(scene.now, *node, *lane),
            Fact::Crashed(node) => {
                self.running.retain(|running| running.node != *node);
                if let Some(eye) = self.eye(*node) {
                    eye.crashed = true;
                    eye.flights.clear();
                }
            }
            Fact::Dropped { node, job, .. } => {
                self.hits.hit(Point::HandlerDropped);
                self.running.retain(|running| (running.node, running.job) != (*node, *job));
            }
            Fact::Ended { node, job, number, .. } => self.ended(scene, *node, *job, *number),
            Fact::Executed(executed) => self.executed(scene, executed),
            Fact::Finished { number, outcome } => self.finished(scene, *number, outcome),
            Fact::Healed | Fact::Settled | Fact::Struck(_) => {}
            Fact::Idle { node, .. } => self.idle(scene, *node),
            Fact::Lost { node, lane } => self.lane_lost(scene.now, *node, *lane),
            Fact::Noticed { notice, .. } => self.noticed(notice),
            Fact::Opened { node, lane } => self.lane_opened(*node, *lane),
            Fact::Opening { node, lane } => self.lane_opening(scene.now, *node, *lane),
            Fact::Over => self.over(scene),
            Fact::Replied { node, lane, ticket, command, reply, .. } => {
                if let Some(eye) = self.eye(*node)
                    && let Some(place) = eye.flights.iter().position(|it| it.ticket == *ticket)
                {
                    eye.flights.swap_remove(place);
                }
                self.replied(scene, *node, *lane, command, reply);
            }
            Fact::Sent { node, lane, command, ticket, .. } => {
                self.sent(scene, *node, *lane, command, *ticket);
            }
            Fact::Started { node, job, start } => self.started(scene, *node, *job, start),
            Fact::Stopping { node, .. } => self.stopping(*node),
            Fact::Stopped { node, left } => {
                let stays = self.is(*node, NodeKind::Server)
                    && self.eye(*node).is_some_and(|eye| eye.has_read && !eye.left);
                self.hits.hit_if(stays, Point::ConsumerStays);
                self.hits.hit_if(*left > 0, Point::StoppedWithEntriesLeft);
            }
        }
    }

    pub(super) fn eye(&mut self, node: NodeId) -> Option<&mut Eye> {
        self.eyes.get_mut(usize::try_from(node.number()).ok()?)
    }

    /// Whether a process is of this kind.
    pub(super) fn is(&mut self, node: NodeId, kind: NodeKind) -> bool {
        self.eye(node).is_some_and(|eye| eye.kind == Some(kind))
    }

    fn born(&mut self, node: NodeId, kind: Option<NodeKind>) {
        let number = usize::try_from(node.number()).unwrap_or(usize::MAX);
        while self.eyes.len() <= number {
            self.eyes.push(Eye::default());
        }
        if let Some(eye) = self.eye(node) {
            eye.kind = kind;
        }
    }
}
