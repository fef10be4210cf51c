//! No runtime starts another: which threads a program has, for each way to run it.
//!
//! All adapters are linked into the program that is asked, with every feature that any of them
//! wants of their common dependencies, so what holds here holds for a program with one of them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::process::Command;

use clamator_tests::certificates::Folder;
use clamator_tests::redis::RedisServer;
use clamator_tests::world::TOKIO_THREAD;

/// Resolves names and reads files for async-std and smol, and goes away when idle.
const BLOCKING: &str = "blocking-";
/// Waits for sockets and timers, for async-std and smol.
const REACTOR: &str = "async-io";

/// Asserts that the program has exactly these threads beside its first one, over TCP to a name and
/// over a Unix socket. `pool` are those of which there may be any number; `started` must be there.
fn assert_threads(runtime: &str, started: &[&str], pool: &[&str]) {
    let folder = Folder::new();
    let socket = folder.path("redis.sock").display().to_string();
    let redis = RedisServer::start_with(&["--unixsocket", &socket]);
    let urls = [format!("redis://localhost:{}", redis.port()), format!("unix://{socket}")];
    for url in urls {
        let program = Command::new(env!("CARGO_BIN_EXE_threads")).args([runtime, &url]).output();
        let output = program.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8(output.stdout).unwrap();
        let names: Vec<&str> = output.lines().collect();
        for name in started {
            assert!(names.contains(name), "no {name} among {names:?}");
        }
        let expected = |name: &&str| {
            *name == "threads"
                || started.contains(name)
                || pool.iter().any(|pool| name.starts_with(pool))
        };
        let strangers: Vec<&&str> = names.iter().filter(|name| !expected(name)).collect();
        assert!(strangers.is_empty(), "{runtime} over {url} also has {strangers:?}");
    }
}

#[test]
fn tokio_has_its_workers_only() {
    assert_threads("tokio", &[TOKIO_THREAD], &[]);
}

/// The worker is one of tokio's pool for blocking calls, which resolve the host's name.
#[test]
fn tokio_on_the_current_thread_has_no_other_but_to_resolve_names() {
    assert_threads("tokio-current-thread", &[], &[TOKIO_THREAD]);
}

#[test]
fn async_std_has_its_own_threads_only() {
    assert_threads("async-std", &[REACTOR, "async-std/runti"], &[BLOCKING]);
}

#[test]
fn smol_has_its_one_thread_and_its_reactor_only() {
    assert_threads("smol", &[REACTOR, "smol-1"], &[BLOCKING]);
}

#[test]
fn smol_in_an_executor_of_the_program_has_its_reactor_only() {
    assert_threads("smol-executor", &[REACTOR], &[BLOCKING]);
}
