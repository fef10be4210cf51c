//! [`Notes`]: what is seen of a connection's bytes that `redis` keeps to itself.
//!
//! Not what the bytes say. Both ends of the stack of streams write here: what moves is seen at the
//! socket, below TLS, and what is wrong with TLS above it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was noted of a connection.
#[derive(Debug, Default)]
pub(super) struct Notes {
    fault: OnceLock<String>,
    moved: AtomicUsize,
}

impl Notes {
    /// Notes what is wrong with the connection's TLS. The first is the reason of those that follow.
    pub(super) fn fail(&self, fault: String) {
        let _ = self.fault.set(fault);
    }

    /// What was wrong with the connection's TLS; `None` when it is not that.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// Notes bytes that came in, or were taken after they had to wait. Bytes that are taken at
    /// once go no further than this host's buffers, and tell nothing of the other side.
    pub(super) fn add_moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes how many bytes moved since the last time.
    pub(super) fn take_moved(&self) -> usize {
        self.moved.swap(0, Ordering::Relaxed)
    }
}
