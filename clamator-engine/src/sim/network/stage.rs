//! [`Stage`]: what tests of the simulated network share: a network, its time, and what was heard.
//!
//! One Redis with the stream `app:cmds:arith` and its group; nodes connect and send as they like.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Network, NetworkEvent, NodeId};
use crate::command::{Command, GroupStart};
use crate::engine::{Lane, Version};
use crate::reply::{Refusal, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

pub(in super::super) const STREAM: Bytes = Bytes::from_static(b"app:cmds:arith");
pub(in super::super) const GROUP: Bytes = Bytes::from_static(b"arith");
pub(in super::super) const LATENCY: Duration = Duration::from_millis(1);
/// Longer than any command takes on a connection that is any good.
pub(in super::super) const SOON: Duration = Duration::from_millis(200);

/// A network, from its start.
pub(in super::super) struct Stage {
    pub(in super::super) network: Network,
    pub(in super::super) now: Instant,
    pub(in super::super) heard: Vec<(Instant, NetworkEvent)>,
    ticket: u64,
}

impl Stage {
    pub(in super::super) fn new(seed: u64) -> Self {
        let mut network = Network::new(seed, Version::new(7, 0, 15), LATENCY);
        network.observe();
        let start = GroupStart::After(StreamId::ZERO);
        let create = Command::XGroupCreate { key: STREAM, group: GROUP, start };
        assert_eq!(network.streams_mut().carry_out(Instant::ZERO, create), Ok(Reply::Ok));
        Self { network, now: Instant::ZERO, heard: Vec::new(), ticket: 0 }
    }

    /// A stage on which a node is connected by these lanes.
    pub(in super::super) fn with(seed: u64, node: NodeId, lanes: &[Lane]) -> Self {
        let mut stage = Self::new(seed);
        for lane in lanes {
            stage.network.open(stage.now, node, *lane);
        }
        stage.sleep(SOON);
        assert_eq!(stage.heard.len(), lanes.len(), "{:?}", stage.heard);
        stage.heard.clear();
        stage
    }

    /// Lets time pass. What happens meanwhile is heard.
    pub(in super::super) fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            match self.network.poll(self.now) {
                NetworkEvent::Idle(Some(at)) if at <= end => {
                    assert!(at > self.now, "the network is never behind");
                    assert_eq!(self.network.due(), Some(at));
                    self.now = at;
                }
                NetworkEvent::Idle(_) => break,
                event => self.heard.push((self.now, event)),
            }
        }
        self.now = end;
    }

    /// Sends a command, and says under which ticket.
    pub(in super::super) fn send(&mut self, node: NodeId, lane: Lane, command: Command) -> u64 {
        self.ticket += 1;
        self.network.send(self.now, node, lane, self.ticket, command);
        self.ticket
    }

    /// Sends a command on a lane, on which nothing else is under way, and waits for its answer.
    pub(in super::super) fn ask(
        &mut self,
        node: NodeId,
        lane: Lane,
        command: Command,
    ) -> Result<Reply, Refusal> {
        let sent = self.send(node, lane, command);
        self.sleep(SOON);
        let place = self.heard.iter().position(
            |(_, event)| matches!(event, NetworkEvent::Replied { ticket, .. } if *ticket == sent),
        );
        match place.map(|place| self.heard.remove(place)) {
            Some((_, NetworkEvent::Replied { reply, .. })) => reply,
            other => panic!("no answer, but {other:?}: {:?}", self.heard),
        }
    }

    /// The answers that were heard, with their tickets.
    pub(in super::super) fn replies(&self) -> Vec<(u64, &Result<Reply, Refusal>)> {
        let heard = self.heard.iter();
        heard
            .filter_map(|(_, event)| match event {
                NetworkEvent::Replied { ticket, reply, .. } => Some((*ticket, reply)),
                _ => None,
            })
            .collect()
    }

    /// The lanes that were lost, and when.
    pub(in super::super) fn lost(&self) -> Vec<(Instant, NodeId, Lane)> {
        let lost = |(at, event): &(Instant, NetworkEvent)| match event {
            NetworkEvent::Lost { node, lane, .. } => Some((*at, *node, *lane)),
            _ => None,
        };
        self.heard.iter().filter_map(lost).collect()
    }

    /// How many entries the stream has.
    pub(in super::super) fn len(&self) -> u64 {
        self.network.streams().len(&STREAM)
    }

    /// How many entries its group has pending.
    pub(in super::super) fn pending(&self) -> usize {
        self.network.streams().pending(self.now, &STREAM, &GROUP).len()
    }
}

pub(in super::super) fn node(number: u32) -> NodeId {
    NodeId::new(number)
}

pub(in super::super) fn add() -> Command {
    let fields = vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))];
    Command::XAdd { key: STREAM, create: true, max_len: None, fields }
}

/// Reads new entries, waiting for so many seconds if not 0.
pub(in super::super) fn read(block: u64) -> Command {
    let block = Some(Duration::from_secs(block)).filter(|block| !block.is_zero());
    let consumer = Bytes::from_static(b"c");
    Command::XReadGroup { key: STREAM, group: GROUP, consumer, count: 9, block }
}

pub(in super::super) fn look() -> Command {
    Command::XInfoGroups { key: STREAM }
}
