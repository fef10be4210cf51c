//! What each right buys that is optional: a look whether it is there, for each row of the table.
//!
//! With the right, a look finds what the table says; without, it does not. Each has a Redis of its
//! own, on which all else goes on.

use std::time::{Duration, Instant};

use clamator_driver::{CallError, OperatorError, Runtime, StreamId};
use clamator_engine::Version;
use clamator_engine::access::{Grant, Role, Stream};
use clamator_tests::redis::{RawReply, RedisServer};
use clamator_tests::world::Async;

use crate::play::{COMMANDS, DEAD, PREFIX, Play, RAW, SERVICE, service};

/// Much less than anything is waited for.
const TICK: Duration = Duration::from_millis(100);

/// Whether there is what this right buys.
pub(crate) async fn has<R: Runtime>(play: &Play<R>, grant: &Grant) -> bool {
    let (role, stream) = (grant.role, grant.keys.map(|(stream, _)| stream));
    match (role, grant.command, stream) {
        (_, "client|setname", None) => a_name(play, role).await,
        (_, "select", None) => play.connects(role, 1).await.is_some(),
        (_, "time", None) => a_clean_log(play, role).await,
        (Role::Client, "del", Some(Stream::Replies)) => no_replies_left(play).await,
        (Role::Client, "xdel" | "xinfo|groups", Some(Stream::Commands)) => {
            a_request_taken_back(play).await
        }
        (Role::Operator, "xadd", Some(Stream::Commands)) => a_letter_put_back(play).await,
        (Role::Operator, "xdel", Some(Stream::Dead)) => a_letter_removed(play).await,
        (Role::Server, "eval" | "xinfo|consumers", Some(Stream::Commands)) => {
            no_ghost_left(play).await
        }
        (Role::Server, "client|unblock", None) => a_fast_stop(play).await,
        (Role::Server, "pexpire", Some(Stream::Replies)) => replies_that_expire(play).await,
        (Role::Server, "xadd", Some(Stream::Dead)) => a_dead_letter(play).await,
        (Role::Server, "xautoclaim", Some(Stream::Commands)) => a_takeover(play).await,
        (Role::Server, "xclaim", Some(Stream::Commands)) => a_lease(play).await,
        (Role::Server, "xdel", Some(Stream::Commands)) => an_empty_stream(play).await,
        (Role::Server, "xgroup|delconsumer", Some(Stream::Commands)) => {
            no_consumer_left(play).await
        }
        (Role::Server, "xinfo|groups", Some(Stream::Commands)) => an_empty_stream(play).await,
        (Role::Server, "xinfo|stream", Some(Stream::Commands)) => another_stream(play).await,
        (Role::Server, "xpending", Some(Stream::Commands)) => a_dead_letter(play).await,
        (Role::Server, "xrange", Some(Stream::Commands)) => a_deleted_entry(play).await,
        (Role::Server, "xtrim", Some(Stream::Commands)) => a_trimmed_stream(play).await,
        other => panic!("nothing shows what {other:?} buys"),
    }
}

async fn a_name<R: Runtime>(play: &Play<R>, role: Role) -> bool {
    let list = play.connects(role, 0).await.expect("it connects");
    let name = match role {
        Role::Client => "name=clamator:client:",
        Role::Operator => "name=clamator:operator",
        _ => "name=clamator:server:",
    };
    list.contains(name)
}

async fn a_clean_log<R: Runtime>(play: &Play<R>, role: Role) -> bool {
    play.connects(role, 0).await.expect("it connects");
    play.redis.refused().is_empty()
}

async fn no_replies_left<R: Runtime>(play: &Play<R>) -> bool {
    let server = play.serve(|builder| builder).await;
    let client = play.client().await;
    assert_eq!(client.call::<u64>("work.run", 1).await, Ok(1));
    client.stop().await;
    server.shutdown().await;
    play.ask(&format!("EXISTS {PREFIX}:replies:{}", play.caller)).integer() == 0
}

/// Nobody serves.
async fn a_request_taken_back<R: Runtime>(play: &Play<R>) -> bool {
    let client = play.client().await;
    let call = client.call::<u64>("work.run", 1).timeout(10 * TICK).await;
    assert!(matches!(call, Err(CallError::NoWorkers | CallError::Timeout)), "{call:?}");
    client.stop().await;
    assert_eq!(play.length(COMMANDS), i64::from(call != Err(CallError::NoWorkers)));
    play.ask(&format!("DEL {COMMANDS}"));
    call == Err(CallError::NoWorkers)
}

