//! Connections through a Unix socket.

use std::time::Duration;

use clamator_driver::{Loss, Runtime, Target};
use clamator_tests::certificates::Folder;
use clamator_tests::redis::RedisServer;

use crate::stage::{Pair, loss};

clamator_tests::scenarios!(
    a_call_crosses_a_unix_socket,
    a_socket_that_is_missing_is_named,
    a_socket_that_goes_away_is_waited_for,
);

/// A Redis that listens on a socket too.
fn start(folder: &Folder) -> (RedisServer, String) {
    let socket = folder.path("redis.sock").display().to_string();
    let redis = RedisServer::start_with(&["--unixsocket", &socket]);
    (redis, socket)
}

async fn a_call_crosses_a_unix_socket<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    let (redis, socket) = start(&folder);
    redis.command("ACL SETUSER alice on >p@ss ~* +@all");
    let url = format!("unix://{socket}?db=2&user=alice&pass=p%40ss&protocol=resp3");
    let pair = Pair::start(&runtime, &Target::url(&url).unwrap()).await;
    let mut raw = redis.connect();
    raw.command(&[b"SELECT", b"2"]);
    assert_eq!(raw.command(&[b"KEYS", b"endpoints:cmds:*"]).array().len(), 1);
    let clients = raw.command(&[b"CLIENT", b"LIST"]).text();
    let ours = clients.lines().filter(|line| line.contains("name=clamator:"));
    let ours: Vec<&str> = ours.collect();
    assert!(ours.len() >= 4, "{clients}");
    for line in ours {
        assert!(line.contains("user=alice") && line.contains("db=2"), "{line}");
        assert!(line.contains(&format!("{socket}:0")), "{line}");
    }
    pair.stop().await;
}

async fn a_socket_that_is_missing_is_named<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    let socket = folder.path("none.sock").display().to_string();
    let target = Target::url(&format!("unix://{socket}")).unwrap();
    let loss = loss(&runtime, &target).await;
    let Loss::Unreachable { address, detail } = &loss else { panic!("{loss:?}") };
    assert_eq!(*address, socket);
    assert!(detail.contains("No such file"), "{detail}");
}

async fn a_socket_that_goes_away_is_waited_for<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    let (mut redis, socket) = start(&folder);
    let pair = Pair::start(&runtime, &Target::url(&format!("unix://{socket}")).unwrap()).await;
    redis.kill();
    std::fs::remove_file(&socket).expect("the server left it behind");
    let warnings = pair.await_warnings(1).await;
    assert!(warnings[0].contains("ended"), "{warnings:?}");
    redis.restart();
    pair.await_service(Duration::from_secs(3)).await;
    pair.assert_reconnected();
    pair.stop().await;
}
