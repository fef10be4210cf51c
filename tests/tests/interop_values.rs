//! Values that JSON libraries disagree about, between Rust and the published Python peer: numbers
//! beyond what a float can say, NaN, lone surrogates, deep and large values. On each of Rust's
//! runtimes, through whose streams they come in pieces.
//!
//! Not integers written as floats and absent optionals, which are everyday and stand in
//! `interop_answers.rs`. What passes through untyped must come back as it was; what cannot pass
//! must not harm what comes after it.
#![allow(clippy::indexing_slicing, reason = "tests hope, and say so by failing")]

use clamator_tests::both_directions;
use clamator_tests::interop::calls::Kind;
use clamator_tests::interop::peers::{Deployment, Peer};
use serde_json::{Value, json};

both_directions!(
    on every runtime:
    any_value_comes_back_as_it_was,
    numbers_come_back_with_every_digit,
    integers_up_to_64_bits_are_added_exactly,
    a_negative_zero_stays_one,
    a_lone_surrogate_comes_back,
    nan_and_infinity_cost_their_own_call_and_no_other,
    a_deep_value_comes_back,
    a_large_value_comes_back,
);

/// Has this value echoed; gives the result's text back without its spaces.
fn echoed(deployment: &Deployment, values: &[&str]) -> Vec<String> {
    let calls = values
        .iter()
        .map(|value| format!(r#"{{"method": "echo", "params": {{"value": {value}}}}}"#));
    let calls = format!("[{}]", calls.collect::<Vec<_>>().join(","));
    let outcomes = deployment.call(calls);
    outcomes.iter().map(|outcome| outcome.text().replace(' ', "")).collect()
}

fn any_value_comes_back_as_it_was(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let values = [
        json!(null),
        json!(false),
        json!(""),
        json!("\u{0}\u{1f}\"\\/ \u{7f}\u{e9}\u{2028}\u{ffff}\u{1f600}"),
        json!([]),
        json!({}),
        json!([[], {}, [null], [[1, "x"], { "": "" }]]),
        json!({ "z": 1, "a": { "type": "rpc", "envelope": "{", "reply-to": null }, "\u{e9}": [] }),
        json!({ "jsonrpc": "1.0", "id": 5, "method": "x", "error": null }),
        json!([0, -1, 1.5, 0.1, 1e-7, 1e300, i64::MIN, u64::MAX, 9_007_199_254_740_993_u64]),
    ];
    let calls: Vec<Value> = values
        .iter()
        .map(|value| json!({ "method": "echo", "params": { "value": value } }))
        .collect();
    let outcomes = deployment.call(Value::from(calls));
    for (value, outcome) in values.iter().zip(&outcomes) {
        assert_eq!(outcome.value::<Value>()["value"], *value, "{outcome:?}");
    }
    let outcomes = deployment.call(json!([{ "method": "echo" }]));
    assert_eq!(outcomes[0].rpc_error().0, -32602, "absent is not null");
}

fn numbers_come_back_with_every_digit(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let values =
        ["123456789012345678901234567890", "-18446744073709551617", "1.0", "0.30000000000000004"];
    let wanted = values.map(|value| format!(r#"{{"value":{value}}}"#));
    assert_eq!(echoed(deployment, &values), wanted);
}

fn integers_up_to_64_bits_are_added_exactly(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(
        r#"[{"method": "addInt", "params": {"a": 9007199254740993, "b": 1}},
            {"method": "addInt", "params": {"a": 9223372036854775807, "b": 9223372036854775807}},
            {"method": "addInt", "params": {"a": -9223372036854775808, "b": -1}},
            {"method": "addInt", "params": {"a": 123456789012345678901234567890, "b": 1}}]"#,
    );
    let sums = ["9007199254740994", "18446744073709551614", "-9223372036854775809"];
    for (sum, outcome) in sums.iter().zip(&outcomes) {
        assert_eq!(outcome.text().replace(' ', ""), format!(r#"{{"sum":{sum}}}"#));
    }
    // Python's integers have no end. Rust refuses what it cannot hold, and rounds nothing.
    match deployment.server {
        Peer::Python => assert!(outcomes[3].text().contains("123456789012345678901234567891")),
        Peer::Rust => assert_eq!(outcomes[3].rpc_error().0, -32602),
    }
}

fn a_negative_zero_stays_one(deployment: &Deployment) {
    let _server = deployment.serve("A");
    assert_eq!(echoed(deployment, &["-0.0"]), [r#"{"value":-0.0}"#]);
    let outcomes = deployment.call(r#"[{"method": "add", "params": {"a": -0.0, "b": -0.0}}]"#);
    assert!(outcomes[0].sum().is_sign_negative(), "{outcomes:?}");
}

fn a_lone_surrogate_comes_back(deployment: &Deployment) {
    let _server = deployment.serve("A");
    // As a key it would stop a Python server, which cannot write its reply.
    let values = [r#""\ud800""#, r#"[{"a":"x\udc00\ud800"}]"#];
    let wanted = values.map(|value| format!(r#"{{"value":{value}}}"#));
    assert_eq!(echoed(deployment, &values), wanted);
}

/// No JSON text says NaN, but Python writes it where a float is one, and 1e999 becomes infinite.
fn nan_and_infinity_cost_their_own_call_and_no_other(deployment: &Deployment) {
    let server = deployment.serve("A");
    // A Python client can say NaN; a Rust client cannot, but gets Infinity out of Python.
    let number = if deployment.client == Peer::Python { "NaN" } else { "1e999" };
    let calls = format!(
        r#"[{{"method": "opt"}},
            {{"method": "add", "params": {{"a": {number}, "b": 1}}, "timeoutMs": 700}},
            {{"method": "add", "params": {{"a": 1, "b": 1}}}}]"#
    );
    let (outcomes, client_log) =
        deployment.calling(deployment.client, calls, &[]).outcomes_and_log();
    assert!(outcomes[1].is_timeout(), "{outcomes:?}");
    assert_eq!(outcomes[2].sum(), 2.0);
    deployment.settled();
    // Whoever could not read it has said so, once.
    let (log, text) = match deployment.server {
        Peer::Python => (client_log, "redis reply parse failed"),
        Peer::Rust => (server.stop().1, "redis poison envelope"),
    };
    assert_eq!(log.matches(text).count(), 1, "{log}");
}

fn a_deep_value_comes_back(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let value = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(echoed(deployment, &[&value]), [format!(r#"{{"value":{value}}}"#)]);
}

fn a_large_value_comes_back(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let text = "h\u{e9}\u{1f600}\n".repeat(100_000);
    let outcomes = deployment.call(json!([
        { "method": "echoText", "params": { "text": text } },
        { "method": "add", "params": { "a": 1, "b": 1 } },
    ]));
    assert_eq!(outcomes[0].kind, Kind::Result);
    assert!(outcomes[0].value::<Value>()["text"] == text.as_str(), "another text came back");
    assert_eq!(outcomes[1].sum(), 2.0);
}
