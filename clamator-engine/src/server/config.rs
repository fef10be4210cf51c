//! [`ServerConfig`] and [`ServiceConfig`]: what a server is told before it starts.
//!
//! Not the rules that use them. Every duration and limit has a default that suits a deployment
//! shared with the Python and TypeScript peers; nothing here is read from the environment.

use alloc::string::String;
use core::time::Duration;

use clamator_proto::Contract;

use crate::seeded::Seeded;
use crate::wire;

/// The shortest idle time that Redis can tell from none.
const CLAIM_IDLE_MIN: Duration = Duration::from_millis(1);

/// Shorter, and live workers' consumers would come and go.
const CONSUMER_IDLE_MIN: Duration = Duration::from_secs(1);
/// Shorter, and a server would do little else.
const TICK_MIN: Duration = Duration::from_millis(10);
/// Shorter, and a reply might be gone before its client reads it.
const TTL_MIN: Duration = Duration::from_secs(1);
/// Longer, and Redis might refuse it.
const TTL_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// How long an entry must be idle before another worker's is taken over. Default 60 s, at
    /// least 1 ms; should be equal across a pool.
    pub claim_idle: Duration,
    /// How long any command but a blocking read may take. Default 5 s.
    pub command_timeout: Duration,
    /// How long connecting a lane may take, handshake included. Default 2 s.
    pub connect_timeout: Duration,
    /// How long a consumer that holds nothing must be idle before it is removed from its group: what
    /// workers leave behind that are killed; before Redis 7.2 also of live workers that are given nothing
    /// for so long, which changes nothing for them. Default 1 h, at least 1 s; [`Duration::MAX`] leaves
    /// them all. Looked at about four times in that time, and about once a minute at least.
    pub consumer_idle_max: Duration,
    /// About how many dead letters of one service are kept. Default 10,000, at least 1.
    pub dead_letters_max: u64,
    /// How long the deadline of a request must be past, by Redis's clock, until it is not run any
    /// more. Default 1 s. With less, a caller may still wait for what is not run, if a clock was set
    /// by a fraction of a second meanwhile.
    pub deadline_slack: Duration,
    /// How often an entry may be started. If it would be once more, as nobody ever acknowledged it, it
    /// becomes a dead letter: whoever runs it may be killed by it. Default 10, at least 1. Redis
    /// counts, so the starts of other workers are among them.
    pub deliveries_max: u64,
    /// How long a handler may run before it is dropped, as far as dropping ends it: what it comes to
    /// is not heard, and another worker takes its entry over when that has been idle for
    /// `claim_idle`. Looked at once a `reclaim_tick`. Default `None`: as long as it likes.
    pub handler_timeout: Option<Duration>,
    /// Name of this server within its pool; `<service>:<instance>` is its consumer name. Must be
    /// unique; `released` is reserved. Of two that run at once under one name, each takes what the other
    /// holds for its own. Whoever starts under the name of a process that was killed takes
    /// back what that was given, once it has been idle for two thirds of `peer_claim_idle`.
    pub instance: String,
    /// Whether no process has had this `instance` before, as one that is drawn at random. Then nothing is
    /// looked for that such a process may have left, and a stop that follows the start at once removes the
    /// consumer, which is otherwise left until the next start. Default false.
    pub instance_is_fresh: bool,
    /// The smallest `claim_idle` of all workers in the pool, the Python and TypeScript peers'
    /// included: entries are renewed at a third of it. Default `None`: that of this server.
    pub peer_claim_idle: Option<Duration>,
    /// Most requests of one service that wait unstarted in this process. Default 256, at least 1.
    pub prefetch_max: usize,
    /// About how much work, at the measured pace of the handlers, may wait unstarted in this
    /// process. Default 5 ms.
    pub prefetch_time: Duration,
    /// First part of every key.
    pub prefix: String,
    /// How long a blocking read waits. Default 1 s, at least 1 ms, at most an hour.
    pub read_block: Duration,
    /// Time between two looks for what dead workers left. Default 1 s, at least 10 ms, spread by
    /// ±25 %.
    pub reclaim_tick: Duration,
    /// Whether a `reply-to` outside `<prefix>:replies:` is accepted. Default false: anybody who
    /// can write the command stream could make the server write to any stream. Such streams are
    /// trimmed as reply streams are, and live on.
    pub relaxed_reply_to: bool,
    /// About how many entries a reply stream keeps. Default 1024, at least 1.
    pub reply_stream_max_len: u64,
    /// How long a reply stream lives, at least three quarters of this after its last reply, that nobody
    /// deletes: what a client that was killed leaves behind. Default 1 h, at least 1 s, at most 10
    /// years; longer than any client may take to read a reply.
    pub reply_stream_ttl: Duration,
    /// Decides the spread of timers. Take it from a random source, or fix it to repeat a run.
    pub seed: u64,
    /// Time between two trimmings of a stream in which something was acknowledged since. Default
    /// 5 s, at least 10 ms, spread by ±25 %.
    pub trim_tick: Duration,
    pub(crate) seeded: Seeded,
}

