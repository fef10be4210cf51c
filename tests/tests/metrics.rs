//! The numbers of clients and servers through the facade `metrics`, on every runtime, with a
//! recorder of the test's own; and that the manual names each of them.
//!
//! Not the counting, which is the engine's.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::time::Duration;

use clamator_driver::{Client, Context, MemoryBus, Runtime, Server, Service, Target};
use clamator_tests::capture::unique;
use clamator_tests::world::Async;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

clamator_tests::scenarios!(
    what_a_server_does_is_told_by_service,
    gauges_go_back_when_their_owner_is_gone,
    the_manual_names_each_number_and_no_other,
);

/// Every number by its name and its labels.
type Numbers = Mutex<BTreeMap<(String, String), Arc<AtomicU64>>>;

#[derive(Default)]
struct Recorded {
    counters: Numbers,
    gauges: Numbers,
}

static RECORDED: LazyLock<Recorded> = LazyLock::new(Recorded::default);

#[derive(Debug)]
struct Tape;

fn number(numbers: &Numbers, key: &Key) -> Arc<AtomicU64> {
    let labels: Vec<String> =
        key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    let id = (key.name().to_owned(), labels.join(","));
    Arc::clone(numbers.lock().unwrap().entry(id).or_default())
}

impl Recorder for Tape {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(number(&RECORDED.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(number(&RECORDED.gauges, key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("nothing is told so")
    }
}

fn counter(name: &str, labels: &str) -> Option<u64> {
    let numbers = RECORDED.counters.lock().unwrap();
    numbers.get(&(name.to_owned(), labels.to_owned())).map(|it| it.load(Ordering::SeqCst))
}

fn gauge(name: &str, labels: &str) -> Option<f64> {
    let numbers = RECORDED.gauges.lock().unwrap();
    let number = numbers.get(&(name.to_owned(), labels.to_owned()));
    number.map(|it| f64::from_bits(it.load(Ordering::SeqCst)))
}

/// Starts a server of a service that nobody else has, and a client; the service's handler waits so
/// many milliseconds.
async fn pair<R: Runtime>(runtime: &R, service: &str) -> (Server<R>, Client<R>) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| metrics::set_global_recorder(Tape).unwrap());
    let target = Target::memory(&MemoryBus::new());
    let clock = runtime.clone();
    let wait = Service::new(service).request("wait", move |ms: u64, _: Context| {
        let clock = clock.clone();
        async move {
            clock.sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        }
    });
    let server = Server::builder("metrics").service(wait);
    let server = server.start_on(runtime.clone(), &target).await.unwrap();
    let client = Client::builder("metrics").connect_on(runtime.clone(), &target).await.unwrap();
    (server, client)
}

async fn what_a_server_does_is_told_by_service<R: Runtime>(runtime: R) {
    let service = unique("told");
    let (server, client) = pair(&runtime, &service).await;
    let calls = || counter("clamator_client_calls_total", "").unwrap_or(0);
    let before = calls();
    for _ in 0..5 {
        client.call::<u64>(&format!("{service}.wait"), 0).await.unwrap();
    }
    let labels = format!("service={service}");
    let started = || counter("clamator_server_jobs_started_total", &labels);
    runtime.until("five jobs are told", || started() == Some(5)).await;
    runtime.until("five calls are told", || calls() >= before + 5).await;
    // What did not happen is told as well, once for whom it concerns.
    assert_eq!(counter("clamator_server_poison_total", &labels), Some(0));
    assert_eq!(counter("clamator_server_poison_total", ""), None);
    assert_eq!(counter("clamator_server_reconnects_total", &labels), None);
    assert!(counter("clamator_server_reconnects_total", "").is_some());
    // The same as is told otherwise.
    assert_eq!(server.stats().await.jobs_started, 5);
}

async fn gauges_go_back_when_their_owner_is_gone<R: Runtime>(runtime: R) {
    let service = unique("gone");
    let (server, client) = pair(&runtime, &service).await;
    let labels = format!("service={service}");
    let running = || gauge("clamator_server_running", &labels);
    let held = || gauge("clamator_server_held", &labels);
    let call = runtime.task(client.call::<u64>(&format!("{service}.wait"), 60_000));
    runtime.until("one runs", || running() == Some(1.0) && held() == Some(1.0)).await;
    server.stop(Duration::ZERO).await;
    runtime.until("none does", || running() == Some(0.0) && held() == Some(0.0)).await;
    call.abort();
}

async fn the_manual_names_each_number_and_no_other<R: Runtime>(runtime: R) {
    let service = unique("named");
    let (_server, _client) = pair(&runtime, &service).await;
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clamator-driver/src/manual");
    let manual = fs::read_to_string(manual.join("knowing.rs")).unwrap();
    let words = manual.split('`').filter(|word| word.starts_with("clamator_"));
    let named: BTreeSet<String> = words.map(str::to_owned).collect();
    let told = || {
        let names = |numbers: &Numbers| -> BTreeSet<String> {
            numbers.lock().unwrap().keys().map(|(name, _)| name.clone()).collect()
        };
        &names(&RECORDED.counters) | &names(&RECORDED.gauges)
    };
    runtime.until("all are told", || told().len() >= named.len()).await;
    assert_eq!(told(), named);
    assert!(named.len() > 25, "{named:?}");
}
