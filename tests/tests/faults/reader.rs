//! The connection of the blocking read is killed at the moment an entry is given to it.
//!
//! Redis writes the entry into its own pending list and into the dead connection's buffer; only
//! rule 4.5's history read on the next connection finds it before `claim_idle`, which is a minute
//! here. Commands that are sent in one write are carried out one behind the other, which hits that
//! moment every time.

use std::time::Duration;

use clamator_tests::bench::floor::Wire;
use clamator_tests::redis::RedisServer;
use clamator_tokio::Concurrency;
use tokio::time::sleep;

use crate::scene::{Scene, envelope, request, within};

const ROUNDS: u64 = 50;
const REPLIES: &str = "faults:replies:raw";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_given_to_a_reader_that_is_killed_does_not_wait_for_claim_idle() {
    let mut scene = Scene::without_server().await;
    scene.serve(Concurrency::Limit(16), |builder| builder.instance("w")).await;
    let mut wire = Wire::open(scene.redis.port()).expect("Redis takes connections");
    let mut sent = 0;
    for round in 0..ROUNDS {
        let reader = blocked_reader(&scene.redis).await;
        // Requests before and behind the kill, in one write.
        let (before, behind) =
            [(1, 0), (0, 1), (1, 2), (3, 3)][usize::try_from(round % 4).unwrap()];
        for _ in 0..before {
            wire.add(&request(&envelope(sent, 1), REPLIES));
            sent += 1;
        }
        wire.add(&[b"CLIENT", b"KILL", b"ID", reader.as_bytes()]);
        for _ in 0..behind {
            wire.add(&request(&envelope(sent, 1), REPLIES));
            sent += 1;
        }
        wire.flush().expect("Redis reads");
        for _ in 0..before + behind + 1 {
            wire.receive().expect("Redis answers");
        }
        let all = i64::try_from(sent).unwrap();
        let what = format!("the replies of round {round}");
        let soon = Duration::from_secs(5);
        scene.await_that(&what, soon, |scene| scene.length(REPLIES) >= all).await;
    }
    assert_eq!(scene.ledger.starts_max(), 1);
    assert_eq!(scene.length(REPLIES), i64::try_from(sent).unwrap(), "one reply each");
    scene.assert_settled().await;
    // The point of the rounds with a request before the kill: it was given out twice.
    let redelivered = scene.servers[0].counters().await.jobs_redelivered;
    assert!(redelivered >= ROUNDS / 4, "only {redelivered} entries went to a dead reader");
}

/// The id of the server's connection that waits for entries.
async fn blocked_reader(redis: &RedisServer) -> String {
    within(Duration::from_secs(5), "a blocked reader", async {
        loop {
            let clients = redis.command("CLIENT LIST").text();
            let reader = clients.lines().find(|line| {
                line.contains(" name=clamator:server:w ") && line.contains(" cmd=xreadgroup ")
            });
            let blocked = reader.filter(|line| line.contains(" flags=b "));
            if let Some(id) = blocked.and_then(|line| line.strip_prefix("id=")) {
                return id.split(' ').next().unwrap_or_default().to_owned();
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}
