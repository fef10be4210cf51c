//! What packages say of themselves: the Rust they need, and what a registry would be told.

use std::fs;
use std::path::Path;

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

#[test]
fn every_package_that_is_published_says_what_a_registry_asks_for() {
    let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let published: Vec<&Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["publish"].is_null())
        .collect();
    assert_eq!(published.len(), 6);
    for package in published {
        let name = package["name"].as_str().unwrap();
        for field in ["description", "documentation", "license", "readme", "rust_version"] {
            let text = package[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} has no {field}");
        }
        assert_eq!(package["documentation"], format!("https://docs.rs/{name}"));
        for list in ["keywords", "categories"] {
            let length = package[list].as_array().unwrap().len();
            assert!((1..=5).contains(&length), "{name} has {length} {list}");
        }
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let text = fs::read_to_string(folder.join(license)).unwrap_or_default();
            let wanted = fs::read_to_string(root().join(license)).unwrap();
            assert_eq!(text, wanted, "{name} does not carry {license}");
        }
    }
}
