//! What no worker was given is taken back, and its caller told so (rule 5.2).
//!
//! Not what is taken back how: the engine's own tests say that. On Redis before 7.0 nothing is.

use std::time::Duration;

use clamator_driver::{CallError, Concurrency, Runtime};
use clamator_tests::world::Async;

use crate::scene::{COMMANDS, Scene};

clamator_tests::scenarios!(
    a_call_that_nobody_serves_ends_with_no_workers_and_leaves_nothing,
    what_a_worker_holds_ends_with_a_timeout_and_runs,
    what_a_busy_worker_was_not_given_runs_once_when_it_is_called_again,
    what_another_group_reads_is_left_alone,
    many_calls_that_nobody_serves_end_together,
    the_request_of_a_call_that_is_dropped_is_taken_back,
    a_client_that_may_not_look_or_delete_ends_its_calls_with_timeouts,
);

const SECOND: Duration = Duration::from_secs(1);

/// How a call ends that no worker was given.
fn unserved<R: Runtime>(scene: &Scene<R>) -> CallError {
    if withdraws(scene) { CallError::NoWorkers } else { CallError::Timeout }
}

/// Whether this Redis is one on which requests are taken back.
fn withdraws<R: Runtime>(scene: &Scene<R>) -> bool {
    !scene.redis.command("INFO server").text().contains("redis_version:6.")
}

async fn a_call_that_nobody_serves_ends_with_no_workers_and_leaves_nothing<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let ended = scene.caller.call_within(0, Some(SECOND)).await;
    assert_eq!(ended, Err(unserved(&scene)));
    assert_eq!(scene.length(COMMANDS), i64::from(!withdraws(&scene)));
    let counters = scene.caller.client.stats().await;
    assert_eq!(counters.withdrawn, u64::from(withdraws(&scene)));
    // A server that has been there, and is not any more.
    scene.serve(Concurrency::Serial, |builder| builder).await;
    assert!(scene.caller.call(0).await.is_ok());
    runtime.within(5 * SECOND, "the stop", scene.servers[0].shutdown()).await;
    let runs = scene.ledger.finished();
    let ended = scene.caller.call_within(0, Some(SECOND)).await;
    assert_eq!(ended, Err(unserved(&scene)));
    assert_eq!(scene.length(COMMANDS), i64::from(!withdraws(&scene)));
    scene.serve(Concurrency::Serial, |builder| builder).await;
    scene.assert_settled().await;
    assert_eq!(scene.ledger.finished(), runs + usize::from(!withdraws(&scene)));
}

async fn what_a_worker_holds_ends_with_a_timeout_and_runs<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let ended = scene.caller.call_within(600, Some(SECOND / 4)).await;
    assert_eq!(ended, Err(CallError::Timeout));
    scene.await_that("its end", 5 * SECOND, |scene| scene.ledger.finished() == 1).await;
    assert_eq!(scene.caller.client.stats().await.withdrawn, 0);
    scene.assert_settled().await;
}

async fn what_a_busy_worker_was_not_given_runs_once_when_it_is_called_again<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Serial, |builder| builder.prefetch_max(1)).await;
    // One that runs, and one that waits behind it: there is room for no more.
    let busy = scene.caller.calls(2, 1000);
    scene.await_that("both", 5 * SECOND, |scene| scene.pending() == 2).await;
    let ended = scene.caller.call_within(0, Some(SECOND / 2)).await;
    assert_eq!(ended, Err(unserved(&scene)));
    assert!(scene.caller.call(0).await.is_ok());
    busy.end(10 * SECOND).await;
    scene.assert_settled().await;
    scene.ledger.assert_sound(&["NoWorkers", "Timeout"], 1);
    // Where it is not taken back, it is skipped if it has to wait for long enough.
    let finished = scene.ledger.finished();
    assert!(finished == 3 || finished == 4 && !withdraws(&scene), "{finished}");
}

async fn what_another_group_reads_is_left_alone<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    scene.redis.command("XGROUP CREATE faults:cmds:work audit 0 MKSTREAM");
    let ended = scene.caller.call_within(0, Some(SECOND / 2)).await;
    assert_eq!(ended, Err(CallError::Timeout));
    assert_eq!(scene.length(COMMANDS), 1);
}

async fn many_calls_that_nobody_serves_end_together<R: Runtime>(runtime: R) {
    let scene = Scene::with_caller(&runtime, |builder| builder.timeout(SECOND)).await;
    scene.caller.calls(500, 0).end(5 * SECOND).await;
    let name = if withdraws(&scene) { "NoWorkers" } else { "Timeout" };
    let ends = scene.ledger.assert_sound(&[name], 0);
    assert_eq!(ends[name], 500);
    assert_eq!(scene.length(COMMANDS), if withdraws(&scene) { 0 } else { 500 });
}

async fn the_request_of_a_call_that_is_dropped_is_taken_back<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    let call = scene.caller.client.call::<u64>("work.run", ());
    assert!(runtime.timeout(SECOND / 2, call).await.is_err());
    if withdraws(&scene) {
        scene.await_that("its end", SECOND, |scene| scene.length(COMMANDS) == 0).await;
        // It is gone before the client hears of it.
        let counted = async {
            while scene.caller.client.stats().await.withdrawn < 1 {
                runtime.sleep(SECOND / 100).await;
            }
        };
        runtime.within(SECOND, "its count", counted).await;
    } else {
        assert_eq!(scene.length(COMMANDS), 1);
    }
}

async fn a_client_that_may_not_look_or_delete_ends_its_calls_with_timeouts<R: Runtime>(runtime: R) {
    for denied in ["xdel", "xinfo|groups"] {
        let mut scene = Scene::without_server(&runtime).await;
        scene.redis.restrict(|grant| grant.command == denied);
        let ended = scene.caller.call_within(0, Some(SECOND / 2)).await;
        assert_eq!(ended, Err(CallError::Timeout), "{denied}");
        assert_eq!(scene.length(COMMANDS), 1);
        assert_eq!(scene.caller.client.stats().await.withdrawn, 0);
    }
}
