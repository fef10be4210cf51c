//! Redis is full: it takes no XADD, and everything else.
//!
//! Rule 4.12, and the first paragraph of the design's section 4: a reply that Redis cannot take is
//! kept, with its entry pending, until it can; no handler runs again for it.

use std::time::{Duration, Instant};

use clamator_driver::{CallError, Concurrency, Runtime};
use clamator_tests::world::Async;

use crate::scene::{RECOVERY_MAX, Scene};

clamator_tests::scenarios!(
    replies_are_kept_while_redis_is_full_and_no_handler_runs_again,
    a_load_goes_on_when_redis_is_no_longer_full,
    a_group_that_is_lost_while_redis_is_full_is_made_again_afterwards,
);

async fn replies_are_kept_while_redis_is_full_and_no_handler_runs_again<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    // Whoever forgot what it holds would be given it again while Redis is full.
    let impatient = Duration::from_millis(500);
    scene.serve(Concurrency::Limit(64), |builder| builder.claim_idle(impatient)).await;
    let calls = scene.caller.calls(20, 600);
    let seconds = Duration::from_secs;
    scene.await_that("20 handlers", seconds(5), |scene| scene.ledger.running() == 20).await;
    scene.redis.command("CONFIG SET maxmemory 1");
    scene.await_that("20 results", seconds(5), |scene| scene.ledger.finished() == 20).await;
    let refused = scene.caller.call(0).await;
    assert!(
        matches!(&refused, Err(CallError::Refused(refusal)) if refusal.code == "OOM"),
        "{refused:?}"
    );
    // Several tries, and several looks for what is idle.
    runtime.sleep(seconds(3)).await;
    assert_eq!(scene.ledger.answered(), 0, "Redis took a reply although it is full");
    assert_eq!(scene.pending(), 20, "acknowledged without a reply");
    scene.redis.command("CONFIG SET maxmemory 0");
    calls.end(seconds(3)).await;
    let ends = scene.ledger.assert_sound(&["Refused"], 1);
    assert_eq!((ends["answered"], ends["Refused"]), (20, 1));
    scene.assert_settled().await;
}

async fn a_load_goes_on_when_redis_is_no_longer_full<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let load = scene.caller.load(Duration::from_millis(10), Duration::from_secs(20));
    for _ in 0..3 {
        runtime.sleep(Duration::from_millis(700)).await;
        scene.redis.command("CONFIG SET maxmemory 1");
        runtime.sleep(Duration::from_millis(700)).await;
        scene.redis.command("CONFIG SET maxmemory 0");
    }
    runtime.sleep(Duration::from_secs(2)).await;
    load.end().await;
    let ends = scene.ledger.assert_sound(&["Refused"], 1);
    assert!(ends["answered"] > 100 && ends["Refused"] > 20, "{ends:?}");
    let slowest = scene.ledger.slowest();
    assert!(slowest < Duration::from_secs(5), "a call took {slowest:?}");
    scene.assert_settled().await;
}

async fn a_group_that_is_lost_while_redis_is_full_is_made_again_afterwards<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    assert!(scene.caller.call(0).await.is_ok());
    scene.redis.command("CONFIG SET maxmemory 1");
    scene.redis.command("FLUSHALL");
    // A group takes memory too, so Redis refuses it.
    runtime.sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.pending(), -1, "there is a group");
    scene.redis.command("CONFIG SET maxmemory 0");
    let made = Instant::now();
    assert!(scene.caller.call(0).await.is_ok());
    assert!(made.elapsed() <= RECOVERY_MAX, "{:?}", made.elapsed());
    scene.ledger.assert_sound(&[], 1);
}
