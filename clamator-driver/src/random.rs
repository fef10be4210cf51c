//! Randomness: the one place that asks the operating system for it.
//!
//! Engines take seeds, nonces and names as arguments; this is where they come from.

use std::fmt::Write;

/// Draws random bytes.
///
/// # Panics
/// When the operating system has none to give. Names would collide without them, and calls would
/// take each other's replies.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the operating system gives no random bytes: {error}");
    }
    bytes
}

/// Draws a seed for an engine.
pub(crate) fn seed() -> u64 {
    u64::from_ne_bytes(bytes())
}

/// Draws an instance name: 128 bits in hexadecimal.
pub(crate) fn instance() -> String {
    bytes::<16>().iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instance_names_differ() {
        let (one, two) = (instance(), instance());
        assert_eq!((one.len(), two.len()), (32, 32));
        assert_ne!(one, two);
    }
}
