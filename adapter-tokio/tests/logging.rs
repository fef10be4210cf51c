//! What operators are told, at which level, with which fields: one record for each failure that
//! somebody must look at, none for errors that handlers answer with on purpose.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a failed test may panic")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use clamator_tokio::{Client, Concurrency, Target};
use common::{Add, pair};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the events of target `clamator`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Line>>>);

#[derive(Clone, Debug, Default)]
struct Line {
    level: Option<Level>,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "clamator"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { level: Some(*event.metadata().level()), ..Line::default() };
        event.record(&mut line);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    /// The lines above level info.
    fn lines(&self) -> Vec<Line> {
        let lines = self.0.lock().unwrap().clone();
        lines.into_iter().filter(|line| line.level < Some(Level::INFO)).collect()
    }
}

/// What is logged while a handler is called once. Everything runs on the test's own thread.
async fn logged(test: &str, method: &str, params: Value) -> Vec<Line> {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (server, client, _) = pair(test, Concurrency::Serial).await;
    client.call::<Value>(method, params).await.unwrap_err();
    client.stop().await;
    server.shutdown().await;
    log.lines()
}

fn assert_line(lines: &[Line], level: Level, message: &str, method: &str, error: &str) {
    let [line] = lines else { panic!("not one line: {lines:?}") };
    assert_eq!(line.level, Some(level));
    assert_eq!(line.fields["message"], message);
    assert_eq!((&*line.fields["service"], &*line.fields["method"]), ("arith", method));
    assert!(line.fields["error"].contains(error), "{line:?}");
    for field in ["id", "entry", "instance"] {
        assert!(!line.fields[field].is_empty(), "{line:?}");
    }
}

#[tokio::test]
async fn an_error_of_a_handler_is_one_error() {
    let lines = logged("log-error", "arith.parse", json!("x")).await;
    assert_line(&lines, Level::ERROR, "RPC handler raised", "parse", "invalid digit");
}

#[tokio::test]
async fn a_panic_of_a_handler_is_one_error() {
    let lines = logged("log-panic", "arith.panic", json!(true)).await;
    assert_line(&lines, Level::ERROR, "RPC handler raised", "panic", "boom true");
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_one_error() {
    let lines = logged("log-result", "arith.keys", json!(null)).await;
    let message = "RPC result validation failed";
    assert_line(&lines, Level::ERROR, message, "keys", "EncodeError");
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_one_warning() {
    let lines = logged("log-params", "arith.add", json!({ "a": "x" })).await;
    let message = "RPC params validation failed";
    assert_line(&lines, Level::WARN, message, "add", "DecodeError");
}

#[tokio::test]
async fn an_rpc_error_and_a_missing_method_are_not_logged() {
    let params = serde_json::to_value(Add { a: 1, b: 0 }).unwrap();
    assert!(logged("log-rpc", "arith.divide", params).await.is_empty());
    assert!(logged("log-missing", "arith.subtract", json!(null)).await.is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_warning_however_often_it_is_tried() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let client = Client::connect_lazy("log", Target::url("redis://127.0.0.1:1").unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let lines = log.lines();
    let [line] = &*lines else { panic!("not one line: {lines:?}") };
    assert_eq!(line.level, Some(Level::WARN));
    assert_eq!(line.fields["message"], "redis disconnected");
    assert!(line.fields["error"].contains("127.0.0.1:1"), "{line:?}");
    client.stop().await;
}
