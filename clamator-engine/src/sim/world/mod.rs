//! [`World`]: one run: who takes part, what happens to them, and who watches.
//!
//! Not the deciding beforehand (`plan`), and no judging (`invariants`). Time jumps from one thing
//! that happens to the next. At each moment the network speaks first, then what was planned
//! happens, then each node that has heard something, or whose deadline is due, has its turn.

mod cast;
mod processes;
mod turns;
mod work;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::agenda::Agenda;
use super::by_node::ByNode;
use super::dice::Dice;
use super::fact::Fact;
use super::fault::{Fault, FaultCounts};
use super::history::{History, NodeKind, NodeState};
use super::injector::Injector;
use super::invariants::{Invariant, Invariants, Scene, Violation};
use super::network::{Network, NetworkEvent, NodeId};
use super::node::{Arrival, Node};
use super::plan::{PREFIX, Plan, SERVICES};
use super::points::Watch;
use super::trace::Trace;
use crate::engine::Input;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// The longest value that Redis takes, where it does not take all.
const VALUE_MAX: usize = 2000;
/// Most rounds at one moment: more of them is a loop that does not end.
const ROUNDS_MAX: u32 = 10_000;

/// A run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) trace: Trace,
    pub(super) history: History,
    pub(super) counts: FaultCounts,
    pub(super) events: u64,
    now: Instant,
    dice: Dice,
    network: Network,
    injector: Injector,
    /// Boxed, as all are looked through for whoever is due.
    nodes: ByNode<Box<Node>>,
    /// When the next of the nodes wants a turn.
    wakes: Option<Instant>,
    nodes_made: u32,
    names_made: u32,
    agenda: Agenda<Planned>,
    /// Whose turn it is. Empty between rounds; kept for its room.
    turns: Vec<NodeId>,
    pub(super) watch: Watch,
    /// The first entry of each reply stream, where those are short.
    replies: BTreeMap<Bytes, StreamId>,
    invariants: Invariants,
    broken: Option<Violation>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Faulty,
    Healing,
    Settled,
    Ending,
    Over,
}

/// What is going to happen.
#[derive(Debug)]
enum Planned {
    /// A process starts.
    Bear {
        kind: NodeKind,
        name: alloc::string::String,
    },
    Call {
        fresh: bool,
    },
    Cancel {
        number: u64,
    },
    /// Everybody is stopped.
    End,
    /// A handler ends.
    EndHandler {
        node: NodeId,
        job: u64,
    },
    Heal,
    /// Something may happen to a process.
    Hurt,
    /// Nobody has anything left to do.
    Over,
    Settle,
}

impl World {
    /// Makes the world of a plan, which keeps this many lines of what happens.
    pub(super) fn new(plan: Plan, lines_max: usize) -> Self {
        let mut dice = Dice::new(plan.seed ^ 0x0077_6f72_6c64);
        let mut network = Network::new(dice.word(), plan.version, plan.latency);
        network.observe();
        if plan.allows(Fault::ReplyTooLong) {
            network.limit_values(VALUE_MAX);
        }
        let until = Instant::ZERO + plan.heal;
        let injector = Injector::new(dice.word(), &plan.faults, PREFIX, until);
        let services: Vec<&'static str> = SERVICES.iter().take(plan.services).copied().collect();
        let mut world = Self {
            trace: Trace::new(lines_max),
            history: History::new(&services),
            counts: FaultCounts::default(),
            events: 0,
            now: Instant::ZERO,
            dice,
            network,
            injector,
            nodes: ByNode::default(),
            wakes: None,
            nodes_made: 0,
            names_made: 0,
            agenda: Agenda::new(),
            turns: Vec::new(),
            watch: Watch::new(),
            replies: BTreeMap::new(),
            invariants: Invariants::new(),
            broken: None,
            phase: Phase::Faulty,
            plan,
        };
        world.cast();
        world
    }

    /// Lets one more judge look on.
    pub(super) fn add_invariant(&mut self, invariant: Box<dyn Invariant>) {
        self.invariants.add(invariant);
    }

    #[cfg(test)]
    pub(super) fn show_everything(&mut self) {
        self.invariants.show_everything();
    }

