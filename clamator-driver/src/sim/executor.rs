//! [`Executor`]: polls the tasks of a simulation, one at a time, in the order of their wake-ups.
//!
//! Not the world, which it steps when nobody is runnable. It is the only place where code of the
//! user's runs, drops included: never while the world is locked, and every panic of it ends the
//! run.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use clamator_engine::Instant;
use futures_util::future::BoxFuture;

use super::life::{Birth, Fate};
use super::process::Process;
use super::ready::{Bell, TaskId};
use super::world::{ProcessId, Shared, Step};

/// Most polls without any time passing.
const POLLS_MAX: u64 = 100_000;
/// The task that decides when the run is over.
const TEST: TaskId = 0;

/// The tasks of a simulation.
pub(super) struct Executor {
    shared: Arc<Shared>,
    tasks: BTreeMap<TaskId, Task>,
    made: TaskId,
    /// Nobody lets time pass beyond this.
    limit: Instant,
    /// How often something was polled, and when time passed last.
    polls: u64,
    polled_at: Instant,
}

struct Task {
    process: ProcessId,
    bell: Arc<Bell>,
    future: BoxFuture<'static, ()>,
}

/// Why a run failed, in words.
pub(super) struct Failure(pub(super) String);

impl Executor {
    pub(super) const fn new(shared: Arc<Shared>, limit: Instant) -> Self {
        let (polls, polled_at) = (0, Instant::ZERO);
        Self { shared, tasks: BTreeMap::new(), made: TEST, limit, polls, polled_at }
    }

    /// Runs until the test has ended.
    pub(super) fn run<T>(
        &mut self,
        mut test: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Failure> {
        let bell = Bell::new(TEST, &self.shared.ready);
        let waker = bell.waker();
        bell.ring();
        loop {
            self.work()?;
            let Some(task) = self.shared.ready.pop() else {
                self.step()?;
                continue;
            };
            self.guard(task)?;
            if task != TEST {
                self.poll(task)?;
            } else if self.shared.lock().fate(ProcessId::TEST, TEST) == Fate::Polled {
                bell.reset();
                let poll = || test.as_mut().poll(&mut Context::from_waker(&waker));
                if let Poll::Ready(value) = attempt(poll)? {
                    return Ok(value);
                }
            }
        }
    }

    /// Drops what is left of a run.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        let tasks = std::mem::take(&mut self.tasks);
        let kept = self.shared.lock().take_kept();
        attempt(|| drop((tasks, kept)))?;
        while let Some(work) = { self.shared.lock().take_work() } {
            attempt(|| drop(work))?;
        }
        Ok(())
    }

    fn poll(&mut self, id: TaskId) -> Result<(), Failure> {
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        if self.shared.lock().fate(task.process, id) != Fate::Polled {
            return Ok(());
        }
        task.bell.reset();
        let (waker, future) = (task.bell.waker(), &mut task.future);
        if attempt(|| future.as_mut().poll(&mut Context::from_waker(&waker)))?.is_ready() {
            let process = task.process;
            let ended = self.tasks.remove(&id);
            attempt(|| drop(ended))?;
            self.shared.lock().task_ended(process);
        }
        Ok(())
    }

    /// Does what the world has left to do.
    fn work(&mut self) -> Result<(), Failure> {
        while let Some(work) = { self.shared.lock().take_work() } {
            for process in work.dead {
                let of_process = |(_, task): &(&TaskId, &Task)| task.process == process;
                let dead: Vec<TaskId> =
                    self.tasks.iter().filter(of_process).map(|(id, _)| *id).collect();
                let dead: Vec<Task> =
                    dead.into_iter().filter_map(|id| self.tasks.remove(&id)).collect();
                attempt(|| drop(dead))?;
            }
            attempt(|| drop(work.garbage))?;
            for (process, future) in work.spawned {
                self.add(process, future);
            }
            for Birth { id, name, ahead, factory } in work.births {
                let process = Process::new(Arc::clone(&self.shared), id, name, ahead);
                let spawn = || {
                    let task = factory(process.clone());
                    process.spawn(task);
                };
                attempt(spawn)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, process: ProcessId, future: BoxFuture<'static, ()>) {
        self.made += 1;
        let bell = Bell::new(self.made, &self.shared.ready);
        bell.ring();
        self.tasks.insert(self.made, Task { process, bell, future });
    }

    /// Lets the next thing happen.
    fn step(&self) -> Result<(), Failure> {
        let step = self.shared.lock().step();
        match step {
            Step::Stuck => Err(Failure(
                "deadlock: no task is runnable, nobody waits for a time, and nothing is under way. \
                 Who waits for a timer or socket of a real runtime waits for ever: there are \
                 Sim::sleep and Process::sleep"
                    .into(),
            )),
            Step::Wake(_) if self.shared.now() > self.limit => {
                Err(Failure(format!("the test did not end within {}", self.limit)))
            }
            Step::Wake(wakers) => {
                for waker in wakers {
                    attempt(|| waker.wake())?;
                }
                Ok(())
            }
        }
    }

    /// Notices tasks that wake each other, or themselves, without end.
    fn guard(&mut self, task: TaskId) -> Result<(), Failure> {
        let now = self.shared.now();
        if self.polled_at < now {
            (self.polls, self.polled_at) = (0, now);
        }
        self.polls += 1;
        if self.polls < POLLS_MAX {
            return Ok(());
        }
        let process = self.tasks.get(&task).map_or(ProcessId::TEST, |task| task.process);
        let world = self.shared.lock();
        let name = world.processes.get(&process).map_or("?", |life| &life.name);
        Err(Failure(format!(
            "hot loop: {POLLS_MAX} polls while no time passed, the last of a task of {name:?}"
        )))
    }
}

/// Runs code of the user's.
fn attempt<T>(run: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| Failure(text(&*payload)))
}

/// What a panic says.
fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a message".to_owned())
}
