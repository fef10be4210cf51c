//! Below the driver everything is pure: no clock, die, thread, runtime or Redis client, and no std.
//!
//! Not the tests of those packages, which may use anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{cargo, root, rust_files};

/// The packages that this one is built from, itself included.
fn packages_below(package: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none"]);
    tree.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
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

/// What no code below the driver may name, with what it would bring.
const BANNED: [(&str, &str); 17] = [
    ("Instant::now", "a clock"),
    ("SystemTime", "a clock"),
    ("std::", "the standard library"),
    ("extern crate std", "the standard library"),
    ("HashMap", "an order that differs from run to run"),
    ("HashSet", "an order that differs from run to run"),
    ("RandomState", "a random source"),
    ("getrandom", "a random source"),
    ("rand::", "a random source"),
    ("async fn", "a runtime"),
    ("async move", "a runtime"),
    ("async {", "a runtime"),
    ("async |", "a runtime"),
    (".await", "a runtime"),
    ("Future", "a runtime"),
    ("redis::", "a Redis client"),
    ("tokio", "a runtime"),
];

#[test]
fn the_protocol_and_the_engine_know_no_clock_die_thread_or_runtime() {
    let mut seen = 0;
    for file in rust_files() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if !name.starts_with("clamator-proto/src") && !name.starts_with("clamator-engine/src") {
            continue;
        }
        seen += 1;
        for (number, line) in (1..).zip(fs::read_to_string(&file).unwrap().lines()) {
            let code = line.split("//").next().unwrap();
            for (word, brings) in BANNED {
                assert!(!code.contains(word), "{name}:{number}: {word:?} brings {brings}: {line}");
            }
        }
    }
    assert!(seen > 50, "{seen} files");
    for package in ["clamator-proto", "clamator-engine"] {
        let lib = fs::read_to_string(root().join(package).join("src/lib.rs")).unwrap();
        assert!(lib.contains("#![no_std]"), "{package} is not no_std");
    }
}

/// A program without the standard library says itself what a panic does; linked with a crate that
/// uses the standard library, which says so too, it does not compile.
const NO_STD: &str = r#"
#![no_std]
extern crate alloc;
use clamator_engine::{Client, ClientConfig, Engine, Instant, Output};
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
pub fn first_output() -> bool {
    let mut client = Client::new(Instant::ZERO, ClientConfig::new("p", [0; 16], 0));
    matches!(client.poll_output(), Output::Open(_))
}
"#;

/// Checks a crate made of this source, which depends on the engine and on this too. Gives back
/// what the compiler says; nothing when all is well.
fn check_without_std(name: &str, dependency: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let engine = root().join("clamator-engine");
    let manifest = format!(
        "[package]\nname = \"without-std\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [profile.dev]\npanic = \"abort\"\n\
         [dependencies]\nclamator-engine = {{ path = {engine:?} }}\n{dependency}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let uses = if dependency.is_empty() { "" } else { "extern crate percent_encoding;\n" };
    fs::write(folder.join("src/lib.rs"), format!("{NO_STD}{uses}")).unwrap();
    // The same versions, without asking anybody.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let check = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline"])
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("without-std-target"))
        .current_dir(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.success(), said.is_empty(), "{said}");
    said
}

#[test]
fn the_engine_and_all_below_it_compile_into_a_program_without_std() {
    assert_eq!(check_without_std("without-std", ""), "");
    // And the check would see it if they did not.
    let said = check_without_std("with-std", "percent-encoding = \"2.3\"");
    assert!(said.contains("panic_impl"), "{said}");
}
