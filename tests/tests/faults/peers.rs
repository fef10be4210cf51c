//! What the published Python peer does wrong, each as a test that this server does it right.
//!
//! P1 to P11 of the project's list of faults found in the peers.

use std::time::{Duration, Instant};

use clamator_driver::{CallError, Concurrency, Runtime, ServerBuilder};
use clamator_tests::capture::{Capture, unique};
use clamator_tests::redis::RawConnection;
use clamator_tests::world::Async;
use tracing::Level;

use crate::scene::{COMMANDS, RAW, RECOVERY_MAX, REPLIES, Scene, add_request, envelope};

clamator_tests::scenarios!(
    p1_a_queue_longer_than_claim_idle_runs_once_and_one_by_one,
    p2_a_reply_key_of_the_wrong_type_harms_only_its_own_caller,
    p3_idle_entries_behind_350_fresh_ones_are_taken_over,
    p4_streams_do_not_grow,
    p4_what_peers_have_acknowledged_and_left_is_trimmed_and_nothing_else,
    p5_a_request_sent_before_the_first_server_started_is_run,
    p6_a_lost_group_is_restored_without_a_hot_loop,
    p7_a_reply_that_nobody_waits_for_any_more_does_not_stay_for_ever,
    p8_an_envelope_that_is_no_text_is_settled_on_sight,
    p9_a_reply_that_cannot_be_read_is_an_error_at_once,
    p10_fields_and_members_that_nobody_knows_are_passed_over,
    p11_what_waits_at_a_stop_is_handed_back_at_once_and_runs_once,
);

const SECOND: Duration = Duration::from_secs(1);

/// P1: sixteen requests of 200 ms wait longer than `claim_idle` behind each other.
async fn p1_a_queue_longer_than_claim_idle_runs_once_and_one_by_one<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Serial, |builder| builder.claim_idle(SECOND)).await;
    scene.caller.calls(16, 200).end(15 * SECOND).await;
    scene.ledger.assert_sound(&[], 1);
    assert_eq!(scene.ledger.running_max(), 1, "two handlers of a serial service ran at once");
    scene.assert_settled().await;
}

/// P2: a reply key of the wrong type must not hold up what came with it, nor run anything again.
async fn p2_a_reply_key_of_the_wrong_type_harms_only_its_own_caller<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.redis.command("SET faults:replies:string x");
    let mut raw = scene.redis.connect();
    add_request(&mut raw, 0, 0, "faults:replies:string");
    for number in 1..5 {
        add_request(&mut raw, number, 0, RAW);
    }
    scene
        .serve(Concurrency::Serial, |builder| {
            builder.claim_idle(SECOND / 4).reclaim_tick(SECOND / 4)
        })
        .await;
    scene.await_that("4 replies", 5 * SECOND, |scene| scene.length(RAW) == 4).await;
    runtime.sleep(2 * SECOND).await;
    assert_eq!((scene.ledger.finished(), scene.ledger.starts_max()), (5, 1));
    assert_eq!(scene.redis.command("GET faults:replies:string").text(), "x");
    assert_eq!(scene.servers[0].stats().await.replies_refused, 1);
    scene.assert_settled().await;
}

/// P3: idle entries behind many that another worker keeps fresh are found: the cursor is carried.
async fn p3_idle_entries_behind_350_fresh_ones_are_taken_over<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.redis.command("XGROUP CREATE faults:cmds:work work 0 MKSTREAM");
    let mut raw = scene.redis.connect();
    let ids: Vec<String> = (0..400).map(|number| add_request(&mut raw, number, 0, RAW)).collect();
    scene.redis.command("XREADGROUP GROUP work busy COUNT 400 STREAMS faults:cmds:work >");
    let fresh = ids[..350].join(" ");
    let touch = format!("XCLAIM faults:cmds:work work busy 0 {fresh} JUSTID");
    // The last fifty belong to a worker that is no more.
    scene.serve(Concurrency::Serial, |builder| builder.claim_idle(2 * SECOND)).await;
    runtime
        .within(20 * SECOND, "the 50 idle entries", async {
            // A handler has finished before its entry is acknowledged.
            while scene.ledger.finished() < 50 || scene.pending() > 350 {
                scene.redis.command(&touch);
                runtime.sleep(SECOND / 10).await;
            }
        })
        .await;
    let runs = scene.ledger.finished();
    assert_eq!((runs, scene.pending()), (50, 350), "an entry that was not idle was taken");
    assert_eq!(scene.length(RAW), 50);
}

