//! The fuzz targets of `tests/src/fuzz`, compiled for libFuzzer.
//!
//! Not a second set: the files are the same. What an input has reached is of no use here, as
//! libFuzzer measures by itself where an input gets.

#[path = "../../src/fuzz/mod.rs"]
pub mod fuzz;

/// Runs the target of this name.
///
/// # Panics
/// When a promise is broken, and when there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = fuzz::TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target").run)(data);
}
