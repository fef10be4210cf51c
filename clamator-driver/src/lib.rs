//! The one loop that drives clamator's engine, on any async runtime and over any link.
//!
//! [`Client`] and [`Server`] are what programs use, with the [`Runtime`] chosen by an adapter
//! crate, which programs depend on instead of this one: `clamator-tokio` and its siblings
//! re-export everything here. The rules are the engine's; this crate keeps the connections, waits,
//! and runs the handlers. It starts no thread and no runtime of its own.
//!
//! Where the streams live is a [`Target`]: a Redis server, or a [`MemoryBus`] in this process; with
//! the feature `sim` also a simulated Redis that fails in every way.

mod client;
mod context;
mod deadline;
mod driver;
mod events;
mod handler;
mod inbox;
mod link;
pub mod manual;
mod memory_bus;
#[cfg(feature = "metrics")]
mod meter;
mod operator;
mod panics;
mod random;
mod reentrant;
pub mod runtime;
mod server;
mod service;
mod signal;
#[cfg(feature = "sim")]
pub mod sim;
mod target;
#[cfg(test)]
mod testing;
#[cfg(feature = "tls")]
mod tls;

pub use client::{Call, Client, ClientBuilder, ConnectError, Notify};
pub use context::Context;
pub use handler::{Handler, HandlerError, HandlerResult};
pub use memory_bus::MemoryBus;
pub use operator::{Operator, Requeued};
pub use runtime::Runtime;
pub use server::{Server, ServerBuilder, StartError, Stopped};
pub use service::{InvalidService, Service};
pub use target::{Credentials, InvalidTarget, Protocol, Target};
#[cfg(feature = "tls")]
pub use tls::{InvalidTls, Tls};

pub use clamator_engine::{
    Ailment, CallError, ClientStats, Concurrency, DeadLetter, Health, InvalidCall, Loss,
    OperatorError, ProtocolFault, Refusal, RefusalKind, ServerStats, StartFrom, StreamId,
};
pub use clamator_proto::{
    InvalidMethod, InvalidName, Json, MethodKind, MethodName, RequestId, RpcError, ServiceName,
    integer,
};
/// What a [`Handler`] returns.
pub use futures_util::future::BoxFuture;