/// P4: what was handled leaves the command stream, and a reply stream stays short.
async fn p4_streams_do_not_grow<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    for _ in 0..10 {
        scene.caller.calls(250, 0).end(10 * SECOND).await;
        let length = scene.length(COMMANDS);
        assert!(length <= 250, "{length} entries, with at most 250 calls under way");
    }
    assert_eq!(scene.ledger.answered(), 2500);
    // MAXLEN ~ 1024 keeps whole nodes of about a hundred entries.
    let replies = scene.length(REPLIES);
    assert!((1..=1200).contains(&replies), "{replies} replies kept");
    scene.assert_settled().await;
}

/// P4, in a pool: what a peer leaves behind goes, but for what it or another group still needs.
async fn p4_what_peers_have_acknowledged_and_left_is_trimmed_and_nothing_else<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    let ask = |scene: &Scene<R>, words: String| scene.redis.command(&words);
    for group in ["work", "audit"] {
        ask(&scene, format!("XGROUP CREATE {COMMANDS} {group} 0 MKSTREAM"));
    }
    let mut raw = scene.redis.connect();
    for number in 0..1000 {
        add_request(&mut raw, number, 0, RAW);
    }
    // A peer has been given all, and acknowledges all but one; another group half of that.
    let read = |group: &str, count: usize| {
        let read = format!("XREADGROUP GROUP {group} peer COUNT {count} STREAMS {COMMANDS} >");
        let entries = ask(&scene, read).array()[0].array()[1].array().to_vec();
        entries.iter().map(|entry| entry.array()[0].text()).collect::<Vec<String>>()
    };
    let (ids, audited) = (read("work", 1000), read("audit", 500));
    let acknowledge = |scene: &Scene<R>, group: &str, ids: &[String]| {
        ask(scene, format!("XACK {COMMANDS} {group} {}", ids.join(" "))).integer()
    };
    assert_eq!(acknowledge(&scene, "work", &ids[..900]), 900);
    assert_eq!(acknowledge(&scene, "work", &ids[901..]), 99);
    assert_eq!(acknowledge(&scene, "audit", &audited), 500);
    let is_there = |scene: &Scene<R>, id: &String| {
        !ask(scene, format!("XRANGE {COMMANDS} {id} {id}")).array().is_empty()
    };
    scene.serve(Concurrency::Serial, |builder| builder.trim_tick(SECOND / 4)).await;
    // Whole nodes of at most a hundred entries go.
    let trimmed = |scene: &Scene<R>| (500..600).contains(&scene.length(COMMANDS));
    scene.await_that("the first trimming", 10 * SECOND, trimmed).await;
    assert!(is_there(&scene, &ids[500]), "the other group has yet to be given it");
    ask(&scene, format!("XGROUP DESTROY {COMMANDS} audit"));
    add_request(&mut raw, 1000, 0, RAW);
    let trimmed = |scene: &Scene<R>| scene.length(COMMANDS) < 200;
    scene.await_that("the second trimming", 15 * SECOND, trimmed).await;
    assert!(is_there(&scene, &ids[900]), "it is pending");
    assert_eq!(acknowledge(&scene, "work", &ids[900..=900]), 1);
    let trimmed = |scene: &Scene<R>| scene.length(COMMANDS) < 100;
    scene.await_that("the third trimming", 15 * SECOND, trimmed).await;
    assert_eq!(scene.ledger.finished(), 1, "what a peer has acknowledged is not run");
    // The stream is short before the server hears of it.
    let counted = async {
        while scene.servers[0].stats().await.entries_trimmed < 900 {
            runtime.sleep(SECOND / 100).await;
        }
    };
    runtime.within(5 * SECOND, "the count of what was trimmed", counted).await;
}

