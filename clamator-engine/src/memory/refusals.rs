//! What Redis says when it does not carry a command out, word by word.
//!
//! Not the refusals of arguments alone: those are told before any key is looked at.

use alloc::format;
use alloc::string::String;

use crate::reply::Refusal;

/// `XAUTOCLAIM` with a count that Redis's memory does not suffice for.
pub(super) fn claim_too_large() -> Refusal {
    let text = "Insufficient memory, failed allocating transient memory, COUNT too high.";
    Refusal::new("ERR", text)
}

/// The stream gave the greatest id.
pub(super) fn exhausted() -> Refusal {
    let text = "The stream has exhausted the last possible ID, unable to add more items";
    Refusal::new("ERR", text)
}

/// `XGROUP CREATE` again.
pub(super) fn group_exists() -> Refusal {
    Refusal::new("BUSYGROUP", "Consumer Group name already exists")
}

/// `XGROUP DELCONSUMER` without its stream.
pub(super) fn group_needs_key() -> Refusal {
    let text = "The XGROUP subcommand requires the key to exist. Note that for CREATE you may \
                want to use the MKSTREAM option to create an empty stream automatically.";
    Refusal::new("ERR", text)
}

/// `XINFO` without its stream.
pub(super) fn no_key() -> Refusal {
    Refusal::new("ERR", "no such key")
}

/// Stream or group are missing; `command` is what the text ends in.
pub(super) fn no_group(key: &[u8], group: &[u8], command: &str) -> Refusal {
    let (key, group) = (printable(key), printable(group));
    Refusal::new("NOGROUP", format!("No such key '{key}' or consumer group '{group}'{command}"))
}

/// `XGROUP DELCONSUMER` without its group.
pub(super) fn no_consumer_group(key: &[u8], group: &[u8]) -> Refusal {
    let (group, key) = (printable(group), printable(key));
    Refusal::new("NOGROUP", format!("No such consumer group '{group}' for key name '{key}'"))
}

/// The key holds something that is no stream.
pub(super) fn wrong_type() -> Refusal {
    Refusal::new("WRONGTYPE", "Operation against a key holding the wrong kind of value")
}

/// A name as Redis shows it in an error: up to the first NUL, on one line.
fn printable(name: &[u8]) -> String {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_up_to_the_first_nul_and_on_one_line() {
        assert_eq!(printable(b"a\r\nb\0c"), "a  b");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
    }
}
