//! libFuzzer's entry to the target `server`, whose checks are in `tests/src/fuzz`.
//!
//! Not a check of its own.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| clamator_fuzz::run("server", data));
