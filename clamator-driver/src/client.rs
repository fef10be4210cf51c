//! [`Client`]: calls methods of services, and sends notifications.
//!
//! Not the rules of a call, which are the engine's. A client is a handle: its work is done by one
//! task on the runtime it was connected on, and one client serves any number of tasks and
//! services. No call is ever repeated by the client itself.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use clamator_engine::{Ailment, ClientConfig, ClientStats, Health, Loss};
use futures_channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::inbox::Inbox;
use crate::link;
use crate::random;
use crate::reentrant::Home;
use crate::runtime::Runtime;
use crate::target::Target;

mod call;
mod role;

pub use call::{Call, Notify};
use call::{Handle, Pending};
use role::{ClientRole, Verb};

/// A handle to a client. A clone is another handle to the same client.
///
/// When the last handle and the last [`Call`] are gone, the client stops by itself, in the
/// background; [`Client::stop`] waits for it.
pub struct Client<R> {
    handle: Arc<Handle>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Client<R> {
    /// Starts to describe a client under this key prefix, which all peers of a deployment share.
    pub fn builder(prefix: impl Into<String>) -> ClientBuilder<R> {
        ClientBuilder::new(prefix)
    }

    /// Connects a client with default settings: see [`ClientBuilder::connect`].
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect(
        prefix: impl Into<String>,
        target: impl Into<Target>,
    ) -> Result<Self, ConnectError>
    where
        R: Default,
    {
        Self::builder(prefix).connect(target).await
    }

    /// Makes a client with default settings that connects in the background: see
    /// [`ClientBuilder::connect_lazy`].
    pub fn connect_lazy(prefix: impl Into<String>, target: impl Into<Target>) -> Self
    where
        R: Default,
    {
        Self::builder(prefix).connect_lazy(target)
    }

    /// Calls `<service>.<method>` and waits for its result.
    ///
    /// The call starts when the future is first polled; its timeout starts as soon as the client's
    /// task has taken it and covers the whole round trip. Parameters that serialize to null, such as
    /// `()`, are sent as `{}`; they may be nested 127 deep.
    ///
    /// # Errors
    /// The future ends in a [`CallError`](clamator_engine::CallError), which says what the caller
    /// may do next. Dropping the future ends the call; a request that was sent is taken back if no
    /// worker was given it, as far as that is possible, and may run otherwise.
    pub fn call<T: DeserializeOwned>(&self, method: &str, params: impl Serialize) -> Call<T> {
        Call::new(Pending::call(&self.handle, method, &params))
    }

    /// Sends a notification to `<service>.<method>`.
    ///
    /// The future resolves when it is on its stream. Nobody learns whether it was handled.
    /// Parameters are as those of [`Client::call`].
    ///
    /// # Errors
    /// The future ends in a [`CallError`](clamator_engine::CallError).
    pub fn notify(&self, method: &str, params: impl Serialize) -> Notify {
        Notify::new(Pending::notification(&self.handle, method, &params))
    }

    /// Stops the client, for all its handles: calls under way fail with `Stopped`, the reply
    /// stream is deleted, the connections are closed.
    ///
    /// Idempotent. Once polled, it goes on in the background even when the future is dropped.
    pub async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.handle.inbox.push(Verb::Stop(Some(answer))).is_ok() {
            // An error means that the driver is gone, which is as stopped as can be.
            let _ = stopped.await;
        }
    }

    /// Tells what the client has seen since it started, and what is under way; zeros once it has
    /// stopped.
    pub async fn stats(&self) -> ClientStats {
        let (answer, stats) = oneshot::channel();
        if self.handle.inbox.push(Verb::Stats(answer)).is_err() {
            return ClientStats::default();
        }
        stats.await.unwrap_or_default()
    }

    /// Tells whether the client can do its work, as far as it knows: both connections can be made,
    /// its blocking reads are answered (each within twice `read_block`, and 1 s), and Redis refuses
    /// neither those nor, in as long a time, a request because of a trouble of its own.
    ///
    /// The client's task answers: where it might be kept from running, wait with a timeout.
    pub async fn health(&self) -> Health {
        let (answer, health) = oneshot::channel();
        let stopped = || Health::from(Ailment::Stopped);
        if self.handle.inbox.push(Verb::Health(answer)).is_err() {
            return stopped();
        }
        health.await.unwrap_or_else(|_| stopped())
    }
}

