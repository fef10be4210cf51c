//! Many calls through one prefix: nothing grows with their number, neither what Redis keeps nor what
//! a worker and a client do, although one handler hangs all the time.
//!
//! Not how fast they are: see `bench`. It is a process of its own, whose memory is measured.
#![cfg(target_os = "linux")]
#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clamator_tests::chaos::pool::{Done, Pool, STREAM, Setup, Work};
use clamator_tests::chaos::{CLAIM_IDLE, count};
use clamator_tests::process::Process;
use clamator_tests::redis::{RawReply, RedisServer};
use clamator_tokio::Client;

/// Calls under way at once.
const CALLERS: usize = 24;
/// How much more may be used in the last parts than in the first ones.
const GROWTH_MAX: f64 = 1.05;
/// Into so many parts the calls are divided. Use is measured after each.
const PARTS: usize = 10;
/// The part that is for warming up.
const WARM_UP: usize = 1;
/// So many parts are looked at together: buffers come and go, and the least of them is without.
const TOGETHER: usize = 3;
/// Entries of a stream that share a node, of which the last one in use keeps all.
const NODE: i64 = 100;
const PAGE_KB: f64 = 4.0;

/// What processes use, in KiB.
#[derive(Clone, Copy, Debug)]
struct Use {
    redis: f64,
    worker: f64,
    client: f64,
}

fn resident(pid: u32) -> f64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * PAGE_KB
}

impl Use {
    fn measure(redis: &RedisServer, worker: &Process) -> Self {
        let info = redis.command("INFO memory").text();
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let redis = used.unwrap().trim().parse::<f64>().unwrap() / 1024.0;
        Self { redis, worker: resident(worker.pid()), client: resident(std::process::id()) }
    }

    fn least(self, other: Self) -> Self {
        Self {
            redis: self.redis.min(other.redis),
            worker: self.worker.min(other.worker),
            client: self.client.min(other.client),
        }
    }
}

#[test]
fn nothing_grows_with_the_number_of_calls() {
    let setup = Setup {
        workers: 1,
        program: env!("CARGO_BIN_EXE_chaos-worker"),
        mixed: false,
        claim_idle: CLAIM_IDLE,
        call_timeout: Duration::from_secs(60),
    };
    let pool = Pool::start(RedisServer::start(), setup);
    let calls = count(30_000, 1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let uses = runtime.block_on(make(&pool, calls));
    let least = |uses: &[Use]| uses.iter().copied().reduce(Use::least).unwrap();
    let first = least(&uses[WARM_UP..][..TOGETHER]);
    let last = least(&uses[PARTS - TOGETHER..]);
    println!("{calls} calls; after a tenth of them {first:?}, in the end {last:?}");
    pool.finish();
    for (what, first, last) in [
        ("Redis", first.redis, last.redis),
        ("the worker", first.worker, last.worker),
        ("the client", first.client, last.client),
    ] {
        assert!(last <= first * GROWTH_MAX, "{what} grows from {first} to {last} KiB: {uses:?}");
    }
}

async fn make(pool: &Pool, calls: usize) -> Vec<Use> {
    let timeout = Duration::from_secs(600);
    let client = Client::builder("chaos").timeout(timeout).connect(pool.target()).await.unwrap();
    let hanging = tokio::spawn({
        let client = client.clone();
        async move { client.call::<Done>("chaos.hold", Work { number: 7 }).await }
    });
    let mut uses = Vec::new();
    for _ in 0..PARTS {
        let left = Arc::new(AtomicUsize::new(calls / PARTS));
        let callers = (0..CALLERS).map(|_| {
            let (client, left) = (client.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                {
                    let number = number as u64;
                    let done = client.call::<Done>("chaos.quick", Work { number }).await.unwrap();
                    assert_eq!(done.value, number * 3 + 1);
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        uses.push(Use::measure(pool.redis(), pool.worker(0)));
        let len = pool.redis().command(&format!("XLEN {STREAM}")).integer();
        let pending = pool.redis().command(&format!("XPENDING {STREAM} chaos"));
        let pending = pending.array().first().map_or(0, RawReply::integer);
        assert!(pending > 0, "one hangs");
        assert!(len <= pending + NODE, "{len} entries in the stream, {pending} of them pending");
    }
    client.notify("chaos.release", serde_json::Value::Null).await.unwrap();
    assert_eq!(hanging.await.unwrap().unwrap().value, 22);
    client.stop().await;
    uses
}
