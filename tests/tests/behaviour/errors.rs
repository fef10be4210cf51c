//! Calls that end with an error, or never begin, and servers that never start: each says why.

use std::sync::Arc;

use clamator_driver::{
    BoxFuture, CallError, Client, Concurrency, ConnectError, Context, Handler, HandlerResult,
    InvalidCall, Json, MethodKind, ProtocolFault, RpcError, Runtime, ServerBuilder, Service,
    StartError,
};
use serde_json::{Value, json};

use crate::arith::{Add, Seen, Sum, arith};
use crate::stage::{PREFIX, Stage};

every_transport!(
    an_rpc_error_reaches_the_caller_as_it_was_made,
    any_other_error_is_an_internal_error_with_its_name,
    a_panic_ends_its_request_and_not_the_server,
    a_handler_that_panics_before_it_returns_a_future_ends_its_request_only,
    an_error_that_panics_when_it_is_shown_ends_its_request_only,
    parameters_that_do_not_fit_are_refused,
    a_result_that_cannot_be_written_is_an_internal_error,
    a_result_of_another_type_is_a_protocol_fault,
    a_method_that_is_not_there_is_not_found,
    a_call_that_is_not_valid_is_never_sent,
    a_client_with_an_empty_name_does_not_connect,
    a_server_with_a_mistake_does_not_start,
);

fn rpc_error<T: std::fmt::Debug>(result: Result<T, CallError>) -> RpcError {
    match result {
        Err(CallError::Rpc(error)) => error,
        other => panic!("no RpcError: {other:?}"),
    }
}

fn data(error: &RpcError) -> Value {
    error.data.as_ref().map_or(Value::Null, |data| data.decode().unwrap())
}

async fn an_rpc_error_reaches_the_caller_as_it_was_made<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let error = rpc_error(client.call::<Sum>("arith.divide", Add { a: 1, b: 0 }).await);
    assert_eq!((error.code, error.message.as_str()), (-32000, "division by zero"));
    assert_eq!(data(&error), json!({ "a": 1, "b": 0 }));
}

async fn any_other_error_is_an_internal_error_with_its_name<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let error = rpc_error(client.call::<i64>("arith.parse", "x").await);
    assert_eq!((error.code, error.message.as_str()), (-32603, "Internal error"));
    let message = "invalid digit found in string";
    assert_eq!(data(&error), json!({ "name": "ParseIntError", "message": message }));
}

async fn a_panic_ends_its_request_and_not_the_server<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    for now in [true, false] {
        let error = rpc_error(client.call::<()>("arith.panic", now).await);
        assert_eq!((error.code, error.message.as_str()), (-32603, "Internal error"));
        let message = format!("boom {now}");
        assert_eq!(data(&error), json!({ "name": "panic", "message": message }));
    }
    let sum: Sum = client.call("arith.add", Add { a: 1, b: 1 }).await.unwrap();
    assert_eq!(sum, Sum { sum: 2 });
}

async fn a_handler_that_panics_before_it_returns_a_future_ends_its_request_only<R: Runtime>(
    stage: Stage<R>,
) {
    struct Rude;
    impl Handler for Rude {
        fn handle(&self, _: Json, _: Context) -> BoxFuture<'static, HandlerResult> {
            panic!("no future")
        }
    }
    let service = Service::new("rude").handler("do", MethodKind::Request, Arc::new(Rude));
    let _server = stage.serve(service).await;
    let client = stage.client().await;
    for _ in 0..2 {
        let error = rpc_error(client.call::<()>("rude.do", ()).await);
        assert_eq!(data(&error), json!({ "name": "panic", "message": "no future" }));
    }
}

