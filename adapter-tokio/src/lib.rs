//! clamator on tokio: typed JSON-RPC 2.0 over Redis Streams.
//!
//! Requests and replies, fire-and-forget notifications, and pools of workers that take over what
//! a crashed one left, between processes in Rust, Python and TypeScript. Works on the
//! current-thread and on the multi-thread runtime, and with a paused clock.
//! The [manual] says how clients and servers behave. The feature `tls` brings `rediss://` targets,
//! `metrics` passes the numbers of clients and servers on through the facade of that name,
//! and `sim` simulations: a program's own handlers and clients under faults, repeatable by a seed.
//!
//! ```
//! use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Add { a: f64, b: f64 }
//! #[derive(Serialize, Deserialize)]
//! struct Sum { sum: f64 }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Streams in this process; `Target::url("redis://localhost:6379")?` for those of a server.
//! let bus = MemoryBus::new();
//! let arith = Service::new("arith")
//!     .request("add", async |p: Add, _: Context| Ok(Sum { sum: p.a + p.b }));
//! let server = Server::builder("app").service(arith).start(&bus).await?;
//!
//! let client = Client::connect("app", &bus).await?;
//! let sum: Sum = client.call("arith.add", Add { a: 2.0, b: 3.0 }).await?;
//! assert_eq!(sum.sum, 5.0);
//!
//! client.stop().await;
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use clamator_driver::runtime::{BoxedStream, Timer, clock};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::compat::TokioAsyncReadCompatExt;

pub use clamator_driver::*;

/// A client on tokio: see [`clamator_driver::Client`].
pub type Client = clamator_driver::Client<Tokio>;
/// Describes a client before it connects.
pub type ClientBuilder = clamator_driver::ClientBuilder<Tokio>;
/// An operator on tokio: see [`clamator_driver::Operator`].
pub type Operator = clamator_driver::Operator<Tokio>;
/// A server on tokio: see [`clamator_driver::Server`].
pub type Server = clamator_driver::Server<Tokio>;
/// Describes a server before it starts.
pub type ServerBuilder = clamator_driver::ServerBuilder<Tokio>;

/// The tokio runtime that the calling task runs on.
///
/// Its timer must be enabled, and its I/O driver for connections to Redis.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Tokio;

impl Runtime for Tokio {
    type Timer = TokioTimer;

    fn now(&self) -> runtime::Instant {
        runtime::Instant::from_start(Instant::now().duration_since(origin()))
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer(Box::pin(tokio::time::sleep_until(Instant::now())))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn connect_tcp(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let address = (host.to_owned(), port);
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream.compat()) as BoxedStream)
        })
    }

    #[cfg(unix)]
    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let path = path.to_owned();
        Box::pin(async move {
            let stream = tokio::net::UnixStream::connect(path).await?;
            Ok(Box::new(stream.compat()) as BoxedStream)
        })
    }

    #[cfg(not(unix))]
    fn connect_unix(&self, _path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// A timer of tokio's.
#[derive(Debug)]
pub struct TokioTimer(Pin<Box<Sleep>>);

impl Timer for TokioTimer {
    fn poll_at(&mut self, at: runtime::Instant, cx: &mut TaskContext<'_>) -> Poll<()> {
        // A deadline beyond what the clock can show never comes.
        let Some(at) = origin().checked_add(at.since_start()) else { return Poll::Pending };
        if self.0.deadline() != at {
            self.0.as_mut().reset(at);
        }
        self.0.as_mut().poll(cx)
    }
}

/// The process's origin of time, on tokio's clock, which a test may pause.
fn origin() -> Instant {
    Instant::from_std(clock::origin())
}