async fn a_letter_put_back<R: Runtime>(play: &Play<R>) -> bool {
    play.ask(&format!("DEL {COMMANDS}"));
    play.ask(&format!("XADD {DEAD} 1-1 envelope x dead-entry 7-1 dead-deliveries 10"));
    let operator = play.operator().await;
    let requeued = operator.requeue(&service(), StreamId::new(1, 1)).await;
    assert!(matches!(requeued, Ok(_) | Err(OperatorError::Refused(_))), "{requeued:?}");
    assert_eq!(play.length(COMMANDS), i64::from(requeued.is_ok()));
    assert_eq!(play.length(DEAD), i64::from(requeued.is_err()), "lost, or there twice");
    play.ask(&format!("DEL {COMMANDS} {DEAD}"));
    requeued.is_ok()
}

async fn a_letter_removed<R: Runtime>(play: &Play<R>) -> bool {
    play.ask(&format!("XADD {DEAD} 1-1 envelope x dead-entry 7-1 dead-deliveries 10"));
    let removed = play.operator().await.remove(&service(), StreamId::new(1, 1)).await;
    assert!(matches!(removed, Ok(true) | Err(OperatorError::Refused(_))), "{removed:?}");
    removed.is_ok()
}

async fn a_fast_stop<R: Runtime>(play: &Play<R>) -> bool {
    let server = play.serve(|builder| builder.read_block(Duration::from_secs(4))).await;
    play.runtime.sleep(3 * TICK).await;
    let began = Instant::now();
    assert_eq!(server.shutdown().await.left, 0);
    began.elapsed() < Duration::from_secs(2)
}

async fn replies_that_expire<R: Runtime>(play: &Play<R>) -> bool {
    let server = play.serve(|builder| builder).await;
    play.add("*", 0);
    assert!(play.becomes(|| play.length(RAW) == 1).await, "no reply");
    server.shutdown().await;
    let left = play.ask(&format!("PTTL {RAW}")).integer();
    play.ask(&format!("DEL {RAW}"));
    left > 0
}

/// An entry was given out twenty times.
async fn a_dead_letter<R: Runtime>(play: &Play<R>) -> bool {
    let entry = play.add("*", 0);
    play.give_to("ghost");
    let often = format!("XCLAIM {COMMANDS} {SERVICE} ghost 0 {entry} TIME 0 RETRYCOUNT 20");
    play.ask(&often);
    let server = play.serve(|builder| builder.reclaim_tick(TICK)).await;
    assert!(play.becomes(|| play.pending() == 0).await, "it is not settled");
    server.shutdown().await;
    assert_eq!(play.length(RAW), 1, "its caller is told, one way or the other");
    play.ask(&format!("DEL {RAW}"));
    play.length(DEAD) == 1
}

/// An entry was given to a worker that is gone.
async fn a_takeover<R: Runtime>(play: &Play<R>) -> bool {
    play.add("*", 0);
    play.give_to("ghost");
    let hasty =
        |builder: clamator_driver::ServerBuilder<R>| builder.claim_idle(TICK).reclaim_tick(TICK);
    let server = play.serve(hasty).await;
    let taken = play.becomes(|| play.pending() == 0).await;
    server.shutdown().await;
    play.ask(&format!("XACK {COMMANDS} {SERVICE} 0-0"));
    taken
}

/// A handler takes much longer than an entry may be idle, beside a server with nothing to do.
async fn a_lease<R: Runtime>(play: &Play<R>) -> bool {
    let idle = 10 * TICK;
    let busy = play.serve(|builder| builder.claim_idle(idle).instance("busy")).await;
    play.add("*", 3800);
    assert!(play.becomes(|| play.pending() == 1).await, "it is not given out");
    let hasty = play.serve(|builder| builder.claim_idle(idle).reclaim_tick(TICK)).await;
    assert!(play.becomes(|| play.length(RAW) > 0).await, "no reply");
    let alone = hasty.stats().await.jobs_started == 0;
    busy.shutdown().await;
    hasty.shutdown().await;
    alone
}

