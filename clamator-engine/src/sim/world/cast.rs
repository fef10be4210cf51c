//! Who takes part: processes that start, calls that are planned, and the end of both.
//!
//! Not what happens in between.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use clamator_proto::{Contract, MethodName, ServiceName};

use super::super::fact::Fact;
use super::super::fault::Fault;
use super::super::history::{NodeInfo, NodeKind, NodeState};
use super::super::network::NodeId;
use super::super::node::{Machine, Node};
use super::super::plan::{FRESH_CALLS, PREFIX};
use super::super::python::Python;
use super::{Phase, Planned, World};
use crate::client::{Client, ClientConfig};
use crate::server::{Server, ServerConfig, ServiceConfig};
use crate::time::Instant;

/// How long everybody is given to stop.
const GRACE: Duration = Duration::from_secs(3);
/// How long after that nobody may be there any more.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

impl World {
    /// Brings everybody in, and plans what does not depend on what happens.
    pub(super) fn cast(&mut self) {
        for number in 0..self.plan.servers {
            let at = Instant::ZERO + self.dice.time(Duration::ZERO, Duration::from_secs(1));
            let name = format!("w{number}");
            self.plan_at(at, Planned::Bear { kind: NodeKind::Server, name });
        }
        for number in 0..self.plan.clients {
            let at = Instant::ZERO + self.dice.time(Duration::ZERO, Duration::from_secs(1));
            let name = format!("c{number}");
            self.plan_at(at, Planned::Bear { kind: NodeKind::Client, name });
        }
        if self.plan.allows(Fault::TwinClients) {
            let (kind, name) = (NodeKind::Client, "c0".into());
            self.plan_at(Instant::ZERO, Planned::Bear { kind, name });
            self.counts.add(Fault::TwinClients);
        }
        if self.plan.allows(Fault::PythonWorker) {
            // Its group would start at the end of the stream, so somebody else creates it.
            let at = self.dice.time(Duration::from_secs(4), self.plan.heal);
            let (kind, name) = (NodeKind::Python, "py".into());
            self.plan_at(Instant::ZERO + at, Planned::Bear { kind, name });
        }
        self.plan_calls();
        let heal = Instant::ZERO + self.plan.heal;
        let mut at = Instant::ZERO;
        loop {
            at = at + self.dice.scale(Duration::from_millis(20), Duration::from_secs(4));
            if at >= heal {
                break;
            }
            self.plan_at(at, Planned::Hurt);
        }
        self.plan_at(heal, Planned::Heal);
        self.plan_at(Instant::ZERO + self.plan.settled, Planned::Settle);
        self.plan_at(Instant::ZERO + self.plan.end, Planned::End);
    }

    fn plan_calls(&mut self) {
        let fresh = FRESH_CALLS;
        let bursts = if self.plan.allows(Fault::ReplyOverflow) { 30 } else { 10 };
        let mut left = self.plan.calls - fresh;
        while left > 0 {
            let at = self.dice.time(Duration::from_millis(100), self.plan.heal);
            let burst = if self.dice.chance(bursts) { self.dice.between(2, 40) } else { 1 };
            for _ in 0..burst.min(left) {
                self.plan_at(Instant::ZERO + at, Planned::Call { fresh: false });
            }
            left -= burst.min(left);
        }
        for number in 0..fresh {
            let after = Duration::from_millis(10 + 200 * number);
            let at = Instant::ZERO + self.plan.settled + after;
            self.plan_at(at, Planned::Call { fresh: true });
        }
    }

    /// A process starts.
    pub(super) fn bear(&mut self, kind: NodeKind, name: String) {
        if self.phase >= Phase::Ending {
            return;
        }
        let id = NodeId::new(self.nodes_made);
        self.nodes_made += 1;
        let seed = self.dice.word();
        let machine = match kind {
            NodeKind::Client => Machine::Client(self.client(&name, seed)),
            NodeKind::Python => {
                let Some(names) = self.history.services.first() else { return };
                let (stream, group) = (names.stream.clone(), names.group.clone());
                let claim_idle = self.plan.python_claim_idle;
                self.counts.add(Fault::PythonWorker);
                Machine::Python(Python::new(self.now, stream, group, &name, claim_idle))
            }
            NodeKind::Server => {
                let is_fresh = self.history.nodes.values().all(|node| node.name != name);
                Machine::Server(self.server(&name, is_fresh, seed))
            }
        };
        let (born, state) = (self.now, NodeState::Running);
        self.history.nodes.insert(id, NodeInfo { kind, name, born, state });
        self.nodes.insert(id, Box::new(Node::new(machine)));
        self.tell(&Fact::Born(id));
        self.touch(id);
    }

    fn client(&self, name: &str, seed: u64) -> Client {
        let mut nonce = [0; 16];
        for (byte, number) in nonce.iter_mut().zip(self.nodes_made.to_be_bytes()) {
            *byte = number;
        }
        let mut config = ClientConfig::new(PREFIX, nonce, seed);
        config.instance = name.into();
        config.command_timeout = self.plan.command_timeout;
        config.seeded = self.plan.bug;
        config.in_flight_max = self.plan.in_flight_max;
        config.read_block = self.plan.read_block;
        config.timeout = self.plan.timeout;
        config.withdraw = self.plan.withdraw;
        Client::new(self.now, config)
    }

    fn server(&self, name: &str, is_fresh: bool, seed: u64) -> Server {
        let mut config = ServerConfig::new(PREFIX, name, seed);
        config.instance_is_fresh = is_fresh;
        config.seeded = self.plan.bug;
        config.claim_idle = self.plan.claim_idle;
        config.command_timeout = self.plan.command_timeout;
        config.consumer_idle_max = self.plan.consumer_idle_max;
        config.deadline_slack = self.plan.deadline_slack;
        config.deliveries_max = self.plan.deliveries_max;
        config.read_block = self.plan.read_block;
        config.reply_stream_max_len = self.plan.reply_stream_max_len;
        config.reply_stream_ttl = self.plan.reply_stream_ttl;
        let services = self.history.services.iter().filter_map(|names| {
            let contract = Contract::new(ServiceName::new(names.service).ok()?);
            let contract = contract.request(MethodName::new("echo").ok()?).ok()?;
            let mut service = ServiceConfig::new(contract);
            service.concurrency = self.plan.concurrency;
            Some(service)
        });
        let services: Vec<ServiceConfig> = services.collect();
        Server::new(self.now, config, services)
    }

    /// Every fault ends. Who is gone comes back.
    pub(super) fn heal(&mut self) {
        self.phase = Phase::Healing;
        self.injector.heal(self.now, &mut self.network);
        self.thaw_everybody();
        if self.running(NodeKind::Server).is_empty() {
            self.bear(NodeKind::Server, "last".into());
        }
        if self.running(NodeKind::Client).is_empty() {
            self.bear(NodeKind::Client, "last".into());
        }
        self.tell(&Fact::Healed);
    }

    /// Everybody is told to stop.
    pub(super) fn end_everybody(&mut self) {
        self.phase = Phase::Ending;
        let ids: Vec<NodeId> = self.nodes.keys().collect();
        for id in ids {
            self.stop(id, GRACE);
        }
        self.plan_at(self.now + STOPS_WITHIN, Planned::Over);
    }
}
