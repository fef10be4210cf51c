//! [`Trouble`]: states in which Redis answers commands with an error, and which commands.
//!
//! Not the errors that the data causes: those are the streams' own.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors>

use crate::command::Command;
use crate::reply::Refusal;

/// A state in which Redis does not carry commands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// `CLUSTERDOWN` to every command.
    ClusterDown,
    /// `LOADING` to every command.
    Loading,
    /// `MISCONF` to every write: Redis cannot persist.
    Misconfigured,
    /// `NOPERM` to acknowledgements.
    NoAck,
    /// `NOPERM` to claims.
    NoClaim,
    /// `NOPERM` to asking for the time.
    NoClock,
    /// `NOPERM` to counting what is pending.
    NoCount,
    /// `NOPERM` to deleting entries.
    NoDelete,
    /// `NOPERM` to letting keys expire.
    NoExpiry,
    /// `NOPERM` to making groups and deleting consumers.
    NoGroup,
    /// `NOPERM` to looking at streams and groups.
    NoLook,
    /// `NOPERM` to reads.
    NoRead,
    /// `NOPERM` to ending another connection's wait.
    NoUnblock,
    /// `NOPERM` to new entries.
    NoWrite,
    /// `OOM` to commands that need memory.
    OutOfMemory,
    /// `READONLY` to every write.
    ReadOnly,
}

impl Trouble {
    /// Those in which somebody may not do something.
    pub(in super::super) const FORBIDDEN: &[Self] = &[
        Self::NoAck,
        Self::NoClaim,
        Self::NoClock,
        Self::NoCount,
        Self::NoDelete,
        Self::NoExpiry,
        Self::NoGroup,
        Self::NoLook,
        Self::NoRead,
        Self::NoUnblock,
        Self::NoWrite,
    ];

    /// What Redis answers to a command in this state; `None` when it carries it out.
    pub(super) fn refusal(self, command: &Command) -> Option<Refusal> {
        let (applies, code, text) = match self {
            Self::ClusterDown => (true, "CLUSTERDOWN", "The cluster is down"),
            Self::Loading => (true, "LOADING", "Redis is loading the dataset in memory"),
            Self::Misconfigured => {
                let text = "Redis is configured to save RDB snapshots, but it's currently unable \
                            to persist to disk.";
                (writes(command), "MISCONF", text)
            }
            Self::NoAck
            | Self::NoClaim
            | Self::NoClock
            | Self::NoCount
            | Self::NoDelete
            | Self::NoExpiry
            | Self::NoGroup
            | Self::NoLook
            | Self::NoRead
            | Self::NoUnblock
            | Self::NoWrite => (self == forbidden(command), "NOPERM", NO_PERMISSION),
            Self::OutOfMemory => {
                let text = "command not allowed when used memory > 'maxmemory'.";
                (needs_memory(command), "OOM", text)
            }
            Self::ReadOnly => {
                let text = "You can't write against a read only replica.";
                (writes(command), "READONLY", text)
            }
        };
        applies.then(|| Refusal::new(code, text))
    }
}

const NO_PERMISSION: &str = "User app has no permissions to run the command";

/// In which state a command may not be used.
const fn forbidden(command: &Command) -> Trouble {
    match command {
        Command::ClientUnblock { .. } => Trouble::NoUnblock,
        Command::Del { .. } | Command::XDel { .. } | Command::XTrim { .. } => Trouble::NoDelete,
        Command::PExpire { .. } => Trouble::NoExpiry,
        Command::Time => Trouble::NoClock,
        Command::XAck { .. } => Trouble::NoAck,
        Command::XAdd { .. } => Trouble::NoWrite,
        Command::XAutoClaim { .. } | Command::XClaim { .. } => Trouble::NoClaim,
        Command::DelIdleConsumers { .. }
        | Command::XGroupCreate { .. }
        | Command::XGroupDelConsumer { .. } => Trouble::NoGroup,
        Command::XInfoGroups { .. } | Command::XInfoStream { .. } | Command::XRange { .. } => {
            Trouble::NoLook
        }
        Command::XPending { .. } | Command::XPendingRange { .. } => Trouble::NoCount,
        Command::XRead { .. } | Command::XReadGroup { .. } => Trouble::NoRead,
    }
}

/// Commands with the flag `denyoom`.
const fn needs_memory(command: &Command) -> bool {
    matches!(command, Command::XAdd { .. } | Command::XGroupCreate { .. })
}

/// Commands with the flag `write`.
const fn writes(command: &Command) -> bool {
    match command {
        Command::Del { .. }
        | Command::DelIdleConsumers { .. }
        | Command::PExpire { .. }
        | Command::XAck { .. }
        | Command::XAdd { .. }
        | Command::XAutoClaim { .. }
        | Command::XClaim { .. }
        | Command::XDel { .. }
        | Command::XGroupCreate { .. }
        | Command::XGroupDelConsumer { .. }
        | Command::XReadGroup { .. }
        | Command::XTrim { .. } => true,
        Command::ClientUnblock { .. }
        | Command::Time
        | Command::XInfoGroups { .. }
        | Command::XInfoStream { .. }
        | Command::XPending { .. }
        | Command::XPendingRange { .. }
        | Command::XRange { .. }
        | Command::XRead { .. } => false,
    }
}
