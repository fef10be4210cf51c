//! Panics of a program's own code, which end what it was called for and nothing else: what they say,
//! and how what they carry is dropped.
//!
//! Not the catching: that is where the code is called.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Drops what a panic carries. That can panic again, with what is not dropped any more.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;
    use std::sync::Arc;

    use super::*;

    struct Fragile(#[expect(dead_code)] Arc<()>);

    impl Drop for Fragile {
        fn drop(&mut self) {
            panic_any(Self(Arc::new(())));
        }
    }

    #[test]
    fn what_a_panic_carries_is_dropped_even_if_that_panics_again() {
        let held = Arc::new(());
        let carried = Arc::clone(&held);
        let payload = catch_unwind(|| panic_any(carried)).unwrap_err();
        assert_eq!(text(&*payload), "no message");
        drop_payload(payload);
        assert_eq!(Arc::strong_count(&held), 1);
        drop_payload(Box::new(Fragile(Arc::clone(&held))));
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
