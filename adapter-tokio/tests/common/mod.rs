//! What the tests of this adapter share: a service with something of everything, and a target.
//!
//! The target is this process's memory, or the Redis server that `CLAMATOR_REDIS_URL` names.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "no test file uses everything")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_tokio::{Client, Concurrency, Context, MemoryBus, RpcError, Server, Service, Target};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[derive(Serialize, Deserialize)]
pub(crate) struct Add {
    pub(crate) a: i64,
    pub(crate) b: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sum {
    pub(crate) sum: i64,
}

/// What the handlers of one service saw.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    pub(crate) started: Arc<AtomicUsize>,
    pub(crate) finished: Arc<AtomicUsize>,
}

impl Seen {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) fn count(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}

pub(crate) fn target() -> Target {
    match std::env::var("CLAMATOR_REDIS_URL") {
        Ok(url) => Target::url(&url).unwrap(),
        Err(_) => Target::memory(&MemoryBus::new()),
    }
}

/// A prefix that no other test uses.
pub(crate) fn prefix(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

pub(crate) fn arith(seen: &Seen) -> Service {
    let (lines, slow) = (seen.clone(), seen.clone());
    Service::new("arith")
        .request("add", async |p: Add, _: Context| Ok(Sum { sum: p.a + p.b }))
        .request("divide", async |p: Add, _: Context| {
            let zero = || RpcError::new(-32000, "division by zero").with_data(&p);
            Ok(Sum { sum: p.a.checked_div(p.b).ok_or_else(zero)? })
        })
        .request("parse", async |text: String, _: Context| Ok(text.parse::<i64>()?))
        .request("panic", async |now: bool, _: Context| {
            if !now {
                sleep(Duration::from_millis(1)).await;
            }
            if true {
                panic!("boom {now}");
            }
            Ok(())
        })
        .request("keys", async |(): (), _: Context| {
            Ok(std::collections::BTreeMap::from([(vec![1], 1)]))
        })
        .request("who", async |(): (), context: Context| {
            let id = context.request().map(|id| id.text().into_owned());
            let method = format!("{}.{}", context.service(), context.method());
            Ok((context.instance().to_owned(), method, id.is_some(), context.deliveries()))
        })
        .request("slow", move |ms: u64, _: Context| {
            let slow = slow.clone();
            async move {
                slow.started.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(ms)).await;
                slow.finished.fetch_add(1, Ordering::SeqCst);
                Ok(ms)
            }
        })
        .notification("log", move |line: String, _: Context| {
            lines.lines.lock().unwrap().push(line);
            async { Ok(()) }
        })
}

/// A server and a client of it.
pub(crate) async fn pair(test: &str, concurrency: Concurrency) -> (Server, Client, Seen) {
    let (seen, target, prefix) = (Seen::default(), target(), prefix(test));
    let service = arith(&seen).concurrency(concurrency);
    let server = Server::builder(&prefix).service(service).start(&target).await.unwrap();
    let client = Client::connect(&prefix, &target).await.unwrap();
    (server, client, seen)
}
