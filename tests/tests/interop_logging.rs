//! What a Rust server tells its operator, and that what it warns of is settled: at the levels and
//! with the fields that the peers' logs have.
//!
//! Not the texts beyond what the peers have. The calls come from the Python peer or, where no
//! client would send such a thing, straight from the test. Rust runs on tokio alone: it is the
//! driver that speaks, on any runtime.
#![allow(clippy::indexing_slicing, reason = "tests hope, and say so by failing")]

use clamator_tests::interop::peers::{Deployment, Peer, eventually};
use clamator_tests::interop::streams::commands;
use clamator_tests::programs;
use serde_json::json;

fn deployment() -> Deployment {
    Deployment::new(programs!(), Peer::Rust, Peer::Python)
}

/// The lines of a log that are warnings or errors.
fn records(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect()
}

#[test]
fn an_unparsable_envelope_is_acknowledged_once_and_warned_of_once() {
    let deployment = deployment();
    let server = deployment.serve("A");
    for (number, envelope) in (1..).zip(["{", "[]", r#"{"jsonrpc":"2.0","method":"nodot"}"#]) {
        let fields = [("type", "rpc"), ("envelope", envelope)];
        let entry = deployment.add(&commands("arith"), &fields);
        eventually("the entry is acknowledged", || {
            (deployment.command_count("xack") == number && deployment.pending().is_empty())
                .then_some(())
        });
        let log = eventually("the entry is warned of", || {
            Some(server.log()).filter(|log| log.contains(&entry))
        });
        let record = records(&log).pop().unwrap();
        assert!(record.contains(" WARN ") && record.contains("redis poison envelope"), "{record}");
        assert!(record.contains("service=") && record.contains("arith"), "{record}");
        assert!(record.contains(&format!("entry={entry}")), "{record}");
    }
    let outcomes = deployment.call(json!([{ "method": "add", "params": { "a": 1, "b": 1 } }]));
    assert_eq!(outcomes[0].sum(), 2.0);
    deployment.settled();
    let (handled, log) = server.stop();
    assert_eq!((handled, records(&log).len()), (1, 3), "{log}");
    // Three entries and a request: nothing was acknowledged again.
    assert_eq!(deployment.command_count("xack"), 4);
}

#[test]
fn a_failing_handler_is_one_error_with_service_method_id_and_entry() {
    logs_once(
        &json!({ "method": "crash", "params": { "message": "boom" } }),
        &[" ERROR ", "RPC handler raised", "boom", "method=crash"],
    );
}

#[test]
fn a_result_that_is_none_is_one_error() {
    logs_once(
        &json!({ "method": "badResult" }),
        &[" ERROR ", "RPC result validation failed", "method=badResult"],
    );
}

#[test]
fn params_that_do_not_fit_are_one_warning() {
    logs_once(
        &json!({ "method": "add", "params": { "a": "two", "b": 3 } }),
        &[" WARN ", "RPC params validation failed", "method=add"],
    );
}

/// Makes one call, and looks for these words in the one record it leaves.
fn logs_once(call: &serde_json::Value, words: &[&str]) {
    let deployment = deployment();
    let server = deployment.serve("A");
    let mut call = call.clone();
    let asked = deployment.call(json!([call]));
    assert!(!asked[0].ok);
    call["notification"] = true.into();
    assert!(deployment.call(json!([call]))[0].ok);
    deployment.settled();
    // The stop waits for what is under way, so the log is complete.
    let (_, log) = server.stop();
    let records = records(&log);
    assert_eq!(records.len(), 2, "one for the call, one for the notification: {log}");
    for record in &records {
        let fields = ["service=arith", "instance=\"A\"", "entry="];
        for word in words.iter().chain(&fields) {
            assert!(record.contains(word), "{word:?} is not in {record}");
        }
    }
    assert!(records[0].contains(" id="), "{}", records[0]);
    assert!(!records[1].contains(" id="), "a notification has none: {}", records[1]);
}

#[test]
fn what_a_caller_is_told_is_not_logged_and_what_nobody_is_told_is_one_warning() {
    let deployment = deployment();
    let server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "divide", "params": { "a": 1, "b": 0 } },
        { "method": "divide", "params": { "a": 1, "b": 0 }, "notification": true },
        { "method": "fail", "params": { "code": -32603, "message": "Internal error" } },
        { "method": "nope" },
        { "method": "nope", "notification": true },
        { "method": "add", "params": { "a": 1, "b": 1 } },
    ]));
    assert_eq!(outcomes[5].sum(), 2.0);
    let (_, log) = server.stop();
    // The two notifications: the peers say nothing of them.
    let wanted =
        [" WARN clamator: RPC notification failed", " WARN clamator: RPC method not found"];
    let records = records(&log);
    assert_eq!(records.len(), wanted.len(), "{log}");
    for (record, wanted) in records.iter().zip(wanted) {
        assert!(record.contains(wanted), "{record}");
        assert!(record.contains("service=arith") && record.contains("entry="), "{record}");
    }
}
