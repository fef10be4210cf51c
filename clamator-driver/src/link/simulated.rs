//! [`SimulatedLink`]: lanes over the network of a simulation.
//!
//! Not the network and not its faults: those belong to the simulation, which wakes the link's task
//! when something happens at its end. A link is one node of the network; when its process crashes
//! the node is gone, and the link is silent for the rest of its life. The world's clock counts
//! here, not the process's, which may be ahead.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};

use clamator_engine::sim::{NetworkEvent, NodeId};
use clamator_engine::{Command, Input, Instant, Lane, Token};

use crate::link::Link;
use crate::sim::Process;

/// The lanes of one engine in a simulation.
pub(crate) struct SimulatedLink {
    process: Process,
    node: NodeId,
    lanes: BTreeMap<Lane, Open>,
}

#[derive(Default)]
struct Open {
    outgoing: Vec<(u64, Command)>,
    /// Tokens of commands without a reply, oldest first.
    waiting: VecDeque<Token>,
}

impl SimulatedLink {
    pub(crate) fn new(process: Process) -> Self {
        let node = process.world().add_node(process.id());
        Self { process, node, lanes: BTreeMap::new() }
    }

    /// What an event is to the engine; `None` when it is nothing.
    fn translate(&mut self, event: NetworkEvent) -> Option<Input> {
        match event {
            NetworkEvent::Opened { lane, hello, .. } => Some(Input::LaneOpen(lane, hello)),
            NetworkEvent::Lost { lane, loss, .. } => {
                self.lanes.remove(&lane);
                Some(Input::LaneLost(lane, loss))
            }
            NetworkEvent::Replied { lane, ticket, reply, .. } => {
                let token = self.lanes.get_mut(&lane)?.waiting.pop_front()?;
                assert_eq!(token.number(), ticket, "a lane's replies come in order");
                Some(Input::Reply(token, reply))
            }
            NetworkEvent::Idle(_) | _ => None,
        }
    }
}

impl Link for SimulatedLink {
    fn open(&mut self, _now: Instant, lane: Lane) {
        self.lanes.insert(lane, Open::default());
        self.process.world().open(self.node, lane);
    }

    fn send(&mut self, lane: Lane, token: Token, command: Command) {
        if let Some(open) = self.lanes.get_mut(&lane) {
            open.outgoing.push((token.number(), command));
            open.waiting.push_back(token);
        }
    }

    fn flush(&mut self, _now: Instant) {
        for (lane, open) in self.lanes.iter_mut().filter(|(_, open)| !open.outgoing.is_empty()) {
            self.process.world().send(self.node, *lane, open.outgoing.drain(..));
        }
    }

    fn close(&mut self, _now: Instant, lane: Lane) {
        self.lanes.remove(&lane);
        self.process.world().close(self.node, lane);
    }

    fn poll_input(&mut self, _now: Instant, cx: &mut Context<'_>) -> Poll<Input> {
        loop {
            // The lock is not held beyond this line.
            let Some(event) = self.process.world().receive(self.node, cx) else {
                return Poll::Pending;
            };
            if let Some(input) = self.translate(event) {
                return Poll::Ready(input);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

impl Drop for SimulatedLink {
    fn drop(&mut self) {
        self.process.world().remove_node(self.node);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::sim::Simulation;

    #[test]
    fn a_lane_that_opens_again_hears_nothing_of_the_one_before() {
        Simulation::new().faults([]).run(1, async |sim| {
            let mut link = SimulatedLink::new(sim.process("other"));
            let mut cx = Context::from_waker(Waker::noop());
            let now = sim.now();
            link.open(now, Lane::Command);
            sim.sleep(Duration::from_secs(1)).await;
            link.close(now, Lane::Command);
            link.open(now, Lane::Command);
            assert!(link.poll_input(now, &mut cx).is_pending());
            sim.sleep(Duration::from_secs(1)).await;
            let opened = link.poll_input(now, &mut cx);
            assert!(matches!(opened, Poll::Ready(Input::LaneOpen(Lane::Command, _))));
            assert!(link.poll_input(now, &mut cx).is_pending());
        });
    }
}
