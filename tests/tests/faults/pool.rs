//! Several servers, servers that stop, and handlers that take long.
//!
//! Not the takeover from a worker that was killed, which needs a process of its own: that is with
//! the other peers' tests. A server that stops hands back what it did not finish.

use std::time::{Duration, Instant};

use clamator_driver::{CallError, Concurrency, Runtime, ServerBuilder};
use clamator_tests::world::Async;

use crate::scene::{COMMANDS, RAW, Scene, add_request};

clamator_tests::scenarios!(
    every_server_of_a_pool_gets_its_share,
    a_server_that_stops_under_load_loses_nothing,
    a_server_that_stops_idle_takes_its_consumer_with_it,
    what_is_left_of_workers_that_are_gone_is_removed_unless_they_hold_something,
    what_an_earlier_process_of_its_name_was_given_is_taken_back_at_a_start,
    a_reply_that_comes_after_its_call_timed_out_is_dropped,
    a_handler_that_takes_longer_than_claim_idle_runs_once,
    many_threads_at_full_speed_get_every_reply,
);

const SECOND: Duration = Duration::from_secs(1);

async fn every_server_of_a_pool_gets_its_share<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    for name in ["one", "two", "three"] {
        scene.serve(Concurrency::Serial, |builder| builder.instance(name)).await;
    }
    scene.caller.calls(300, 3).end(20 * SECOND).await;
    let ends = scene.ledger.assert_sound(&[], 1);
    assert_eq!(ends["answered"], 300);
    let shares = scene.ledger.by_instance();
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["one", "three", "two"], "{shares:?}");
    scene.assert_settled().await;
}

async fn a_server_that_stops_under_load_loses_nothing<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Limit(16), |builder| builder.instance("first")).await;
    let slow = scene.caller.calls(8, 2000);
    scene.await_that("8 handlers", 5 * SECOND, |scene| scene.ledger.running() == 8).await;
    let calls = scene.caller.calls(200, 30);
    scene.await_that("some work", 5 * SECOND, |scene| scene.ledger.finished() > 50).await;
    let first = scene.servers.remove(0);
    let stopped = runtime.within(10 * SECOND, "the stop", first.stop(SECOND / 10)).await;
    let finished = scene.ledger.finished();
    let pending = usize::try_from(scene.pending()).unwrap();
    assert_eq!(stopped.left, pending, "what is left is pending, and nothing else");
    assert!(stopped.left >= 8 && finished < 200, "{stopped:?}, {finished} finished");
    // It waits for nothing: what was left was handed back.
    scene.serve(Concurrency::Limit(16), |builder| builder.instance("second")).await;
    slow.end(15 * SECOND).await;
    calls.end(15 * SECOND).await;
    // What was dropped half way was started twice, and finished once.
    let ends = scene.ledger.assert_sound(&[], 2);
    assert_eq!(ends["answered"], 208);
    let shares = scene.ledger.by_instance();
    assert!(shares["second"] >= 208 - finished, "{shares:?}");
    scene.assert_settled().await;
}

async fn a_server_that_stops_idle_takes_its_consumer_with_it<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    assert!(scene.caller.call(0).await.is_ok());
    let consumers = || scene.redis.command("XINFO CONSUMERS faults:cmds:work work");
    assert_eq!(consumers().array().len(), 1);
    let stopped = runtime.within(5 * SECOND, "the stop", scene.servers[0].shutdown()).await;
    assert_eq!(stopped.left, 0);
    assert!(consumers().array().is_empty());
    let connected = |scene: &Scene<R>| scene.redis.command("CLIENT LIST").text();
    scene
        .await_that("the end of its connections", 5 * SECOND, |scene| {
            !connected(scene).contains("clamator:server")
        })
        .await;
}

