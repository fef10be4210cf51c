//! What happens to processes: crashes, stops, pauses, clocks.
//!
//! Not to their connections, which is the injector's.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::fact::Fact;
use super::super::fault::Fault;
use super::super::history::{NodeKind, NodeState};
use super::super::network::{Cut, Executed, NodeId};
use super::super::node::{Machine, Step};
use super::{Phase, Planned, World};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::Reply;
use crate::time::Instant;

impl World {
    /// Does something to a process, if this run allows it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "handlers roll for themselves, and what is cast is cast at the start"
    )]
    pub(super) fn hurt(&mut self) {
        let faults: Vec<Fault> =
            self.plan.faults.iter().copied().filter(|fault| fault.is_of_process()).collect();
        let Some(fault) = self.dice.pick(&faults).copied() else { return };
        let of_clients = [Fault::ClientClockAhead, Fault::ClientFrozen, Fault::ClientStopped];
        let kind = if of_clients.contains(&fault) { NodeKind::Client } else { NodeKind::Server };
        let mut nodes = self.running(kind);
        // Nothing can be asked of an application that is frozen.
        nodes.retain(|id| self.nodes.get(*id).is_some_and(|node| node.frozen_until.is_none()));
        let Some(id) = self.dice.pick(&nodes).copied() else { return };
        match fault {
            Fault::ClientClockAhead | Fault::WorkerClockAhead => self.turn_clock(id, fault),
            Fault::ClientFrozen | Fault::WorkerFrozen => self.freeze(id, fault),
            Fault::ClientStopped | Fault::WorkerStopped => {
                self.struck(fault);
                // Whoever stops may be there for a while: nobody else has its name meanwhile.
                self.replace(id, false);
                let grace = self.dice.scale(Duration::from_millis(1), Duration::from_secs(3));
                if self.dice.chance(10) {
                    self.network.cut(self.now, id, Lane::Command, Cut::BeforeWrite);
                }
                self.stop(id, grace);
            }
            Fault::CrashAfterAck => self.arm(id, Step::Acknowledged),
            Fault::CrashAfterRead => self.arm(id, Step::Given),
            Fault::CrashAfterReply => self.arm(id, Step::Replied),
            Fault::CrashBeforeReply => self.arm(id, Step::Ended),
            Fault::CrashInHandler => {
                if self.nodes.get(id).is_some_and(|node| !node.handlers.is_empty()) {
                    self.crash(id, fault);
                } else {
                    self.arm(id, Step::Started);
                }
            }
            _ => {}
        }
    }

    fn turn_clock(&mut self, id: NodeId, fault: Fault) {
        let by = self.dice.scale(Duration::from_millis(10), Duration::from_secs(30));
        if let Some(node) = self.nodes.get_mut(id) {
            node.skew += by;
        }
        self.touch(id);
        self.struck(fault);
    }

    fn freeze(&mut self, id: NodeId, fault: Fault) {
        let claim_idle = self.plan.claim_idle;
        let lasts = self.dice.time(claim_idle / 4, claim_idle * 3);
        let until = (self.now + lasts).min(Instant::ZERO + self.plan.heal);
        if let Some(node) = self.nodes.get_mut(id) {
            node.frozen_until = Some(until);
        }
        self.touch(id);
        self.struck(fault);
    }

    fn arm(&mut self, id: NodeId, step: Step) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.crash = Some(step);
        }
    }

    /// The connection may end before the answer to what matters is heard.
    pub(super) fn lose_answer(&mut self, executed: &Executed) {
        if !self.is_faulty() || !self.plan.allows(Fault::ResetBeforeReply) {
            return;
        }
        let (percent, lane) = match (&executed.command, &executed.reply) {
            (Command::XAutoClaim { .. }, Ok(Reply::Claimed { entries, .. }))
                if !entries.is_empty() =>
            {
                (8, Lane::Command)
            }
            (Command::XReadGroup { .. }, Ok(Reply::Entries(entries))) if !entries.is_empty() => {
                (2, Lane::Blocking(0))
            }
            (Command::XAck { .. } | Command::XAdd { max_len: Some(_), .. }, Ok(_)) => {
                (1, Lane::Command)
            }
            _ => return,
        };
        if self.dice.chance(percent)
            && self.network.cut(self.now, executed.node, lane, Cut::BeforeReply)
        {
            self.struck(Fault::ResetBeforeReply);
        }
    }

    /// The process ends if it is to end at this step. Tells whether it did.
    pub(super) fn crash_at(&mut self, id: NodeId, step: Step) -> bool {
        let armed = self.nodes.get(id).is_some_and(|node| node.crash == Some(step));
        if armed {
            let fault = match step {
                Step::Acknowledged => Fault::CrashAfterAck,
                Step::Ended => Fault::CrashBeforeReply,
                Step::Given => Fault::CrashAfterRead,
                Step::Replied => Fault::CrashAfterReply,
                Step::Started => Fault::CrashInHandler,
            };
            self.crash(id, fault);
        }
        armed
    }

    /// A process ends from one moment to the next, and another one comes up later.
    fn crash(&mut self, id: NodeId, fault: Fault) {
        self.struck(fault);
        let again = self.dice.chance(30);
        self.replace(id, again);
        // A machine that is gone, not only a process, ends no connection.
        if self.dice.chance(20) {
            for lane in self.network.lanes(id) {
                self.network.cut(self.now, id, lane, Cut::HalfOpen);
            }
        }
        self.network.kill(self.now, id);
        self.remove(id);
        self.tell(&Fact::Crashed(id));
    }

    /// Plans another process for one that goes, with its name again or another.
    fn replace(&mut self, id: NodeId, again: bool) {
        let Some(info) = self.history.nodes.get(id) else { return };
        let (kind, name) = (info.kind, info.name.clone());
        self.names_made += 1;
        let name: String = if again { name } else { format!("n{}", self.names_made) };
        let after = self.dice.scale(Duration::from_millis(10), self.plan.claim_idle * 2);
        let at = (self.now + after).min(Instant::ZERO + self.plan.heal);
        self.plan_at(at, Planned::Bear { kind, name });
    }

    /// A process is told to stop.
    pub(super) fn stop(&mut self, id: NodeId, grace: Duration) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let local = node.local(now);
        match &mut node.machine {
            Machine::Client(client) => client.stop(local),
            Machine::Server(server) => server.drain(local, grace),
            // It is not one of ours: what it leaves is not judged.
            Machine::Python(_) => {
                self.network.kill(now, id);
                return self.remove(id);
            }
        }
        if let Some(info) = self.history.nodes.get_mut(id)
            && info.state == NodeState::Running
        {
            info.state = NodeState::Stopping;
            self.tell(&Fact::Stopping { node: id, grace });
        }
        self.touch(id);
    }

    /// A process is gone.
    pub(super) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(id);
        if let Some(info) = self.history.nodes.get_mut(id) {
            info.state = NodeState::Gone;
        }
    }

    /// Frozen processes go on, and nobody is to crash any more.
    pub(super) fn thaw_everybody(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().collect();
        for id in ids {
            if let Some(node) = self.nodes.get_mut(id) {
                node.crash = None;
                node.frozen_until = None;
            }
            self.touch(id);
        }
    }

    /// The node has its turn now.
    pub(super) fn touch(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.touched = true;
            self.wakes = Some(self.now);
        }
    }

    /// Whether faults may happen.
    pub(super) fn is_faulty(&self) -> bool {
        self.phase == Phase::Faulty
    }
}
