//! Somebody destroys the group, or deletes a stream, while calls are under way.
//!
//! Not the loss of all of Redis, which is in `outages`. What is in the stream is served by the new
//! group; what a deleted stream took with it times out and nothing else does.

use std::time::{Duration, Instant};

use clamator_driver::{Concurrency, Runtime};
use clamator_tests::bench::floor::Wire;
use clamator_tests::world::Async;

use crate::scene::{COMMANDS, RAW, RECOVERY_MAX, REPLIES, Scene, envelope, request};

clamator_tests::scenarios!(
    a_destroyed_group_loses_nothing_and_runs_nothing_twice,
    a_destroyed_group_is_not_made_anew_where_the_history_would_run_again,
    a_deleted_command_stream_is_served_again_within_two_seconds,
    a_deleted_reply_stream_is_made_again_by_the_next_reply,
    a_client_hears_a_reply_stream_that_begins_again_with_lower_ids,
);

const EVERY: Duration = Duration::from_millis(10);
const SHORT: Duration = Duration::from_secs(3);

async fn a_destroyed_group_loses_nothing_and_runs_nothing_twice<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let load = scene.caller.load(EVERY, Duration::from_secs(20));
    let mut wire = Wire::open(scene.redis.port()).expect("Redis takes connections");
    let mut numbers = 1_000_000..;
    for round in 1..=4 {
        runtime.sleep(Duration::from_millis(1200)).await;
        // In one write, so that requests are under way and others come before the group is back.
        for destroy in [false, true, false] {
            let number = numbers.next().expect("there are many numbers");
            wire.add(&request(&envelope(number, 50), RAW));
            if destroy {
                wire.add(&[b"XGROUP", b"DESTROY", COMMANDS.as_bytes(), b"work"]);
            }
        }
        wire.flush().expect("Redis reads");
        for _ in 0..4 {
            wire.receive().expect("Redis answers");
        }
        let replies = round * 3;
        scene.await_that("the replies", RECOVERY_MAX, |scene| scene.length(RAW) == replies).await;
    }
    let last = Instant::now();
    runtime.sleep(Duration::from_secs(1)).await;
    load.end().await;
    scene.ledger.assert_sound(&[], 1);
    let slowest = scene.ledger.slowest();
    assert!(slowest <= RECOVERY_MAX, "a call took {slowest:?}");
    assert!(scene.ledger.recovery(last) <= RECOVERY_MAX);
    scene.assert_settled().await;
    assert_eq!(scene.servers[0].stats().await.groups_restored, 4);
}

async fn a_destroyed_group_is_not_made_anew_where_the_history_would_run_again<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    // Another group reads the stream too, so nothing may be deleted from it.
    scene.redis.command("XGROUP CREATE faults:cmds:work audit 0 MKSTREAM");
    scene.serve(Concurrency::Serial, |builder| builder).await;
    scene.caller.calls(50, 0).end(SHORT).await;
    // Until the server has noticed how far everybody has come.
    runtime.sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.length(COMMANDS), 50, "what the other group has not read is kept");
    scene.redis.command("XGROUP DESTROY faults:cmds:work work");
    scene.caller.calls(50, 0).end(SHORT).await;
    scene.ledger.assert_sound(&[], 1);
    assert_eq!(scene.ledger.finished(), 100);
}

async fn a_deleted_command_stream_is_served_again_within_two_seconds<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let load = scene.caller.load(EVERY, SHORT);
    let mut deleted = Instant::now();
    for _ in 0..3 {
        runtime.sleep(Duration::from_millis(1500)).await;
        scene.redis.command("DEL faults:cmds:work");
        deleted = Instant::now();
    }
    runtime.sleep(Duration::from_secs(2)).await;
    load.end().await;
    let recovery = scene.ledger.recovery(deleted);
    assert!(recovery <= RECOVERY_MAX, "recovered after {recovery:?}");
    scene.ledger.assert_answered_since(deleted);
    let ends = scene.ledger.assert_sound(&["Timeout"], 1);
    assert!(ends["answered"] > 300, "{ends:?}");
    scene.assert_settled().await;
}

async fn a_deleted_reply_stream_is_made_again_by_the_next_reply<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let load = scene.caller.load(EVERY, SHORT);
    let mut deleted = Instant::now();
    for round in 0..20 {
        runtime.sleep(Duration::from_millis(80 + round)).await;
        scene.redis.command(&format!("DEL {REPLIES}"));
        deleted = Instant::now();
    }
    runtime.sleep(Duration::from_secs(1)).await;
    load.end().await;
    scene.ledger.assert_answered_since(deleted);
    // A reply that was not read yet is gone with its stream.
    let ends = scene.ledger.assert_sound(&["Timeout"], 1);
    let lost = ends.get("Timeout").copied().unwrap_or_default();
    assert!(lost <= 20, "{ends:?}");
    scene.assert_settled().await;
}

async fn a_client_hears_a_reply_stream_that_begins_again_with_lower_ids<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    // Far in the future; what the client reads next has an id behind it.
    let far = format!("XADD {REPLIES} 9999999999999-0 type rpc");
    scene.redis.command(&far);
    assert!(scene.caller.call(0).await.is_ok());
    scene.redis.command(&format!("DEL {REPLIES}"));
    let made = Instant::now();
    let call = scene.caller.call_within(0, Some(Duration::from_secs(12))).await;
    let took = made.elapsed();
    assert!(call.is_ok(), "{call:?} after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(scene.caller.call(0).await.is_ok());
}
