//! A worker of a pool whose workers are killed, frozen and stopped.
//!
//! Not a test: `tests/tests/chaos` starts and ends it. Arguments: the URL of a Redis, `claim_idle` in
//! milliseconds, and that of the peers in the pool, if there are any. Prints `ready`, then for each
//! run of `work` a line `start` and a line `end` with its number. `quick` says nothing, and `hold`
//! runs until `release` is told. Stops gracefully on SIGTERM. Its counterpart in Python is
//! `tests/python/chaos_worker.py`.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_signal::{Signal, Signals};
use clamator_driver::{Concurrency, Context, Runtime, Server, Service, Target};
use clamator_tests::world::{Async, TokioThreads, World};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a run needs at the most.
const RUN_MS_MAX: u64 = 20;

#[derive(Deserialize)]
struct Work {
    number: u64,
}

#[derive(Serialize)]
struct Done {
    value: u64,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, times @ ..] = &*arguments else {
        return Err("usage: chaos-worker URL CLAIM_IDLE_MS [PEER_CLAIM_IDLE_MS]".into());
    };
    let times = times.iter().map(|ms| Ok(Duration::from_millis(ms.parse()?)));
    let times = times.collect::<Outcome<Vec<_>>>()?;
    TokioThreads::run(|runtime| serve(runtime, url, times))
}

async fn serve<R: Runtime>(runtime: R, url: &str, times: Vec<Duration>) -> Outcome<()> {
    let mut signals = Signals::new([Signal::Term])?;
    let mut server = Server::builder("chaos").service(service(&runtime));
    if let Some(&claim_idle) = times.first() {
        let tick = Duration::from_secs(1).min(claim_idle / 4);
        server = server.claim_idle(claim_idle).reclaim_tick(tick);
    }
    if let Some(&peer_claim_idle) = times.get(1) {
        server = server.peer_claim_idle(peer_claim_idle);
    }
    let server = server.start_on(runtime, &Target::url(url)?).await?;
    println!("ready");
    signals.next().await;
    server.shutdown().await;
    Ok(())
}

fn service<R: Runtime>(runtime: &R) -> Service {
    let timers = runtime.clone();
    let work = move |Work { number }: Work, _: Context| {
        println!("start {number}");
        let timers = timers.clone();
        async move {
            timers.sleep(Duration::from_millis(number % RUN_MS_MAX)).await;
            println!("end {number}");
            Ok(Done { value: number * 3 + 1 })
        }
    };
    let (timers, released) = (runtime.clone(), Arc::<AtomicBool>::default());
    let release = {
        let released = Arc::clone(&released);
        move |_: serde_json::Value, _: Context| {
            released.store(true, Ordering::Relaxed);
            async { Ok(()) }
        }
    };
    let hold = move |Work { number }: Work, _: Context| {
        let (timers, released) = (timers.clone(), Arc::clone(&released));
        async move {
            while !released.load(Ordering::Relaxed) {
                timers.sleep(Duration::from_millis(20)).await;
            }
            Ok(Done { value: number * 3 + 1 })
        }
    };
    let quick = async |Work { number }: Work, _: Context| Ok(Done { value: number * 3 + 1 });
    let service = Service::new("chaos").concurrency(Concurrency::Limit(8));
    let service = service.request("work", work).request("quick", quick);
    service.request("hold", hold).notification("release", release)
}