impl ServerConfig {
    /// Makes the default settings for this key prefix, instance name and seed.
    #[must_use]
    pub fn new(prefix: impl Into<String>, instance: impl Into<String>, seed: u64) -> Self {
        Self {
            claim_idle: Duration::from_secs(60),
            command_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            consumer_idle_max: Duration::from_secs(3600),
            dead_letters_max: 10_000,
            deadline_slack: Duration::from_secs(1),
            deliveries_max: 10,
            handler_timeout: None,
            instance: instance.into(),
            instance_is_fresh: false,
            peer_claim_idle: None,
            prefetch_max: 256,
            prefetch_time: Duration::from_millis(5),
            prefix: prefix.into(),
            read_block: Duration::from_secs(1),
            reclaim_tick: Duration::from_secs(1),
            relaxed_reply_to: false,
            reply_stream_max_len: 1024,
            reply_stream_ttl: Duration::from_secs(3600),
            seed,
            trim_tick: Duration::from_secs(5),
            seeded: Seeded::default(),
        }
    }

    /// After how long at the earliest an entry that is not renewed may be taken over.
    pub(crate) fn peer_claim_idle(&self) -> Duration {
        let peers = self.peer_claim_idle.unwrap_or(self.claim_idle).max(CLAIM_IDLE_MIN);
        peers.min(self.claim_idle)
    }

    /// Moves what would make a loop without a pause, or what Redis refuses, into its range.
    pub(crate) fn within_bounds(mut self) -> Self {
        self.claim_idle = self.claim_idle.max(CLAIM_IDLE_MIN);
        self.read_block = wire::read_block(self.read_block);
        // Redis counts with signed numbers.
        self.reply_stream_max_len = self.reply_stream_max_len.clamp(1, i64::MAX.cast_unsigned());
        self.reply_stream_ttl = self.reply_stream_ttl.clamp(TTL_MIN, TTL_MAX);
        self.consumer_idle_max = self.consumer_idle_max.max(CONSUMER_IDLE_MIN);
        self.dead_letters_max = self.dead_letters_max.clamp(1, i64::MAX.cast_unsigned());
        self.deliveries_max = self.deliveries_max.max(1);
        self.reclaim_tick = self.reclaim_tick.max(TICK_MIN);
        self.trim_tick = self.trim_tick.max(TICK_MIN);
        self
    }
}

/// Settings of one service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// How many handlers of the service run at once in this server. Default: one.
    pub concurrency: Concurrency,
    /// Its methods. A request for any other is answered `Method not found`.
    pub contract: Contract,
    /// Whether a request may wait in this server behind a handler that runs. Without, the service
    /// takes nothing in that it cannot start at once, so that other workers of the pool are given what
    /// comes meanwhile; what dead workers left is looked for when a blocking read ends. Default true.
    pub prefetch: bool,
    /// Where the consumer group starts if this server is the one to create it.
    pub start_from: StartFrom,
}

impl ServiceConfig {
    /// Makes the default settings for this contract.
    #[must_use]
    pub const fn new(contract: Contract) -> Self {
        Self {
            concurrency: Concurrency::Serial,
            contract,
            prefetch: true,
            start_from: StartFrom::Oldest,
        }
    }
}

/// How many handlers of one service run at once in one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concurrency {
    /// Up to this many at once, in no promised order; 0 means 1.
    Limit(usize),
    /// One at a time, in stream order: a request sees the full effect of the one before it.
    #[default]
    Serial,
}

impl Concurrency {
    /// The most handlers that run at once.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Limit(limit) => limit.max(1),
            Self::Serial => 1,
        }
    }
}

/// Where a new consumer group starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartFrom {
    /// Only with what is sent after the group was created, as the Python and TypeScript peers do.
    New,
    /// With the oldest entry of the stream, so what was queued before the first start is served.
    #[default]
    Oldest,
}
