//! What a server of either language answers a client of the other: failures, unknown methods,
//! notifications that are called and methods that are notified, optional members.
//!
//! Not what it answers to malformed entries, which no client of ours can send. Where the languages
//! differ, the test says which does what. Rust runs on tokio alone: an answer is made of a request
//! by the engine and the driver, and no runtime has a part in it.
#![allow(clippy::indexing_slicing, reason = "tests hope, and say so by failing")]

use clamator_driver::integer;
use clamator_tests::both_directions;
use clamator_tests::interop::arith::Stats;
use clamator_tests::interop::calls::Kind;
use clamator_tests::interop::peers::{Deployment, Peer};
use clamator_tests::interop::streams::commands;
use serde::Deserialize;
use serde_json::{Value, json};

both_directions!(
    a_failing_handler_is_an_internal_error_with_a_name_and_a_message,
    a_result_that_is_none_is_an_internal_error,
    an_unknown_method_is_not_found,
    a_service_that_nobody_serves_ends_in_a_timeout,
    a_failing_notification_harms_nothing,
    an_ordinary_method_sent_as_notification_runs,
    a_notification_that_is_called_is_answered_by_rust_and_not_by_python,
    an_optional_member_may_be_absent_or_null,
    integers_are_read_in_both_notations,
    a_bad_name_is_refused_before_anything_is_sent,
);

fn a_failing_handler_is_an_internal_error_with_a_name_and_a_message(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "crash", "params": { "message": "boom \u{e9}\"" } },
        { "method": "add", "params": { "a": 1, "b": 1 } },
    ]));
    let (code, message, data) = outcomes[0].rpc_error();
    assert_eq!((code, message), (-32603, "Internal error"));
    assert_eq!(data["message"], "boom \u{e9}\"");
    let name = if deployment.server == Peer::Rust { "Crash" } else { "RuntimeError" };
    assert_eq!(data["name"], name);
    assert_eq!(outcomes[1].sum(), 2.0);
}

fn a_result_that_is_none_is_an_internal_error(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "badResult" },
        { "method": "add", "params": { "a": 1, "b": 1 } },
    ]));
    let (code, message, data) = outcomes[0].rpc_error();
    assert_eq!((code, message), (-32603, "Result validation failed"));
    assert!(data.is_object(), "{data}");
    assert_eq!(outcomes[1].sum(), 2.0);
}

fn an_unknown_method_is_not_found(deployment: &Deployment) {
    let server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "arith.nope", "params": { "a": 1 } },
        { "method": "notifications.add", "params": { "a": 1, "b": 1 } },
    ]));
    for outcome in &outcomes {
        assert_eq!(outcome.rpc_error(), (-32601, "Method not found", Value::Null));
    }
    assert_eq!(server.stop().0, 0);
}

fn a_service_that_nobody_serves_ends_in_a_timeout(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([{ "method": "nobody.add", "timeoutMs": 300 }]));
    assert!(outcomes[0].is_timeout(), "{outcomes:?}");
}

fn a_failing_notification_harms_nothing(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "crashNote", "params": { "message": "boom" }, "notification": true },
        { "method": "log", "params": { "msg": 5 }, "notification": true },
        { "method": "log", "notification": true },
        { "method": "nope", "params": {}, "notification": true },
        { "method": "log", "params": { "msg": "served" }, "notification": true },
        { "method": "stats" },
    ]));
    assert!(outcomes[..5].iter().all(|outcome| outcome.ok && outcome.kind == Kind::Notification));
    let stats: Stats = outcomes[5].value();
    assert_eq!(stats.logs, ["served"]);
    assert_eq!((stats.counts["crashNote"], stats.counts["log"]), (1, 1));
    deployment.settled();
    // The client deleted its reply stream, and nobody has answered since.
    assert_eq!(deployment.redis.command("KEYS *:replies:*").array(), []);
}

fn an_ordinary_method_sent_as_notification_runs(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let add = json!({ "a": 1, "b": 1 });
    let outcomes = deployment.call(json!([
        { "method": "add", "params": add, "notification": true },
        { "method": "divide", "params": { "a": 1, "b": 0 }, "notification": true },
        { "method": "badResult", "notification": true },
        { "method": "stats" },
    ]));
    let stats: Stats = outcomes[3].value();
    for method in ["add", "divide", "badResult"] {
        assert_eq!(stats.counts[method], 1, "{method}");
    }
}

fn a_notification_that_is_called_is_answered_by_rust_and_not_by_python(deployment: &Deployment) {
    let _server = deployment.serve("A");
    // Python's caller waits out its timeout; Rust's need not.
    let timeout = if deployment.server == Peer::Rust { 20_000 } else { 500 };
    let outcomes = deployment.call(json!([
        { "method": "opt" },
        { "method": "ping", "params": { "tag": "called" }, "timeoutMs": timeout },
        { "method": "stats" },
    ]));
    match deployment.server {
        Peer::Python => assert!(outcomes[1].is_timeout(), "{outcomes:?}"),
        Peer::Rust => assert_eq!(outcomes[1].text(), "null"),
    }
    // Either way it has run.
    assert_eq!(outcomes[2].value::<Stats>().pings, [Some("called".into())]);
}

fn an_optional_member_may_be_absent_or_null(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "opt" },
        { "method": "opt", "params": {} },
        { "method": "opt", "params": { "tag": null } },
        { "method": "opt", "params": { "tag": "x" } },
        { "method": "opt", "params": { "tag": 5 } },
    ]));
    // Rust never sends null for an optional member; Python always does.
    let unset = if deployment.server == Peer::Rust { json!({}) } else { json!({ "tag": null }) };
    for outcome in &outcomes[..3] {
        assert_eq!(outcome.value::<Value>(), unset);
    }
    assert_eq!(outcomes[3].value::<Value>(), json!({ "tag": "x" }));
    assert_eq!(outcomes[4].rpc_error().0, -32602);
}

#[derive(Deserialize)]
struct IntegerSum {
    #[serde(with = "integer")]
    sum: i64,
}

fn integers_are_read_in_both_notations(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "add", "params": { "a": 2, "b": 3 } },
        { "method": "addInt", "params": { "a": 2, "b": 3 } },
        { "method": "addInt", "params": { "a": 2.0, "b": 3e0 } },
    ]));
    // Both peers write the sum of floats as 5.0, which a Rust client may want as an integer.
    assert!(outcomes[0].text().contains("5.0"), "{:?}", outcomes[0]);
    for outcome in &outcomes {
        assert_eq!(outcome.value::<IntegerSum>().sum, 5);
    }
    for outcome in &outcomes[1..] {
        assert!(!outcome.text().contains('.'), "{outcome:?}");
    }
}

fn a_bad_name_is_refused_before_anything_is_sent(deployment: &Deployment) {
    let outcomes = deployment.call(json!([
        { "method": "arith.Add" },
        { "method": "arith.launch-process" },
        { "method": "arith.a.b" },
        { "method": "Arith.add" },
        { "method": "1engine.add" },
        { "method": "Arith.ping", "notification": true },
    ]));
    for outcome in &outcomes[..3] {
        assert!(outcome.message(Kind::ProtocolError).contains("invalid method"), "{outcome:?}");
    }
    for outcome in &outcomes[3..] {
        assert!(outcome.message(Kind::ProtocolError).contains("invalid service"), "{outcome:?}");
    }
    assert_eq!(deployment.redis.command("KEYS *").array(), []);
    assert_eq!(deployment.entries(&commands("arith")), []);
}
