//! Users, passwords and databases: who is let in, and what happens when that changes.
//!
//! Not what a user must be allowed, which is in `rights`.

use std::time::Duration;

use clamator_driver::{Loss, Runtime, Target};
use clamator_tests::redis::{RawReply, RedisServer};

use crate::stage::{Pair, loss};

clamator_tests::scenarios!(
    a_user_is_let_in_by_its_password_and_works_in_its_database,
    a_user_that_is_refused_later_waits_and_comes_back,
);

fn target(redis: &RedisServer, rest: &str) -> Target {
    Target::url(&format!("redis://alice:right@127.0.0.1:{}/{rest}", redis.port())).unwrap()
}

async fn a_user_is_let_in_by_its_password_and_works_in_its_database<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    redis.command("ACL SETUSER alice on >right ~* +@all");
    for protocol in ["resp2", "resp3"] {
        let pair = Pair::start(&runtime, &target(&redis, &format!("5?protocol={protocol}"))).await;
        let mut raw = redis.connect();
        raw.command(&[b"SELECT", b"5"]);
        assert_eq!(raw.command(&[b"KEYS", b"endpoints:cmds:*"]).array().len(), 1);
        pair.stop().await;
    }
    redis.command("ACL SETUSER alice resetpass >other");
    let loss = loss(&runtime, &target(&redis, "5")).await;
    assert!(matches!(&loss, Loss::Credentials { detail } if detail.contains("WRONGPASS")));
    assert!(!format!("{loss} {loss:?}").contains("right"), "{loss:?}");
}

async fn a_user_that_is_refused_later_waits_and_comes_back<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    redis.command("ACL SETUSER alice on >right ~* +@all");
    let pair = Pair::start(&runtime, &target(&redis, "")).await;
    redis.command("ACL SETUSER alice resetpass >other");
    redis.command("CLIENT KILL TYPE normal SKIPME yes");
    let warnings = pair.await_warnings(2).await;
    assert!(warnings[0].contains("ended"), "{warnings:?}");
    assert!(warnings[1].contains("WRONGPASS"), "{warnings:?}");
    let refused = failures(&redis);
    redis.command("ACL SETUSER alice resetpass >right");
    // Whoever was refused asks again after half a minute, give or take a quarter.
    pair.await_service(Duration::from_secs(45)).await;
    pair.assert_reconnected();
    assert!(refused <= 6, "{refused} tries to log in, by four connections");
    pair.stop().await;
}

/// How often somebody was refused: Redis 6.2 and later keep a log of it.
fn failures(redis: &RedisServer) -> usize {
    let log = redis.command("ACL LOG");
    let count = |entry: &RawReply| {
        let fields = entry.array();
        let place = fields.iter().position(|field| field.text() == "count").unwrap();
        usize::try_from(fields[place + 1].integer()).unwrap()
    };
    log.array().iter().map(count).sum()
}
