//! Scenarios 1 to 6 of the peers' own interop suite, with Rust on one side and the published
//! Python peer on the other, in both directions.
//!
//! Rust runs on each of its runtimes in turn. Not pools and crashes, which are in
//! `interop_pools.rs`. Stricter than upstream where it looks away: a notification must be handled,
//! exactly once.
#![allow(clippy::indexing_slicing, reason = "tests hope, and say so by failing")]

use std::collections::BTreeMap;

use clamator_tests::both_directions;
use clamator_tests::interop::calls::Kind;
use clamator_tests::interop::peers::{Deployment, eventually};
use serde_json::{Value, json};

both_directions!(
    on every runtime:
    a_call_is_answered,
    a_hundred_calls_at_once_each_get_their_own_answer,
    an_error_of_the_application_reaches_the_caller_as_it_is,
    params_that_do_not_fit_are_refused,
    a_notification_is_handled_once,
    notifications_are_handled_in_their_order,
    a_call_that_takes_too_long_ends_in_a_timeout,
);

fn a_call_is_answered(deployment: &Deployment) {
    let server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        { "method": "arith.add", "params": { "a": 2, "b": 3 } },
        { "method": "arith.echoText", "params": { "text": "hello" } },
        { "method": "arith.divide", "params": { "a": 10, "b": 4 } },
        { "method": "arith.slow", "params": { "ms": 1 } },
        { "method": "arith.camel", "params": { "fooBar": "humps" } },
    ]));
    assert!(outcomes.iter().all(|outcome| outcome.ok && outcome.kind == Kind::Result));
    assert_eq!(outcomes[0].sum(), 5.0);
    assert_eq!(outcomes[1].value::<Value>(), json!({ "text": "hello" }));
    assert_eq!(outcomes[2].value::<Value>(), json!({ "q": 2.5 }));
    assert_eq!(outcomes[3].value::<Value>(), json!({ "ok": true }));
    assert_eq!(outcomes[4].value::<Value>(), json!({ "fooBar": "humps" }));
    deployment.settled();
    assert_eq!(server.stop().0, 5);
}

fn a_hundred_calls_at_once_each_get_their_own_answer(deployment: &Deployment) {
    let server = deployment.serve("A");
    let calls: Vec<Value> = (0..100)
        .map(|number| json!({ "method": "add", "params": { "a": number, "b": 1 } }))
        .collect();
    let outcomes = deployment.call_as(deployment.client, Value::from(calls), &["--parallel"]);
    let sums: Vec<f64> = outcomes.iter().map(|outcome| outcome.sum()).collect();
    let wanted: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(sums, wanted);
    assert_eq!(server.stop().0, 100);
}

fn an_error_of_the_application_reaches_the_caller_as_it_is(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let data = json!({ "list": [1, null, "x"], "deep": { "er": true } });
    let outcomes = deployment.call(json!([
        { "method": "divide", "params": { "a": 10, "b": 0 } },
        { "method": "fail", "params": { "code": -32050, "message": "no", "data": data } },
        { "method": "fail", "params": { "code": 7, "message": "h\u{e9} \u{1f600}" } },
        { "method": "fail", "params": { "code": 0, "message": "", "data": null } },
        { "method": "fail", "params": { "code": -32601, "message": "mine", "data": 5 } },
    ]));
    assert!(outcomes.iter().all(|outcome| !outcome.ok));
    let division = json!({ "a": 10.0, "b": 0.0 });
    assert_eq!(outcomes[0].rpc_error(), (-32000, "division by zero", division));
    assert_eq!(outcomes[1].rpc_error(), (-32050, "no", data));
    assert_eq!(outcomes[2].rpc_error(), (7, "h\u{e9} \u{1f600}", Value::Null));
    assert_eq!(outcomes[3].rpc_error(), (0, "", Value::Null));
    assert_eq!(outcomes[4].rpc_error(), (-32601, "mine", json!(5)));
}