/// P5: what was sent before the first server ever started is served.
async fn p5_a_request_sent_before_the_first_server_started_is_run<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let calls = scene.caller.calls(5, 0);
    scene.await_that("5 requests", 5 * SECOND, |scene| scene.length(COMMANDS) == 5).await;
    scene.serve(Concurrency::Serial, |builder| builder).await;
    calls.end(5 * SECOND).await;
    assert_eq!(scene.ledger.assert_sound(&[], 1)["answered"], 5);
}

/// P6: a group that is gone is made again, without a hot loop and without a flood of log lines.
async fn p6_a_lost_group_is_restored_without_a_hot_loop<R: Runtime>(runtime: R) {
    let (client, server) = (unique("caller"), unique("server"));
    let capture = Capture::of(&[&client, &server]);
    let mut scene = Scene::with_caller(&runtime, |builder| builder.instance(client)).await;
    scene.serve(Concurrency::Limit(64), |builder| builder.instance(server)).await;
    let mut raw = scene.redis.connect();
    scene.redis.command("FLUSHALL");
    let flushed = Instant::now();
    assert!(scene.caller.call(0).await.is_ok());
    assert!(flushed.elapsed() <= RECOVERY_MAX, "{:?}", flushed.elapsed());
    let restored = capture.take("redis group restored");
    assert!(restored.len() == 1 && restored[0].level == Level::WARN, "{restored:?}");
    // A group that keeps vanishing.
    let before = commands(&mut raw);
    for _ in 0..40 {
        raw.command(&[b"FLUSHALL"]);
        runtime.sleep(SECOND / 10).await;
    }
    let sent = commands(&mut raw) - before;
    assert!(sent < 400, "{sent} commands while the group vanished 40 times in 4 s");
    let lines = capture.take("");
    assert!(lines.len() <= 6, "{} log lines in 4 s: {lines:?}", lines.len());
    // A group that cannot be made: the key is no stream.
    scene.redis.command("FLUSHALL");
    scene.redis.command(&format!("SET {COMMANDS} x"));
    let before = commands(&mut raw);
    runtime.sleep(4 * SECOND).await;
    let sent = commands(&mut raw) - before;
    assert!(sent < 100, "{sent} commands in 4 s although nothing can be served");
    let lines = capture.take("");
    assert!(lines.len() <= 12, "{} log lines in 4 s: {lines:?}", lines.len());
    scene.redis.command(&format!("DEL {COMMANDS}"));
    let healed = Instant::now();
    assert!(scene.caller.call(0).await.is_ok());
    assert!(healed.elapsed() <= RECOVERY_MAX, "{:?}", healed.elapsed());
}

/// P7: a reply creates the stream again that its client has deleted as it stopped.
async fn p7_a_reply_that_nobody_waits_for_any_more_does_not_stay_for_ever<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let ttl = 2 * SECOND;
    scene.serve(Concurrency::Serial, |builder| builder.reply_stream_ttl(ttl)).await;
    let mut raw = scene.redis.connect();
    for number in 0..2 {
        add_request(&mut raw, number, 0, RAW);
        scene.await_that("the reply", 5 * SECOND, |scene| scene.length(RAW) == 1).await;
        let left = scene.redis.command(&format!("PTTL {RAW}")).integer();
        assert!((1..=2000).contains(&left), "{left} ms");
        if number == 0 {
            assert_eq!(scene.redis.command(&format!("DEL {RAW}")).integer(), 1);
        }
    }
    runtime.sleep(ttl + SECOND / 2).await;
    assert_eq!(scene.redis.command(&format!("EXISTS {RAW}")).integer(), 0);
    scene.assert_settled().await;
}

/// P8: an envelope that is no UTF-8 is settled on sight, and what came with it is served.
async fn p8_an_envelope_that_is_no_text_is_settled_on_sight<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let mut raw = scene.redis.connect();
    let invalid = b"{\"jsonrpc\":\"2.0\",\"method\":\"work.run\",\"id\":\"\xff\xfe\"}";
    raw.command(&[b"XADD", COMMANDS.as_bytes(), b"*", b"envelope", invalid, b"reply-to", b"\xff"]);
    add_request(&mut raw, 1, 0, RAW);
    scene
        .serve(Concurrency::Serial, |builder| {
            builder.claim_idle(SECOND / 4).reclaim_tick(SECOND / 4)
        })
        .await;
    scene.await_that("the reply behind it", 5 * SECOND, |scene| scene.length(RAW) == 1).await;
    scene.assert_settled().await;
    runtime.sleep(2 * SECOND).await;
    assert_eq!(scene.servers[0].stats().await.poison, 1, "judged more than once");
}

