//! [`ServerCounters`]: what a server has seen, in numbers.
//!
//! Not what it says to its operator: those are notices.

/// What a server has seen since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerCounters {
    /// How often Redis's clock, by two looks at it, has gone otherwise than this server's.
    pub clock_jumps: u64,
    /// How often Redis refused to remove consumers: until the connection is made anew none is.
    pub consumer_looks_refused: u64,
    /// Consumers that held nothing, were idle for long, and that this server removed.
    pub consumers_removed: u64,
    /// Entries that were given out too often and put aside.
    pub dead_letters: u64,
    /// Entries that were given to this server although they are no longer in the stream.
    pub entries_deleted: u64,
    /// Entries that were handed back at the stop, for another worker.
    pub entries_handed_back: u64,
    /// Entries that others had acknowledged and left behind, and that this server deleted.
    pub entries_trimmed: u64,
    /// Requests that were not run as their callers had given up before.
    pub expired: u64,
    /// Consumer groups that were gone and were created again.
    pub groups_restored: u64,
    /// Entries that another worker may have been given while they were held here.
    pub leases_lost: u64,
    /// Jobs that were started.
    pub jobs_started: u64,
    /// Jobs among them whose entry had been given to a worker before.
    pub jobs_redelivered: u64,
    /// Entries that are no request.
    pub poison: u64,
    /// Replies that Redis will never accept.
    pub replies_refused: u64,
    /// Requests whose reply was asked for outside this deployment.
    pub reply_to_refused: u64,
}
