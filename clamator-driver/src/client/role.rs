//! The client's half of a driver: verbs in, events out.
//!
//! Not the rules: it only remembers who waits for which call, and tells them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use clamator_engine::{
    CallError, CallId, Client, ClientConfig, ClientEvent, ClientStats, Health, Instant, Loss,
};
use clamator_proto::{Json, Method, Traceparent};
use futures_channel::oneshot;

use crate::deadline::Deadline;
use crate::driver::Role;
use crate::events::Speaker;
use crate::inbox::Inbox;
#[cfg(feature = "metrics")]
use crate::meter::Meter;

/// What handles ask of the driver.
pub(super) enum Verb {
    /// Nobody waits for the call of this key any more.
    Cancel(u64),
    Health(oneshot::Sender<Health>),
    Start {
        key: u64,
        request: Request,
        answer: Answer,
    },
    Stats(oneshot::Sender<ClientStats>),
    Stop(Option<oneshot::Sender<()>>),
}

pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) method: Method<'static>,
    pub(super) params: Json,
    /// `None` for the client's own.
    pub(super) timeout: Option<Duration>,
    pub(super) traceparent: Option<Traceparent>,
    /// Until when whoever this is done for waits.
    pub(super) deadline: Option<Deadline>,
}

impl Request {
    /// How long it may take, of a client with this timeout.
    fn timeout(&self, usual: Duration) -> Duration {
        let timeout = self.timeout.unwrap_or(usual);
        self.deadline.as_ref().map_or(timeout, |deadline| deadline.left().min(timeout))
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Call,
    Notification,
}

type Answer = oneshot::Sender<Result<Json, CallError>>;

pub(super) struct ClientRole {
    engine: Client,
    instance: String,
    /// How long a call may take that does not say.
    timeout: Duration,
    inbox: Arc<Inbox<Verb>>,
    /// Empty between turns.
    verbs: Vec<Verb>,
    /// Who waits for what, with the handles' key.
    waiting: BTreeMap<CallId, (u64, Answer)>,
    ids: BTreeMap<u64, CallId>,
    starter: Option<oneshot::Sender<Result<(), Loss>>>,
    /// Whether whoever waited for the connection was told that there is none: no news for the log.
    refused: bool,
    stoppers: Vec<oneshot::Sender<()>>,
    /// Who asks for the health: told when all has been heard that has come in.
    probes: Vec<oneshot::Sender<Health>>,
    #[cfg(feature = "metrics")]
    meter: Meter,
    done: bool,
}

impl ClientRole {
    pub(super) fn new(
        now: Instant,
        config: ClientConfig,
        inbox: Arc<Inbox<Verb>>,
        starter: Option<oneshot::Sender<Result<(), Loss>>>,
    ) -> Self {
        Self {
            instance: config.instance.clone(),
            timeout: config.timeout,
            engine: Client::new(now, config),
            inbox,
            verbs: Vec::new(),
            waiting: BTreeMap::new(),
            ids: BTreeMap::new(),
            starter,
            refused: false,
            stoppers: Vec::new(),
            probes: Vec::new(),
            #[cfg(feature = "metrics")]
            meter: Meter::new("client"),
            done: false,
        }
    }

    fn handle_verb(&mut self, now: Instant, verb: Verb) {
        match verb {
            Verb::Cancel(key) => {
                if let Some(id) = self.ids.remove(&key) {
                    self.waiting.remove(&id);
                    self.engine.cancel(now, id);
                }
            }
            Verb::Health(answer) => {
                self.probes.push(answer);
            }
            Verb::Stats(answer) => {
                let _ = answer.send(self.engine.stats());
            }
            Verb::Start { key, request, answer } => {
                let timeout = Some(request.timeout(self.timeout));
                let Request { kind, method, params, traceparent, .. } = request;
                let id = match kind {
                    Kind::Call => self.engine.call(now, &method, &params, timeout, traceparent),
                    Kind::Notification => self.engine.notify(now, &method, &params, traceparent),
                };
                self.waiting.insert(id, (key, answer));
                self.ids.insert(key, id);
            }
            Verb::Stop(stopper) => {
                self.stoppers.extend(stopper);
                self.engine.stop(now);
            }
        }
    }

    fn finish(&mut self, id: CallId, result: Result<Json, CallError>) {
        if let Some((key, answer)) = self.waiting.remove(&id) {
            self.ids.remove(&key);
            // Whoever does not wait any more has sent a cancel, which finds nothing.
            let _ = answer.send(result);
        }
    }

    /// Tells whoever waits for the connection. Without such a one, it is news for the log.
    fn started(&mut self, result: Result<(), Loss>) {
        let speaker = Speaker { role: "client", instance: &self.instance };
        match (self.starter.take(), result) {
            (Some(starter), result) => {
                self.refused = result.is_err();
                let _ = starter.send(result);
            }
            (None, _) if self.refused => {}
            (None, Ok(())) => speaker.connected(),
            (None, Err(loss)) => speaker.disconnected(&loss),
        }
    }
}

impl Role for ClientRole {
    type Engine = Client;

    fn engine(&mut self) -> &mut Client {
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

    fn poll_work(&mut self, now: Instant, _cx: &mut Context<'_>) -> bool {
        for probe in self.probes.drain(..) {
            let _ = probe.send(self.engine.health(now));
        }
        false
    }

    fn handle_event(&mut self, event: ClientEvent, _cx: &mut Context<'_>) {
        let speaker = Speaker { role: "client", instance: &self.instance };
        match event {
            ClientEvent::Connected => self.started(Ok(())),
            ClientEvent::Disconnected(loss) => self.started(Err(loss)),
            ClientEvent::Finished(id, result) => self.finish(id, result),
            ClientEvent::Notified(id, result) => self.finish(id, result.map(|()| Json::null())),
            ClientEvent::ReadRefused(refusal) => speaker.read_refused(&refusal),
            ClientEvent::Stopped => self.done = true,
            ClientEvent::Unparsable { entry, fault } => {
                let fault = fault.map_or_else(|| "no envelope".into(), |fault| fault.to_string());
                speaker.unparsable(entry, &fault);
            }
            _ => {}
        }
    }

    #[cfg(feature = "metrics")]
    fn measure(&mut self) {
        let stats = self.engine.stats();
        self.meter.tell(0, None, stats.counters(), stats.gauges());
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

impl Drop for ClientRole {
    fn drop(&mut self) {
        // From here on handles learn by themselves that the client has stopped.
        self.inbox.close();
        for stopper in self.stoppers.drain(..) {
            let _ = stopper.send(());
        }
    }
}
