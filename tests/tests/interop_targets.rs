//! One round trip over every way to name a real Redis: by URL in each of its forms, and through a
//! user's own connector, on every runtime.
//!
//! Not the refusal of targets that are wrong. That both a URL and a connection are given, which the
//! peers must refuse, cannot be written here: a target is one or the other.
#![allow(clippy::unwrap_used, reason = "tests hope, and say so by failing")]

use std::time::Duration;

use clamator_driver::{
    CallError, Client, Credentials, MemoryBus, Protocol, Runtime, Server, Target,
};
use clamator_tests::capture::unique;
use clamator_tests::interop::arith::{Record, Stats, arith, notifications};
use clamator_tests::process::now;
use clamator_tests::redis::{RawReply, RedisServer};
use clamator_tests::scenarios;
use serde_json::{Value, json};

scenarios!(
    a_url_names_a_host_and_a_port,
    a_url_names_a_password_a_user_and_a_database,
    a_url_names_a_socket,
    a_users_own_connector_makes_every_connection,
    memory_is_a_target_too_and_knows_that_nobody_serves,
);

const PASSWORD: &str = "p@ss word/";
const PASSWORD_IN_URL: &str = "p%40ss%20word%2F";

/// A Redis that wants a password, and knows the user `worker` with the same one.
fn guarded(options: &[&str]) -> RedisServer {
    let base = ["--requirepass", PASSWORD];
    let redis = RedisServer::start_with(&[&base[..], options].concat());
    let mut admin = redis.connect();
    let password = format!(">{PASSWORD}");
    let rules = ["ACL", "SETUSER", "worker", "on", &password, "~targets:*", "+@all"];
    for command in [&["AUTH", PASSWORD][..], &rules] {
        let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(admin.command(&words), RawReply::Simple("OK".into()), "{command:?}");
    }
    redis
}

/// Calls, is told an error, notifies and times out; then stops both sides, twice.
async fn a_round_trip<R: Runtime>(runtime: &R, target: Target) {
    let record = Record::new(runtime.clone(), "A");
    let server = Server::builder("targets").instance("A");
    let server = server.service(arith(&record)).service(notifications(&record));
    let server = server.start_on(runtime.clone(), &target).await.unwrap();
    let client = Client::builder("targets").connect_on(runtime.clone(), &target).await.unwrap();

    let sum: Value = client.call("arith.add", json!({ "a": 2, "b": 3 })).await.unwrap();
    assert_eq!(sum, json!({ "sum": 5.0 }));
    let Err(CallError::Rpc(error)) =
        client.call::<Value>("arith.divide", json!({ "a": 10, "b": 0 })).await
    else {
        panic!("a division by zero has a result")
    };
    assert_eq!((error.code, error.message.as_str()), (-32000, "division by zero"));
    client.notify("arith.log", json!({ "msg": "noted" })).await.unwrap();
    let stats: Stats = client.call("arith.stats", ()).await.unwrap();
    assert_eq!((stats.instance.as_str(), stats.logs), ("A", vec!["noted".into()]));
    let slow = client.call::<Value>("arith.slow", json!({ "ms": 800 }));
    assert_eq!(slow.timeout(Duration::from_millis(100)).await, Err(CallError::Timeout));

    for _ in 0..2 {
        client.stop().await;
        assert_eq!(server.shutdown().await.left, 0);
    }
    assert_eq!(client.call::<Value>("arith.stats", ()).await, Err(CallError::Stopped));
}

async fn a_url_names_a_host_and_a_port<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    a_round_trip(&runtime, Target::url(&redis.url()).unwrap()).await;
    let url = format!("{}?protocol=resp3", redis.url());
    a_round_trip(&runtime, Target::url(&url).unwrap()).await;
}

async fn a_url_names_a_password_a_user_and_a_database<R: Runtime>(runtime: R) {
    let redis = guarded(&[]);
    let address = format!("127.0.0.1:{}", redis.port());
    for url in [
        format!("redis://:{PASSWORD_IN_URL}@{address}/1"),
        format!("redis://worker:{PASSWORD_IN_URL}@{address}"),
        format!("redis://worker:{PASSWORD_IN_URL}@{address}/2?protocol=resp3"),
    ] {
        a_round_trip(&runtime, Target::url(&url).unwrap()).await;
    }
    let mut admin = redis.connect();
    admin.command(&[b"AUTH", PASSWORD.as_bytes()]);
    for (database, keys) in [("0", 2), ("1", 2), ("2", 2), ("3", 0)] {
        admin.command(&[b"SELECT", database.as_bytes()]);
        let streams = admin.command(&[b"KEYS", b"targets:cmds:*"]);
        assert_eq!(streams.array().len(), keys, "database {database}");
    }
}

async fn a_url_names_a_socket<R: Runtime>(runtime: R) {
    let name = format!("{}-{}.sock", unique("clamator"), std::process::id());
    let path = std::env::temp_dir().join(name);
    let path = path.to_str().unwrap();
    let _redis = guarded(&["--unixsocket", path]);
    for query in ["", "&user=worker", "&user=worker&db=1&protocol=resp3"] {
        let url = format!("unix://{path}?pass={PASSWORD_IN_URL}{query}");
        a_round_trip(&runtime, Target::url(&url).unwrap()).await;
    }
    // Redis leaves its socket behind when it is killed.
    let _ = std::fs::remove_file(path);
}

async fn a_users_own_connector_makes_every_connection<R: Runtime>(runtime: R) {
    let redis = guarded(&[]);
    let port = redis.port();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let credentials =
            Credentials::new().username("worker").password(PASSWORD).protocol(protocol);
        let connecting = runtime.clone();
        let target =
            Target::connector(credentials, move || connecting.connect_tcp("127.0.0.1", port));
        a_round_trip(&runtime, target).await;
    }
}

async fn memory_is_a_target_too_and_knows_that_nobody_serves<R: Runtime>(runtime: R) {
    let bus = MemoryBus::new();
    a_round_trip(&runtime, Target::memory(&bus)).await;
    let client = Client::builder("targets").connect_on(runtime, &bus).await.unwrap();
    let begun = now();
    let call = client.call::<Value>("nobody.add", json!({}));
    assert_eq!(call.await, Err(CallError::NoWorkers));
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for its timeout");
}
