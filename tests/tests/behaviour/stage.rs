//! [`Stage`]: a runtime and streams of a test's own, and who plays on it.
//!
//! Not the scenarios, and not the service that most of them call, which is in `arith`.

use clamator_driver::{
    Client, Concurrency, MemoryBus, Runtime, Server, ServerBuilder, Service, StartError, Target,
};
use clamator_engine::access::{Role, Scope};
use clamator_tests::capture::unique;
use clamator_tests::rights::RestrictedRedis;

use crate::arith::{Seen, arith};

pub(crate) const PREFIX: &str = "behaviour";

/// A runtime, and streams that nobody else uses.
#[derive(Debug)]
pub(crate) struct Stage<R> {
    pub(crate) runtime: R,
    /// The way to the streams, for a client.
    pub(crate) target: Target,
    /// That of a server.
    server_target: Target,
    /// Lives as long as the stage.
    redis: Option<RestrictedRedis>,
}

impl<R: Runtime> Stage<R> {
    /// Streams in this process's memory.
    pub(crate) fn memory(runtime: R) -> Self {
        let target = Target::memory(&MemoryBus::new());
        Self { runtime, server_target: target.clone(), target, redis: None }
    }

    /// Streams in a Redis, for whose users nothing is allowed but what their roles need.
    pub(crate) fn redis(runtime: R) -> Self {
        let redis = RestrictedRedis::start(&Scope::new(PREFIX), &[]);
        let (target, server_target) = (redis.target(Role::Client), redis.target(Role::Server));
        Self { runtime, target, server_target, redis: Some(redis) }
    }

    /// The way to the streams, for who may do all with all of them.
    pub(crate) fn unrestricted(&self) -> Target {
        let url = |redis: &RestrictedRedis| Target::url(&redis.url()).expect("a valid URL");
        self.redis.as_ref().map_or_else(|| self.target.clone(), url)
    }

    pub(crate) fn is_memory(&self) -> bool {
        self.target.to_string() == "memory"
    }

    /// Connects a client.
    pub(crate) async fn client(&self) -> Client<R> {
        self.client_named(&unique("client")).await
    }

    /// Connects a client with this instance name.
    pub(crate) async fn client_named(&self, instance: &str) -> Client<R> {
        let builder = Client::builder(PREFIX).instance(instance);
        builder.connect_on(self.runtime.clone(), &self.target).await.unwrap()
    }

    /// Starts a server of one service.
    pub(crate) async fn serve(&self, service: Service) -> Server<R> {
        self.start(Server::builder(PREFIX).service(service)).await.unwrap()
    }

    /// Starts a server of no service yet.
    pub(crate) fn server(&self) -> ServerBuilder<R> {
        Server::builder(PREFIX)
    }

    pub(crate) async fn start(&self, builder: ServerBuilder<R>) -> Result<Server<R>, StartError> {
        builder.start_on(self.runtime.clone(), &self.server_target).await
    }

    /// Starts a server of [`arith`] and a client of it.
    pub(crate) async fn pair(&self, concurrency: Concurrency) -> (Server<R>, Client<R>, Seen) {
        let seen = Seen::default();
        let service = arith(&self.runtime, &seen).concurrency(concurrency);
        (self.serve(service).await, self.client().await, seen)
    }
}
