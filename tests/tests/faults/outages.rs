//! Redis is emptied, frozen, restarted, or drops every connection, while calls are made.
//!
//! Not what happens to single keys, which is in `keys`. Within two seconds of the end of each
//! fault calls succeed again, and all of them do; calls that were under way end as they may.

use std::time::{Duration, Instant};

use clamator_driver::Runtime;
use clamator_tests::world::Async;

use crate::scene::{RECOVERY_MAX, Scene};

clamator_tests::scenarios!(
    calls_succeed_within_two_seconds_of_flushall,
    calls_succeed_within_two_seconds_after_redis_was_frozen,
    calls_succeed_within_two_seconds_after_redis_is_back_empty,
    no_request_waits_for_claim_idle_when_every_connection_is_killed,
    an_idle_client_notices_that_its_connections_ended,
);

/// About a hundred calls a second.
const EVERY: Duration = Duration::from_millis(10);
/// Longer than any fault here.
const PATIENT: Duration = Duration::from_secs(20);
/// What a call may take that was accepted while connections broke; `claim_idle` is 60 s.
const SOON: Duration = Duration::from_secs(5);

async fn calls_succeed_within_two_seconds_of_flushall<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    // Requests that FLUSHALL takes with it are never answered.
    let load = scene.caller.load(EVERY, Duration::from_secs(3));
    runtime.sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        scene.redis.command("FLUSHALL");
        let flushed = Instant::now();
        runtime.sleep(Duration::from_millis(1500)).await;
        let recovery = scene.ledger.recovery(flushed);
        assert!(recovery <= RECOVERY_MAX, "recovered after {recovery:?}");
    }
    scene.redis.command("FLUSHALL");
    let flushed = Instant::now();
    runtime.sleep(Duration::from_secs(2)).await;
    load.end().await;
    // Nothing was lost that was sent to the new stream, even before its group was there.
    scene.ledger.assert_answered_since(flushed);
    let ends = scene.ledger.assert_sound(&["Timeout"], 1);
    assert!(ends["answered"] > 300, "{ends:?}");
    scene.assert_settled().await;
    assert!(scene.servers[0].stats().await.groups_restored >= 4);
}

async fn calls_succeed_within_two_seconds_after_redis_was_frozen<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let load = scene.caller.load(EVERY, PATIENT);
    runtime.sleep(Duration::from_secs(1)).await;
    scene.redis.signal("STOP");
    runtime.sleep(Duration::from_secs(5)).await;
    scene.redis.signal("CONT");
    let thawed = Instant::now();
    runtime.sleep(Duration::from_secs(3)).await;
    load.end().await;
    let recovery = scene.ledger.recovery(thawed);
    assert!(recovery <= RECOVERY_MAX, "recovered after {recovery:?}");
    scene.ledger.assert_answered_since(thawed + RECOVERY_MAX);
    let ends = scene.ledger.assert_sound(&["NotSent", "OutcomeUnknown"], 1);
    assert!(ends["answered"] > 100, "{ends:?}");
    let slowest = scene.ledger.slowest();
    assert!(slowest < Duration::from_secs(5) + SOON, "{slowest:?}");
    scene.assert_settled().await;
}

async fn calls_succeed_within_two_seconds_after_redis_is_back_empty<R: Runtime>(runtime: R) {
    let mut scene = Scene::start(&runtime).await;
    let load = scene.caller.load(EVERY, Duration::from_secs(3));
    runtime.sleep(Duration::from_secs(1)).await;
    // At once, and after so long that the pauses between tries have grown to their longest.
    let mut back = Instant::now();
    for down in [Duration::ZERO, Duration::from_secs(4)] {
        scene.redis.kill();
        runtime.sleep(down).await;
        scene.redis.restart();
        back = Instant::now();
        runtime.sleep(Duration::from_secs(3)).await;
        let recovery = scene.ledger.recovery(back);
        assert!(recovery <= RECOVERY_MAX, "recovered after {recovery:?}, down for {down:?}");
    }
    load.end().await;
    scene.ledger.assert_answered_since(back + RECOVERY_MAX);
    let ends = scene.ledger.assert_sound(&["NotSent", "OutcomeUnknown", "Timeout"], 1);
    assert!(ends["answered"] > 200 && ends["NotSent"] > 0, "{ends:?}");
    scene.assert_settled().await;
}

async fn no_request_waits_for_claim_idle_when_every_connection_is_killed<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let load = scene.caller.load(Duration::from_millis(4), PATIENT);
    let mut killed = 0;
    for round in 0..10 {
        runtime.sleep(Duration::from_millis(700 + round * 30)).await;
        // All but the connection that says so.
        killed += scene.redis.command("CLIENT KILL TYPE normal SKIPME yes").integer();
    }
    let last = Instant::now();
    runtime.sleep(Duration::from_secs(2)).await;
    load.end().await;
    assert!(killed >= 30, "killed only {killed} connections");
    let ends = scene.ledger.assert_sound(&["NotSent", "OutcomeUnknown"], 1);
    assert!(ends["answered"] > 500, "{ends:?}");
    let (slowest, recovery) = (scene.ledger.slowest(), scene.ledger.recovery(last));
    assert!(slowest < SOON, "a call took {slowest:?}: {ends:?}");
    assert!(recovery <= RECOVERY_MAX, "recovered after {recovery:?}");
    // Also what callers were told nothing about was served, and acknowledged.
    scene.assert_settled().await;
}

async fn an_idle_client_notices_that_its_connections_ended<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    scene.caller.call(0).await.expect("all is well");
    for _ in 0..3 {
        scene.redis.command("CLIENT KILL TYPE normal");
        runtime.sleep(Duration::from_secs(1)).await;
        scene.caller.call(0).await.expect("the client has connected again by itself");
    }
}
