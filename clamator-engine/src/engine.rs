//! [`Engine`]: how the outside world and a state machine talk, for [`Client`] and [`Server`] alike.
//!
//! Not the rules: those are the two engines'. Not I/O: a [`Lane`] is a promise about order that
//! whoever drives the engine keeps with one connection.
//!
//! A turn: hand in every verb and reply that is waiting with one `now`, then [`Input::Tick`] if
//! the last deadline is due, then call [`Engine::poll_output`] until [`Output::Idle`]; then write
//! once per lane. Replies handed in before the tick beat its timers.
//!
//! [`Client`]: crate::Client
//! [`Server`]: crate::Server

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use crate::command::Command;
use crate::reply::{Refusal, Reply};
use crate::time::Instant;

/// A state machine that is told what happened and says what to do.
pub trait Engine {
    /// What the engine tells the application.
    type Event;

    /// Takes one thing that happened. Infallible: what the world does is data.
    fn handle_input(&mut self, now: Instant, input: Input);

    /// Says the next thing to do. Call until [`Output::Idle`].
    fn poll_output(&mut self) -> Output<Self::Event>;
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The lane is connected, authenticated and ready for commands.
    LaneOpen(Lane, Hello),
    /// The lane could not be opened or has ended; the outcome of its tokens is unknown.
    LaneLost(Lane, Loss),
    /// Bytes have moved on this lane: part of a reply has come in, or the other side has taken part
    /// of a command. Every 64 KiB of them give what is due there its whole time again, since large
    /// values on a slow connection take longer than any deadline allows. To be handed in before
    /// [`Input::Tick`]; whoever cannot tell, leaves it out.
    Progress {
        /// Which lane.
        lane: Lane,
        /// How many bytes, since the last time.
        bytes: usize,
    },
    /// Redis answered the command of this token.
    Reply(Token, Result<Reply, Refusal>),
    /// Nothing but time passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Output<E> {
    /// Connect this lane, then hand in [`Input::LaneOpen`] or [`Input::LaneLost`].
    Open(Lane),
    /// Drop this lane's connection. No [`Input::LaneLost`] follows; its tokens are void.
    Close(Lane),
    /// Send this command. Commands of one lane are sent in the order they come out.
    Command {
        /// Where to send it.
        lane: Lane,
        /// What to hand in with its reply.
        token: Token,
        /// What to send.
        command: Command,
        /// When its reply is due; past it the engine closes the lane by itself, unless a large
        /// value is on its way: see [`Input::Progress`].
        deadline: Instant,
    },
    /// Tell the application.
    Event(E),
    /// Nothing to do before this deadline, or before the next input if there is none.
    Idle(Option<Deadline>),
}

/// One connection whose commands are answered in order. Across lanes nothing is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lane {
    /// For commands that Redis answers at once.
    Command,
    /// For blocking reads, which hold up everything behind them. Numbered from 0.
    Blocking(u16),
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("command"),
            Self::Blocking(number) => write!(f, "blocking-{number}"),
        }
    }
}

/// The right to hand in one reply. Void once its lane is lost or closed.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    lane: Lane,
    number: u64,
}

impl Token {
    pub(crate) const fn new(lane: Lane, number: u64) -> Self {
        Self { lane, number }
    }

    /// The lane its command went to.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// A number for logs: unique within the engine, rising in the order of sending.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// What a lane found when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// Id of the connection for `CLIENT UNBLOCK`; `None` when the server would not tell.
    pub client_id: Option<u64>,
    /// Whether the streams live in this process, so that a missing stream means nobody serves it.
    pub embedded: bool,
    /// Redis's clock (`TIME`): what has passed since the Unix epoch; `None` when refused.
    pub time: Option<Duration>,
    /// Whether the server is Valkey.
    pub valkey: bool,
    /// Version of the server.
    pub version: Version,
}

impl Hello {
    /// Describes a Redis server of this version, with everything else unknown.
    #[must_use]
    pub const fn new(version: Version) -> Self {
        Self { client_id: None, embedded: false, time: None, valkey: false, version }
    }
}

/// Version of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Version {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Patch level.
    pub patch: u32,
}

