//! The bytes on the streams: what Rust writes, what Python writes, and that each of the two reads
//! what the other one, or anybody else who keeps to the protocol, has written.
//!
//! Not the rules of an envelope, which `clamator-proto` tests. The texts here are goldens: a change
//! of one is a change of the wire. Rust runs on tokio alone: it writes a text before a runtime sees
//! it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests hope, and say so by failing"
)]

use clamator_tests::interop::calls::{Kind, Outcome};
use clamator_tests::interop::peers::{Deployment, Peer, eventually};
use clamator_tests::interop::streams::{Entry, commands, replies};
use clamator_tests::programs;
use serde_json::{Value, json};

fn deployment(server: Peer, client: Peer) -> Deployment {
    Deployment::new(programs!(), server, client)
}

/// Makes calls that nobody answers, and gives back what that left on the streams of `arith`.
fn sent_by(client: Peer, calls: &str) -> (Deployment, Vec<Entry>) {
    let deployment = deployment(client.other(), client);
    let outcomes = deployment.call_as(client, calls, &["--timeout-ms", "1000"]);
    assert!(outcomes.iter().all(|outcome| outcome.ok || outcome.is_timeout()), "{outcomes:?}");
    let entries = deployment.entries(&commands("arith"));
    assert_eq!(entries.len(), outcomes.len());
    (deployment, entries)
}

/// The id of a request, which is its last member.
fn id_of(entry: &Entry) -> String {
    let envelope: Value = serde_json::from_str(entry.field("envelope").unwrap()).unwrap();
    envelope["id"].as_str().expect("an id is text").to_owned()
}

const ODD_TEXT: &str = r#"{"text":"h\u00e9 \ud83d\ude00\n", "n":[1.0, 1e3,123456789012345678901]}"#;

