//! [`NetworkEvent`] and what else is said to and by a [`Network`](super::Network).
//!
//! Not the carrying, which is the network's.

use core::fmt;

use crate::command::Command;
use crate::engine::{Hello, Lane, Loss};
use crate::memory::Snapshot;
use crate::reply::{Refusal, Reply};
use crate::time::Instant;

/// A process that is connected to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// Names a node. Two nodes of one network must not have the same number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The node's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// What happens at a node's end of its connections.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A lane is connected.
    Opened {
        /// Whose lane.
        node: NodeId,
        /// Which lane.
        lane: Lane,
        /// What it found.
        hello: Hello,
    },
    /// A lane could not be connected, or has ended.
    Lost {
        /// Whose lane.
        node: NodeId,
        /// Which lane.
        lane: Lane,
        /// Why.
        loss: Loss,
    },
    /// A command is answered.
    Replied {
        /// Whose command.
        node: NodeId,
        /// On which lane.
        lane: Lane,
        /// What [`Network::send`](super::Network::send) was given along with it.
        ticket: u64,
        /// The answer.
        reply: Result<Reply, Refusal>,
    },
    /// Nothing happens before this instant, or before something is sent if there is none.
    Idle(Option<Instant>),
}

/// A command that Redis carried out or refused, in the order in which it did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Executed {
    /// When.
    pub at: Instant,
    /// Who had sent it.
    pub node: NodeId,
    /// What [`Network::send`](super::Network::send) was given along with it.
    pub ticket: u64,
    /// The command.
    pub command: Command,
    /// What Redis answered, whether or not anybody hears it.
    pub reply: Result<Reply, Refusal>,
}

/// What becomes of what is under way on a connection that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cut {
    /// What has not arrived never does.
    BeforeWrite,
    /// Everything written arrives; no reply comes back.
    BeforeReply,
    /// Nothing arrives any more, in either direction, and neither side notices: the node when it
    /// gives up, Redis after its keepalive.
    HalfOpen,
}

/// What Redis's data is after a restart.
#[derive(Debug)]
#[non_exhaustive]
pub enum Revival {
    /// Gone.
    Empty,
    /// All there.
    Kept,
    /// What it was some time ago.
    Old(Snapshot),
}

impl NetworkEvent {
    pub(super) const fn node(&self) -> Option<NodeId> {
        match self {
            Self::Opened { node, .. } | Self::Lost { node, .. } | Self::Replied { node, .. } => {
                Some(*node)
            }
            Self::Idle(_) => None,
        }
    }
}
