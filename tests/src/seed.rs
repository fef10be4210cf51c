//! Seeds as a person writes them: numbers and commits.
//!
//! Not what is done with them. A commit is a seed, so that each has runs of its own.

use std::env;

/// Reads a seed: a number, decimal or `0x…`, or the 40 digits of a commit.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = &text.trim().replace('_', "");
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        // Its first digits are chance enough.
        None if text.len() == 40 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u64::from_str_radix(&text[..16], 16)
        }
        None => text.parse(),
    };
    number.map_err(|_| format!("{text:?} is no number: decimal, 0x…, or the digits of a commit"))
}

/// The seed that `CLAMATOR_SEED` names, if it is set.
///
/// # Panics
/// When it is no seed.
#[must_use]
pub fn of_environment() -> Option<u64> {
    let text = env::var("CLAMATOR_SEED").ok()?;
    Some(parse(&text).unwrap_or_else(|error| panic!("CLAMATOR_SEED: {error}")))
}

#[test]
fn a_seed_is_a_number_or_a_commit() {
    assert_eq!(parse("28"), Ok(28));
    assert_eq!(parse("0x1c"), Ok(28));
    assert_eq!(parse("0xffff_0000"), Ok(0xffff_0000));
    let commit = "00000000000000ff00112233445566778899aabb";
    assert_eq!(parse(commit), Ok(255));
    assert!(parse("zz").is_err());
}
