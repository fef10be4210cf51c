//! What packages say of themselves: the Rust they need, and what a registry would be told.

use std::fs;

use serde_json::Value;

use crate::{cargo, root};

/// The oldest Rust that is enough; `rust-version` in the root `Cargo.toml`.
const RUST_VERSION: [u32; 2] = [1, 88];

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
