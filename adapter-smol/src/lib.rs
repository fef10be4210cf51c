//! clamator on smol: typed JSON-RPC 2.0 over Redis Streams.
//!
//! Requests and replies, fire-and-forget notifications, and pools of workers that take over what
//! a crashed one left, between processes in Rust, Python and TypeScript. Works on smol's global
//! executor, and with [`Smol::on`] inside an executor of the program's own.
//! The [manual] says how clients and servers behave. The feature `tls` brings `rediss://` targets,
//! `metrics` passes the numbers of clients and servers on through the facade of that name,
//! and `sim` simulations: a program's own handlers and clients under faults, repeatable by a seed.
//!
//! ```
//! use clamator_smol::{Client, Context, MemoryBus, Server, Service};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Add { a: f64, b: f64 }
//! #[derive(Serialize, Deserialize)]
//! struct Sum { sum: f64 }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     // Streams in this process; `Target::url("redis://localhost:6379")?` for those of a server.
//!     let bus = MemoryBus::new();
//!     let arith = Service::new("arith")
//!         .request("add", async |p: Add, _: Context| Ok(Sum { sum: p.a + p.b }));
//!     let server = Server::builder("app").service(arith).start(&bus).await?;
//!
//!     let client = Client::connect("app", &bus).await?;
//!     let sum: Sum = client.call("arith.add", Add { a: 2.0, b: 3.0 }).await?;
//!     assert_eq!(sum.sum, 5.0);
//!
//!     client.stop().await;
//!     server.shutdown().await;
//!     Ok(())
//! })
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use clamator_driver::runtime::{BoxedStream, Timer, clock};
use smol::net::TcpStream;

pub use clamator_driver::*;

/// A client on smol: see [`clamator_driver::Client`].
pub type Client = clamator_driver::Client<Smol>;
/// Describes a client before it connects.
pub type ClientBuilder = clamator_driver::ClientBuilder<Smol>;
/// An operator on smol: see [`clamator_driver::Operator`].
pub type Operator = clamator_driver::Operator<Smol>;
/// A server on smol: see [`clamator_driver::Server`].
pub type Server = clamator_driver::Server<Smol>;
/// Describes a server before it starts.
pub type ServerBuilder = clamator_driver::ServerBuilder<Smol>;

/// The smol runtime: its global executor by default, which smol starts with the first task.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Smol {
    /// `None` for the global executor.
    spawn: Option<Arc<Spawn>>,
}

type Spawn = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

impl Smol {
    /// Runs clients and servers inside an executor of the program's own, which somebody must run;
    /// smol's global one is then not started.
    ///
    /// `spawn` takes a task and detaches it, such as `|task| EXECUTOR.spawn(task).detach()` where
    /// `EXECUTOR` is a static. Let it hold an `Arc` of an executor as a `Weak`: tasks keep `spawn`.
    pub fn on(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self { spawn: Some(Arc::new(spawn)) }
    }
}

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smol").finish_non_exhaustive()
    }
}

impl Runtime for Smol {
    type Timer = SmolTimer;

    fn now(&self) -> runtime::Instant {
        clock::now()
    }

    fn timer(&self) -> SmolTimer {
        SmolTimer { timer: smol::Timer::never(), at: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.spawn {
            Some(spawn) => spawn(Box::pin(task)),
            None => smol::spawn(task).detach(),
        }
    }

    fn connect_tcp(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let path = path.to_owned();
        Box::pin(async move {
            let stream = smol::net::unix::UnixStream::connect(path).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }

    #[cfg(not(unix))]
    fn connect_unix(&self, _path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// A timer of smol's.
#[derive(Debug)]
pub struct SmolTimer {
    timer: smol::Timer,
    /// What it is set to, until it fires.
    at: Option<runtime::Instant>,
}

impl Timer for SmolTimer {
    fn poll_at(&mut self, at: runtime::Instant, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.at != Some(at) {
            // A deadline beyond what the clock can show never comes.
            let Some(at) = clock::origin().checked_add(at.since_start()) else {
                return Poll::Pending;
            };
            self.timer.set_at(at);
        }
        let fired = Pin::new(&mut self.timer).poll(cx);
        self.at = fired.is_pending().then_some(at);
        fired.map(drop)
    }
}
