//! [`Server`]: serves services until it is stopped.
//!
//! Not the rules of serving, which are the engine's, and not the handlers. A server's work, the
//! handlers included, is done by one task on the runtime it was started on. What a server was
//! given and did not settle stays pending in Redis, whatever happens to it: another worker of the
//! pool takes it over.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clamator_engine::{Ailment, Health, Refusal, ServerConfig, ServerStats};
use clamator_proto::{Keys, ServiceName};
use futures_channel::oneshot;

use crate::client::ConnectError;
use crate::inbox::Inbox;
use crate::link;
use crate::random;
use crate::reentrant::{Home, Spot};
use crate::runtime::Runtime;
use crate::service::{InvalidService, Service};
use crate::target::Target;

mod role;
mod running;

use role::{Served, ServerRole, StartFault, Verb};

/// How long running handlers may take to finish when a server stops, unless it is said otherwise.
const GRACE_DEFAULT: Duration = Duration::from_secs(5);

/// A running server.
///
/// Dropping it without [`Server::stop`] stops it in the background, with the grace of
/// [`ServerBuilder::grace`].
#[must_use = "a server stops when it is dropped"]
pub struct Server<R> {
    inbox: Arc<Inbox<Verb>>,
    outcome: Arc<OnceLock<Stopped>>,
    instance: Arc<str>,
    grace: Duration,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Server<R> {
    /// Starts to describe a server under this key prefix, which all peers of a deployment share.
    pub fn builder(prefix: impl Into<String>) -> ServerBuilder<R> {
        ServerBuilder::new(prefix)
    }

    /// Stops: takes no more requests and starts none, lets running handlers finish for at most
    /// `grace`, sends their replies, then drops the handlers that are left and closes the
    /// connections. What is not finished is handed back: any other worker takes it over with its
    /// next look for such. While Redis does not answer this may take longer, by the command timeout
    /// and a blocking read.
    ///
    /// A handler must not wait for the stop of its own server, which waits for the handler.
    ///
    /// Idempotent: stopping a stopped server tells again how it ended. A stop that is under way ends
    /// with the grace that ends first, so a second one can be given less. Once polled, it goes on in
    /// the background even when the future is dropped.
    pub async fn stop(&self, grace: Duration) -> Stopped {
        let (answer, stopped) = oneshot::channel();
        if self.inbox.push(Verb::Drain { grace, answer: Some(answer) }).is_ok() {
            // An error means that the driver is gone, and has told how it ended if it could.
            let _ = stopped.await;
        }
        self.outcome.get().copied().unwrap_or(Stopped { left: 0 })
    }

    /// Stops with the grace of [`ServerBuilder::grace`].
    pub async fn shutdown(&self) -> Stopped {
        self.stop(self.grace).await
    }

    /// Tells what the server has seen since it started, and what it holds now; zeros once it has
    /// stopped.
    pub async fn stats(&self) -> ServerStats {
        let (answer, stats) = oneshot::channel();
        if self.inbox.push(Verb::Stats(answer)).is_err() {
            return ServerStats::default();
        }
        stats.await.unwrap_or_default()
    }

    /// Tells whether the server can do its work, as far as it knows: every connection can be made,
    /// the blocking reads are answered (each within twice `read_block`, and 1 s), and Redis refuses
    /// nothing that is needed.
    ///
    /// The server's task answers, which runs the handlers too: where one may block it, wait with a
    /// timeout.
    pub async fn health(&self) -> Health {
        let (answer, health) = oneshot::channel();
        let stopped = || Health::from(Ailment::Stopped);
        if self.inbox.push(Verb::Health(answer)).is_err() {
            return stopped();
        }
        health.await.unwrap_or_else(|_| stopped())
    }

    /// The server's name within its pool.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

impl<R> Drop for Server<R> {
    fn drop(&mut self) {
        // An error means that the server has stopped already.
        let _ = self.inbox.push(Verb::Drain { grace: self.grace, answer: None });
    }
}

impl<R> fmt::Debug for Server<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// How many requests the server had been given and did not settle. They are still in Redis,
    /// for other workers, and handed back as far as Redis could be reached. 0 when the runtime went
    /// away before the server could tell.
    pub left: usize,
}

/// Describes a server before it starts.
#[must_use = "a builder does nothing until it starts"]
pub struct ServerBuilder<R> {
    config: ServerConfig,
    grace: Duration,
    instance: Option<String>,
    services: Vec<Service>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> ServerBuilder<R> {
    fn new(prefix: impl Into<String>) -> Self {
        Self {
            // The name and the seed are the runtime's to draw, which is known at the start.
            config: ServerConfig::new(prefix, String::new(), 0),
            grace: GRACE_DEFAULT,
            instance: None,
            services: Vec::new(),
            runtime: PhantomData,
        }
    }

    /// Adds a service. Its mistakes, and a name used twice, are told by the start.
    pub fn service(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// How long a request must be idle before another worker's is taken over. Default 60 s; should
    /// be equal across a pool, and longer than the network and Redis may keep a command waiting. A
    /// handler may take longer: what a live server holds is renewed all the time.
    pub const fn claim_idle(mut self, idle: Duration) -> Self {
        self.config.claim_idle = idle;
        self
    }

    /// How long any Redis command but a blocking read may take. Default 5 s.
    pub const fn command_timeout(mut self, timeout: Duration) -> Self {
        self.config.command_timeout = timeout;
        self
    }

    /// How long connecting may take, handshake included. Default 2 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// How long the deadline of a request must be past, by Redis's clock, until it is not
    /// [run any more](crate::manual::deadlines). Default 1 s. With less, a caller may still wait for
    /// what is not run, if a clock was set by a fraction of a second meanwhile.
    pub const fn deadline_slack(mut self, slack: Duration) -> Self {
        self.config.deadline_slack = slack;
        self
    }

    /// How long running handlers may take to finish when the server is dropped or shut down.
    /// Default 5 s.
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a handler may run before its future is dropped, so that another worker takes the
    /// request over when it has been idle for [`ServerBuilder::claim_idle`]; nothing is answered.
    /// Looked at once a [`ServerBuilder::reclaim_tick`]. A handler that blocks its thread is not
    /// ended by that. Default: as long as it likes.
    pub const fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.config.handler_timeout = Some(timeout);
        self
    }

    /// Names the server within its pool. Must be unique: of two that run at once under one name,
    /// each takes what the other holds for its own; `released` is reserved. A server that starts
    /// under the name of one that was killed takes back what that was given once it has been idle for
    /// two thirds of [`ServerBuilder::peer_claim_idle`], instead of waiting for it as all others do. One
    /// that stops right after its start, within a second more than [`ServerBuilder::read_block`], leaves
    /// its consumer for the next start. Default: random.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// The shortest `claim_idle` of any worker in the pool, Python's and TypeScript's
    /// `consumer_claim_idle_ms` included: what is held is renewed at a third of it. Default:
    /// [`ServerBuilder::claim_idle`].
    pub const fn peer_claim_idle(mut self, idle: Duration) -> Self {
        self.config.peer_claim_idle = Some(idle);
        self
    }

    /// Most requests of one service that wait unstarted in this process. Default 256, at least 1.
    pub const fn prefetch_max(mut self, max: usize) -> Self {
        self.config.prefetch_max = max;
        self
    }

    /// About how much work, at the measured pace of the handlers, may wait unstarted in this
    /// process. Default 5 ms.
    pub const fn prefetch_time(mut self, time: Duration) -> Self {
        self.config.prefetch_time = time;
        self
    }

    /// How long a blocking read waits. Default 1 s, at least 1 ms, at most an hour.
    pub const fn read_block(mut self, block: Duration) -> Self {
        self.config.read_block = block;
        self
    }

    /// Time between two looks for what dead workers left. Default 1 s, spread by ±25 %.
    pub const fn reclaim_tick(mut self, tick: Duration) -> Self {
        self.config.reclaim_tick = tick;
        self
    }

    /// Whether a `reply-to` outside `<prefix>:replies:` is accepted. Default false: anybody who
    /// can write the command stream could make the server write to any stream. Such streams are
    /// trimmed as reply streams are, and live on.
    pub const fn relaxed_reply_to(mut self, relaxed: bool) -> Self {
        self.config.relaxed_reply_to = relaxed;
        self
    }

    /// About how many entries a reply stream keeps. Default 1024, at least 1.
    pub const fn reply_stream_max_len(mut self, max: u64) -> Self {
        self.config.reply_stream_max_len = max;
        self
    }

    /// How often an entry may be started. If it would be once more, as nobody ever acknowledged it, it
    /// becomes a [dead letter](crate::manual#dead-letters): whoever runs it may be killed by it.
    /// Default 10, at least 1. Redis counts, so the starts of other workers are among them.
    pub const fn deliveries_max(mut self, max: u64) -> Self {
        self.config.deliveries_max = max;
        self
    }

    /// About how many dead letters of one service are kept. Default 10,000, at least 1.
    pub const fn dead_letters_max(mut self, max: u64) -> Self {
        self.config.dead_letters_max = max;
        self
    }

    /// How long a reply stream lives, at least three quarters of this after its last reply, that nobody
    /// deletes: what a client that was killed leaves behind. Default 1 h, at least 1 s, at most 10
    /// years; longer than any client may take to read a reply. Each reply stream is told with `PEXPIRE`
    /// by the first reply that creates it, and once in a quarter of this time.
    pub const fn reply_stream_ttl(mut self, ttl: Duration) -> Self {
        self.config.reply_stream_ttl = ttl;
        self
    }

    /// Time between two trimmings of a stream in which something was acknowledged since: what peers
    /// leave behind that acknowledge and do not delete. Default 5 s, at least 10 ms, spread by ±25 %;
    /// an idle stream is trimmed within five reclaim ticks more.
    pub const fn trim_tick(mut self, tick: Duration) -> Self {
        self.config.trim_tick = tick;
        self
    }

    /// How long a consumer that holds nothing must be idle before it is removed from its group: what
    /// workers leave behind that are killed, one name each. Default 1 h, at least 1 s;
    /// [`Duration::MAX`] leaves them all. A script does it, so that nothing is given to a consumer
    /// while it is removed: a server that may not run scripts (`EVAL`) leaves them, and counts that as
    /// [`consumer_looks_refused`](ServerStats::consumer_looks_refused).
    pub const fn consumer_idle_max(mut self, max: Duration) -> Self {
        self.config.consumer_idle_max = max;
        self
    }

    /// Starts the server: resolves when every service is being served.
    ///
    /// # Errors
    /// [`StartError`] with the first thing that went wrong. What had been started of it stops in
    /// the background, as a dropped server does.
    pub async fn start(self, target: impl Into<Target>) -> Result<Server<R>, StartError>
    where
        R: Default,
    {
        self.start_on(R::default(), target).await
    }

    /// As [`ServerBuilder::start`], on this runtime.
    ///
    /// # Errors
    /// As [`ServerBuilder::start`].
    pub async fn start_on(
        self,
        runtime: R,
        target: impl Into<Target>,
    ) -> Result<Server<R>, StartError> {
        let target = target.into();
        let place = target.to_string();
        let (starter, started) = oneshot::channel();
        let server = self.launch(runtime, target, starter)?;
        match started.await {
            Ok(Ok(())) => Ok(server),
            Ok(Err(StartFault::Group { service, refusal })) => {
                Err(StartError::Group { service, refusal })
            }
            Ok(Err(StartFault::Lost(loss))) => {
                Err(ConnectError::Lost { target: place, loss }.into())
            }
            Err(oneshot::Canceled) => Err(ConnectError::Shutdown.into()),
        }
    }

    fn launch(
        self,
        runtime: R,
        target: Target,
        starter: oneshot::Sender<Result<(), StartFault>>,
    ) -> Result<Server<R>, StartError> {
        #[cfg(feature = "sim")]
        if let Some(process) = target.simulated() {
            process.learn(&self.config.prefix, Some(self.config.claim_idle));
            return self.launch_on(process, target, starter);
        }
        self.launch_on(runtime, target, starter)
    }

    fn launch_on(
        self,
        runtime: impl Runtime,
        target: Target,
        starter: oneshot::Sender<Result<(), StartFault>>,
    ) -> Result<Server<R>, StartError> {
        let Self { mut config, grace, instance, services, .. } = self;
        config.seed = random::seed(&runtime);
        config.instance_is_fresh = instance.is_none();
        config.instance = instance.unwrap_or_else(|| random::name(random::bytes(&runtime)));
        if matches!(config.instance.as_str(), "" | Keys::RELEASED) {
            return Err(StartError::Instance { name: config.instance });
        }
        let home = Home::new(&target, &config.prefix);
        let (mut configs, mut served) = (Vec::new(), BTreeMap::new());
        for service in services {
            let built = service.build()?;
            let name = built.config.contract.service().clone();
            let spot = built.waits_for_itself().then(|| Spot::new(&home, &name));
            if served.insert(name.clone(), Served { handlers: built.handlers, spot }).is_some() {
                return Err(StartError::Duplicate { service: name });
            }
            configs.push(built.config);
        }
        if configs.is_empty() {
            return Err(StartError::NoService);
        }
        let inbox = Arc::new(Inbox::new());
        let outcome = Arc::new(OnceLock::new());
        let instance: Arc<str> = config.instance.as_str().into();
        let name = format!("clamator:server:{instance}");
        let role = ServerRole::new(
            runtime.clone(),
            clamator_engine::Server::new(runtime.now(), config, configs),
            role::Shared {
                served,
                inbox: Arc::clone(&inbox),
                instance: Arc::clone(&instance),
                outcome: Arc::clone(&outcome),
            },
            starter,
        );
        link::launch(runtime, target, name, role);
        Ok(Server { inbox, outcome, instance, grace, runtime: PhantomData })
    }
}

impl<R> fmt::Debug for ServerBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("config", &self.config)
            .field("grace", &self.grace)
            .field("instance", &self.instance)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// Why a server did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Two services have the same name.
    #[error("service \"{service}\" already registered on this server")]
    Duplicate {
        /// The name.
        service: ServiceName,
    },
    /// Redis refused to create a service's consumer group.
    #[error("Redis refused the consumer group of service \"{service}\": {refusal}")]
    Group {
        /// Whose group.
        service: ServiceName,
        /// What Redis said.
        refusal: Refusal,
    },
    /// The instance name is empty or reserved.
    #[error("\"{name}\" cannot be an instance name: it is empty or reserved")]
    Instance {
        /// The name.
        name: String,
    },
    /// There is nothing to serve.
    #[error("no service registered on this server")]
    NoService,
    /// A service is not valid.
    #[error(transparent)]
    Service(#[from] InvalidService),
}