fn params_that_do_not_fit_are_refused(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let refused = [
        json!({ "method": "add", "params": { "a": "two", "b": 3 } }),
        json!({ "method": "add", "params": { "a": 2 } }),
        json!({ "method": "add", "params": "two" }),
        json!({ "method": "add" }),
        json!({ "method": "addInt", "params": { "a": 2.5, "b": 3 } }),
        json!({ "method": "addInt", "params": { "a": "2", "b": 3 } }),
        json!({ "method": "addInt", "params": { "a": true, "b": 3 } }),
        json!({ "method": "addInt", "params": { "a": null, "b": 3 } }),
        json!({ "method": "slow", "params": { "ms": -1 } }),
    ];
    let outcomes = deployment.call(Value::from(refused.to_vec()));
    assert_eq!(outcomes.len(), refused.len());
    for (call, outcome) in refused.iter().zip(&outcomes) {
        let (code, message, data) = outcome.rpc_error();
        assert_eq!((code, message), (-32602, "Invalid params"), "{call}");
        assert!(data.is_object(), "{call}: {data}");
    }
    // The two notations of an integer, and that the server still serves.
    let outcomes = deployment.call(r#"[{"method": "addInt", "params": {"a": 2.0, "b": 3}}]"#);
    assert_eq!(outcomes[0].sum(), 5.0);
}

fn a_notification_is_handled_once(deployment: &Deployment) {
    let server = deployment.serve("A");
    let ping = json!({ "method": "notifications.ping", "params": { "tag": "x" } });
    let outcomes = deployment.call(json!([as_notification(&ping)]));
    assert!(outcomes[0].ok && outcomes[0].kind == Kind::Notification);
    // Services do not wait for each other, so this may be asked before the handler has run.
    let handled = || deployment.stats().counts.get("notifications.ping").copied();
    assert_eq!(eventually("the notification is handled", handled), 1);
    deployment.settled();
    let stats = deployment.stats();
    assert_eq!(stats.counts["notifications.ping"], 1);
    assert_eq!((stats.instance.as_str(), stats.pings), ("A", vec![Some("x".into())]));
    drop(server);
}

fn notifications_are_handled_in_their_order(deployment: &Deployment) {
    let _server = deployment.serve("A");
    let outcomes = deployment.call(json!([
        as_notification(&json!({ "method": "slowNote", "params": { "ms": 50 } })),
        as_notification(&json!({ "method": "log", "params": { "msg": "one" } })),
        as_notification(&json!({ "method": "ping", "params": { "tag": "x" } })),
        as_notification(&json!({ "method": "ping", "params": { "tag": null } })),
        as_notification(&json!({ "method": "log", "params": { "msg": "two" } })),
        as_notification(&json!({ "method": "ping" })),
        { "method": "stats" },
    ]));
    assert!(outcomes.iter().all(|outcome| outcome.ok));
    let stats: clamator_tests::interop::arith::Stats = outcomes[6].value();
    assert_eq!(stats.logs, ["one", "two"]);
    assert_eq!(stats.pings, [Some("x".into()), None, None]);
    let counts = [("log", 2), ("ping", 3), ("slowNote", 1), ("stats", 1)];
    assert_eq!(stats.counts, BTreeMap::from(counts.map(|(name, count)| (name.into(), count))));
}

fn a_call_that_takes_too_long_ends_in_a_timeout(deployment: &Deployment) {
    let server = deployment.serve("A");
    let slow = json!({ "a": 1, "b": 2, "sleepMs": 800 });
    let outcomes = deployment.call(json!([
        // So that the client is connected when the short timeout starts.
        { "method": "add", "params": { "a": 0, "b": 1 } },
        { "method": "slowAdd", "params": slow, "timeoutMs": 100 },
        { "method": "add", "params": { "a": 1, "b": 1 } },
        { "method": "slowAdd", "params": slow },
    ]));
    assert!(outcomes[1].is_timeout(), "{:?}", outcomes[1]);
    // Its late reply is nobody's: neither the next call's nor an error.
    assert_eq!(outcomes[0].sum(), 1.0);
    assert_eq!(outcomes[2].sum(), 2.0);
    assert_eq!(outcomes[3].sum(), 3.0);
    // The handler of the abandoned call has run to its end, and the server stops.
    assert_eq!(server.stop().0, 4);
}

fn as_notification(call: &Value) -> Value {
    let mut call = call.clone();
    call["notification"] = true.into();
    call
}
