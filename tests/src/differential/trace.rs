//! [`Trace`]: what happened on the real server, in order, with its answers and its time.
//!
//! Not a judgement. The server's clock cannot be set, so each event carries the milliseconds
//! between which it was carried out, as the server's own `TIME` told just before and just after.
//! Usually both are the same one, and then the model can be told exactly when it was.

use bytes::Bytes;
use clamator_engine::{Command, Refusal, Reply};

use super::step::Meddling;

/// A run of a sequence on a server.
#[derive(Debug, Default)]
pub struct Trace {
    pub events: Vec<Event>,
    /// By ticket.
    pub answers: Vec<Told>,
}

/// Something that was done.
#[derive(Debug)]
pub struct Event {
    /// Which step it comes from; `None` for what every sequence ends in.
    pub label: Option<u64>,
    pub seat: usize,
    pub happening: Happening,
    /// First and last millisecond in which it may have been carried out.
    pub span: (u64, u64),
    /// Whether all has been read by now that this and what came before it were answered with.
    pub settled: bool,
}

#[derive(Debug)]
pub enum Happening {
    /// A command was sent. Ids in it are real, the number of a connection is still a label.
    Ask { ticket: usize, command: Command },
    /// The connection was closed and another one opened.
    Close,
    /// An operator did something and was answered this number; 0 also for an error.
    Meddle(Meddling, i64),
    /// Time passed until a wait ran out.
    Tick,
    /// The state was looked at in a way that engines do not.
    Look(Look, Sight),
}

/// A look at the state that engines do not take.
#[derive(Clone, Debug)]
pub enum Look {
    /// `XINFO CONSUMERS key group`.
    Consumers(Bytes, Bytes),
    /// `XLEN key`.
    Len(Bytes),
    /// `XPENDING key group - + count`, for all that is pending.
    Pending(Bytes, Bytes),
    /// `PTTL key`.
    Ttl(Bytes),
}

/// What is seen. A group or stream that is not there looks like one that is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    Consumers(Vec<Bytes>),
    Len(i64),
    Pending(Vec<clamator_engine::PendingEntry>),
    /// Milliseconds that the key has left to live; `None` when it lives on, or is not there.
    Ttl(Option<u64>),
    /// The server said something else.
    Odd(String),
}

/// What a server said to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Reply(Result<Reply, Refusal>),
    /// It has not the shape of any answer to this command.
    Odd(String),
}

/// An answer and since which event it is known.
#[derive(Debug)]
pub struct Told {
    /// `None` when there was none to the end.
    pub answer: Option<Answer>,
    pub since: usize,
}