impl<R> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Describes a client before it connects.
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder<R> {
    config: ClientConfig,
    instance: Option<String>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> ClientBuilder<R> {
    fn new(prefix: impl Into<String>) -> Self {
        // The nonce and the seed are the runtime's to draw, which is known when it connects.
        let config = ClientConfig::new(prefix, [0; 16], 0);
        Self { config, instance: None, runtime: PhantomData }
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

    /// Most calls under way at once; further ones wait for a place within their own timeout. Once a
    /// client has called several services, those of one get three quarters at most, so that one that
    /// nobody serves leaves some to the others. Default 1000, at least 1; keep it below the servers'
    /// `reply_stream_max_len`.
    pub const fn in_flight_max(mut self, max: usize) -> Self {
        self.config.in_flight_max = max;
        self
    }

    /// Names the client's reply stream. Must be unique, and not empty. Default: random.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// How long a blocking read waits. Default 1 s, at least 1 ms, at most an hour.
    pub const fn read_block(mut self, block: Duration) -> Self {
        self.config.read_block = block;
        self
    }

    /// How long a call may take, from being made to its reply. Default 30 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Whether the request of a call that is about to time out, or whose future was dropped, is
    /// taken back if no worker was given it: the call then ends with
    /// [`NoWorkers`](clamator_engine::CallError::NoWorkers) instead of `Timeout`. Default `true`.
    /// Does nothing on Redis before 7.0, and where the user may not `XINFO` and `XDEL`.
    pub const fn withdraw(mut self, withdraw: bool) -> Self {
        self.config.withdraw = withdraw;
        self
    }

    /// Connects: resolves when both connections are made and logged in.
    ///
    /// # Errors
    /// [`ConnectError`] with the first thing that went wrong. Nothing is left running.
    pub async fn connect(self, target: impl Into<Target>) -> Result<Client<R>, ConnectError>
    where
        R: Default,
    {
        self.connect_on(R::default(), target).await
    }

    /// As [`ClientBuilder::connect`], on this runtime.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect_on(
        self,
        runtime: R,
        target: impl Into<Target>,
    ) -> Result<Client<R>, ConnectError> {
        if self.instance.as_deref() == Some("") {
            return Err(ConnectError::Instance);
        }
        let target = target.into();
        let name = target.to_string();
        let (starter, started) = oneshot::channel();
        let client = self.launch(runtime, target, Some(starter));
        match started.await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(loss)) => Err(ConnectError::Lost { target: name, loss }),
            Err(oneshot::Canceled) => Err(ConnectError::Shutdown),
        }
    }

    /// Connects in the background: Redis need not be there yet. Calls made before it is there
    /// fail with `NotSent` as soon as it is known not to be, and with `Invalid` when the instance
    /// name is empty.
    ///
    /// Must be called where the runtime can spawn tasks.
    pub fn connect_lazy(self, target: impl Into<Target>) -> Client<R>
    where
        R: Default,
    {
        self.connect_lazy_on(R::default(), target)
    }

    /// As [`ClientBuilder::connect_lazy`], on this runtime.
    pub fn connect_lazy_on(self, runtime: R, target: impl Into<Target>) -> Client<R> {
        self.launch(runtime, target.into(), None)
    }

    fn launch(
        self,
        runtime: R,
        target: Target,
        starter: Option<oneshot::Sender<Result<(), Loss>>>,
    ) -> Client<R> {
        #[cfg(feature = "sim")]
        if let Some(process) = target.simulated() {
            process.learn(&self.config.prefix, None);
            return self.launch_on(process, target, starter);
        }
        self.launch_on(runtime, target, starter)
    }

    fn launch_on(
        mut self,
        runtime: impl Runtime,
        target: Target,
        starter: Option<oneshot::Sender<Result<(), Loss>>>,
    ) -> Client<R> {
        self.config.nonce = random::bytes(&runtime);
        self.config.seed = random::seed(&runtime);
        self.config.instance = self.instance.unwrap_or_else(|| random::name(self.config.nonce));
        let inbox = Arc::new(Inbox::new());
        let home = Home::new(&target, &self.config.prefix);
        let name = format!("clamator:client:{}", self.config.instance);
        let role = ClientRole::new(runtime.now(), self.config, Arc::clone(&inbox), starter);
        link::launch(runtime, target, name, role);
        Client { handle: Arc::new(Handle::new(inbox, home)), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for ClientBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The instance name is empty, and servers refuse a reply stream without a name.
    #[error("\"\" cannot be an instance name: give another, or none for a random one")]
    Instance,
    /// The connection could not be made.
    #[error("cannot connect to {target}: {loss}")]
    Lost {
        /// Where to; without its password.
        target: String,
        /// What went wrong.
        loss: Loss,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    Shutdown,
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::memory_bus::MemoryBus;
    use crate::testing::ManualRuntime;

    #[test]
    fn an_empty_instance_name_is_refused_and_the_error_says_what_to_do() {
        let bus = MemoryBus::new();
        let builder = ClientBuilder::<ManualRuntime>::new("app").instance("");
        // Nothing is waited for.
        let fault = builder.connect(&bus).now_or_never().unwrap().unwrap_err();
        assert_eq!(fault, ConnectError::Instance);
        let text = "\"\" cannot be an instance name: give another, or none for a random one";
        assert_eq!(fault.to_string(), text);
    }
}
