//! [`Life`]: a process of a simulation from its start to its end, and the [`Post`] it fills.
//!
//! Not the tasks, which the executor drops when a process is dead. A post is kept filled: a worker
//! that ends, for whatever reason, is followed by another one with the same name. What refers to a
//! process that is gone is ignored.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clamator_engine::Instant;
use clamator_engine::sim::Fault;
use futures_util::future::BoxFuture;

use super::process::Process;
use super::ready::TaskId;
use super::trace::{Event, Name};
use super::world::{ProcessId, World};

/// How long a worker that was told to stop may take before it is ended.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long a post stays empty after an end, at least; and after a start that failed.
const EMPTY: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];
/// How long a post stays empty at most.
const EMPTY_MAX: Duration = Duration::from_secs(1);
/// What is taken for `claim_idle` as long as no server has said its own.
const CLAIM_IDLE: Duration = Duration::from_secs(1);

/// What starts a worker.
pub(super) type Factory = Arc<dyn Fn(Process) -> BoxFuture<'static, ()> + Send + Sync>;

/// A process that is alive.
pub(super) struct Life {
    pub(super) name: Name,
    /// How far its clock is ahead of the world's, in nanoseconds.
    pub(super) ahead: Arc<AtomicU64>,
    /// What it crashes of as soon as it can.
    pub(super) armed: Option<Fault>,
    pub(super) claim_idle: Duration,
    pub(super) crash_at: Option<Instant>,
    pub(super) post: Option<usize>,
    frozen_until: Option<Instant>,
    /// What lives as long as the process does.
    kept: Option<Box<dyn Any + Send>>,
    /// Tasks that were woken while the process was frozen.
    parked: Vec<TaskId>,
    /// Set when it was told to stop.
    stop_by: Option<Instant>,
    tasks: usize,
}

/// A place for one worker.
pub(super) struct Post {
    pub(super) factory: Factory,
    pub(super) name: Name,
    pub(super) process: Option<ProcessId>,
    /// How many workers have filled it.
    pub(super) starts: u64,
    fill_at: Option<Instant>,
}

/// A process that is to be started.
pub(super) struct Birth {
    pub(super) id: ProcessId,
    pub(super) name: Name,
    pub(super) ahead: Arc<AtomicU64>,
    pub(super) factory: Factory,
}

/// What is to become of a task that was woken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its process is dead.
    Gone,
    /// Its process is frozen: it comes again.
    Parked,
    Polled,
}

impl Life {
    pub(super) fn new(name: Name, post: Option<usize>) -> Self {
        Self {
            name,
            ahead: Arc::default(),
            armed: None,
            claim_idle: CLAIM_IDLE,
            crash_at: None,
            post,
            frozen_until: None,
            kept: None,
            parked: Vec::new(),
            stop_by: None,
            tasks: 0,
        }
    }

    pub(super) const fn is_frozen(&self) -> bool {
        self.frozen_until.is_some()
    }

    pub(super) fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead.load(Ordering::Relaxed))
    }

    fn due(&self) -> Option<Instant> {
        [self.frozen_until, self.crash_at, self.stop_by].into_iter().flatten().min()
    }
}

impl World {
    /// Starts a process that fills a post, or none.
    pub(super) fn begin(&mut self, name: Name, post: Option<usize>) -> (ProcessId, Arc<AtomicU64>) {
        self.processes_made = self.processes_made.next();
        let id = self.processes_made;
        let life = Life::new(Arc::clone(&name), post);
        let ahead = Arc::clone(&life.ahead);
        self.processes.insert(id, life);
        self.trace.add(self.now, Event::Started(name));
        (id, ahead)
    }

    /// Makes a post and fills it.
    pub(super) fn add_post(&mut self, name: Name, factory: Factory) -> usize {
        let post = self.posts.len();
        self.posts.push(Post { factory, name, process: None, starts: 0, fill_at: None });
        self.fill(post);
        post
    }

    /// Tells what is to become of a task that was woken.
    pub(super) fn fate(&mut self, process: ProcessId, task: TaskId) -> Fate {
        match self.processes.get_mut(&process) {
            None => Fate::Gone,
            Some(life) if life.is_frozen() => {
                life.parked.push(task);
                Fate::Parked
            }
            Some(_) => {
                self.trace.fold_time(self.now);
                self.trace.fold(task);
                Fate::Polled
            }
        }
    }

