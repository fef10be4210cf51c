//! The services `arith` and `notifications`, as the Rust side of the interop tests serves them.
//!
//! Not an example of how to write a service: the methods are there to be called wrongly. Members
//! of params that a method does not know are passed over, as the TypeScript peer does (generated
//! Python refuses them). The Python side is `tests/python/arith_server.py`.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clamator_driver::{Context, HandlerError, Json, RpcError, Runtime, Service, integer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::world::Async;

/// What one process was asked to do, shared by both services, and the runtime they wait on.
#[derive(Clone, Debug)]
pub struct Record<R> {
    runtime: R,
    stats: Arc<Mutex<Stats>>,
}

/// What `arith.stats` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub instance: String,
    /// Handlers begun, by method; those of `notifications` under their full name.
    pub counts: BTreeMap<String, u64>,
    pub pings: Vec<Option<String>>,
    pub logs: Vec<String>,
}

impl<R: Runtime> Record<R> {
    pub fn new(runtime: R, instance: &str) -> Self {
        let stats = Stats { instance: instance.into(), ..Stats::default() };
        Self { runtime, stats: Arc::new(Mutex::new(stats)) }
    }

    /// How many handlers have begun.
    pub fn handled(&self) -> u64 {
        self.change(|stats| stats.counts.values().sum())
    }

    fn begin(&self, method: &str) {
        self.change(|stats| *stats.counts.entry(method.into()).or_default() += 1);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Stats) -> T) -> T {
        change(&mut self.stats.lock().unwrap())
    }

    /// What a slow handler does. It says first that it has begun: that an entry is pending says no
    /// more than that Redis gave it out.
    async fn pause(&self, ms: u64) {
        eprintln!("BEGUN");
        self.runtime.sleep(Duration::from_millis(ms)).await;
    }
}

/// The service `arith`.
pub fn arith<R: Runtime>(record: &Record<R>) -> Service {
    let methods = Methods { service: Service::new("arith"), prefix: "", record: record.clone() };
    notes(failures(sums(methods)))
        .request("echo", async |_, p: Value| Ok(p))
        .request("echoText", async |_, p: Text| Ok(p))
        .request("camel", async |_, p: Camel| Ok(p))
        .request("opt", async |_, p: Tag| Ok(p))
        .request("stats", async |record: Record<R>, _: Empty| {
            Ok(record.change(|stats| stats.clone()))
        })
        .service
}

/// The service `notifications`.
pub fn notifications<R: Runtime>(record: &Record<R>) -> Service {
    let service = Service::new("notifications");
    Methods { service, prefix: "notifications.", record: record.clone() }
        .notification("ping", ping)
        .service
}

fn sums<R: Runtime>(methods: Methods<R>) -> Methods<R> {
    methods
        .request("add", async |_, p: Numbers| Ok(Sum { sum: p.a + p.b }))
        .request("addInt", async |_, p: Integers| {
            Ok(Sum { sum: i128::from(p.a) + i128::from(p.b) })
        })
        .request("divide", async |_, p: Numbers| {
            if p.b == 0.0 {
                return Err(RpcError::new(-32000, "division by zero").with_data(&p).into());
            }
            Ok(Quotient { q: p.a / p.b })
        })
        .request("slow", async |record: Record<R>, p: Pause| {
            record.pause(p.ms).await;
            Ok(Done { ok: true })
        })
        .request("slowAdd", async |record: Record<R>, p: SlowNumbers| {
            record.pause(p.sleep_ms).await;
            Ok(Sum { sum: p.a + p.b })
        })
}

fn failures<R: Runtime>(methods: Methods<R>) -> Methods<R> {
    methods
        .request("fail", async |_, p: Failure| {
            let error = RpcError::new(p.code, p.message).with_data(&p.data);
            Err::<(), _>(error.into())
        })
        .request("crash", async |_, p: Message| {
            Err::<(), _>(HandlerError::boxed("Crash", p.message))
        })
        // A result that JSON cannot carry: a map whose keys are no strings.
        .request("badResult", async |_, _: Empty| Ok(BTreeMap::from([(vec![1], 1)])))
}

fn notes<R: Runtime>(methods: Methods<R>) -> Methods<R> {
    methods
        .notification("ping", ping)
        .notification("log", async |record: Record<R>, p: Line| {
            record.change(|stats| stats.logs.push(p.msg));
            Ok(())
        })
        .notification("slowNote", async |record: Record<R>, p: Pause| {
            record.pause(p.ms).await;
            Ok(())
        })
        .notification("crashNote", async |_, p: Message| {
            Err(HandlerError::boxed("Crash", p.message))
        })
}

async fn ping<R: Runtime>(record: Record<R>, tag: Tag) -> Result<(), HandlerError> {
    record.change(|stats| stats.pings.push(tag.tag));
    Ok(())
}

/// A service whose handlers are counted as they begin.
struct Methods<R> {
    service: Service,
    /// What a method's name is counted with.
    prefix: &'static str,
    record: Record<R>,
}

impl<R: Runtime> Methods<R> {
    fn request<F, P, T, Fut>(self, method: &str, run: F) -> Self
    where
        F: Fn(Record<R>, P) -> Fut + Send + Sync + 'static,
        P: DeserializeOwned + 'static,
        T: Serialize + 'static,
        Fut: Future<Output = Result<T, HandlerError>> + Send + 'static,
    {
        let run = self.counted(method, run);
        Self { service: self.service.request(method, run), ..self }
    }

    fn notification<F, P, Fut>(self, method: &str, run: F) -> Self
    where
        F: Fn(Record<R>, P) -> Fut + Send + Sync + 'static,
        P: DeserializeOwned + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        let run = self.counted(method, run);
        Self { service: self.service.notification(method, run), ..self }
    }

    fn counted<F, P, T>(
        &self,
        method: &str,
        run: F,
    ) -> impl Fn(P, Context) -> T + Send + Sync + 'static + use<F, P, T, R>
    where
        F: Fn(Record<R>, P) -> T + Send + Sync + 'static,
        P: 'static,
        T: 'static,
    {
        let (record, method) = (self.record.clone(), format!("{}{method}", self.prefix));
        move |params, _| {
            record.begin(&method);
            run(record.clone(), params)
        }
    }
}

#[derive(Deserialize)]
struct Empty {}

#[derive(Serialize, Deserialize)]
struct Numbers {
    a: f64,
    b: f64,
}

#[derive(Deserialize)]
struct Integers {
    #[serde(with = "integer")]
    a: i64,
    #[serde(with = "integer")]
    b: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlowNumbers {
    a: f64,
    b: f64,
    #[serde(with = "integer")]
    sleep_ms: u64,
}

#[derive(Serialize)]
struct Sum<T> {
    sum: T,
}

#[derive(Serialize)]
struct Quotient {
    q: f64,
}

#[derive(Deserialize)]
struct Pause {
    #[serde(with = "integer")]
    ms: u64,
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(with = "integer")]
    code: i64,
    message: String,
    data: Option<Json>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Serialize, Deserialize)]
struct Value {
    value: Json,
}

#[derive(Serialize, Deserialize)]
struct Text {
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Camel {
    foo_bar: String,
}

#[derive(Serialize, Deserialize)]
struct Tag {
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    msg: String,
}