impl Version {
    /// The oldest server that knows the commands used here (`XAUTOCLAIM`, `NOMKSTREAM`).
    pub const OLDEST: Self = Self::new(6, 2, 0);

    /// Makes a version from its parts.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `major.minor.patch`; missing parts are 0, `None` when there is no number at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::parse);
        let major = parts.next()?.ok()?;
        let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
        Some(Self::new(major, part(), part()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why a lane is not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The connection ended.
    #[error("the connection to Redis ended: {detail}")]
    Closed {
        /// What the operating system or the protocol reader said.
        detail: String,
    },
    /// Redis refused the user, the password or the database. Check the credentials.
    #[error("Redis refused the credentials or the database: {detail}")]
    Credentials {
        /// What Redis said.
        detail: String,
    },
    /// The server answered the handshake or a command with something this crate cannot read.
    #[error("the server did not answer as Redis does: {detail}")]
    Garbled {
        /// What could not be read.
        detail: String,
    },
    /// Redis answered that this connection cannot go on.
    #[error("Redis cannot serve this connection now: {0}")]
    Unfit(Refusal),
    /// No connection, or no answer, within the time allowed.
    #[error("no answer from Redis within {allowed:?}")]
    Overdue {
        /// How long was waited.
        allowed: Duration,
    },
    /// The TLS handshake failed. Check the certificates of both sides, and the host's name.
    #[error("the connection to Redis at {address} could not be secured: {detail}")]
    Tls {
        /// Where the connection was tried.
        address: String,
        /// What was wrong with the server's certificate, or what the server said.
        detail: String,
    },
    /// The server is older than [`Version::OLDEST`]. Use a newer one.
    #[error("the server is version {version}, and clamator needs {} or newer", Version::OLDEST)]
    TooOld {
        /// Version the server reported.
        version: Version,
    },
    /// Nothing answers at the address. Check address and server.
    #[error("cannot reach Redis at {address}: {detail}")]
    Unreachable {
        /// Where the connection was tried.
        address: String,
        /// What the operating system said.
        detail: String,
    },
}

/// When the engine wants to be ticked, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Deadline {
    /// When [`Input::Tick`] is due.
    pub at: Instant,
    /// What is due then.
    pub timer: Timer,
}

impl Deadline {
    pub(crate) const fn new(at: Instant, timer: Timer) -> Self {
        Self { at, timer }
    }

    /// The earlier of two deadlines, either of which may be missing.
    pub(crate) fn earlier(one: Option<Self>, two: Option<Self>) -> Option<Self> {
        match (one, two) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        }
    }
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// A call's timeout.
    Call,
    /// The reply of a command.
    Command(Lane),
    /// A lane that is being opened.
    Connect(Lane),
    /// The grace of a stop.
    Grace,
    /// A consumer group or a read that was refused.
    Heal,
    /// The second look at what a lost blocking read may have been given.
    LookBack,
    /// A lane's next try.
    Reconnect(Lane),
    /// The reclaim tick.
    Reclaim,
    /// The leases of what is held.
    Renew,
    /// A client whose replies are overdue reads its reply stream again.
    Reread,
    /// Replies that Redis could not take.
    RetryReplies,
    /// The trimming of streams.
    Trim,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        assert_eq!(Version::parse("7.0.15"), Some(Version::new(7, 0, 15)));
        assert_eq!(Version::parse("8"), Some(Version::new(8, 0, 0)));
        assert_eq!(Version::parse("x.1"), None);
        assert!(Version::new(6, 0, 16) < Version::OLDEST);
        assert!(Version::new(10, 0, 0) > Version::OLDEST);
    }

    #[test]
    fn the_earlier_deadline_wins() {
        let soon = Deadline::new(Instant::ZERO, Timer::Call);
        let late = Deadline::new(Instant::ZERO + Duration::from_secs(1), Timer::Reclaim);
        assert_eq!(Deadline::earlier(Some(late), Some(soon)), Some(soon));
        assert_eq!(Deadline::earlier(None, Some(late)), Some(late));
        assert_eq!(Deadline::earlier(None, None), None);
    }
}
