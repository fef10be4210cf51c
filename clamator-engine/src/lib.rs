//! The rules of clamator as pure state machines: Redis replies in, Redis commands out.
//!
//! [`Client`] and [`Server`] hold every rule of calling and serving JSON-RPC 2.0 over Redis
//! Streams. They read no clock, roll no die, start no thread and touch no socket: time, seed and
//! names are arguments, so a run is a function of its inputs and can be repeated exactly.
//!
//! Whoever embeds an engine writes one loop: hand in what happened with
//! [`Engine::handle_input`], then drain [`Engine::poll_output`] until [`Output::Idle`].
//! [`porting`] says in ten lines what that loop owes an engine, [`rules`] what an engine keeps.
//! [`memory`] is the other side of the conversation: a model of the Redis commands used here,
//! which serves as an embedded transport and as the Redis of tests.
#![no_std]
#![cfg_attr(
    test,
    allow(
        clippy::too_many_lines,
        clippy::wildcard_enum_match_arm,
        reason = "a test names the one case it wants"
    )
)]

extern crate alloc;

pub mod access;
mod call;
mod client;
mod command;
mod engine;
mod health;
mod hello;
mod jitter;
mod lanes;
pub mod memory;
mod operator;
mod page;
pub mod porting;
mod reply;
mod resp;
pub mod rules;
mod seeded;
mod server;
#[cfg(feature = "sim")]
pub mod sim;
mod stats;
mod stream_id;
#[cfg(test)]
mod testing;
mod time;
mod wire;

pub use call::{CallError, CallId, InvalidCall, ProtocolFault};
pub use client::{Client, ClientConfig, ClientEvent, ClientStats};
pub use command::{ClaimAs, Command, GroupStart};
pub use engine::{Deadline, Engine, Hello, Input, Lane, Loss, Output, Timer, Token, Version};
pub use health::{Ailment, Health};
pub use operator::{
    DeadLetter, Done, Operator, OperatorConfig, OperatorError, OperatorEvent, TaskId,
};
pub use reply::{Entry, Fields, GroupInfo, PendingEntry, Refusal, RefusalKind, Reply, StreamInfo};
pub use resp::{ReplyShape, Undecodable, Value};
#[cfg(seeded_bugs)]
pub use seeded::Bug;
pub use server::{
    Answer, Concurrency, Job, JobId, Notice, PoisonFault, Server, ServerConfig, ServerEvent,
    ServerStats, ServiceConfig, StartFrom,
};
pub use stream_id::StreamId;
pub use time::Instant;