    /// Runs to the end, or until something is broken.
    ///
    /// # Errors
    /// What is broken.
    pub(super) fn run(&mut self) -> Result<(), Violation> {
        let mut rounds = 0;
        while self.phase != Phase::Over && self.broken.is_none() {
            self.events += 1;
            let next = self.round();
            let Some(next) = next.filter(|next| *next > self.now) else {
                rounds += 1;
                if rounds > ROUNDS_MAX {
                    let detail = alloc::format!("{ROUNDS_MAX} rounds at one moment");
                    let (invariant, rule) = ("time-goes-on", "3");
                    return Err(Violation { invariant, rule, detail });
                }
                continue;
            };
            rounds = 0;
            self.now = next;
        }
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Does everything that is due now. Says when something is due next.
    fn round(&mut self) -> Option<Instant> {
        self.hear();
        while let Some((_, planned)) = self.agenda.take(self.now) {
            self.happen(planned);
        }
        if self.injector.due().is_some_and(|due| due <= self.now) {
            self.strike();
        }
        if self.wakes.is_some_and(|at| at <= self.now) {
            self.give_turns();
        }
        let due = [self.network.due(), self.agenda.due(), self.wakes, self.injector.due()];
        due.into_iter().flatten().min()
    }

    /// Gives a turn to each node that is due.
    fn give_turns(&mut self) {
        let now = self.now;
        let mut turns = core::mem::take(&mut self.turns);
        let due = self.nodes.iter().filter(|(_, node)| node.wakes(now).is_some_and(|at| at <= now));
        turns.extend(due.map(|(id, _)| id));
        for node in turns.drain(..) {
            if self.broken.is_none() {
                self.turn(node);
            }
        }
        self.turns = turns;
        self.wakes = self.nodes.values().filter_map(|node| node.wakes(now)).min();
    }

    /// Takes what the network says into the nodes' inboxes.
    fn hear(&mut self) {
        loop {
            let (node, arrival) = match self.network.poll(self.now) {
                NetworkEvent::Idle(_) => return self.witness(),
                NetworkEvent::Opened { node, lane, hello } => {
                    (node, Arrival::Input(Input::LaneOpen(lane, hello)))
                }
                NetworkEvent::Lost { node, lane, loss } => {
                    (node, Arrival::Input(Input::LaneLost(lane, loss)))
                }
                NetworkEvent::Replied { node, ticket, reply, .. } => {
                    (node, Arrival::Reply(ticket, reply))
                }
            };
            if let Some(receiver) = self.nodes.get_mut(node) {
                receiver.inbox.push(arrival);
                self.touch(node);
            }
        }
    }

    /// Shows what Redis has executed.
    fn witness(&mut self) {
        while let Some(executed) = self.network.take_executed() {
            self.write(&executed);
            self.tell(&Fact::Executed(&executed));
            self.lose_answer(&executed);
        }
    }

    fn happen(&mut self, planned: Planned) {
        match planned {
            Planned::Bear { kind, name } => self.bear(kind, name),
            Planned::Call { fresh } => self.call(fresh),
            Planned::Cancel { number } => self.cancel(number),
            Planned::End => self.end_everybody(),
            Planned::EndHandler { node, job } => self.end_handler(node, job),
            Planned::Heal => self.heal(),
            Planned::Hurt => self.hurt(),
            Planned::Over => self.phase = Phase::Over,
            Planned::Settle => {
                self.phase = Phase::Settled;
                self.tell(&Fact::Settled);
            }
        }
        if self.phase == Phase::Over {
            self.tell(&Fact::Over);
        }
    }

    /// Something happens to the network or to Redis.
    fn strike(&mut self) {
        let before = self.history.kept(self.now, self.network.streams());
        let fault = self.injector.strike(self.now, &mut self.network);
        self.witness();
        if let Some(fault) = fault {
            self.history.strikes.push((self.now, fault));
            self.history.find_entries(self.network.streams());
            self.history.find_lost(&before, self.now, self.network.streams(), fault);
            self.counts.add(fault);
            self.tell(&Fact::Struck(fault));
        }
    }

    /// A fault of a process has happened.
    fn struck(&mut self, fault: Fault) {
        self.counts.add(fault);
        self.history.strikes.push((self.now, fault));
        self.tell(&Fact::Struck(fault));
    }

    fn plan_at(&mut self, at: Instant, planned: Planned) {
        self.agenda.plan(at, planned);
    }

    /// Shows everybody what happened.
    fn tell(&mut self, fact: &Fact<'_>) {
        self.trace.tell(self.now, fact);
        if self.broken.is_some() {
            return;
        }
        let scene = Scene {
            now: self.now,
            plan: &self.plan,
            history: &self.history,
            network: &self.network,
        };
        self.watch.observe(&scene, fact);
        if let Err(violation) = self.invariants.observe(&scene, fact) {
            self.broken = Some(violation);
        }
    }

    /// The time.
    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// The nodes of a kind that run.
    fn running(&self, kind: NodeKind) -> Vec<NodeId> {
        let of_kind = |id: &NodeId| {
            let node = self.history.nodes.get(*id);
            node.is_some_and(|node| node.kind == kind && node.state == NodeState::Running)
        };
        self.nodes.keys().filter(of_kind).collect()
    }
}
