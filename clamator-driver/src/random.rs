//! Randomness: the one place that asks the operating system for it.
//!
//! Engines take seeds, nonces and names as arguments; a runtime says where they come from, which
//! is here unless it brings its own.

use std::fmt::Write;

use crate::runtime::Runtime;

/// Fills `bytes` by the operating system.
///
/// # Panics
/// When the operating system has none to give. Names would collide without them, and calls would
/// take each other's replies.
pub(crate) fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        panic!("the operating system gives no random bytes: {error}");
    }
}

/// Draws random bytes.
pub(crate) fn bytes<const N: usize>(runtime: &impl Runtime) -> [u8; N] {
    let mut bytes = [0; N];
    runtime.random(&mut bytes);
    bytes
}

/// Draws a seed for an engine.
pub(crate) fn seed(runtime: &impl Runtime) -> u64 {
    u64::from_le_bytes(bytes(runtime))
}

/// Writes bytes as a name, in hexadecimal.
pub(crate) fn name(bytes: [u8; 16]) -> String {
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualRuntime;

    #[test]
    fn two_instance_names_differ() {
        let runtime = ManualRuntime::default();
        let (one, two) = (name(bytes(&runtime)), name(bytes(&runtime)));
        assert_eq!((one.len(), two.len()), (32, 32));
        assert_ne!(one, two);
    }
}
