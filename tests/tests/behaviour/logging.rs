//! What operators are told, at which level, with which fields: one record for each failure that
//! somebody must look at, none for errors that handlers answer with on purpose.

use std::time::Duration;

use clamator_driver::{Client, Runtime, Target};
use clamator_tests::capture::{Capture, Line, unique};
use clamator_tests::world::Async;
use serde_json::{Value, json};
use tracing::Level;

use crate::arith::{Add, Seen, arith};
use crate::stage::Stage;

every_transport!(
    a_panic_of_a_handler_is_one_error,
    a_result_that_cannot_be_written_is_one_error,
    a_server_that_is_not_there_is_one_warning_however_often_it_is_tried,
    an_error_of_a_handler_is_one_error,
    an_rpc_error_and_a_missing_method_are_not_logged,
    parameters_that_do_not_fit_are_one_warning,
);

/// What is logged while a handler is called once.
async fn logged<R: Runtime>(stage: &Stage<R>, method: &str, params: Value) -> Vec<Line> {
    let (server, client) = (unique("server"), unique("client"));
    let capture = Capture::of(&[&server, &client]);
    let service = arith(&stage.runtime, &Seen::default());
    let server = stage.start(stage.server().instance(&server).service(service)).await.unwrap();
    let client = stage.client_named(&client).await;
    client.call::<Value>(method, params).await.unwrap_err();
    client.stop().await;
    server.shutdown().await;
    capture.take("")
}

fn assert_line(lines: &[Line], level: Level, message: &str, method: &str, error: &str) {
    let [line] = lines else { panic!("not one line: {lines:?}") };
    assert_eq!(line.level, level);
    assert_eq!(line.message, message);
    assert_eq!((line.field("service"), line.field("method")), ("arith", method));
    assert!(line.field("error").contains(error), "{line:?}");
    for field in ["id", "entry", "instance"] {
        assert!(!line.field(field).is_empty(), "{line:?}");
    }
}

async fn an_error_of_a_handler_is_one_error<R: Runtime>(stage: Stage<R>) {
    let lines = logged(&stage, "arith.parse", json!("x")).await;
    assert_line(&lines, Level::ERROR, "RPC handler raised", "parse", "invalid digit");
}

async fn a_panic_of_a_handler_is_one_error<R: Runtime>(stage: Stage<R>) {
    let lines = logged(&stage, "arith.panic", json!(true)).await;
    assert_line(&lines, Level::ERROR, "RPC handler raised", "panic", "boom true");
}

async fn a_result_that_cannot_be_written_is_one_error<R: Runtime>(stage: Stage<R>) {
    let lines = logged(&stage, "arith.keys", json!(null)).await;
    let message = "RPC result validation failed";
    assert_line(&lines, Level::ERROR, message, "keys", "EncodeError");
}

async fn parameters_that_do_not_fit_are_one_warning<R: Runtime>(stage: Stage<R>) {
    let lines = logged(&stage, "arith.add", json!({ "a": "x" })).await;
    let message = "RPC params validation failed";
    assert_line(&lines, Level::WARN, message, "add", "DecodeError");
}

async fn an_rpc_error_and_a_missing_method_are_not_logged<R: Runtime>(stage: Stage<R>) {
    let params = serde_json::to_value(Add { a: 1, b: 0 }).unwrap();
    assert!(logged(&stage, "arith.divide", params).await.is_empty());
    assert!(logged(&stage, "arith.subtract", json!(null)).await.is_empty());
}

async fn a_server_that_is_not_there_is_one_warning_however_often_it_is_tried<R: Runtime>(
    stage: Stage<R>,
) {
    let instance = unique("client");
    let capture = Capture::of(&[&instance]);
    let target = Target::url("redis://127.0.0.1:1").unwrap();
    let builder = Client::<R>::builder("log").instance(&instance);
    let client = builder.connect_lazy_on(stage.runtime.clone(), &target);
    stage.runtime.sleep(Duration::from_millis(500)).await;
    let lines = capture.take("");
    let [line] = &*lines else { panic!("not one line: {lines:?}") };
    assert_eq!(line.level, Level::WARN);
    assert_eq!(line.message, "redis disconnected");
    assert!(line.field("error").contains("127.0.0.1:1"), "{line:?}");
    client.stop().await;
}
