//! The server's half of a driver: jobs in, answers out.
//!
//! Not the rules: it only runs handlers. A job is polled once as soon as it starts, so that fast
//! handlers are answered in the turn in which they started and their replies go out in one write;
//! what is not ready then is polled when it asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use clamator_engine::{
    Answer, Health, Instant, Job, JobId, Loss, Notice, Refusal, Server, ServerEvent, ServerStats,
};
use clamator_proto::{RpcError, ServiceName};
use futures_channel::oneshot;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Stopped;
use super::running::{Ended, Running};
use crate::context::Context;
use crate::deadline::Clock;
use crate::driver::{INPUTS_MAX, Role};
use crate::events::{self, Speaker};
use crate::handler::no_params;
use crate::inbox::Inbox;
#[cfg(feature = "metrics")]
use crate::meter::Meter;
use crate::reentrant::Spot;
use crate::runtime::Runtime;
use crate::service::Handlers;

/// What handles ask of the driver.
pub(super) enum Verb {
    Drain { grace: Duration, answer: Option<oneshot::Sender<()>> },
    Health(oneshot::Sender<Health>),
    Stats(oneshot::Sender<ServerStats>),
}

/// Why a server did not start.
#[derive(Debug)]
pub(super) enum StartFault {
    Group { service: ServiceName, refusal: Refusal },
    Lost(Loss),
}

/// What runs for a service.
pub(super) struct Served {
    pub(super) handlers: Handlers,
    /// Where its handlers are, if it cannot be called from inside them.
    pub(super) spot: Option<Arc<Spot>>,
}

/// What a server's half of the driver is made with.
pub(super) struct Shared {
    pub(super) served: BTreeMap<ServiceName, Served>,
    pub(super) inbox: Arc<Inbox<Verb>>,
    pub(super) instance: Arc<str>,
    /// Set when the server has stopped.
    pub(super) outcome: Arc<OnceLock<Stopped>>,
}

pub(super) struct ServerRole<R> {
    runtime: R,
    /// What handlers see of the runtime's time.
    clock: Clock,
    engine: Server,
    shared: Shared,
    /// Empty between turns.
    verbs: Vec<Verb>,
    running: FuturesUnordered<Running>,
    /// Those whose handlers are dropped in the next turn.
    abandoned: BTreeSet<JobId>,
    stopping: bool,
    starter: Option<oneshot::Sender<Result<(), StartFault>>>,
    /// Whether whoever waited for the start was told that it failed: no news for the log.
    refused: bool,
    stoppers: Vec<oneshot::Sender<()>>,
    /// Who asks for the health: told when all has been heard that has come in.
    probes: Vec<oneshot::Sender<Health>>,
    #[cfg(feature = "metrics")]
    meter: Meter,
    done: bool,
}

impl<R: Runtime> ServerRole<R> {
    pub(super) fn new(
        runtime: R,
        engine: Server,
        shared: Shared,
        starter: oneshot::Sender<Result<(), StartFault>>,
    ) -> Self {
        Self {
            clock: Clock::of(runtime.clone()),
            runtime,
            engine,
            shared,
            verbs: Vec::new(),
            running: FuturesUnordered::new(),
            stopping: false,
            starter: Some(starter),
            refused: false,
            abandoned: BTreeSet::new(),
            stoppers: Vec::new(),
            probes: Vec::new(),
            #[cfg(feature = "metrics")]
            meter: Meter::new("server"),
            done: false,
        }
    }

    fn start(&mut self, job: Job, cx: &mut TaskContext<'_>) {
        let context = Context::new(&job, Arc::clone(&self.shared.instance), &self.clock);
        if self.stopping {
            context.cancel();
        }
        let served = self.shared.served.get(&job.service);
        let handler = served.and_then(|it| Some((it.handlers.get(&job.method)?, it.spot.clone())));
        let Some((handler, spot)) = handler else {
            // The engine answers this by itself: it knows the contracts.
            let answer = Answer::Error(RpcError::method_not_found());
            return self.engine.answer(self.runtime.now(), job.id, answer);
        };
        let params = job.params.unwrap_or_else(no_params);
        let mut running = Running::new(job.id, context, Arc::clone(handler), params, spot);
        match Pin::new(&mut running).poll(cx) {
            Poll::Ready(ended) => self.answer(self.runtime.now(), ended),
            Poll::Pending => self.running.push(running),
        }
    }

    fn answer(&mut self, now: Instant, ended: Ended) {
        let answer = match ended.result {
            Ok(result) => Answer::Result(result),
            Err(report) => {
                events::failed(&ended.context, &report.log, &report.answer);
                Answer::Error(report.answer)
            }
        };
        self.engine.answer(now, ended.id, answer);
    }

