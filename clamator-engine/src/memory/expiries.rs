//! [`Expiries`]: until when keys live whose time is limited.
//!
//! Not the keys. A key is gone when the millisecond is over that is noted here, for every command:
//! Redis removes it some time later, or when somebody asks for it.
//!
//! <https://redis.io/docs/latest/commands/pexpire/>

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// The last millisecond of each key that does not live on.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiries {
    by_key: BTreeMap<Bytes, u64>,
    by_time: BTreeSet<(u64, Bytes)>,
}

impl Expiries {
    /// The key lives until this millisecond is over.
    pub(super) fn set(&mut self, key: Bytes, last_ms: u64) {
        self.clear(&key);
        self.by_time.insert((last_ms, key.clone()));
        self.by_key.insert(key, last_ms);
    }

    /// The key lives on, or is gone.
    pub(super) fn clear(&mut self, key: &[u8]) {
        if let Some((key, last_ms)) = self.by_key.remove_entry(key) {
            self.by_time.remove(&(last_ms, key));
        }
    }

    /// The last millisecond of this key.
    pub(super) fn of(&self, key: &[u8]) -> Option<u64> {
        self.by_key.get(key).copied()
    }

    /// A key that is gone at this time.
    pub(super) fn over(&self, wall_ms: u64) -> Option<Bytes> {
        let (last_ms, key) = self.by_time.first()?;
        (*last_ms < wall_ms).then(|| key.clone())
    }
}
