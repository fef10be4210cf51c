//! What holds for the repository as a whole: what each layer is built from, how alike the adapters
//! are, which Rust is enough, how files look, and that the manual's table of rights is the engine's.
//!
//! Not behaviour. Lints that rustc and clippy can check are in the root `Cargo.toml`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod adapters;
mod files;
mod layers;
mod packages;
mod rights;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(crate) fn cargo(arguments: &[&str]) -> String {
    let cargo = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    String::from_utf8(cargo.stdout).unwrap()
}

/// Every Rust file of the repository.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files: Vec<PathBuf> = listed.lines().map(|line| root().join(line)).collect();
    let files: Vec<PathBuf> = files.into_iter().filter(|file| file.exists()).collect();
    assert!(files.len() > 50, "only {} files: is this a checkout?", files.len());
    files
}

/// How many lines of code that is shipped the Rust files under a folder have: without their tests.
pub(crate) fn lines_under(folder: &str) -> usize {
    let is_test = |file: &Path| {
        let mut parts = file.components().map(|part| part.as_os_str());
        parts.any(|part| part == "tests" || part == "tests.rs" || part == "testing.rs")
    };
    let files = rust_files().into_iter().filter(|file| {
        let under = file.strip_prefix(root().join(folder));
        under.is_ok_and(|file| !is_test(file))
    });
    let lines = files.map(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count()
    });
    lines.sum()
}