/// P9: the caller of a reply that is none need not wait for its timeout to learn that.
async fn p9_a_reply_that_cannot_be_read_is_an_error_at_once<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    let (mut raw, began) = (scene.redis.connect(), Instant::now());
    let mut call = runtime.task({
        let caller = scene.caller.clone();
        async move { caller.call(0).await }
    });
    scene.await_that("the request", 5 * SECOND, |scene| scene.length(COMMANDS) == 1).await;
    let entries = scene.redis.command("XRANGE faults:cmds:work - +");
    let sent = entries.array()[0].array()[1].array()[3].text();
    let (_, id) = sent.rsplit_once(r#""id":""#).expect("the request has an id");
    let (id, _) = id.split_once('"').expect("the id is a string");
    // Neither a result nor an error.
    let reply = format!(r#"{{"jsonrpc":"2.0","id":"{id}"}}"#);
    let words = ["XADD", REPLIES, "*", "type", "rpc", "envelope", &reply];
    raw.command(&words.map(str::as_bytes));
    let ended = runtime.within(5 * SECOND, "the error", &mut call).await;
    assert!(matches!(ended, Err(CallError::Protocol(_))), "{ended:?}");
    assert!(began.elapsed() < 10 * SECOND);
}

/// P10: what a later version writes beside what there is today does no harm, at either end.
async fn p10_fields_and_members_that_nobody_knows_are_passed_over<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    let mut raw = scene.redis.connect();
    let known = envelope(1, 0);
    let more = known.strip_suffix('}').expect("it is an object");
    let more = format!(r#"{more},"later":{{"deep":[1,null]}}}}"#);
    let words = [
        "XADD",
        COMMANDS,
        "*",
        "type",
        "other",
        "later",
        "field",
        "envelope",
        &more,
        "reply-to",
        RAW,
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    raw.command(&words.map(str::as_bytes));
    scene.await_that("its reply", 5 * SECOND, |scene| scene.length(RAW) == 1).await;
    assert_eq!(scene.ledger.starts_max(), 1);
    assert_eq!(scene.servers[0].stats().await.poison, 0);
    scene.assert_settled().await;
}

/// P11: sixteen requests of 300 ms, which one server has read, are not run by it once it stops.
async fn p11_what_waits_at_a_stop_is_handed_back_at_once_and_runs_once<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let greedy = |builder: ServerBuilder<R>| builder.prefetch_time(60 * SECOND);
    scene.serve(Concurrency::Serial, |builder| greedy(builder.instance("first"))).await;
    let calls = scene.caller.calls(16, 300);
    let read = |scene: &Scene<R>| {
        usize::try_from(scene.pending()).is_ok_and(|it| it + scene.ledger.finished() == 16)
    };
    scene.await_that("the read of all", 5 * SECOND, read).await;
    scene.serve(Concurrency::Serial, |builder| builder.instance("second")).await;
    let (first, began) = (scene.servers.remove(0), Instant::now());
    let stopped = runtime.within(SECOND, "one handler", first.stop(5 * SECOND)).await;
    assert!(stopped.left >= 10, "{stopped:?}");
    let taken = |scene: &Scene<R>| scene.ledger.by_instance().contains_key("second");
    scene.await_that("a claim", SECOND * 3 / 2, taken).await;
    assert!(began.elapsed() < SECOND * 5 / 2, "{:?}", began.elapsed());
    calls.end(15 * SECOND).await;
    scene.ledger.assert_sound(&[], 1);
    let consumers = scene.redis.command("XINFO CONSUMERS faults:cmds:work work");
    let names: Vec<_> =
        consumers.array().iter().map(|consumer| consumer.array()[1].text()).collect();
    assert_eq!(names, ["work:released", "work:second"]);
    scene.assert_settled().await;
}

/// How many commands Redis has carried out, these included.
fn commands(raw: &mut RawConnection) -> i64 {
    let stats = raw.command(&[b"INFO", b"stats"]).text();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.and_then(|count| count.parse().ok()).expect("Redis counts its commands")
}
