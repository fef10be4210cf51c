//! The interop programs themselves: that they can be driven as the peers' own interop runner drives
//! its programs, by one JSON object on their input; the Rust ones on each of their runtimes.
//!
//! Not what they serve and call, which the other files test by flags.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests hope, and say so by failing"
)]

use std::process::{Command, Stdio};
use std::time::Duration;

use clamator_tests::interop::peers::{Deployment, PREFIX};
use clamator_tests::interop::runtime::RuntimeName;
use clamator_tests::process::Process;
use clamator_tests::{both_directions, programs};
use serde_json::{Value, json};

both_directions!(on every runtime: both_are_configured_on_their_input);

fn both_are_configured_on_their_input(deployment: &Deployment) {
    let url = deployment.redis.url();
    let served = deployment.serve_by_input(
        deployment.server,
        json!({
            "contract": "arith", "redisUrl": url, "keyPrefix": PREFIX, "instanceId": "A",
            "consumerClaimIdleMs": 5000, "generatedDir": "/nowhere",
        }),
    );
    let calls = json!([
        { "method": "arith.add", "params": { "a": 1, "b": 1 } },
        { "method": "divide", "params": { "a": 1, "b": 0 } },
        { "method": "arith.ping", "params": {}, "notification": true },
        // The contract that is not served.
        { "method": "notifications.nope", "timeoutMs": 300 },
    ]);
    let output = deployment.call_by_input(
        deployment.client,
        json!({
            "redisUrl": url, "keyPrefix": PREFIX, "defaultTimeoutMs": 20_000, "calls": calls,
            "concurrent": 3, "generatedDir": "/nowhere",
        }),
    );
    let output: Value = serde_json::from_str(&output).unwrap();
    let results = output["results"].as_array().expect("a list of results");
    assert_eq!(results.len(), 12);
    for round in results.chunks(4) {
        assert_eq!(round[0]["result"]["sum"].as_f64(), Some(2.0));
        assert_eq!((&round[0]["ok"], &round[0]["kind"]), (&json!(true), &json!("result")));
        assert_eq!((&round[1]["ok"], &round[1]["kind"]), (&json!(false), &json!("rpc-error")));
        assert_eq!(round[1]["code"], -32000);
        assert_eq!(round[2], json!({ "ok": true, "kind": "notification" }));
        assert_eq!(round[3]["kind"], "transport-error");
        assert_eq!(round[3]["message"], "call timeout");
    }
    deployment.settled();
    assert_eq!(served.stop().0, 9);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let fine = ["--redis-url", "redis://127.0.0.1:1", "--key-prefix", PREFIX];
    let programs = programs!();
    for (program, flags, input) in [
        (programs.server, &["--redis-url"][..], ""),
        (programs.server, &["--nonsense"], ""),
        (programs.server, &[], "{}"),
        (programs.server, &[], r#"{"redisUrl":"x","keyPrefix":"x","contract":"other"}"#),
        (programs.client, &fine, "not JSON"),
        (programs.client, &fine, r#"[{"params":{}}]"#),
        (programs.client, &["--redis-url", "http://x", "--key-prefix", "x"], "[]"),
    ] {
        let mut command = Command::new(program);
        command.args(flags).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        let mut stdin = process.child().stdin.take().unwrap();
        // A program that refuses its flags may be gone before it reads.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        drop(stdin);
        assert!(!process.wait(Duration::from_secs(20)), "{flags:?} {input}");
        let reason = std::io::read_to_string(process.child().stderr.take().unwrap()).unwrap();
        assert!(reason.starts_with("interop-"), "{flags:?} {input}: {reason:?}");
    }
}

#[test]
fn an_unknown_runtime_is_refused_by_its_name() {
    let programs = programs!();
    for program in [programs.server, programs.client] {
        let mut command = Command::new(program);
        command.args(["--redis-url", "redis://127.0.0.1:1", "--key-prefix", PREFIX]);
        command.env(RuntimeName::VARIABLE, "tokyo").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command);
        assert!(!process.wait(Duration::from_secs(20)));
        let reason = std::io::read_to_string(process.child().stderr.take().unwrap()).unwrap();
        assert!(reason.contains("no such runtime: \"tokyo\""), "{reason:?}");
    }
}
