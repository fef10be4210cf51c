//! [`World`]: everything of a simulation but its tasks: the clock, the network, the processes.
//!
//! Not the polling, which is the executor's, and not the processes' lives and faults, which have
//! files of their own. Nothing here runs code of the user's: wakers and values that are to be woken
//! or dropped are handed to the executor, since the world is locked while it works.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use clamator_engine::sim::{Dice, Network, NetworkEvent, NodeId};
use clamator_engine::{Command, Instant, Lane, Version};
use futures_util::future::BoxFuture;

use super::chaos::Chaos;
use super::life::{Birth, Life, Post};
use super::ready::Ready;
use super::timers::Timers;
use super::trace::{Event, Trace};

/// What Redis the simulated one may be.
const VERSIONS: [Version; 3] =
    [Version::new(6, 2, 14), Version::new(7, 0, 15), Version::new(8, 0, 2)];
/// What a command or a reply usually takes on its way, at least and at most.
const LATENCY: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(3)];

/// Tells the lives of processes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(u32);

impl ProcessId {
    /// The test's own, which nothing happens to.
    pub(super) const TEST: Self = Self(0);

    #[cfg(test)]
    pub(super) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A world, and what may be read of it without a lock.
pub(super) struct Shared {
    pub(super) ready: Arc<Ready>,
    clock: Arc<AtomicU64>,
    world: Mutex<World>,
}

impl Shared {
    pub(super) fn new(seed: u64, chaos: impl FnOnce(Dice) -> Chaos) -> Arc<Self> {
        let (ready, clock) = (Arc::<Ready>::default(), Arc::<AtomicU64>::default());
        let world = World::new(seed, chaos, Arc::clone(&ready), Arc::clone(&clock));
        Arc::new(Self { ready, clock, world: Mutex::new(world) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_start(Duration::from_nanos(self.clock.load(Ordering::Relaxed)))
    }
}

/// The state of a simulation.
pub(crate) struct World {
    pub(super) chaos: Chaos,
    pub(super) network: Network,
    pub(super) now: Instant,
    pub(super) processes: BTreeMap<ProcessId, Life>,
    pub(super) posts: Vec<Post>,
    pub(super) timers: Timers,
    pub(super) trace: Trace,
    pub(super) work: Work,
    /// For names and jitter.
    pub(super) names: Dice,
    /// For what the test draws.
    pub(super) choices: Dice,
    pub(super) ready: Arc<Ready>,
    /// Those who wait for the end of the faults.
    pub(super) waiting: Vec<Waker>,
    clock: Arc<AtomicU64>,
    nodes: BTreeMap<NodeId, Node>,
    nodes_made: u32,
    pub(super) processes_made: ProcessId,
}

/// One end of the network.
struct Node {
    process: ProcessId,
    inbox: VecDeque<NetworkEvent>,
    waker: Option<Waker>,
}

/// What is left to the executor.
#[derive(Default)]
pub(super) struct Work {
    /// Processes whose tasks are to be dropped.
    pub(super) dead: Vec<ProcessId>,
    /// What is to be dropped after that.
    pub(super) garbage: Vec<Box<dyn Any + Send>>,
    /// Processes that are to be started.
    pub(super) births: Vec<Birth>,
    /// Tasks that are to be polled.
    pub(super) spawned: Vec<(ProcessId, BoxFuture<'static, ()>)>,
}

impl Work {
    const fn is_empty(&self) -> bool {
        self.dead.is_empty()
            && self.garbage.is_empty()
            && self.births.is_empty()
            && self.spawned.is_empty()
    }
}

/// What a step of the world led to.
pub(super) enum Step {
    /// Nothing will ever happen again.
    Stuck,
    /// These are to be woken. Perhaps nobody.
    Wake(Vec<Waker>),
}

impl World {
    fn new(
        seed: u64,
        chaos: impl FnOnce(Dice) -> Chaos,
        ready: Arc<Ready>,
        clock: Arc<AtomicU64>,
    ) -> Self {
        let mut dice = Dice::new(seed);
        let version = dice.pick(&VERSIONS).copied().unwrap_or(Version::OLDEST);
        let latency = dice.scale(LATENCY[0], LATENCY[1]);
        let mut processes = BTreeMap::new();
        processes.insert(ProcessId::TEST, Life::new("test".into(), None));
        Self {
            chaos: chaos(dice.split()),
            network: Network::new(dice.word(), version, latency),
            now: Instant::ZERO,
            processes,
            posts: Vec::new(),
            timers: Timers::default(),
            trace: Trace::default(),
            work: Work::default(),
            names: dice.split(),
            choices: dice.split(),
            ready,
            waiting: Vec::new(),
            clock,
            nodes: BTreeMap::new(),
            nodes_made: 0,
            processes_made: ProcessId::TEST,
        }
    }

    /// Lets the next thing happen. Time passes only when nothing more happens now.
    pub(super) fn step(&mut self) -> Step {
        let mut woken = self.waiting_if_healed();
        let network = self.listen(&mut woken);
        if !woken.is_empty() || !self.work.is_empty() {
            return Step::Wake(woken);
        }
        let due = [network, self.timers.due(), self.life_due(), self.chaos.due()];
        let Some(due) = due.into_iter().flatten().min() else { return Step::Stuck };
        self.pass(due);
        woken.extend(self.timers.expire(self.now));
        self.live();
        self.strike();
        Step::Wake(woken)
    }

    /// Takes what is left to the executor; `None` when there is nothing.
    pub(super) fn take_work(&mut self) -> Option<Work> {
        (!self.work.is_empty()).then(|| std::mem::take(&mut self.work))
    }

    /// Has a value dropped by the executor.
    pub(super) fn discard(&mut self, value: impl Any + Send) {
        self.work.garbage.push(Box::new(value));
    }

    /// Makes an end of the network for a process.
    pub(crate) fn add_node(&mut self, process: ProcessId) -> NodeId {
        self.nodes_made += 1;
        let id = NodeId::new(self.nodes_made);
        if self.processes.contains_key(&process) {
            self.nodes.insert(id, Node { process, inbox: VecDeque::new(), waker: None });
        }
        id
    }

    /// Takes an end of the network away, as its owner does who is dropped.
    pub(crate) fn remove_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.remove(&id) {
            for lane in self.network.lanes(id) {
                self.network.close(self.now, id, lane);
            }
            self.discard(node.waker);
        }
    }

    /// Takes the ends of a process away, as its crash does.
    pub(super) fn kill_nodes(&mut self, process: ProcessId) {
        let of_process = |(_, node): &(&NodeId, &Node)| node.process == process;
        let nodes: Vec<NodeId> = self.nodes.iter().filter(of_process).map(|(id, _)| *id).collect();
        for id in nodes {
            self.network.kill(self.now, id);
            if let Some(node) = self.nodes.remove(&id) {
                self.discard(node.waker);
            }
        }
    }

    pub(crate) fn open(&mut self, node: NodeId, lane: Lane) {
        if self.nodes.contains_key(&node) {
            self.network.open(self.now, node, lane);
        }
    }

    pub(crate) fn close(&mut self, node: NodeId, lane: Lane) {
        if let Some(node) = self.nodes.get_mut(&node) {
            // A lane that opens again must not hear what was said to this one.
            node.inbox.retain(|event| lane_of(event) != Some(lane));
        }
        self.network.close(self.now, node, lane);
    }

    /// Sends what a lane has to say in one turn. The process may crash of it.
    pub(crate) fn send(
        &mut self,
        id: NodeId,
        lane: Lane,
        commands: impl Iterator<Item = (u64, Command)>,
    ) {
        let Some(process) = self.nodes.get(&id).map(|node| node.process) else { return };
        let commands: Vec<(u64, Command)> = commands.collect();
        if self.crashes_before(process, &commands) {
            return;
        }
        let crashes = self.crash_after(process, &commands);
        for (ticket, command) in commands {
            self.trace.fold(u64::from(id.number()) << 32 ^ ticket);
            if let Command::XAdd { key, fields, .. } = &command {
                self.trace.fold_bytes(key);
                for (field, value) in fields {
                    self.trace.fold_bytes(field);
                    self.trace.fold_bytes(value);
                }
            }
            self.network.send(self.now, id, lane, ticket, command);
        }
        if let Some(fault) = crashes {
            self.crash(process, Some(fault));
        }
    }

    /// Takes the next thing that happened at this end; `None` when nothing did, and the task of
    /// `cx` is woken when something does.
    pub(crate) fn receive(&mut self, node: NodeId, cx: &Context<'_>) -> Option<NetworkEvent> {
        let node = self.nodes.get_mut(&node)?;
        let event = node.inbox.pop_front();
        let known = node.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        if event.is_none() && !known {
            let before = node.waker.replace(cx.waker().clone());
            self.discard_waker(before);
        }
        event
    }

    fn discard_waker(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            self.discard(waker);
        }
    }

    /// Hands out what the network has to say now. Tells when it has more to say.
    fn listen(&mut self, woken: &mut Vec<Waker>) -> Option<Instant> {
        loop {
            let event = self.network.poll(self.now);
            let node = match &event {
                NetworkEvent::Idle(due) => return *due,
                NetworkEvent::Opened { node, .. }
                | NetworkEvent::Lost { node, .. }
                | NetworkEvent::Replied { node, .. } => *node,
                _ => continue,
            };
            self.deliver(node, event, woken);
        }
    }

    fn deliver(&mut self, id: NodeId, event: NetworkEvent, woken: &mut Vec<Waker>) {
        let Some(process) = self.nodes.get(&id).map(|node| node.process) else { return };
        if self.crashes_by(process, &event) {
            return;
        }
        if let Some(name) = self.processes.get(&process).map(|life| Arc::clone(&life.name)) {
            match &event {
                NetworkEvent::Opened { lane, .. } => {
                    self.trace.add(self.now, Event::Opened(name, *lane));
                }
                NetworkEvent::Lost { lane, loss, .. } => {
                    self.trace.add(self.now, Event::Lost(name, *lane, loss.clone()));
                }
                NetworkEvent::Replied { .. } | NetworkEvent::Idle(_) | _ => {}
            }
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.inbox.push_back(event);
            woken.extend(node.waker.take());
        }
    }

    fn pass(&mut self, to: Instant) {
        self.now = self.now.max(to);
        let nanos = u64::try_from(self.now.since_start().as_nanos()).unwrap_or(u64::MAX);
        self.clock.store(nanos, Ordering::Relaxed);
    }
}

const fn lane_of(event: &NetworkEvent) -> Option<Lane> {
    match event {
        NetworkEvent::Opened { lane, .. }
        | NetworkEvent::Lost { lane, .. }
        | NetworkEvent::Replied { lane, .. } => Some(*lane),
        NetworkEvent::Idle(_) | _ => None,
    }
}
