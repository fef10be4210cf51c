//! Every example of the adapters runs, over memory and over a real Redis, and says what it should.
//!
//! Not their length or look. An example over Redis that serves until it is told to stop is told
//! so with SIGTERM.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests hope")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use clamator_tests::certificates::{Authority, Folder};
use clamator_tests::process::Process;
use clamator_tests::redis::RedisServer;

/// How long an example may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The binary of an example, which `cargo test` builds beside this test's own.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let target = own.parent().and_then(Path::parent).unwrap();
    let binary = target.join("examples").join(name);
    assert!(binary.exists(), "{} is not built: run the whole workspace's tests", binary.display());
    binary
}

/// Runs an example to its end. What it is told are words with spaces between them.
fn run(name: &str, target: &str) -> String {
    let mut command = Command::new(binary(name));
    command.args(target.split(' ')).stdin(Stdio::null()).stderr(Stdio::inherit());
    let mut process = Process::spawn(&mut command);
    let stdout = process.child().stdout.take().expect("piped");
    let output = std::thread::spawn(move || std::io::read_to_string(stdout));
    assert!(process.wait(TIME_MAX), "{name} over {target} failed");
    output.join().unwrap().unwrap()
}

fn assert_says(name: &str, target: &str, wanted: &[&str]) {
    let output = run(name, target);
    for text in wanted {
        assert!(output.contains(text), "{name} over {target} did not say {text:?}:\n{output}");
    }
}

/// Runs an example over memory and over a Redis of its own.
fn assert_says_everywhere(name: &str, wanted: &[&str]) {
    assert_says(name, "memory", wanted);
    let redis = RedisServer::start();
    assert_says(name, &redis.url(), wanted);
}

/// Runs an example that serves until it is told to stop.
fn assert_stops_on_sigterm(name: &str, ready: &str) {
    let redis = RedisServer::start();
    let mut command = Command::new(binary(name));
    command.arg(redis.url()).stdin(Stdio::null());
    let mut process = Process::spawn(&mut command);
    process.await_line(ready, TIME_MAX);
    process.signal("TERM");
    assert!(process.wait(TIME_MAX), "{name} did not stop on SIGTERM");
}

#[test]
fn the_tour_shows_a_call_a_notification_an_error_and_a_timeout() {
    let wanted = [
        "{\"sum\":5}",
        "handler got {\"line\":\"hello\"}",
        "division by zero",
        "no reply within 50 ms",
        "the server stopped, with 0 requests left over",
    ];
    assert_says_everywhere("tour", &wanted);
}

#[test]
fn the_tour_names_a_mistake_in_its_url() {
    let output = Command::new(binary("tour")).arg("redis://localhost?clientName=x").output();
    let Output { status, stderr, .. } = output.unwrap();
    assert!(!status.success());
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.contains("clientName"), "{stderr}");
}

#[test]
fn many_services_are_called_by_one_client() {
    assert_says_everywhere(
        "many_services",
        &["upper.convert: SHOUT", "count.letters: 5", "whoami.tell: "],
    );
}

#[test]
fn a_contract_built_by_hand_stands_beside_another_service() {
    assert_says_everywhere(
        "custom_commands",
        &["\"command\":\"land\"", "asked to fail", "{\"a\":1}"],
    );
}

#[test]
fn a_notification_is_sent_and_forgotten_and_handled() {
    assert_says_everywhere(
        "fire_and_forget",
        &["sent Some(\"two\")", "handled Some(\"two\")", "handled None"],
    );
}

#[test]
fn a_server_serves_until_it_is_told_to_stop() {
    assert_says("server", "memory", &["serving arith", "arith.add answered", "stopped, 0"]);
    assert_says(
        "lifecycle",
        "memory",
        &["serving", "told to stop", "the caller got \"the report\""],
    );
    assert_stops_on_sigterm("lifecycle", "the handler works for 200 ms");
}

#[test]
fn a_client_calls_the_server_of_another_process() {
    assert_says("client", "memory", &["2 + 3 = 5"]);
    let redis = RedisServer::start();
    let mut server = Command::new(binary("server"));
    server.arg(redis.url()).stdin(Stdio::null());
    let mut server = Process::spawn(&mut server);
    server.await_line(&format!("serving arith at {}", redis.url()), TIME_MAX);
    assert_says("client", &redis.url(), &["2 + 3 = 5"]);
    server.signal("TERM");
    assert!(server.wait(TIME_MAX), "server did not stop on SIGTERM");
}

#[test]
fn a_handler_that_charges_each_delivery_is_caught_by_a_simulation() {
    assert_says(
        "simulation",
        "memory",
        &["what was sent was charged, and once", "charging each delivery is caught"],
    );
}

#[test]
fn the_other_adapters_serve_and_call_as_well() {
    assert_says_everywhere(
        "smol_executor",
        &["2 + 3 = 5, in the program's own executor", "stopped, 0"],
    );
    assert_says_everywhere("async_std_tasks", &["1 to 100 make 338350", "stopped, 0"]);
}

#[test]
fn a_call_crosses_tls_with_the_authorities_of_the_system() {
    let (authority, folder) = (Authority::new("clamator's tests"), Folder::new());
    folder.write(&authority.vouch(&["localhost"]), &authority);
    let (_redis, port) = RedisServer::start_with_tls(&folder, &["--tls-auth-clients", "no"]);
    let mut example = Command::new(binary("tls"));
    example.arg(format!("rediss://localhost:{port}"));
    let trusting = example.env("SSL_CERT_FILE", folder.path("ca.pem")).output().unwrap();
    let said = String::from_utf8(trusting.stdout).unwrap();
    assert!(said.contains("\"hello\" came back"), "{said}");
    // Without it the test's authority is not among them, if there are any at all.
    let stranger = example.env("SSL_CERT_FILE", folder.path("none.pem")).output().unwrap();
    assert!(!stranger.status.success());
    let said = String::from_utf8(stranger.stderr).unwrap();
    assert!(said.contains("Tls {"), "{said}");
}

#[test]
fn a_call_crosses_tls_with_the_certificates_in_files() {
    let (authority, folder) = (Authority::new("clamator's tests"), Folder::new());
    folder.write(&authority.vouch(&["localhost"]), &authority);
    let (_redis, port) = RedisServer::start_with_tls(&folder, &["--tls-auth-clients", "yes"]);
    let file = |name| folder.path(name).display().to_string();
    let files = [file("ca.pem"), file("cert.pem"), file("key.pem")].join(" ");
    let target = format!("rediss://localhost:{port} {files}");
    assert_says(
        "tls",
        &target,
        &[&format!("\"hello\" came back through rediss://localhost:{port}")],
    );
}

#[test]
fn every_example_is_short_and_run_by_a_test() {
    let tests = include_str!("examples.rs");
    let mut count = 0;
    for file in ["adapter-tokio", "adapter-async-std", "adapter-smol"].iter().flat_map(|adapter| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        fs::read_dir(root.join(adapter).join("examples")).unwrap()
    }) {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60, "{name} has {lines} lines");
        assert!(tests.contains(&format!("\"{name}\",")), "{name} is run by no test");
        count += 1;
    }
    assert!(count >= 10, "{count} examples");
}
