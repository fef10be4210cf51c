//! [`Fact`]: one thing that happened in a run, as its observers see it, and its [`Kind`].
//!
//! Not the trace, which is for readers. Facts come in the order in which they happened: at Redis in
//! the order of execution, at a node in the order of its turns.

use core::time::Duration;

use super::fault::Fault;
use super::network::{Executed, NodeId};
use super::verb::Verb;
use crate::call::CallError;
use crate::command::Command;
use crate::engine::{Deadline, Lane};
use crate::reply::{Refusal, Reply};
use crate::server::{Answer, Notice};
use crate::stream_id::StreamId;
use crate::time::Instant;
use clamator_proto::Json;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Fact<'a> {
    /// A process starts to run.
    Born(NodeId),
    /// A call or notification is made. It is in the history.
    Called { number: u64 },
    /// A node gives a connection up.
    Closed { node: NodeId, lane: Lane },
    /// A process ends from one moment to the next.
    Crashed(NodeId),
    /// A worker is told to drop a handler, which it does.
    Dropped { node: NodeId, job: u64 },
    /// A handler has ended.
    Ended { node: NodeId, job: u64, entry: StreamId, number: Option<u64>, answer: &'a Answer },
    /// Redis carried a command out, or refused it.
    Executed(&'a Executed),
    /// A call or notification has ended.
    Finished { number: u64, outcome: Result<Option<&'a Json>, &'a CallError> },
    /// Every fault has ended.
    Healed,
    /// A node has nothing to do before this; both times are its own. It holds so many calls, or
    /// entries.
    Idle { node: NodeId, local: Instant, due: Option<Deadline>, held: usize },
    /// A lane has ended, or could not be opened.
    Lost { node: NodeId, lane: Lane },
    /// A worker says something to its operator.
    Noticed { node: NodeId, notice: &'a Notice },
    /// A lane is open.
    Opened { node: NodeId, lane: Lane },
    /// A node begins to open a lane.
    Opening { node: NodeId, lane: Lane },
    /// The run is over: everybody was stopped.
    Over,
    /// A node is handed the answer to one of its commands.
    Replied {
        node: NodeId,
        lane: Lane,
        command: &'a Command,
        ticket: u64,
        reply: &'a Result<Reply, Refusal>,
    },
    /// A node sends a command; both times are its own.
    Sent {
        node: NodeId,
        lane: Lane,
        command: &'a Command,
        ticket: u64,
        local: Instant,
        deadline: Instant,
    },
    /// Everything has had time to settle; fresh calls follow.
    Settled,
    /// A handler starts.
    Started { node: NodeId, job: u64, start: Start },
    /// A process is asked to stop, with this grace.
    Stopping { node: NodeId, grace: Duration },
    /// A process has stopped, leaving this much of what it had been given.
    Stopped { node: NodeId, left: usize },
    /// Something goes wrong.
    Struck(Fault),
}

/// What kind of thing happened. The numbers are part of every trace's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Born = 1,
    Called,
    Closed,
    Crashed,
    Dropped,
    Ended,
    Executed,
    Finished,
    Healed,
    Idle,
    Lost,
    Noticed,
    Opened,
    Opening,
    Over,
    Replied,
    Sent,
    Settled,
    Started,
    Stopping,
    Stopped,
    Struck,
}

impl Kind {
    /// More than the number of any kind.
    pub(super) const END: usize = Self::Struck as usize + 1;

    #[cfg(test)]
    pub(super) const ALL: &'static [Self] = &[
        Self::Born,
        Self::Called,
        Self::Closed,
        Self::Crashed,
        Self::Dropped,
        Self::Ended,
        Self::Executed,
        Self::Finished,
        Self::Healed,
        Self::Idle,
        Self::Lost,
        Self::Noticed,
        Self::Opened,
        Self::Opening,
        Self::Over,
        Self::Replied,
        Self::Sent,
        Self::Settled,
        Self::Started,
        Self::Stopping,
        Self::Stopped,
        Self::Struck,
    ];
}

impl Fact<'_> {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Born(_) => Kind::Born,
            Self::Called { .. } => Kind::Called,
            Self::Closed { .. } => Kind::Closed,
            Self::Crashed(_) => Kind::Crashed,
            Self::Dropped { .. } => Kind::Dropped,
            Self::Ended { .. } => Kind::Ended,
            Self::Executed(_) => Kind::Executed,
            Self::Finished { .. } => Kind::Finished,
            Self::Healed => Kind::Healed,
            Self::Idle { .. } => Kind::Idle,
            Self::Lost { .. } => Kind::Lost,
            Self::Noticed { .. } => Kind::Noticed,
            Self::Opened { .. } => Kind::Opened,
            Self::Opening { .. } => Kind::Opening,
            Self::Over => Kind::Over,
            Self::Replied { .. } => Kind::Replied,
            Self::Sent { .. } => Kind::Sent,
            Self::Settled => Kind::Settled,
            Self::Started { .. } => Kind::Started,
            Self::Stopping { .. } => Kind::Stopping,
            Self::Stopped { .. } => Kind::Stopped,
            Self::Struck(_) => Kind::Struck,
        }
    }

    /// What the command does that is sent, executed or answered.
    pub(super) const fn verb(&self) -> Option<Verb> {
        match self {
            Self::Executed(executed) => Some(Verb::of(&executed.command)),
            Self::Replied { command, .. } | Self::Sent { command, .. } => Some(Verb::of(command)),
            Self::Born(_)
            | Self::Called { .. }
            | Self::Closed { .. }
            | Self::Crashed(_)
            | Self::Dropped { .. }
            | Self::Ended { .. }
            | Self::Finished { .. }
            | Self::Healed
            | Self::Idle { .. }
            | Self::Lost { .. }
            | Self::Noticed { .. }
            | Self::Opened { .. }
            | Self::Opening { .. }
            | Self::Over
            | Self::Settled
            | Self::Started { .. }
            | Self::Stopping { .. }
            | Self::Stopped { .. }
            | Self::Struck(_) => None,
        }
    }
}

/// A handler that starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Of which service.
    pub(super) service: usize,
    /// Of which entry.
    pub(super) entry: StreamId,
    /// Of which call; `None` when it is nobody's of this run.
    pub(super) number: Option<u64>,
    /// How often the entry was delivered, as the worker believes.
    pub(super) deliveries: u64,
}
