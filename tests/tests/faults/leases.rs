//! Leases: what a live worker holds stays its own however long it takes, and what it has lost it
//! gives up (rule 4.4).
//!
//! Not the takeover from a worker that is dead: that is with the other peers' tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clamator_driver::{CallError, Concurrency, Context, Runtime, ServerBuilder};
use clamator_tests::world::Async;

use crate::scene::{REPLIES, Scene, served};

clamator_tests::scenarios!(
    neither_what_runs_nor_what_waits_is_taken_from_a_live_worker,
    a_twin_that_starts_takes_nothing_from_a_live_worker_of_its_name,
    a_lost_lease_is_told_and_what_the_handler_comes_to_is_not_heard,
    a_handler_past_its_timeout_is_dropped_and_another_worker_answers,
    a_stop_is_told_to_handlers_before_it_drops_them,
);

const SECOND: Duration = Duration::from_secs(1);

async fn neither_what_runs_nor_what_waits_is_taken_from_a_live_worker<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let busy = |builder: ServerBuilder<R>| builder.claim_idle(SECOND);
    scene.serve(Concurrency::Serial, |builder| busy(builder.instance("busy"))).await;
    let long = scene.caller.calls(1, 4000);
    scene.await_that("the handler", 5 * SECOND, |scene| scene.ledger.running() == 1).await;
    let behind = scene.caller.calls(1, 0);
    scene.await_that("one behind it", 5 * SECOND, |scene| scene.pending() == 2).await;
    // It has nothing to do but to take over what is idle for too long.
    scene.serve(Concurrency::Serial, |builder| busy(builder.instance("idle"))).await;
    long.end(10 * SECOND).await;
    behind.end(10 * SECOND).await;
    scene.ledger.assert_sound(&[], 1);
    assert_eq!(scene.ledger.by_instance().keys().collect::<Vec<_>>(), ["busy"]);
    assert_eq!(scene.servers[0].stats().await.leases_lost, 0);
    scene.assert_settled().await;
}

async fn a_twin_that_starts_takes_nothing_from_a_live_worker_of_its_name<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let twin = |builder: ServerBuilder<R>| builder.instance("twin").claim_idle(3 * SECOND);
    scene.serve(Concurrency::Serial, twin).await;
    let long = scene.caller.calls(1, 6000);
    scene.await_that("the handler", 5 * SECOND, |scene| scene.ledger.running() == 1).await;
    scene.serve(Concurrency::Serial, twin).await;
    long.end(10 * SECOND).await;
    scene.ledger.assert_sound(&[], 1);
    for server in &scene.servers {
        let stats = server.stats().await;
        assert_eq!((stats.entries_taken_back, stats.leases_lost), (0, 0));
    }
    scene.assert_settled().await;
}

async fn a_lost_lease_is_told_and_what_the_handler_comes_to_is_not_heard<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let (started, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (started, lost) = (Arc::clone(&started), Arc::clone(&lost));
        move |(): (), context: Context| {
            let (started, lost) = (Arc::clone(&started), Arc::clone(&lost));
            async move {
                assert!(!context.is_lease_lost() && !context.is_cancelled());
                started.fetch_add(1, Ordering::SeqCst);
                context.lease_lost().await;
                assert!(context.is_lease_lost() && context.is_cancelled());
                lost.fetch_add(1, Ordering::SeqCst);
                Ok("nobody hears this")
            }
        }
    };
    // It renews often, and takes nothing over while this lasts.
    let server = served(&runtime, &scene, handler, |builder| builder.peer_claim_idle(SECOND));
    scene.servers.push(server.await);
    let call = scene.caller.client.call::<String>("odd.run", ()).timeout(4 * SECOND);
    let call = runtime.task(call);
    let is_one = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst) == 1;
    scene.await_that("the handler", 5 * SECOND, |_| is_one(&started)).await;
    let pending = scene.redis.command("XPENDING faults:cmds:odd odd - + 9");
    let entry = pending.array()[0].array()[0].text();
    scene.redis.command(&format!("XCLAIM faults:cmds:odd odd thief 0 {entry} JUSTID"));
    scene.await_that("the news", 5 * SECOND, |_| is_one(&lost)).await;
    assert!(matches!(call.await, Err(CallError::Timeout)));
    assert_eq!(scene.length(REPLIES), 0, "no reply is written");
    let pending = scene.redis.command("XPENDING faults:cmds:odd odd - + 9 thief");
    assert_eq!(pending.array().len(), 1, "it is neither acknowledged nor taken back");
    assert_eq!(scene.servers[0].stats().await.leases_lost, 1);
}

async fn a_handler_past_its_timeout_is_dropped_and_another_worker_answers<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let hangs = {
        let dropped = Arc::clone(&dropped);
        move |(): (), _: Context| {
            let counted = Counted(Arc::clone(&dropped));
            async move {
                std::future::pending::<()>().await;
                drop(counted);
                Ok("never")
            }
        }
    };
    let first = served(&runtime, &scene, hangs, |builder| {
        builder.claim_idle(SECOND).handler_timeout(SECOND).reclaim_tick(SECOND / 2)
    });
    scene.servers.push(first.await);
    let call = scene.caller.client.call::<String>("odd.run", ()).timeout(15 * SECOND);
    let call = runtime.task(call);
    let is_dropped = |_: &Scene<R>| dropped.load(Ordering::SeqCst) == 1;
    scene.await_that("its end", 5 * SECOND, is_dropped).await;
    let stopped = runtime.within(10 * SECOND, "the stop", scene.servers.remove(0).shutdown()).await;
    assert_eq!(stopped.left, 0, "it had been given up before");
    let answers = |(): (), context: Context| async move { Ok(format!("{}", context.deliveries())) };
    scene.servers.push(served(&runtime, &scene, answers, |it| it.claim_idle(SECOND)).await);
    let answer = runtime.within(15 * SECOND, "the answer", call).await;
    assert!(answer.is_ok_and(|deliveries| deliveries.parse::<u64>().unwrap() >= 2));
}

async fn a_stop_is_told_to_handlers_before_it_drops_them<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let started = Arc::new(AtomicUsize::new(0));
    let handler = {
        let started = Arc::clone(&started);
        move |(): (), context: Context| {
            started.fetch_add(1, Ordering::SeqCst);
            async move {
                context.cancelled().await;
                Ok(context.is_lease_lost())
            }
        }
    };
    scene.servers.push(served(&runtime, &scene, handler, |builder| builder).await);
    let call = scene.caller.client.call::<bool>("odd.run", ()).timeout(10 * SECOND);
    let call = runtime.task(call);
    let is_started = |_: &Scene<R>| started.load(Ordering::SeqCst) == 1;
    scene.await_that("the handler", 5 * SECOND, is_started).await;
    let stop = scene.servers[0].stop(5 * SECOND);
    let stopped = runtime.within(4 * SECOND, "the stop, within its grace", stop).await;
    assert_eq!((stopped.left, call.await), (0, Ok(false)));
}

/// Counts when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
