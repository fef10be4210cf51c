//! [`Dialect`]: what differs between versions of Redis, one question each.
//!
//! Not whether a command exists: all that are modelled exist since 6.2. Valkey answers every
//! question as the Redis of its number does.

use crate::engine::Version;

/// How a version of Redis behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect(Version);

impl Dialect {
    pub(super) const fn new(version: Version) -> Self {
        Self(version)
    }

    /// Whether a claim drops entries that are gone from the stream, instead of handing out nil.
    ///
    /// <https://github.com/redis/redis/pull/10227>
    pub(super) fn claims_drop_deleted(self) -> bool {
        self.0 >= Version::new(7, 0, 0)
    }

    /// Whether a claim or a read makes its consumer exist, even if it gets nothing.
    ///
    /// <https://github.com/redis/redis/pull/11099>
    pub(super) fn trying_makes_consumer(self) -> bool {
        self.0 >= Version::new(7, 2, 0)
    }

    /// Whether a claim finds no memory to note so many deleted entries in. What memory a machine
    /// has is not modelled, only that none has more than 2^47 bytes.
    pub(super) fn claim_lacks_memory(self, count: u64) -> bool {
        self.claims_drop_deleted() && count >= 1 << 43
    }

    /// Whether a group's blocked readers are told that their stream is gone.
    pub(super) fn deletion_wakes_readers(self) -> bool {
        self.0 >= Version::new(7, 0, 0)
    }

    /// Whether a blocked read that might go on is carried out anew, like a new command.
    ///
    /// <https://github.com/redis/redis/pull/11012>
    pub(super) fn blocked_reads_run_again(self) -> bool {
        self.0 >= Version::new(7, 2, 0)
    }

    /// The longest wait, in milliseconds: it must not end after the last millisecond that Redis can
    /// count. Before 7.2 Redis counts on with a negative number, and such a wait ends when Redis
    /// next looks through all its clients, at no time that is worth modelling.
    pub(super) fn block_ms_max(self, wall_ms: u64) -> u64 {
        let max = i64::MAX.cast_unsigned();
        if self.0 >= Version::new(7, 2, 0) { max.saturating_sub(wall_ms) } else { max }
    }

    /// What an `XADD` with a bound and without fields is called when it is refused.
    pub(super) fn xadd_in_errors(self) -> &'static str {
        if self.0 >= Version::new(7, 0, 0) { "'xadd' command" } else { "XADD" }
    }

    /// What a `PEXPIRE` is called whose time is beyond what Redis can count.
    pub(super) fn pexpire_in_errors(self) -> &'static str {
        if self.0 >= Version::new(7, 0, 0) { "'pexpire' command" } else { "pexpire" }
    }

    /// The greatest `COUNT` of a claim.
    pub(super) fn claim_count_max(self) -> u64 {
        let max = i64::MAX.cast_unsigned();
        if self.claims_drop_deleted() { max / 16 } else { max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_behaviour_comes_with_its_version() {
        let answers = |major, minor| {
            let dialect = Dialect::new(Version::new(major, minor, 99));
            (
                dialect.claims_drop_deleted(),
                dialect.deletion_wakes_readers(),
                dialect.blocked_reads_run_again(),
            )
        };
        assert_eq!(answers(6, 2), (false, false, false));
        assert_eq!(answers(7, 0), (true, true, false));
        assert_eq!(answers(7, 2), (true, true, true));
        assert_eq!(answers(9, 1), (true, true, true));
    }
}
