//! Users, passwords and databases: who is let in, and what happens when that changes.

use std::time::Duration;

use clamator_driver::{CallError, Client, Loss, Runtime, Target};
use clamator_tests::redis::{RawReply, RedisServer};
use clamator_tests::world::Async;

use crate::stage::{PREFIX, Pair, loss};

clamator_tests::scenarios!(
    a_user_is_let_in_by_its_password_and_works_in_its_database,
    a_user_of_the_manuals_access_list_can_do_all_within_its_prefix,
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

/// The access list that the manual shows.
fn manuals_access_list() -> String {
    let manual = include_str!("../../../clamator-driver/src/manual.rs");
    let line = manual.lines().find_map(|line| line.strip_prefix("//! ACL SETUSER app "));
    line.expect("the manual shows an access list").to_owned()
}

async fn a_user_of_the_manuals_access_list_can_do_all_within_its_prefix<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    let list = manuals_access_list();
    for (user, prefix) in [("app", PREFIX), ("stranger", "elsewhere")] {
        let list = list.replace("~app:", &format!("~{prefix}:"));
        redis.command(&format!("ACL SETUSER {user} {list}"));
    }
    let target =
        |user: &str| Target::url(&format!("redis://{user}:password@127.0.0.1:{}/1", redis.port()));
    let pair = Pair::start(&runtime, &target("app").unwrap()).await;
    // Long enough for everything that is done once in a while.
    runtime.sleep(Duration::from_millis(1500)).await;
    pair.assert_serves().await;
    pair.stop().await;
    assert_eq!(redis.command("ACL LOG").array().len(), 0, "something was refused");
    let mut raw = redis.connect();
    raw.command(&[b"SELECT", b"1"]);
    let keys = raw.command(&[b"KEYS", b"*"]);
    assert_eq!(keys.array().len(), 1, "the command stream is left, no reply: {keys:?}");
    // What would reach beyond the prefix.
    raw.command(&[b"AUTH", b"app", b"password"]);
    for words in ["CLIENT PAUSE 1", "CLIENT KILL TYPE normal", "CLIENT LIST", "FLUSHALL", "KEYS *"]
    {
        let answer = raw.command(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert!(
            matches!(&answer, RawReply::Error(text) if text.starts_with("NOPERM")),
            "{answer:?}"
        );
    }
    let client = Client::builder(PREFIX);
    let client = client.connect_on(runtime.clone(), target("stranger").unwrap()).await.unwrap();
    let refused = client.call::<u64>("echo.echo", 1).await;
    assert!(
        matches!(&refused, Err(CallError::Refused(refusal)) if refusal.code == "NOPERM"),
        "{refused:?}"
    );
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
