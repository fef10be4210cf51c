//! [`Fault`]: everything that can go wrong in a simulated run, by name, and how often it did.
//!
//! Not the doing: network and Redis do theirs in `network`, the rest is the world's.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::dice::Dice;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Something that goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[doc = $doc])* $name,)*
        }

        impl Fault {
            /// All faults.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    /// A client's clock jumps ahead, as after a suspension.
    ClientClockAhead,
    /// A client does nothing for a while.
    ClientFrozen,
    /// A client is stopped in the middle of its calls.
    ClientStopped,
    /// `CLUSTERDOWN` to everything, for a while.
    ClusterDown,
    /// Connections hang: nobody answers, for a while.
    ConnectHangs,
    /// Connections are refused, for a while.
    ConnectRefused,
    /// A worker's consumer is deleted from its group by an operator, with what it holds.
    ConsumerDeleted,
    /// The process of a worker ends after an acknowledgement was sent.
    CrashAfterAck,
    /// The process of a worker ends when entries have been given to it, before it knows them.
    CrashAfterRead,
    /// The process of a worker ends after a reply was sent.
    CrashAfterReply,
    /// The process of a worker ends when a handler has ended, before its reply is sent.
    CrashBeforeReply,
    /// The process of a worker ends while a handler runs.
    CrashInHandler,
    /// An entry is deleted from its stream.
    EntryDeleted,
    /// A replica that lags takes over: the last writes are gone, and connections that stay lead to
    /// a server that takes no writes, and hears of none.
    Failover,
    /// `FLUSHALL`.
    FlushAll,
    /// Somebody else's group reads a command stream too.
    ForeignGroup,
    /// Something that is no reply of ours is written to a reply stream.
    ForeignReply,
    /// Something that is no request is written to a command stream.
    Garbage,
    /// A consumer group is destroyed.
    GroupDestroyed,
    /// A connection neither carries anything nor ends.
    HalfOpen,
    /// A handler panics.
    HandlerPanics,
    /// A handler takes about as long as `claim_idle`, or longer.
    HandlerSlow,
    /// A handler does not end before the faults do.
    HandlerStuck,
    /// `LOADING` to everything, for a while.
    Loading,
    /// `MISCONF` to every write, for a while.
    Misconfigured,
    /// `NOPERM` to one kind of command, for a while.
    NoPermission,
    /// `OOM` to everything that needs memory, for a while.
    OutOfMemory,
    /// A Python worker, which renews nothing, carries no cursor and reclaims in its own time, is in
    /// the pool.
    PythonWorker,
    /// `READONLY` to every write, for a while.
    ReadOnly,
    /// Redis's clock jumps ahead.
    RedisClockAhead,
    /// Redis's clock steps back.
    RedisClockBack,
    /// A reply is written twice.
    ReplyDuplicated,
    /// The key of a client's reply stream holds something that is no stream, for a while.
    ReplyKeyWrongType,
    /// Reply streams are shorter than what may be under way.
    ReplyOverflow,
    /// A reply is longer than Redis is set to take: it ends every connection on which one comes.
    ReplyTooLong,
    /// A connection ends before what was written on it arrives.
    ResetBeforeWrite,
    /// A connection ends after what was written on it arrives, and before its reply.
    ResetBeforeReply,
    /// Redis comes up again without its data.
    RestartEmpty,
    /// Redis comes up again with its data.
    RestartKept,
    /// Redis comes up again without its last writes: settled work is new again.
    RestartTruncated,
    /// A connection carries everything late.
    Slow,
    /// A command stream is deleted.
    StreamDeleted,
    /// A command stream is trimmed, whatever is pending or unread.
    StreamTrimmed,
    /// A command stream's key, or that of its dead letters, holds a string for a while.
    StreamWrongType,
    /// Two clients have one instance name.
    TwinClients,
    /// A worker's clock jumps ahead, as after a suspension.
    WorkerClockAhead,
    /// A worker does nothing for longer than `claim_idle`, and goes on.
    WorkerFrozen,
    /// A worker is stopped, and another one started.
    WorkerStopped,
}

impl Fault {
    /// Whether it happens to a process, its handlers or its peers, and not to the network or to
    /// Redis.
    #[must_use]
    pub const fn is_of_process(self) -> bool {
        match self {
            Self::ClientClockAhead
            | Self::ClientFrozen
            | Self::ClientStopped
            | Self::CrashAfterAck
            | Self::CrashAfterRead
            | Self::CrashAfterReply
            | Self::CrashBeforeReply
            | Self::CrashInHandler
            | Self::HandlerPanics
            | Self::HandlerSlow
            | Self::HandlerStuck
            | Self::PythonWorker
            | Self::ReplyOverflow
            | Self::ReplyTooLong
            | Self::TwinClients
            | Self::WorkerClockAhead
            | Self::WorkerFrozen
            | Self::WorkerStopped => true,
            Self::ClusterDown
            | Self::ConnectHangs
            | Self::ConnectRefused
            | Self::ConsumerDeleted
            | Self::EntryDeleted
            | Self::Failover
            | Self::FlushAll
            | Self::ForeignGroup
            | Self::ForeignReply
            | Self::Garbage
            | Self::GroupDestroyed
            | Self::HalfOpen
            | Self::Loading
            | Self::Misconfigured
            | Self::NoPermission
            | Self::OutOfMemory
            | Self::ReadOnly
            | Self::RedisClockAhead
            | Self::RedisClockBack
            | Self::ReplyDuplicated
            | Self::ReplyKeyWrongType
            | Self::ResetBeforeReply
            | Self::ResetBeforeWrite
            | Self::RestartEmpty
            | Self::RestartKept
            | Self::RestartTruncated
            | Self::Slow
            | Self::StreamDeleted
            | Self::StreamTrimmed
            | Self::StreamWrongType => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How often each fault happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<Fault, u64>);

impl FaultCounts {
    /// Counts a fault that happened.
    pub fn add(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// How often a fault happened.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or_default()
    }

    /// How many faults happened.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Adds what others have counted.
    pub fn merge(&mut self, others: &Self) {
        for (fault, count) in &others.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }
}

/// Some of the faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FaultSet(u64);

impl FaultSet {
    /// These faults.
    pub(super) const fn of(faults: &[Fault]) -> Self {
        let (mut bits, mut rest) = (0, faults);
        while let [fault, others @ ..] = rest {
            bits |= 1 << *fault as u64;
            rest = others;
        }
        Self(bits)
    }

    /// These and others.
    pub(super) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(super) const fn contains(self, fault: Fault) -> bool {
        self.intersects(Self::of(&[fault]))
    }

    /// Whether it has any fault in common with another.
    pub(super) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Draws the faults that may happen in one run: none, few or most of them, so that each is met both
/// alone and among many.
pub(super) fn draw(dice: &mut Dice) -> Vec<Fault> {
    let percent = *dice.pick(&[0, 8, 15, 30, 60, 90]).unwrap_or(&50);
    Fault::ALL.iter().copied().filter(|_| dice.chance(percent)).collect()
}
