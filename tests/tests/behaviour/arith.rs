//! A service with something of everything, and what its handlers saw.
//!
//! Not what is expected of it: that is in the scenarios.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_driver::{Context, RpcError, Runtime, Service};
use clamator_tests::world::Async;
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Default)]
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

/// The service `arith`.
pub(crate) fn arith<R: Runtime>(runtime: &R, seen: &Seen) -> Service {
    let (pause, work) = (runtime.clone(), runtime.clone());
    let (lines, slow) = (seen.clone(), seen.clone());
    Service::new("arith")
        .request("add", async |p: Add, _: Context| Ok(Sum { sum: p.a + p.b }))
        .request("divide", async |p: Add, _: Context| {
            let zero = || RpcError::new(-32000, "division by zero").with_data(&p);
            Ok(Sum { sum: p.a.checked_div(p.b).ok_or_else(zero)? })
        })
        .request("parse", async |text: String, _: Context| Ok(text.parse::<i64>()?))
        .request("panic", move |now: bool, _: Context| {
            let pause = pause.clone();
            async move {
                if !now {
                    pause.sleep(Duration::from_millis(1)).await;
                }
                if true {
                    panic!("boom {now}");
                }
                Ok(())
            }
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
            let (slow, work) = (slow.clone(), work.clone());
            async move {
                slow.started.fetch_add(1, Ordering::SeqCst);
                work.sleep(Duration::from_millis(ms)).await;
                slow.finished.fetch_add(1, Ordering::SeqCst);
                Ok(ms)
            }
        })
        .notification("log", move |line: String, _: Context| {
            lines.lines.lock().unwrap().push(line);
            async { Ok(()) }
        })
}
