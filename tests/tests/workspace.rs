//! What holds for the repository as a whole: what the engine depends on, which Rust is enough,
//! and how its files look.
//!
//! Not behaviour. Lints that rustc and clippy can check are in the root `Cargo.toml`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests hope")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The oldest Rust that is enough; `rust-version` in the root `Cargo.toml`.
const RUST_VERSION: [u32; 2] = [1, 88];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    String::from_utf8(cargo.stdout).unwrap()
}

/// The packages that this one is built from, itself included.
fn packages_below(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none"]);
    tree.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Every Rust file of the repository.
fn rust_files() -> Vec<PathBuf> {
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

#[test]
fn the_engine_is_built_from_the_protocol_and_small_crates_without_std() {
    let allowed = [
        "bytes",
        "clamator-engine",
        "clamator-proto",
        "itoa",
        "memchr",
        "serde",
        "serde_core",
        "serde_json",
        "thiserror",
        "zmij",
    ];
    // What runs in the compiler does not reach the program.
    let macros = ["proc-macro2", "quote", "serde_derive", "syn", "thiserror-impl", "unicode-ident"];
    let wanted: BTreeSet<String> =
        allowed.iter().chain(&macros).map(|name| (*name).to_owned()).collect();
    assert_eq!(packages_below("clamator-engine"), wanted);
}

#[test]
fn no_crate_below_the_engine_is_built_with_std() {
    let arguments =
        ["tree", "--locked", "-p", "clamator-engine", "-e", "features,no-dev", "--prefix", "none"];
    let features = cargo(&arguments);
    assert!(features.contains("serde_json feature \"alloc\""), "{features}");
    let std: Vec<&str> = features.lines().filter(|line| line.contains("feature \"std\"")).collect();
    assert!(std.is_empty(), "{std:?}");
}

#[test]
fn the_protocol_and_the_engine_know_no_clock_die_thread_or_runtime() {
    let banned = [
        "Instant::now",
        "SystemTime",
        "HashMap",
        "HashSet",
        "std::",
        "extern crate std",
        "async fn",
        "redis::",
        "tokio",
    ];
    for file in rust_files() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if !name.starts_with("clamator-proto/src") && !name.starts_with("clamator-engine/src") {
            continue;
        }
        for (number, line) in (1..).zip(fs::read_to_string(&file).unwrap().lines()) {
            let code = line.split("//").next().unwrap();
            let found: Vec<&&str> = banned.iter().filter(|word| code.contains(**word)).collect();
            assert!(found.is_empty(), "{name}:{number}: {found:?} in {line:?}");
        }
    }
    for package in ["clamator-proto", "clamator-engine"] {
        let lib = fs::read_to_string(root().join(package).join("src/lib.rs")).unwrap();
        assert!(lib.contains("#![no_std]"), "{package} is not no_std");
    }
}

#[test]
fn no_dependency_needs_a_newer_rust_than_ours() {
    let metadata = cargo(&["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    let newer: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let wanted = package["rust_version"].as_str()?;
            let mut parts = wanted.split('.').map(|part| part.parse::<u32>().unwrap());
            let wanted = [parts.next().unwrap(), parts.next().unwrap_or(0)];
            (wanted > RUST_VERSION).then(|| format!("{} needs {wanted:?}", package["name"]))
        })
        .collect();
    assert!(newer.is_empty(), "{newer:?}");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("rust-version = \"1.88\""), "RUST_VERSION is out of date");
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for file in rust_files() {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} has no header", file.display());
    }
}

#[test]
fn files_stay_short_enough_to_have_one_subject() {
    for file in rust_files() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 500, "{} has {lines} lines", file.display());
    }
}

#[test]
fn an_adapter_is_thin() {
    let lines: usize = rust_files()
        .iter()
        .filter(|file| file.starts_with(root().join("adapter-tokio/src")))
        .map(|file| fs::read_to_string(file).unwrap().lines().count())
        .sum();
    assert!((1..=150).contains(&lines), "{lines} lines");
}
