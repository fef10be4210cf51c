//! Redis is there and does not do what it is asked to: it is a replica, cannot save, reads its data
//! in, takes rights away, or is a cluster that is down.
//!
//! Not a Redis that is full, which is in `full`. Rule 4.12: whatever it answers, a reply that it
//! does not take is kept and no handler runs again for it; new calls are told at once; and within two
//! seconds of the end of the trouble all is as before, without a restart of anything of ours.

use std::fs;
use std::time::{Duration, Instant};

use clamator_driver::{CallError, Concurrency, Runtime};
use clamator_tests::certificates::Folder;
use clamator_tests::redis::RawReply;
use clamator_tests::rights::RestrictedRedis;
use clamator_tests::world::Async;

use crate::proxy::Proxy;
use crate::scene::{Calls, RECOVERY_MAX, Scene, restricted_redis};

clamator_tests::scenarios!(
    replies_are_kept_while_redis_is_a_replica,
    nobody_stays_with_a_master_that_was_demoted,
    replies_are_kept_while_redis_cannot_save,
    replies_are_kept_while_redis_reads_its_data_in,
    replies_are_kept_while_the_cluster_is_down,
    a_right_that_is_taken_away_and_given_back_makes_nothing_run_twice,
);

const SECOND: Duration = Duration::from_secs(1);
/// Handlers that end while Redis is in trouble.
const CALLS: usize = 20;
/// How long new calls are tried meanwhile.
const LASTS: Duration = Duration::from_millis(1500);
/// What a call may take until it is told.
const AT_ONCE: Duration = Duration::from_secs(1);

async fn replies_are_kept_while_redis_is_a_replica<R: Runtime>(runtime: R) {
    let folders = [Folder::new(), Folder::new()];
    let mut scene = scene_on(&runtime, redis_in(&folders[0], &[])).await;
    let other = follower(&runtime, &scene, &folders[1]).await;
    let calls = run_calls(&mut scene, 600).await;
    // Until the replica knows of all of them.
    runtime.until("the same", || pending(&other) == pending(&scene.redis)).await;
    other.command("REPLICAOF NO ONE");
    scene.redis.command(&format!("REPLICAOF 127.0.0.1 {}", other.port()));
    assert_kept(&runtime, &scene, "READONLY").await;
    scene.redis.command("REPLICAOF NO ONE");
    assert_recovers(&runtime, &scene, calls).await;
}

async fn nobody_stays_with_a_master_that_was_demoted<R: Runtime>(runtime: R) {
    let folders = [Folder::new(), Folder::new()];
    let redis = redis_in(&folders[0], &[]);
    let proxy = Proxy::start(redis.port());
    let mut scene = Scene::on(&runtime, redis, proxy.port, |builder| builder).await;
    scene.serve_from(proxy.port, Concurrency::Limit(64), |builder| builder).await;
    let load = scene.caller.load(SECOND / 100, 20 * SECOND);
    runtime.sleep(SECOND).await;
    let mut other = follower(&runtime, &scene, &folders[1]).await;
    // What is under way now may be lost; what was there is not.
    other.command("REPLICAOF NO ONE");
    // It answers reads as before, and from where it is cut off it hears nothing new.
    scene.redis.command("REPLICAOF 127.0.0.1 1");
    // For a while the name of the master still leads to the old one.
    runtime.sleep(LASTS).await;
    proxy.lead_to(other.port());
    let moved = Instant::now();
    runtime.sleep(3 * SECOND).await;
    let recovery = scene.ledger.recovery(moved);
    assert!(recovery <= RECOVERY_MAX, "recovered after {recovery:?}");
    load.end().await;
    scene.ledger.assert_answered_since(moved + RECOVERY_MAX);
    std::mem::swap(&mut scene.redis, &mut other);
    // What the old master had taken and not passed on is lost with it.
    let ends = scene.ledger.assert_sound(&["NotSent", "OutcomeUnknown", "Refused", "Timeout"], 1);
    assert!(ends["answered"] > 100 && ends["NotSent"] > 0, "{ends:?}");
    scene.assert_settled().await;
}