async fn an_error_that_panics_when_it_is_shown_ends_its_request_only<R: Runtime>(stage: Stage<R>) {
    #[derive(Debug)]
    struct Shy;
    impl std::fmt::Display for Shy {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("not shown")
        }
    }
    impl std::error::Error for Shy {}
    let service = Service::new("shy").request("fail", async |(): (), _: Context| {
        Err::<(), _>(Shy)?;
        Ok(())
    });
    let _server = stage.serve(service).await;
    let client = stage.client().await;
    for _ in 0..2 {
        let error = rpc_error(client.call::<()>("shy.fail", ()).await);
        assert_eq!(data(&error), json!({ "name": "panic", "message": "not shown" }));
    }
}

async fn parameters_that_do_not_fit_are_refused<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    for params in [json!({ "a": "two", "b": 3 }), json!({ "a": 1 }), json!(null), json!([])] {
        let error = rpc_error(client.call::<Sum>("arith.add", &params).await);
        assert_eq!((error.code, error.message.as_str()), (-32602, "Invalid params"), "{params}");
        assert_eq!(data(&error)["name"], "DecodeError");
    }
}

async fn a_result_that_cannot_be_written_is_an_internal_error<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let error = rpc_error(client.call::<Value>("arith.keys", ()).await);
    assert_eq!((error.code, error.message.as_str()), (-32603, "Result validation failed"));
    assert_eq!(data(&error)["name"], "EncodeError");
}

async fn a_result_of_another_type_is_a_protocol_fault<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let result = client.call::<String>("arith.add", Add { a: 1, b: 1 }).await;
    assert!(matches!(result, Err(CallError::Protocol(ProtocolFault::Result { .. }))), "{result:?}");
}

async fn a_method_that_is_not_there_is_not_found<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let error = rpc_error(client.call::<()>("arith.subtract", ()).await);
    assert_eq!((error.code, error.message.as_str()), (-32601, "Method not found"));
}

async fn a_call_that_is_not_valid_is_never_sent<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    for method in ["arith", "Arith.add", "arith.Add", "arith.add.more", ""] {
        let result = client.call::<()>(method, ()).await;
        assert!(matches!(result, Err(CallError::Invalid(_))), "{method}: {result:?}");
    }
    let params = std::collections::BTreeMap::from([(vec![1], 1)]);
    let result = client.notify("arith.log", params).await;
    assert!(matches!(result, Err(CallError::Invalid(_))), "{result:?}");
}

async fn a_client_with_an_empty_name_does_not_connect<R: Runtime>(stage: Stage<R>) {
    let (_server, named, _) = stage.pair(Concurrency::Serial).await;
    let builder = || Client::builder(PREFIX).instance("");
    let fault = builder().connect_on(stage.runtime.clone(), &stage.target).await.map(drop);
    assert_eq!(fault, Err(ConnectError::Instance));
    // It cannot be told before it calls.
    let lazy = builder().connect_lazy_on(stage.runtime.clone(), &stage.target);
    let result = lazy.call::<Sum>("arith.add", Add { a: 1, b: 1 }).await;
    assert_eq!(result, Err(CallError::Invalid(InvalidCall::Instance)));
    let sum: Sum = named.call("arith.add", Add { a: 1, b: 1 }).await.unwrap();
    assert_eq!(sum, Sum { sum: 2 });
}

async fn a_server_with_a_mistake_does_not_start<R: Runtime>(stage: Stage<R>) {
    let start = async |services: Vec<Service>| {
        let builder = services.into_iter().fold(stage.server(), ServerBuilder::service);
        stage.start(builder).await.map(drop)
    };
    let good = || arith(&stage.runtime, &Seen::default());
    let twice = start(vec![good(), good()]).await.unwrap_err();
    assert_eq!(twice.to_string(), "service \"arith\" already registered on this server");
    let bad = start(vec![good(), Service::new("Bad")]).await.unwrap_err();
    assert_eq!(bad.to_string(), "invalid service \"Bad\"");
    assert_eq!(start(vec![]).await, Err(StartError::NoService));
    for instance in ["", "released"] {
        let builder = stage.server().instance(instance).service(good());
        let fault = stage.start(builder).await.map(drop);
        assert!(matches!(fault, Err(StartError::Instance { .. })), "{fault:?}");
    }
}