#[test]
fn rust_writes_a_request_with_its_params_as_they_are() {
    let (_, entries) = sent_by(Peer::Rust, &format!(r#"[{{"method":"add","params":{ODD_TEXT}}}]"#));
    let id = id_of(&entries[0]);
    let (nonce, counter) = id.split_once('-').expect("a nonce and a counter");
    assert!(nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(counter.parse::<u64>().is_ok(), "{id}");
    let envelope =
        format!(r#"{{"jsonrpc":"2.0","method":"arith.add","params":{ODD_TEXT},"id":"{id}"}}"#);
    let fields = [("type", "rpc"), ("envelope", &envelope), ("reply-to", &replies("client"))];
    let (timeout, peers) = entries[0].fields.split_last().expect("fields");
    assert_eq!(peers, fields.map(|(name, value)| (name.into(), value.into())));
    // What is left of the timeout when it is sent.
    let (name, left) = (timeout.0.as_str(), timeout.1.parse::<u64>().expect("milliseconds"));
    assert!(name == "timeout-ms" && (1..=1000).contains(&left), "{timeout:?}");
}

#[test]
fn rust_writes_a_notification_without_id_and_reply_to() {
    let calls = r#"[{"method":"ping","params":{"tag":"x"},"notification":true}]"#;
    let (_, entries) = sent_by(Peer::Rust, calls);
    let envelope = r#"{"jsonrpc":"2.0","method":"arith.ping","params":{"tag":"x"}}"#;
    let fields = [("type", "rpc"), ("envelope", envelope)];
    assert_eq!(entries[0].fields, fields.map(|(name, value)| (name.into(), value.into())));
}

#[test]
fn rust_writes_the_trace_behind_everything_else_and_python_does_not_mind() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let calls = json!([
        { "method": "add", "params": { "a": 2, "b": 3 }, "traceparent": trace },
        { "method": "ping", "params": { "tag": "x" }, "notification": true, "traceparent": trace },
    ]);
    let (deployment, entries) = sent_by(Peer::Rust, &calls.to_string());
    for entry in &entries {
        let last = entry.fields.last().unwrap();
        assert_eq!((last.0.as_str(), last.1.as_str()), ("traceparent", trace), "{entry:?}");
    }
    let _server = deployment.serve("A");
    deployment.settled();
    let outcomes = deployment.call(calls);
    assert_eq!(outcomes[0].sum(), 5.0);
    assert!(outcomes[1].ok, "{outcomes:?}");
}

#[test]
fn rust_writes_absent_params_as_an_empty_object() {
    let calls = r#"[{"method":"stats"}, {"method":"ping","params":null,"notification":true}]"#;
    let (_, entries) = sent_by(Peer::Rust, calls);
    for entry in entries {
        assert!(entry.field("envelope").unwrap().contains(r#","params":{}"#), "{entry:?}");
    }
}

#[test]
fn rust_writes_replies_and_failures() {
    let deployment = deployment(Peer::Rust, Peer::Rust);
    let _server = deployment.serve("A");
    let cases = [
        (r#""add","params":{"a":2,"b":3},"id":"x""#, r#""id":"x","result":{"sum":5.0}"#),
        (r#""addInt","params":{"a":2,"b":3},"id":1.0"#, r#""id":1.0,"result":{"sum":5}"#),
        (
            r#""echo","params":{"value":{"b":1.0, "a":1e400,"a":[]}},"id":"\u0041\/""#,
            r#""id":"\u0041\/","result":{"value":{"b":1.0, "a":1e400,"a":[]}}"#,
        ),
        (
            r#""opt","id":123456789012345678901234567890"#,
            r#""id":123456789012345678901234567890,"result":{}"#,
        ),
        (r#""ping","id":"""#, r#""id":"","result":null"#),
        (
            r#""divide","params":{"a":1,"b":0},"id":-1"#,
            concat!(
                r#""id":-1,"error":{"code":-32000,"message":"division by zero","#,
                r#""data":{"a":1.0,"b":0.0}}"#,
            ),
        ),
        (
            r#""fail","params":{"code":5,"message":"h\u00e9"},"id":0"#,
            r#""id":0,"error":{"code":5,"message":"hé","data":null}"#,
        ),
        (
            r#""nope","id":7"#,
            r#""id":7,"error":{"code":-32601,"message":"Method not found","data":null}"#,
        ),
        (
            r#""crash","params":{"message":"boom"},"id":8"#,
            concat!(
                r#""id":8,"error":{"code":-32603,"message":"Internal error","#,
                r#""data":{"name":"Crash","message":"boom"}}"#,
            ),
        ),
    ];
    for (request, _) in cases {
        // The cases name the method only.
        let request = request.replacen('"', "\"arith.", 1);
        deployment.request(&format!(r#"{{"jsonrpc":"2.0","method":{request}}}"#));
    }
    let written = deployment.raw_replies(cases.len());
    let wanted = cases.map(|(_, reply)| format!(r#"{{"jsonrpc":"2.0",{reply}}}"#));
    assert_eq!(written, wanted);
    for entry in deployment.entries(&replies("raw")) {
        assert_eq!((entry.names(), entry.field("type")), (vec!["type", "envelope"], Some("rpc")));
    }
}

#[test]
fn what_python_sent_before_rust_served_is_served() {
    let calls = r#"[
        {"method":"echoText","params":{"text":"h\u00e9 \ud83d\ude00"}},
        {"method":"addInt","params":{"a":2.0,"b":3}},
        {"method":"opt","params":{"tag":null}},
        {"method":"log","params":{"msg":"kept"},"notification":true}
    ]"#;
    let (deployment, entries) = sent_by(Peer::Python, calls);
    let ids: Vec<String> = entries[..3].iter().map(id_of).collect();
    let written: Vec<_> = entries.iter().map(|entry| entry.field("envelope").unwrap()).collect();
    let start = r#"{"jsonrpc": "2.0", "method": "arith."#;
    let texts = [
        format!(
            r#"{start}echoText", "params": {{"text": "h\u00e9 \ud83d\ude00"}}, "id": "{}"}}"#,
            ids[0]
        ),
        format!(r#"{start}addInt", "params": {{"a": 2.0, "b": 3}}, "id": "{}"}}"#, ids[1]),
        format!(r#"{start}opt", "params": {{"tag": null}}, "id": "{}"}}"#, ids[2]),
        format!(r#"{start}log", "params": {{"msg": "kept"}}}}"#),
    ];
    assert_eq!(written, texts);
    assert_eq!(entries[0].names(), ["type", "envelope", "reply-to"]);
    assert_eq!(entries[3].names(), ["type", "envelope"]);

    // Python's own servers pass over what was sent before the first of them started.
    let _server = deployment.serve("A");
    let answered = eventually("the replies are there", || {
        Some(deployment.entries(&replies("client"))).filter(|entries| entries.len() == 3)
    });
    let answered: Vec<_> = answered.iter().map(|entry| entry.field("envelope").unwrap()).collect();
    let texts = [
        format!(r#"{{"jsonrpc":"2.0","id":"{}","result":{{"text":"hé 😀"}}}}"#, ids[0]),
        format!(r#"{{"jsonrpc":"2.0","id":"{}","result":{{"sum":5}}}}"#, ids[1]),
        format!(r#"{{"jsonrpc":"2.0","id":"{}","result":{{}}}}"#, ids[2]),
    ];
    assert_eq!(answered, texts);
    eventually("the notification is handled", || {
        (deployment.stats().logs == ["kept"]).then_some(())
    });
}

#[test]
fn python_writes_replies_with_spaces_and_escapes() {
    let deployment = deployment(Peer::Python, Peer::Rust);
    let _server = deployment.serve("A");
    for request in [
        r#""arith.add","params":{"a":2,"b":3},"id":"x""#,
        r#""arith.fail","params":{"code":5,"message":"hé"},"id":7"#,
        r#""arith.opt","id":-1"#,
    ] {
        deployment.request(&format!(r#"{{"jsonrpc":"2.0","method":{request}}}"#));
    }
    let texts = [
        r#"{"jsonrpc": "2.0", "id": "x", "result": {"sum": 5.0}}"#,
        r#"{"jsonrpc": "2.0", "id": 7, "error": {"code": 5, "message": "h\u00e9", "data": null}}"#,
        r#"{"jsonrpc": "2.0", "id": -1, "result": {"tag": null}}"#,
    ];
    assert_eq!(deployment.raw_replies(3), texts);
}

#[test]
fn rust_reads_a_request_however_it_is_written() {
    a_request_is_read_however_it_is_written(Peer::Rust);
}

#[test]
fn python_reads_a_request_however_it_is_written() {
    a_request_is_read_however_it_is_written(Peer::Python);
}

fn a_request_is_read_however_it_is_written(server: Peer) {
    let deployment = deployment(server, Peer::Rust);
    let _server = deployment.serve("A");
    let key = replies("raw");
    let plain = r#"{"jsonrpc":"2.0","method":"arith.addInt","params":{"a":2,"b":3},"id":"x"}"#;
    let envelopes = [
        r#" {
            "id" : "x", "params" : { "b" : 3.0, "a" : 2 },
            "method" : "arith.addInt", "jsonrpc" : "2.0"
        } "#,
        r#"{"jsonrpc":"2.0","m\u0065thod":"arith.\u0061ddInt","id":"\u0078",
            "params":{"\u0061":2,"b":3}}"#,
        r#"{"jsonrpc":"1.0","jsonrpc":"2.0","method":"arith.addInt","id":5,"id":"x",
            "params":1,"params":{"a":2,"b":3}}"#,
        r#"{"jsonrpc":"2.0","method":"arith.addInt","params":{"a":2,"b":3},"id":"x",
            "result":1,"error":null,"extra":[{}]}"#,
    ];
    let extra = [("timeout-ms", "60000"), ("traceparent", "00-1-2-00"), ("x", "envelope")];
    let mut entries: Vec<Vec<(&str, &str)>> = vec![
        vec![("reply-to", &key), ("envelope", plain)],
        vec![("type", "other"), ("envelope", plain), ("reply-to", &key)],
        [&[("type", "rpc"), ("envelope", plain), ("reply-to", &key)][..], &extra].concat(),
    ];
    entries.extend(envelopes.map(|envelope| vec![("envelope", envelope), ("reply-to", &*key)]));
    for fields in &entries {
        deployment.add(&commands("arith"), fields);
    }
    let replies = deployment.raw_replies(entries.len());
    for (entry, reply) in entries.iter().zip(replies) {
        let reply: Value = serde_json::from_str(&reply).unwrap();
        let wanted = json!({ "jsonrpc": "2.0", "id": "x", "result": { "sum": 5 } });
        assert_eq!(reply, wanted, "{entry:?}");
    }
    deployment.settled();
}

#[test]
fn a_request_with_a_null_id_is_run_and_not_answered_whatever_its_reply_to() {
    for server in [Peer::Rust, Peer::Python] {
        let deployment = deployment(server, Peer::Rust);
        let _server = deployment.serve("A");
        deployment
            .request(r#"{"jsonrpc":"2.0","method":"arith.add","params":{"a":1,"b":1},"id":null}"#);
        deployment.request(r#"{"jsonrpc":"2.0","method":"arith.ping","params":{"tag":"x"}}"#);
        let stats = deployment.stats();
        assert_eq!((stats.counts["add"], stats.counts["ping"]), (1, 1), "{server:?}");
        assert_eq!(deployment.entries(&replies("raw")), [], "{server:?}");
    }
}

#[test]
fn rust_reads_a_reply_as_python_does() {
    let [rust, python] = [Peer::Rust, Peer::Python].map(outcomes_of_odd_replies);
    for ((reply, rust), (_, python)) in rust.iter().zip(&python) {
        let shown = format!("{reply}: {rust:?}, Python {python:?}");
        assert_eq!(
            (rust.ok, rust.kind, rust.code),
            (python.ok, python.kind, python.code),
            "{shown}"
        );
        match rust.kind {
            Kind::Result => assert_eq!(rust.value::<Value>(), python.value::<Value>(), "{shown}"),
            Kind::RpcError => assert_eq!(rust.rpc_error(), python.rpc_error(), "{shown}"),
            // Python puts the code in front of the text.
            _ => {
                let text = python.message(rust.kind).replace("-32600 ", "");
                assert_eq!(rust.message(rust.kind).replace("-32600 ", ""), text, "{shown}");
            }
        }
    }
}

/// Answers one call after the other with what no clamator would write; `ID` is the call's id.
fn outcomes_of_odd_replies(client: Peer) -> Vec<(&'static str, Outcome)> {
    let odd = [
        r#" {"result" : {"sum": 5.0} , "id" : ID , "jsonrpc" : "2.0", "extra": {} } "#,
        r#"{"jsonrpc":"2.0","id":ID,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":"h\u00e9 \ud83d\ude00 é"}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":1,"result":2}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"no","data":[1],"extra":1}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"result":1,"error":null}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":{"code":"1","message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"error":"no"}"#,
        r#"{"jsonrpc":"1.0","id":ID,"result":1}"#,
        r#"{"jsonrpc":"2.0","id":ID}"#,
    ];
    let deployment = deployment(client.other(), client);
    let calls = Value::from(vec![json!({ "method": "add" }); odd.len()]);
    let calling = deployment.calling(client, calls, &[]);
    let reply = |envelope: &str| {
        let fields = [("x", "envelope"), ("envelope", envelope), ("type", "odd")];
        deployment.add(&replies("client"), &fields);
    };
    for (number, odd) in odd.iter().enumerate() {
        let id = eventually("the next call is sent", || {
            deployment.entries(&commands("arith")).get(number).map(id_of)
        });
        // Before the answer comes what is nobody's, and behind it the same once more.
        deployment.add(&replies("client"), &[("type", "rpc")]);
        for nobodys in
            ["{", r#"{"jsonrpc":"2.0","id":null,"result":1}"#, r#"{"id":"x","result":1}"#]
        {
            reply(nobodys);
        }
        let answer = odd.replace("ID", &format!("\"{id}\""));
        reply(&answer);
        reply(&answer);
    }
    odd.into_iter().zip(calling.outcomes()).collect()
}
