//! [`Wire`]: one connection, from a node's end to Redis's.
//!
//! Not the carrying: what is under way lies on the network's agenda. A wire only knows when the
//! next thing may arrive, so that nothing overtakes, and which commands Redis has not answered.

use alloc::collections::VecDeque;

use crate::command::Command;
use crate::engine::Lane;
use crate::memory::ConnectionId;
use crate::reply::Refusal;
use crate::time::Instant;

use super::NodeId;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) node: NodeId,
    pub(super) lane: Lane,
    /// Redis's end; `None` until it has one.
    pub(super) connection: Option<ConnectionId>,
    /// Whether the node's end is gone.
    pub(super) dead: bool,
    /// Whether it leads to a server that takes no writes.
    pub(super) demoted: bool,
    /// Commands that have arrived and are not answered, oldest first.
    pub(super) flights: VecDeque<Flight>,
    /// Whether nothing gets through any more.
    pub(super) silent: bool,
    arrived: Instant,
    told: Instant,
}

/// A command that Redis has not answered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ticket: u64,
    pub(super) command: Command,
    /// Set when it is not carried out.
    pub(super) refusal: Option<Refusal>,
}

impl Wire {
    pub(super) const fn new(node: NodeId, lane: Lane) -> Self {
        Self {
            node,
            lane,
            connection: None,
            dead: false,
            demoted: false,
            flights: VecDeque::new(),
            silent: false,
            arrived: Instant::ZERO,
            told: Instant::ZERO,
        }
    }

    /// When something that could be at Redis then gets there, behind all that was sent before.
    pub(super) fn arrival(&mut self, at: Instant) -> Instant {
        self.arrived = self.arrived.max(at);
        self.arrived
    }

    /// When something that could be at the node then gets there, behind all that was sent before.
    pub(super) fn told(&mut self, at: Instant) -> Instant {
        self.told = self.told.max(at);
        self.told
    }

    /// Nothing more gets through before this time.
    pub(super) fn delay(&mut self, until: Instant) {
        self.arrived = self.arrived.max(until);
        self.told = self.told.max(until);
    }
}