    /// Drops the handlers of jobs that are to be abandoned, then says so. All of a turn are dropped at
    /// once: each time every other handler is moved and polled again.
    fn drop_abandoned(&mut self, now: Instant) -> bool {
        if self.abandoned.is_empty() {
            return false;
        }
        let (abandoned, kept): (Vec<Running>, Vec<Running>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| self.abandoned.contains(&running.id()));
        self.running = kept.into_iter().collect();
        for running in abandoned {
            running.context().lose_lease();
        }
        for id in std::mem::take(&mut self.abandoned) {
            self.engine.abandoned(now, id);
        }
        true
    }

    /// Tells a job's handler that it is not going to be heard. Gives what it knows, if it runs.
    fn lose_lease(&self, id: JobId) -> Option<&Context> {
        let running = self.running.iter().find(|running| running.id() == id)?;
        running.context().lose_lease();
        Some(running.context())
    }

    /// Tells every handler that the server stops.
    fn cancel(&mut self) {
        self.stopping = true;
        for running in &self.running {
            running.context().cancel();
        }
    }

    /// Tells whoever waits for the start. Says whether there was one.
    fn started(&mut self, result: Result<(), StartFault>) -> bool {
        let Some(starter) = self.starter.take() else { return false };
        self.refused = result.is_err();
        // An error means that nobody waits any more.
        let _ = starter.send(result);
        true
    }

    fn speaker(&self) -> Speaker<'_> {
        Speaker { role: "server", instance: &self.shared.instance }
    }

    fn handle_notice(&mut self, notice: &Notice) {
        if let Notice::GroupRefused { service, refusal } = notice {
            let (service, refusal) = (service.clone(), refusal.clone());
            if self.started(Err(StartFault::Group { service, refusal })) {
                return;
            }
        }
        if !self.refused {
            self.speaker().notice(notice);
        }
    }
}

impl<R: Runtime> Role for ServerRole<R> {
    type Engine = Server;

    fn engine(&mut self) -> &mut Server {
        &mut self.engine
    }

    fn take_verbs(&mut self, now: Instant, cx: &TaskContext<'_>) -> bool {
        self.shared.inbox.take(&mut self.verbs, cx);
        let busy = !self.verbs.is_empty();
        let mut stops = false;
        for verb in self.verbs.drain(..) {
            match verb {
                Verb::Health(answer) => {
                    self.probes.push(answer);
                }
                Verb::Stats(answer) => {
                    let _ = answer.send(self.engine.stats());
                }
                // A handle that is dropped takes no time from a stop that was asked for.
                Verb::Drain { answer: None, .. } if self.stopping || stops => {}
                Verb::Drain { grace, answer } => {
                    self.stoppers.extend(answer);
                    stops = true;
                    self.engine.drain(now, grace);
                }
            }
        }
        if stops {
            self.cancel();
        }
        busy
    }

    fn poll_work(&mut self, now: Instant, cx: &mut TaskContext<'_>) -> bool {
        let mut busy = self.drop_abandoned(now);
        for _ in 0..INPUTS_MAX {
            let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) else { break };
            self.answer(now, ended);
            busy = true;
        }
        for probe in self.probes.drain(..) {
            let _ = probe.send(self.engine.health(now));
        }
        busy
    }

    fn handle_event(&mut self, event: ServerEvent, cx: &mut TaskContext<'_>) {
        match event {
            ServerEvent::Abandon(id) => {
                self.abandoned.insert(id);
            }
            ServerEvent::Connected => self.speaker().connected(),
            ServerEvent::Disconnected(loss) => {
                if self.starter.is_some() {
                    self.started(Err(StartFault::Lost(loss)));
                } else if !self.refused {
                    self.speaker().disconnected(&loss);
                }
            }
            ServerEvent::LeaseLost(id) => {
                if let Some(context) = self.lose_lease(id) {
                    events::lease_lost(context);
                }
            }
            ServerEvent::Notice(notice) => self.handle_notice(&notice),
            ServerEvent::Start(job) => self.start(job, cx),
            ServerEvent::Started => {
                self.started(Ok(()));
            }
            ServerEvent::Stopped { left } => {
                // An error means that it was said before, which engines do not.
                let _ = self.shared.outcome.set(Stopped { left });
                self.done = true;
            }
            _ => {}
        }
    }

    #[cfg(feature = "metrics")]
    fn measure(&mut self) {
        for (row, (service, stats)) in self.engine.stats_by_service().enumerate() {
            self.meter.tell(row, service, stats.counters(), stats.gauges());
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl<R> Drop for ServerRole<R> {
    fn drop(&mut self) {
        // From here on handles learn by themselves that the server has stopped.
        self.shared.inbox.close();
        for stopper in self.stoppers.drain(..) {
            let _ = stopper.send(());
        }
    }
}
