//! [`MemoryLink`]: lanes over streams in this process's memory.
//!
//! Not the streams: those are [`MemoryBus`]'s, shared with other links. A lane is open as soon as
//! it was asked for and is never lost. A link wakes others by what it sends, and waits for the end
//! of every blocked read on the bus, its own or not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use clamator_engine::memory::ConnectionId;
use clamator_engine::{Command, Input, Instant, Lane, Token};

use crate::link::Link;
use crate::memory_bus::{Delivery, Mailbox, MemoryBus};

/// The lanes of one engine on a [`MemoryBus`].
pub(crate) struct MemoryLink {
    bus: MemoryBus,
    mailbox: Arc<Mailbox>,
    lanes: BTreeMap<Lane, Open>,
    owners: BTreeMap<ConnectionId, Lane>,
    /// Lanes that were opened and not reported yet.
    opened: VecDeque<Input>,
    /// The latest time the link was told.
    now: Instant,
}

struct Open {
    connection: ConnectionId,
    outgoing: Vec<(u64, Command)>,
    /// Tokens of commands without a reply, oldest first.
    waiting: VecDeque<Token>,
}

impl MemoryLink {
    pub(crate) fn new(bus: MemoryBus) -> Self {
        Self {
            bus,
            mailbox: Arc::default(),
            lanes: BTreeMap::new(),
            owners: BTreeMap::new(),
            opened: VecDeque::new(),
            now: Instant::ZERO,
        }
    }

    /// Finds the token of a reply; `None` when its lane was closed meanwhile.
    fn token(&mut self, delivery: &Delivery) -> Option<Token> {
        let lane = self.owners.get(&delivery.connection)?;
        let token = self.lanes.get_mut(lane)?.waiting.pop_front()?;
        assert_eq!(token.number(), delivery.ticket, "a lane's replies come in order");
        Some(token)
    }
}

impl Link for MemoryLink {
    fn open(&mut self, now: Instant, lane: Lane) {
        let (connection, hello) = self.bus.connect(now, &self.mailbox);
        self.owners.insert(connection, lane);
        let open = Open { connection, outgoing: Vec::new(), waiting: VecDeque::new() };
        self.lanes.insert(lane, open);
        self.opened.push_back(Input::LaneOpen(lane, hello));
    }

    fn send(&mut self, lane: Lane, token: Token, command: Command) {
        if let Some(open) = self.lanes.get_mut(&lane) {
            open.outgoing.push((token.number(), command));
            open.waiting.push_back(token);
        }
    }

    fn flush(&mut self, now: Instant) {
        self.now = now;
        for open in self.lanes.values_mut().filter(|open| !open.outgoing.is_empty()) {
            self.bus.handle(now, open.connection, open.outgoing.drain(..));
        }
    }

    fn close(&mut self, now: Instant, lane: Lane) {
        if let Some(open) = self.lanes.remove(&lane) {
            self.owners.remove(&open.connection);
            self.bus.disconnect(now, open.connection);
        }
        self.opened.retain(|input| !matches!(input, Input::LaneOpen(opened, _) if *opened == lane));
    }

    fn poll_input(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Input> {
        if let Some(opened) = self.opened.pop_front() {
            return Poll::Ready(opened);
        }
        self.mailbox.register(cx.waker());
        self.bus.advance(now);
        while let Some(delivery) = self.mailbox.pop() {
            if let Some(token) = self.token(&delivery) {
                return Poll::Ready(Input::Reply(token, delivery.reply));
            }
        }
        Poll::Pending
    }

    fn deadline(&self) -> Option<Instant> {
        self.bus.deadline()
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        for open in self.lanes.values() {
            self.bus.disconnect(self.now, open.connection);
        }
    }
}
