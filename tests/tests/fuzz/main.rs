//! The fuzz targets as property tests: each runs for some seconds on inputs made from a seed.
//!
//! Not the targets: those are in `tests/src/fuzz`, and libFuzzer runs them too (`tests/fuzz.sh`).
//!
//! `CLAMATOR_FUZZ_SECONDS` (default 30) is for each target; `CLAMATOR_SEED` is a number, decimal or
//! behind `0x`, or a commit's hash; `CLAMATOR_FUZZ_INPUT` (hexadecimal) is run alone. The tests of
//! targets take turns, two at a time, so that the whole ends within two minutes.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

mod canary;
mod dice;
mod memory;
mod runner;
mod shrink;

/// One test for each target, of its name.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                runner::test(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_tested() {
            let tested = [$(stringify!($name)),*];
            let targets = clamator_tests::fuzz::TARGETS.map(|target| target.name);
            assert_eq!(targets.as_slice(), tested.as_slice());
        }
    };
}

targets!(envelope, entry, reply, resp, client, server, names);
