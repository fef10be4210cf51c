//! [`Operator`]: looks after dead letters, for programs and people who run a deployment.
//!
//! Neither calls nor serves, and not the rules of what is put back when, which are the engine's. An
//! operator is a handle: its work is done by one task on the runtime it was connected on, over one
//! connection.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Context;

use clamator_engine::{
    DeadLetter, Done, Instant, Loss, OperatorConfig, OperatorError, OperatorEvent, StreamId, TaskId,
};
use clamator_proto::ServiceName;
use futures_channel::oneshot;

use crate::client::ConnectError;
use crate::driver::Role;
use crate::events::Speaker;
use crate::inbox::Inbox;
use crate::link;
use crate::random;
use crate::runtime::Runtime;
use crate::target::Target;

/// A handle to an operator. A clone is another handle to the same one.
///
/// When the last handle is gone, the operator stops by itself; [`Operator::stop`] waits for it.
pub struct Operator<R> {
    handle: Arc<Handle>,
    runtime: PhantomData<fn() -> R>,
}

/// An entry of a command stream that is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requeued {
    /// Its new id.
    pub entry: StreamId,
    /// Whether the dead letter is gone. If not, remove it, or it may be put back a second time.
    pub removed: bool,
}

impl<R: Runtime> Operator<R> {
    /// Connects an operator of the deployment with this key prefix: resolves when the connection is
    /// made and logged in.
    ///
    /// # Errors
    /// [`ConnectError`] with the first thing that went wrong. Nothing is left running.
    pub async fn connect(
        prefix: impl Into<String>,
        target: impl Into<Target>,
    ) -> Result<Self, ConnectError>
    where
        R: Default,
    {
        Self::connect_on(R::default(), prefix, target).await
    }

    /// As [`Operator::connect`], on this runtime.
    ///
    /// # Errors
    /// As [`Operator::connect`].
    pub async fn connect_on(
        runtime: R,
        prefix: impl Into<String>,
        target: impl Into<Target>,
    ) -> Result<Self, ConnectError> {
        let target = target.into();
        let name = target.to_string();
        let (starter, started) = oneshot::channel();
        let config = OperatorConfig::new(prefix, random::seed(&runtime));
        let inbox = Arc::new(Inbox::new());
        let role = OperatorRole::new(runtime.now(), config, Arc::clone(&inbox), starter);
        link::launch(runtime, target, "clamator:operator".to_owned(), role);
        let operator = Self { handle: Arc::new(Handle { inbox }), runtime: PhantomData };
        match started.await {
            Ok(Ok(())) => Ok(operator),
            Ok(Err(loss)) => Err(ConnectError::Lost { target: name, loss }),
            Err(oneshot::Canceled) => Err(ConnectError::Shutdown),
        }
    }

    /// Lists a service's dead letters, oldest first: at most `count`, behind this id. For the first
    /// page that is [`StreamId::ZERO`], for the next the id of the last letter.
    ///
    /// # Errors
    /// [`OperatorError`], as for the others.
    pub async fn list(
        &self,
        service: &ServiceName,
        after: StreamId,
        count: u64,
    ) -> Result<Vec<DeadLetter>, OperatorError> {
        let done = self.ask(Task::List { after, count }, service).await?;
        let Done::Listed(letters) = done else { unreachable!("a list is no {done:?}") };
        Ok(letters)
    }

    /// Puts a dead letter back on its command stream, as an entry that was never given out, and then
    /// removes it. Its caller has been told that it failed: nobody may be left to read the reply.
    ///
    /// # Errors
    /// [`OperatorError::NotFound`] when there is no such letter, [`OperatorError::OutcomeUnknown`]
    /// when it may be on the command stream and was not removed.
    pub async fn requeue(
        &self,
        service: &ServiceName,
        id: StreamId,
    ) -> Result<Requeued, OperatorError> {
        let done = self.ask(Task::Requeue(id), service).await?;
        let Done::Requeued { entry, removed } = done else {
            unreachable!("an entry that is put back is no {done:?}")
        };
        Ok(Requeued { entry, removed })
    }

    /// Removes a dead letter for good. Tells whether there was one.
    ///
    /// # Errors
    /// [`OperatorError`]; one that was removed may be removed again.
    pub async fn remove(&self, service: &ServiceName, id: StreamId) -> Result<bool, OperatorError> {
        let done = self.ask(Task::Remove(id), service).await?;
        let Done::Removed(removed) = done else { unreachable!("a removal is no {done:?}") };
        Ok(removed)
    }

