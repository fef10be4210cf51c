//! [`Streams`]: the command streams of the services that were called lately.
//!
//! Not what is under way there, which is `turns`' to know. Services may be as many as there are
//! devices or tenants, and a client may run for years: one that has nothing under way is forgotten
//! when too many are known, and is met anew with its next call (rule 5.3).

use alloc::collections::BTreeMap;
use alloc::string::String;

use bytes::Bytes;

/// So many services are known before any is forgotten.
pub(super) const KNOWN_MIN: usize = 1024;

/// The keys of command streams, by service.
#[derive(Debug)]
pub(super) struct Streams {
    keys: BTreeMap<String, Bytes>,
    /// So many services are known until those are forgotten that can be.
    full_at: usize,
}

impl Default for Streams {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), full_at: KNOWN_MIN }
    }
}

impl Streams {
    /// The key of a service that is known.
    pub(super) fn find(&self, service: &str) -> Option<&Bytes> {
        self.keys.get(service)
    }

    /// Meets a service.
    pub(super) fn insert(&mut self, service: &str, key: Bytes) {
        self.keys.insert(service.into(), key);
    }

    /// Whether it is time to forget some.
    pub(super) fn are_too_many(&self) -> bool {
        self.keys.len() >= self.full_at
    }

    /// Forgets all but those with something under way, and waits with the next time until as many
    /// have come as are left: each costs the same, however many there are.
    pub(super) fn forget(&mut self, under_way: impl Fn(&Bytes) -> bool) {
        self.keys.retain(|_, key| under_way(key));
        self.full_at = KNOWN_MIN.max(self.keys.len() * 2);
    }

    /// How many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn none_is_forgotten_until_there_are_too_many_or_as_many_again_as_could_not_be() {
        let mut streams = Streams::default();
        let mut meet = |until: usize| {
            for number in streams.len()..until {
                assert!(!streams.are_too_many());
                streams.insert(&format!("s{number}"), Bytes::new());
            }
            assert!(streams.are_too_many());
            streams.forget(|_| true);
        };
        meet(KNOWN_MIN);
        meet(2 * KNOWN_MIN);
        meet(4 * KNOWN_MIN);
        streams.forget(|_| false);
        assert_eq!((streams.len(), streams.full_at), (0, KNOWN_MIN));
    }
}