    /// Takes a task of a process; gives it back when there is no such process.
    pub(super) fn spawn(
        &mut self,
        process: ProcessId,
        task: BoxFuture<'static, ()>,
    ) -> Option<BoxFuture<'static, ()>> {
        let Some(life) = self.processes.get_mut(&process) else { return Some(task) };
        life.tasks += 1;
        self.work.spawned.push((process, task));
        None
    }

    /// A task of a process has ended, by itself.
    pub(super) fn task_ended(&mut self, process: ProcessId) {
        let Some(life) = self.processes.get_mut(&process) else { return };
        life.tasks = life.tasks.saturating_sub(1);
        if life.tasks == 0 && life.stop_by.is_some() {
            self.end(process, EMPTY[0]);
        }
    }

    /// Keeps a value as long as a process lives.
    pub(super) fn keep(&mut self, process: ProcessId, value: Box<dyn Any + Send>) {
        match self.processes.get_mut(&process) {
            Some(life) => life.kept = Some(value),
            None => self.discard(value),
        }
    }

    /// Ends a process that could not start.
    pub(super) fn fail(&mut self, process: ProcessId, why: String) {
        if let Some(life) = self.processes.get(&process) {
            self.trace.add(self.now, Event::Failed(Arc::clone(&life.name), why));
            self.end(process, EMPTY[1]);
        }
    }

    /// Ends a process without warning. Tells whether it was alive.
    pub(super) fn crash(&mut self, process: ProcessId, fault: Option<Fault>) -> bool {
        let Some(life) = self.processes.get(&process) else { return false };
        self.trace.add(self.now, Event::Crashed(Arc::clone(&life.name), fault));
        if let Some(fault) = fault {
            self.chaos.count(fault);
        }
        self.end(process, EMPTY[0]);
        true
    }

    /// Stops polling a process until then. Tells whether it was alive.
    pub(super) fn freeze(&mut self, process: ProcessId, lasts: Duration) -> bool {
        let Some(life) = self.processes.get_mut(&process) else { return false };
        let until = self.now + lasts;
        life.frozen_until = Some(life.frozen_until.map_or(until, |known| known.max(until)));
        self.trace.add(self.now, Event::Frozen(Arc::clone(&life.name)));
        true
    }

    /// Turns a process's clock ahead. Tells whether it was alive.
    pub(super) fn turn_clock(&mut self, process: ProcessId, by: Duration) -> bool {
        let Some(life) = self.processes.get(&process) else { return false };
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        life.ahead.fetch_add(nanos, Ordering::Relaxed);
        self.timers.advance(process, by);
        self.trace.add(self.now, Event::ClockJumped(Arc::clone(&life.name)));
        true
    }

    /// Drops what a process keeps, which lets servers stop by themselves. Tells whether it kept
    /// something.
    pub(super) fn stop(&mut self, process: ProcessId) -> bool {
        let Some(life) = self.processes.get_mut(&process) else { return false };
        let Some(kept) = life.kept.take() else { return false };
        life.stop_by = Some(self.now + STOP_MAX);
        self.trace.add(self.now, Event::Stopping(Arc::clone(&life.name)));
        self.work.garbage.push(kept);
        true
    }

    /// Takes what the processes and posts keep, when the run is over.
    pub(super) fn take_kept(&mut self) -> (Vec<Post>, Vec<Box<dyn Any + Send>>) {
        let kept = self.processes.values_mut().filter_map(|life| life.kept.take()).collect();
        (std::mem::take(&mut self.posts), kept)
    }

    /// When something happens in the life of a process or at a post.
    pub(super) fn life_due(&self) -> Option<Instant> {
        let lives = self.processes.values().filter_map(Life::due);
        lives.chain(self.posts.iter().filter_map(|post| post.fill_at)).min()
    }

    /// Does what is due in the lives of processes and at posts.
    pub(super) fn live(&mut self) {
        let now = self.now;
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let processes: Vec<ProcessId> = self.processes.keys().copied().collect();
        for process in processes {
            let Some(life) = self.processes.get(&process) else { continue };
            if is_due(life.frozen_until) {
                self.thaw(process);
            }
            let Some(life) = self.processes.get(&process) else { continue };
            if is_due(life.crash_at) {
                self.crash(process, Some(Fault::CrashInHandler));
            } else if is_due(life.stop_by) {
                self.end(process, EMPTY[0]);
            }
        }
        for post in 0..self.posts.len() {
            if self.posts.get(post).is_some_and(|post| is_due(post.fill_at)) {
                self.fill(post);
            }
        }
    }

    /// Lets a frozen process go on.
    pub(super) fn thaw(&mut self, process: ProcessId) {
        let Some(life) = self.processes.get_mut(&process) else { return };
        if life.frozen_until.take().is_none() {
            return;
        }
        for task in life.parked.drain(..) {
            self.ready.push(task);
        }
        self.trace.add(self.now, Event::Thawed(Arc::clone(&life.name)));
    }

    fn fill(&mut self, number: usize) {
        let Some(post) = self.posts.get_mut(number) else { return };
        let (name, factory) = (Arc::clone(&post.name), Arc::clone(&post.factory));
        post.fill_at = None;
        post.starts += 1;
        let (id, ahead) = self.begin(Arc::clone(&name), Some(number));
        if let Some(post) = self.posts.get_mut(number) {
            post.process = Some(id);
        }
        self.work.births.push(Birth { id, name, ahead, factory });
    }

    /// Takes a process out of the world.
    fn end(&mut self, process: ProcessId, empty_min: Duration) {
        let Some(life) = self.processes.remove(&process) else { return };
        self.kill_nodes(process);
        for waker in self.timers.cancel_all(process) {
            self.discard(waker);
        }
        self.work.dead.push(process);
        self.work.garbage.extend(life.kept);
        let pause = self.chaos.dice.scale(empty_min, EMPTY_MAX);
        if let Some(post) = life.post.and_then(|post| self.posts.get_mut(post)) {
            post.process = None;
            post.fill_at = Some(self.now + pause);
        }
    }
}