async fn an_empty_stream<R: Runtime>(play: &Play<R>) -> bool {
    let server = play.serve(|builder| builder).await;
    for _ in 0..5 {
        play.add("*", 0);
    }
    assert!(play.becomes(|| play.length(RAW) >= 5).await, "no replies");
    assert!(play.becomes(|| play.pending() == 0).await, "not acknowledged");
    let empty = play.becomes(|| play.length(COMMANDS) == 0).await;
    server.shutdown().await;
    empty
}

async fn no_consumer_left<R: Runtime>(play: &Play<R>) -> bool {
    let server = play.serve(|builder| builder).await;
    play.add("*", 0);
    assert!(play.becomes(|| play.length(RAW) == 1).await, "no reply");
    let consumers = || play.ask(&format!("XINFO CONSUMERS {COMMANDS} {SERVICE}"));
    let name = |consumer: &RawReply| consumer.array()[1].text();
    let own = format!("{SERVICE}:{}", server.instance());
    let is_there = || consumers().array().iter().any(|consumer| name(consumer) == own);
    assert!(is_there(), "it has been given something");
    server.shutdown().await;
    play.ask(&format!("DEL {RAW}"));
    !is_there()
}

/// A worker is gone, and has left its consumer.
async fn no_ghost_left<R: Runtime>(play: &Play<R>) -> bool {
    let server = play
        .serve(|builder| builder.consumer_idle_max(Duration::from_secs(1)).reclaim_tick(TICK))
        .await;
    play.ask(&format!("XGROUP CREATECONSUMER {COMMANDS} {SERVICE} ghost"));
    let consumers = || play.ask(&format!("XINFO CONSUMERS {COMMANDS} {SERVICE}"));
    let is_ghost = |consumer: &RawReply| consumer.array()[1].text() == "ghost";
    let gone = play.becomes(|| !consumers().array().iter().any(is_ghost)).await;
    server.shutdown().await;
    gone
}

/// A stream whose last id lies far ahead is deleted, and what comes then has lower ids.
async fn another_stream<R: Runtime>(play: &Play<R>) -> bool {
    let server = play.serve(|builder| builder.reclaim_tick(TICK)).await;
    play.add("9999999999999-0", 0);
    assert!(play.becomes(|| play.length(RAW) == 1).await, "no reply");
    // Until the server has noticed how far everybody has come.
    play.runtime.sleep(10 * TICK).await;
    play.ask(&format!("DEL {COMMANDS}"));
    play.add("*", 0);
    let served = play.becomes(|| play.length(RAW) == 2).await;
    server.shutdown().await;
    play.ask(&format!("DEL {COMMANDS}"));
    served
}

/// Redis 6.2 does not say which entry it is that was deleted before it was settled; since 7.0 it
/// says so to whoever renews it.
async fn a_deleted_entry<R: Runtime>(play: &Play<R>) -> bool {
    if RedisServer::version() < Version::new(7, 0, 0) {
        let entry = play.add("*", 0);
        play.give_to("ghost");
        play.ask(&format!("XDEL {COMMANDS} {entry}"));
        let hasty = play.serve(|builder| builder.claim_idle(TICK).reclaim_tick(TICK)).await;
        let settled = play.becomes(|| play.pending() == 0).await;
        hasty.shutdown().await;
        play.ask(&format!("XACK {COMMANDS} {SERVICE} {entry}"));
        return settled;
    }
    let server = play.serve(|builder| builder.claim_idle(5 * TICK)).await;
    let entry = play.add("*", 2000);
    assert!(play.becomes(|| play.pending() == 1).await, "it is not given out");
    play.ask(&format!("XDEL {COMMANDS} {entry}"));
    let answered = play.becomes(|| play.length(RAW) == 1).await;
    server.shutdown().await;
    play.ask(&format!("DEL {RAW}"));
    answered
}

/// A peer has acknowledged many entries and left them there.
async fn a_trimmed_stream<R: Runtime>(play: &Play<R>) -> bool {
    let ids: Vec<String> = (0..500).map(|_| play.add("*", 0)).collect();
    play.give_to("peer");
    play.ask(&format!("XACK {COMMANDS} {SERVICE} {}", ids.join(" ")));
    let server = play.serve(|builder| builder.trim_tick(TICK).reclaim_tick(TICK)).await;
    let trimmed = play.becomes(|| play.length(COMMANDS) < 150).await;
    server.shutdown().await;
    trimmed
}
