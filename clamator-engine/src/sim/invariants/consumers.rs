//! What is left in a group of those who are gone (4.11).
//!
//! Not a server's own consumer, which goes with its stop: see `groups`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Fact, Invariant, Kind, Scene};
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{NodeInfo, NodeKind, NodeState};
use crate::sim::network::NodeId;
use crate::time::Instant;

/// How long a server may take until it looks, besides its own time between two looks: its ticks are
/// at least once in so long.
const LOOKS_WITHIN: Duration = Duration::from_secs(3);
/// Who may not run scripts leaves all.
const FORBIDS: FaultSet = FaultSet::of(&[Fault::NoPermission]);

/// Where a server runs, the consumers of those who are gone do not stay (4.11).
#[derive(Debug, Default)]
pub(super) struct GoneLeaveNoConsumer {
    /// Who served when everything had settled.
    served: Vec<NodeId>,
}

impl Invariant for GoneLeaveNoConsumer {
    fn title(&self) -> (&'static str, &'static str) {
        ("who-is-gone-leaves-no-consumer", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Settled, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let (history, streams) = (scene.history, scene.network.streams());
        let servers = history
            .nodes
            .iter()
            .filter(|(_, node)| node.kind == NodeKind::Server && node.state != NodeState::Gone);
        let runs = |node: &NodeInfo| node.state == NodeState::Running;
        if matches!(fact, Fact::Settled) {
            self.served.extend(servers.filter(|(_, node)| runs(node)).map(|(id, _)| id));
            return Ok(());
        }
        let forbidden = history.struck_since(Instant::ZERO, FORBIDS);
        let ends = scene.now >= Instant::ZERO + scene.plan.end;
        let mut names = Vec::new();
        let mut serves = false;
        for (id, node) in servers {
            serves |= runs(node) && self.served.contains(&id);
            // Whoever stops is still there.
            names.push(&node.name);
        }
        if !serves || !ends || forbidden {
            return Ok(());
        }
        let stays = scene.plan.consumer_idle_max * 3 / 2 + LOOKS_WITHIN;
        for service in &history.services {
            for (consumer, idle) in
                streams.idle_consumers(scene.now, &service.stream, &service.group)
            {
                let lives = names
                    .iter()
                    .any(|name| *consumer == format!("{}:{name}", service.service).as_bytes());
                if idle > stays && !lives {
                    return Err(format!("{consumer:?} holds nothing and is idle for {idle:?}"));
                }
            }
        }
        Ok(())
    }
}