async fn what_is_left_of_workers_that_are_gone_is_removed_unless_they_hold_something<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.redis.command("XGROUP CREATE faults:cmds:work work 0 MKSTREAM");
    for number in 0..100 {
        scene.redis.command(&format!("XGROUP CREATECONSUMER faults:cmds:work work work:{number}"));
    }
    add_request(&mut scene.redis.connect(), 0, 0, RAW);
    scene.redis.command("XREADGROUP GROUP work work:holds STREAMS faults:cmds:work >");
    let configure = |builder: ServerBuilder<R>| {
        builder.instance("lives").consumer_idle_max(SECOND).reclaim_tick(SECOND / 5)
    };
    scene.serve(Concurrency::Serial, configure).await;
    let names = |scene: &Scene<R>| {
        let consumers = scene.redis.command("XINFO CONSUMERS faults:cmds:work work");
        let names = consumers.array().iter().map(|consumer| consumer.array()[1].text());
        names.collect::<Vec<_>>()
    };
    // Before its first request a worker may have no consumer: that depends on the version.
    assert!(scene.caller.call(0).await.is_ok());
    let removed = |scene: &Scene<R>| names(scene) == ["work:holds", "work:lives"];
    scene.await_that("the removal", 5 * SECOND, removed).await;
    runtime.sleep(2 * SECOND).await;
    assert_eq!(names(&scene), ["work:holds", "work:lives"]);
    let counters = scene.servers[0].stats().await;
    assert_eq!((counters.consumers_removed, counters.consumer_looks_refused), (100, 0));
}

async fn what_an_earlier_process_of_its_name_was_given_is_taken_back_at_a_start<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.redis.command("XGROUP CREATE faults:cmds:work work 0 MKSTREAM");
    let call = scene.caller.calls(1, 0);
    scene.await_that("the request", 5 * SECOND, |scene| scene.length(COMMANDS) == 1).await;
    let given = Instant::now();
    scene.redis.command("XREADGROUP GROUP work work:again STREAMS faults:cmds:work >");
    let configure = |builder: ServerBuilder<R>| {
        builder.instance("again").claim_idle(6 * SECOND).reclaim_tick(SECOND / 5)
    };
    scene.serve(Concurrency::Serial, configure).await;
    call.end(10 * SECOND).await;
    assert!(given.elapsed() >= 4 * SECOND, "two renewal intervals have passed");
    let stats = scene.servers[0].stats().await;
    assert_eq!((stats.entries_taken_back, stats.jobs_redelivered), (1, 1));
    scene.ledger.assert_sound(&[], 1);
    scene.assert_settled().await;
}

async fn a_reply_that_comes_after_its_call_timed_out_is_dropped<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let late = scene.caller.call_within(600, Some(SECOND / 5)).await;
    assert!(matches!(late, Err(CallError::Timeout)), "{late:?}");
    scene.await_that("the late reply", 5 * SECOND, |scene| scene.ledger.finished() == 1).await;
    // The next calls get their own replies, as the ledger checks.
    scene.caller.calls(20, 1).end(5 * SECOND).await;
    scene.ledger.assert_sound(&["Timeout"], 1);
    assert_eq!(scene.ledger.answered(), 20);
    assert_eq!(scene.caller.client.stats().await.replies_unmatched, 1);
}

async fn a_handler_that_takes_longer_than_claim_idle_runs_once<R: Runtime>(runtime: R) {
    for concurrency in [Concurrency::Serial, Concurrency::Limit(4)] {
        let mut scene = Scene::without_server(&runtime).await;
        scene.serve(concurrency, |builder| builder.claim_idle(SECOND)).await;
        // One runs, and what the server has read behind it grows as old.
        let long = scene.caller.calls(1, 3500);
        scene.await_that("the handler", 5 * SECOND, |scene| scene.ledger.running() == 1).await;
        let others = scene.caller.calls(3, 0);
        long.end(10 * SECOND).await;
        others.end(10 * SECOND).await;
        scene.ledger.assert_sound(&[], 1);
        // Its reply was acknowledged too: nothing comes again later.
        runtime.sleep(2 * SECOND).await;
        assert_eq!(scene.ledger.starts_max(), 1);
        scene.assert_settled().await;
    }
}

async fn many_threads_at_full_speed_get_every_reply<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    for _ in 0..20 {
        scene.caller.calls_from_threads(4, 250).end(Duration::from_secs(30)).await;
    }
    let ends = scene.ledger.assert_sound(&[], 1);
    assert_eq!(ends["answered"], 20_000, "{ends:?}");
    scene.assert_settled().await;
}
