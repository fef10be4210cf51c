//! clamator on async-std: typed JSON-RPC 2.0 over Redis Streams.
//!
//! Requests and replies, fire-and-forget notifications, and pools of workers that take over what
//! a crashed one left, between processes in Rust, Python and TypeScript. For programs that are on
//! async-std already; that runtime is no longer developed, and a new program is better off on smol.
//! The [manual] says how clients and servers behave. The feature `tls` brings `rediss://` targets,
//! `metrics` passes the numbers of clients and servers on through the facade of that name,
//! and `sim` simulations: a program's own handlers and clients under faults, repeatable by a seed.
//!
//! ```
//! use clamator_async_std::{Client, Context, MemoryBus, Server, Service};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Add { a: f64, b: f64 }
//! #[derive(Serialize, Deserialize)]
//! struct Sum { sum: f64 }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async_std::task::block_on(async {
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
use std::task::{Context as TaskContext, Poll};

use async_std::net::TcpStream;
use async_std::task;
use clamator_driver::runtime::{BoxedStream, Timer, clock};

pub use clamator_driver::*;

/// A client on async-std: see [`clamator_driver::Client`].
pub type Client = clamator_driver::Client<AsyncStd>;
/// Describes a client before it connects.
pub type ClientBuilder = clamator_driver::ClientBuilder<AsyncStd>;
/// An operator on async-std: see [`clamator_driver::Operator`].
pub type Operator = clamator_driver::Operator<AsyncStd>;
/// A server on async-std: see [`clamator_driver::Server`].
pub type Server = clamator_driver::Server<AsyncStd>;
/// Describes a server before it starts.
pub type ServerBuilder = clamator_driver::ServerBuilder<AsyncStd>;

/// The async-std runtime, which starts with the first task.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Timer = AsyncStdTimer;

    fn now(&self) -> runtime::Instant {
        clock::now()
    }

    fn timer(&self) -> AsyncStdTimer {
        AsyncStdTimer { sleep: Box::pin(std::future::pending()), at: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        task::spawn(task);
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
            let stream = async_std::os::unix::net::UnixStream::connect(path).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }

    #[cfg(not(unix))]
    fn connect_unix(&self, _path: &Path) -> BoxFuture<'static, io::Result<BoxedStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

/// A timer of async-std's: a sleep, made anew when the time changes.
pub struct AsyncStdTimer {
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When the sleep ends; `None` once it has.
    at: Option<runtime::Instant>,
}

impl Timer for AsyncStdTimer {
    fn poll_at(&mut self, at: runtime::Instant, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.at != Some(at) {
            let pause = at.since_start().saturating_sub(clock::now().since_start());
            self.sleep = Box::pin(task::sleep(pause));
        }
        let ended = self.sleep.as_mut().poll(cx);
        self.at = ended.is_pending().then_some(at);
        ended
    }
}

impl fmt::Debug for AsyncStdTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStdTimer").field("at", &self.at).finish_non_exhaustive()
    }
}
