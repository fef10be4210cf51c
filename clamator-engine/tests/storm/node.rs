//! One engine of a storm, and the connections it holds.
//!
//! Not what happens to them: that is the world's.

use std::collections::BTreeMap;

use clamator_engine::access::{self, Grant, Role, Stream};
use clamator_engine::memory::ConnectionId;
use clamator_engine::{
    Client, ClientEvent, Command, Instant, Lane, Output, Server, ServerEvent, Token,
};

pub(crate) enum Machine {
    Client(Client),
    Server(Server),
}

pub(crate) enum Said {
    Client(ClientEvent),
    Server(ServerEvent),
}

/// One engine and its connections.
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) lanes: BTreeMap<Lane, Wire>,
    pub(crate) tokens: BTreeMap<u64, Token>,
    pub(crate) due: Option<Instant>,
}

impl Node {
    /// Asserts that the table of rights knows the command, for this role and for its key.
    pub(crate) fn assert_granted(&self, command: &Command) {
        let role = match self.machine {
            Machine::Client(_) => Role::Client,
            Machine::Server(_) => Role::Server,
        };
        let kind = |grant: &Grant| -> Option<&[u8]> {
            grant.keys.map(|(stream, _)| match stream {
                Stream::Commands => &b":cmds:"[..],
                Stream::Dead => b":dead:",
                Stream::Replies => b":replies:",
                _ => unreachable!("no other stream"),
            })
        };
        let is_granted = |grant: &&Grant| match (kind(grant), command.key()) {
            (Some(kind), Some(key)) => key.windows(kind.len()).any(|part| part == kind),
            (kind, key) => kind.is_none() && key.is_none(),
        };
        let mut own = access::of(command).iter().filter(|grant| grant.role == role);
        assert!(own.any(|grant| is_granted(&grant)), "{role:?} has no right to {command:?}");
    }
}

/// A lane's connection. Both directions keep their order.
pub(crate) struct Wire {
    pub(crate) connection: ConnectionId,
    pub(crate) open: bool,
    pub(crate) sent_until: Instant,
    pub(crate) told_until: Instant,
}

/// Changes what an output tells.
pub(crate) fn map<A>(output: Output<A>, event: impl FnOnce(A) -> Said) -> Output<Said> {
    match output {
        Output::Close(lane) => Output::Close(lane),
        Output::Command { lane, token, command, deadline } => {
            Output::Command { lane, token, command, deadline }
        }
        Output::Event(said) => Output::Event(event(said)),
        Output::Idle(deadline) => Output::Idle(deadline),
        Output::Open(lane) => Output::Open(lane),
        _ => unreachable!("no other output"),
    }
}