async fn replies_are_kept_while_redis_cannot_save<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    let mut scene = scene_on(&runtime, redis_in(&folder, &[])).await;
    let calls = run_calls(&mut scene, 600).await;
    let mut connection = scene.redis.connect();
    connection.command(&[b"CONFIG", b"SET", b"save", b"3600 1000000"]);
    // No file can take the place of a folder.
    let file = folder.path("dump.rdb");
    fs::create_dir(&file).expect("a folder can be made");
    scene.redis.command("BGSAVE");
    says(&scene, "INFO persistence", "rdb_last_bgsave_status:err").await;
    assert_kept(&runtime, &scene, "MISCONF").await;
    fs::remove_dir(&file).expect("it is empty");
    scene.redis.command("BGSAVE");
    says(&scene, "INFO persistence", "rdb_last_bgsave_status:ok").await;
    assert_recovers(&runtime, &scene, calls).await;
}

async fn replies_are_kept_while_redis_reads_its_data_in<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    // Ten milliseconds for each of 500 keys, and a look at connections every two megabytes.
    let slowly = ["--key-load-delay", "10000", "--rdbcompression", "no"];
    let redis = redis_in(&folder, &slowly);
    let mut connection = redis.connect();
    for number in 0..500 {
        let key = format!("filler:{number}");
        connection.command(&[b"SET", key.as_bytes(), &[b'x'; 100_000]]);
    }
    let mut scene = scene_on(&runtime, redis).await;
    let calls = run_calls(&mut scene, 1500).await;
    assert_eq!(scene.redis.command("SAVE"), RawReply::Simple("OK".into()));
    scene.redis.begin_restart();
    scene.await_that("reading", 5 * SECOND, |scene| scene.redis.is_loading()).await;
    assert_kept(&runtime, &scene, "LOADING").await;
    assert!(scene.redis.is_loading(), "it is through before the replies came");
    scene.await_that("the end of it", 20 * SECOND, |scene| !scene.redis.is_loading()).await;
    assert_recovers(&runtime, &scene, calls).await;
}

async fn replies_are_kept_while_the_cluster_is_down<R: Runtime>(runtime: R) {
    let folder = Folder::new();
    let redis = redis_in(&folder, &["--cluster-enabled", "yes"]);
    let mut scene = scene_on(&runtime, redis).await;
    let all: Vec<String> = (0..16384).map(|slot: u32| slot.to_string()).collect();
    scene.redis.command(&format!("CLUSTER ADDSLOTS {}", all.join(" ")));
    says(&scene, "CLUSTER INFO", "cluster_state:ok").await;
    let calls = run_calls(&mut scene, 600).await;
    // Nothing of ours is in it: without one slot the whole cluster is down.
    scene.redis.command("CLUSTER DELSLOTS 0");
    says(&scene, "CLUSTER INFO", "cluster_state:fail").await;
    assert_kept(&runtime, &scene, "CLUSTERDOWN").await;
    scene.redis.command("CLUSTER ADDSLOTS 0");
    says(&scene, "CLUSTER INFO", "cluster_state:ok").await;
    assert_recovers(&runtime, &scene, calls).await;
}

async fn a_right_that_is_taken_away_and_given_back_makes_nothing_run_twice<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Limit(64), |builder| builder.claim_idle(2 * SECOND)).await;
    let load = scene.caller.load(SECOND / 100, 3 * SECOND);
    for rights in
        [&["xadd"][..], &["xread", "xreadgroup"], &["xack", "xdel"], &["xclaim", "xautoclaim"]]
    {
        runtime.sleep(SECOND / 2).await;
        scene.redis.restrict(|grant| rights.contains(&grant.command));
        runtime.sleep(SECOND).await;
        scene.redis.restrict(|_| false);
        let given = Instant::now();
        runtime.sleep(RECOVERY_MAX).await;
        let recovery = scene.ledger.recovery(given);
        assert!(recovery <= RECOVERY_MAX, "{rights:?}: recovered after {recovery:?}");
    }
    load.end().await;
    // A refusal is for good: who is not told by the reply is told by the timeout.
    let ends = scene.ledger.assert_sound(&["Refused", "Timeout"], 1);
    assert!(ends["answered"] > 300 && ends["Refused"] > 20 && ends["Timeout"] > 0, "{ends:?}");
    scene.assert_settled().await;
}