    /// Stops the operator, for all its handles: what is under way fails with
    /// [`OperatorError::Stopped`], the connection is closed. Idempotent.
    pub async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.handle.inbox.push(Verb::Stop(Some(answer))).is_ok() {
            // An error means that the driver is gone, which is as stopped as can be.
            let _ = stopped.await;
        }
    }

    async fn ask(&self, task: Task, service: &ServiceName) -> Result<Done, OperatorError> {
        let (answer, done) = oneshot::channel();
        let verb = Verb::Begin { task, service: service.clone(), answer };
        if self.handle.inbox.push(verb).is_err() {
            return Err(OperatorError::Stopped);
        }
        done.await.unwrap_or(Err(OperatorError::Stopped))
    }
}

impl<R> Clone for Operator<R> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for Operator<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

/// What all handles share. The operator stops when it is dropped.
struct Handle {
    inbox: Arc<Inbox<Verb>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // An error means that the operator has stopped already.
        let _ = self.inbox.push(Verb::Stop(None));
    }
}

/// What handles ask of the driver.
enum Verb {
    Begin { task: Task, service: ServiceName, answer: Answer },
    Stop(Option<oneshot::Sender<()>>),
}

enum Task {
    List { after: StreamId, count: u64 },
    Remove(StreamId),
    Requeue(StreamId),
}

type Answer = oneshot::Sender<Result<Done, OperatorError>>;

/// The operator's half of a driver.
struct OperatorRole {
    engine: clamator_engine::Operator,
    inbox: Arc<Inbox<Verb>>,
    /// Empty between turns.
    verbs: Vec<Verb>,
    waiting: BTreeMap<TaskId, Answer>,
    starter: Option<oneshot::Sender<Result<(), Loss>>>,
    stoppers: Vec<oneshot::Sender<()>>,
    done: bool,
}

impl OperatorRole {
    fn new(
        now: Instant,
        config: OperatorConfig,
        inbox: Arc<Inbox<Verb>>,
        starter: oneshot::Sender<Result<(), Loss>>,
    ) -> Self {
        Self {
            engine: clamator_engine::Operator::new(now, config),
            inbox,
            verbs: Vec::new(),
            waiting: BTreeMap::new(),
            starter: Some(starter),
            stoppers: Vec::new(),
            done: false,
        }
    }

    fn handle_verb(&mut self, now: Instant, verb: Verb) {
        match verb {
            Verb::Begin { task, service, answer } => {
                let id = match task {
                    Task::List { after, count } => self.engine.list(now, &service, after, count),
                    Task::Remove(id) => self.engine.remove(now, &service, id),
                    Task::Requeue(id) => self.engine.requeue(now, &service, id),
                };
                self.waiting.insert(id, answer);
            }
            Verb::Stop(stopper) => {
                self.stoppers.extend(stopper);
                self.engine.stop();
            }
        }
    }

    /// Tells whoever waits for the connection. Without such a one, it is news for the log.
    fn started(&mut self, result: Result<(), Loss>) {
        let speaker = Speaker { role: "operator", instance: "" };
        match (self.starter.take(), result) {
            (Some(starter), result) => {
                let _ = starter.send(result);
            }
            (None, Ok(())) => speaker.connected(),
            (None, Err(loss)) => speaker.disconnected(&loss),
        }
    }
}

impl Role for OperatorRole {
    type Engine = clamator_engine::Operator;

    fn engine(&mut self) -> &mut clamator_engine::Operator {
        &mut self.engine
    }

    fn take_verbs(&mut self, now: Instant, cx: &Context<'_>) -> bool {
        let mut verbs = std::mem::take(&mut self.verbs);
        self.inbox.take(&mut verbs, cx);
        let busy = !verbs.is_empty();
        for verb in verbs.drain(..) {
            self.handle_verb(now, verb);
        }
        self.verbs = verbs;
        busy
    }

    fn poll_work(&mut self, _now: Instant, _cx: &mut Context<'_>) -> bool {
        false
    }

    fn handle_event(&mut self, event: OperatorEvent, _cx: &mut Context<'_>) {
        match event {
            OperatorEvent::Connected => self.started(Ok(())),
            OperatorEvent::Disconnected(loss) => self.started(Err(loss)),
            OperatorEvent::Finished(id, done) => {
                if let Some(answer) = self.waiting.remove(&id) {
                    let _ = answer.send(done);
                }
            }
            OperatorEvent::Stopped => self.done = true,
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl Drop for OperatorRole {
    fn drop(&mut self) {
        // From here on handles learn by themselves that the operator has stopped.
        self.inbox.close();
        for stopper in self.stoppers.drain(..) {
            let _ = stopper.send(());
        }
    }
}
