//! An entry is given to a connection of the server that has ended.
//!
//! Redis writes it into its own pending list and into the dead connection's buffer; only rule
//! 4.5's looks back on the next connection, at once and again when the lost read must have run
//! out, find it before `claim_idle`, which is a minute here. Commands that are sent in one write
//! are carried out one behind the other, which hits the moment of the delivery every time.

use std::time::Duration;

use clamator_driver::{Concurrency, Runtime, ServerBuilder};
use clamator_tests::bench::floor::Wire;
use clamator_tests::redis::RedisServer;
use clamator_tests::world::Async;

use crate::proxy::Proxy;
use crate::scene::{RAW, Scene, add_request, envelope, request};

clamator_tests::scenarios!(
    an_entry_given_to_a_reader_that_is_killed_does_not_wait_for_claim_idle,
    an_entry_given_to_a_reader_that_only_redis_believes_in_does_not_wait_for_claim_idle,
    an_entry_that_redis_cannot_send_is_told_about_and_keeps_nobody_waiting,
);

const ROUNDS: u64 = 50;

async fn an_entry_given_to_a_reader_that_is_killed_does_not_wait_for_claim_idle<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Limit(16), |builder| builder.instance("w")).await;
    let mut wire = Wire::open(scene.redis.port()).expect("Redis takes connections");
    let mut sent = 0;
    for round in 0..ROUNDS {
        let reader = blocked_reader(&runtime, &scene.redis).await;
        // Requests before and behind the kill, in one write.
        let (before, behind) =
            [(1, 0), (0, 1), (1, 2), (3, 3)][usize::try_from(round % 4).unwrap()];
        for _ in 0..before {
            wire.add(&request(&envelope(sent, 1), RAW));
            sent += 1;
        }
        wire.add(&[b"CLIENT", b"KILL", b"ID", reader.as_bytes()]);
        for _ in 0..behind {
            wire.add(&request(&envelope(sent, 1), RAW));
            sent += 1;
        }
        wire.flush().expect("Redis reads");
        for _ in 0..before + behind + 1 {
            wire.receive().expect("Redis answers");
        }
        let all = i64::try_from(sent).unwrap();
        let what = format!("the replies of round {round}");
        let soon = Duration::from_secs(5);
        scene.await_that(&what, soon, |scene| scene.length(RAW) >= all).await;
    }
    assert_eq!(scene.ledger.starts_max(), 1);
    assert_eq!(scene.length(RAW), i64::try_from(sent).unwrap(), "one reply each");
    scene.assert_settled().await;
    // The point of the rounds with a request before the kill.
    let stats = scene.servers[0].stats().await;
    let found = stats.entries_found;
    assert!(found >= ROUNDS / 4, "only {found} entries went to a dead reader");
    assert_eq!(stats.jobs_redelivered, 0, "nobody had started them");
}

/// As when a network breaks: the server sees its connections end, and Redis does not.
async fn an_entry_given_to_a_reader_that_only_redis_believes_in_does_not_wait_for_claim_idle<
    R: Runtime,
>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    let proxy = Proxy::start(scene.redis.port());
    let slowly =
        |builder: ServerBuilder<R>| builder.instance("w").read_block(Duration::from_secs(3));
    scene.serve_from(proxy.port, Concurrency::Serial, slowly).await;
    let mut raw = scene.redis.connect();
    for round in 1..=3 {
        // The reader of before and its successor; whoever waits longer is served first.
        runtime
            .within(Duration::from_secs(20), "two readers at once", async {
                while blocked_readers(&scene.redis).len() != 1 {
                    runtime.sleep(Duration::from_millis(5)).await;
                }
                proxy.cut();
                while blocked_readers(&scene.redis).len() != 2 {
                    runtime.sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        add_request(&mut raw, round, 0, RAW);
        // The end of the lost read, and a second.
        let replies = i64::try_from(round).unwrap();
        let soon = Duration::from_secs(8);
        scene.await_that("the reply", soon, |scene| scene.length(RAW) == replies).await;
    }
    assert_eq!(scene.ledger.starts_max(), 1);
    scene.assert_settled().await;
    let found = scene.servers[0].stats().await.entries_found;
    assert!(found >= 2, "only {found} entries went to a reader that was gone");
}

/// The id of the server's connection that waits for entries.
async fn blocked_reader<R: Runtime>(runtime: &R, redis: &RedisServer) -> String {
    runtime
        .within(Duration::from_secs(5), "a blocked reader", async {
            loop {
                if let Some(reader) = blocked_readers(redis).pop() {
                    return reader;
                }
                runtime.sleep(Duration::from_millis(10)).await;
            }
        })
        .await
}

/// The ids of the server's connections that wait for entries.
fn blocked_readers(redis: &RedisServer) -> Vec<String> {
    let clients = redis.command("CLIENT LIST").text();
    let marks = [" name=clamator:server:w ", " cmd=xreadgroup ", " flags=b "];
    let readers = clients.lines().filter(|line| marks.iter().all(|mark| line.contains(mark)));
    readers.filter_map(|line| Some(line.strip_prefix("id=")?.split_once(' ')?.0.into())).collect()
}

/// Each connection ends on which it is asked for, whoever asks.
async fn an_entry_that_redis_cannot_send_is_told_about_and_keeps_nobody_waiting<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    for instance in ["v", "w"] {
        scene.serve(Concurrency::Limit(16), |builder| builder.instance(instance)).await;
    }
    let limit: [&[u8]; 4] =
        [b"CONFIG", b"SET", b"client-output-buffer-limit", b"normal 1000000 0 0"];
    assert_eq!(scene.redis.connect().command(&limit).text(), "OK");
    let mut wire = Wire::open(scene.redis.port()).expect("Redis takes connections");
    for number in 0..9 {
        let mut envelope = envelope(number, 1);
        if number == 4 {
            envelope.push_str(&" ".repeat(2_000_000));
        }
        wire.add(&request(&envelope, RAW));
    }
    wire.flush().expect("Redis reads");
    let all_others = |scene: &Scene<R>| scene.length(RAW) == 8;
    scene.await_that("the other replies", Duration::from_secs(20), all_others).await;
    scene.await_that("nothing pending", Duration::from_secs(30), |it| it.pending() == 0).await;
    let mut unreadable = 0;
    for server in &scene.servers {
        unreadable += server.stats().await.entries_unreadable;
    }
    assert_eq!((unreadable, scene.ledger.starts_max()), (1, 1));
    scene.assert_settled().await;
}