/// A Redis whose files are in this folder.
fn redis_in(folder: &Folder, options: &[&str]) -> RestrictedRedis {
    let folder = folder.path("").display().to_string();
    restricted_redis(&[&["--dir", &folder], options].concat())
}

/// A client of this Redis.
async fn scene_on<R: Runtime>(runtime: &R, redis: RestrictedRedis) -> Scene<R> {
    let port = redis.port();
    Scene::on(runtime, redis, port, |builder| builder).await
}

/// Starts a server, and calls whose handlers run for so long.
async fn run_calls<R: Runtime>(scene: &mut Scene<R>, ms: u64) -> Calls<R> {
    scene.serve(Concurrency::Limit(64), |builder| builder).await;
    let calls = scene.caller.calls(CALLS, ms);
    scene.await_that("the handlers", 5 * SECOND, |scene| scene.ledger.running() == CALLS).await;
    calls
}

/// Starts a replica, which has the same data from now on.
async fn follower<R: Runtime>(runtime: &R, scene: &Scene<R>, folder: &Folder) -> RestrictedRedis {
    let other = redis_in(folder, &[]);
    scene.redis.command("CONFIG SET repl-diskless-sync-delay 0");
    other.command(&format!("REPLICAOF 127.0.0.1 {}", scene.redis.port()));
    let follows = || other.command("INFO replication").text().contains("master_link_status:up");
    runtime.until("the replica follows", follows).await;
    // It is up before it is told anything new, by up to a second.
    scene.redis.command("SET news 1");
    runtime.until("news", || other.command("EXISTS news") == RawReply::Integer(1)).await;
    other
}

/// What this server knows of what is pending.
fn pending(redis: &RestrictedRedis) -> RawReply {
    redis.command("XPENDING faults:cmds:work work")
}

/// Waits until Redis says this of itself.
async fn says<R: Runtime>(scene: &Scene<R>, command: &str, state: &str) {
    let said = |scene: &Scene<R>| scene.redis.command(command).text().contains(state);
    scene.await_that(state, 10 * SECOND, said).await;
}

/// Asserts that every handler ends, that no reply is written and nothing acknowledged, and that
/// whoever calls is told at once that the call will not run, with this code or because there is no
/// connection to be had.
async fn assert_kept<R: Runtime>(runtime: &R, scene: &Scene<R>, code: &str) {
    let began = Instant::now();
    while began.elapsed() < LASTS {
        let called = Instant::now();
        match scene.caller.call(0).await {
            Err(CallError::NotSent) => {}
            Err(CallError::Refused(refusal)) if refusal.code == code => {}
            other => panic!("{other:?}"),
        }
        assert!(called.elapsed() < AT_ONCE, "told after {:?}", called.elapsed());
        runtime.sleep(SECOND / 20).await;
    }
    scene.await_that("the results", 5 * SECOND, |scene| scene.ledger.finished() == CALLS).await;
    assert_eq!(scene.ledger.answered(), 0, "Redis took a reply");
}

/// Asserts that now, when Redis is well, every call under way is answered soon, none of the handlers
/// has run again, and new calls succeed.
async fn assert_recovers<R: Runtime>(runtime: &R, scene: &Scene<R>, calls: Calls<R>) {
    let well = Instant::now();
    calls.end(RECOVERY_MAX).await;
    let rest = RECOVERY_MAX.saturating_sub(well.elapsed());
    let succeeds = async {
        while scene.caller.call(0).await.is_err() {
            runtime.sleep(SECOND / 100).await;
        }
    };
    runtime.within(rest, "a new call", succeeds).await;
    let ends = scene.ledger.assert_sound(&["NotSent", "Refused"], 1);
    assert_eq!(ends["answered"], CALLS + 1, "{ends:?}");
    scene.assert_settled().await;
}
