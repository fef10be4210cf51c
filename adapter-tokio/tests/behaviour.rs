//! Behaviour of clients and servers on tokio, over this process's memory, or over the Redis server
//! that `CLAMATOR_REDIS_URL` names.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clamator_tokio::{
    BoxFuture, CallError, Client, Concurrency, ConnectError, Context, Handler, HandlerResult, Json,
    MethodKind, ProtocolFault, RpcError, Server, Service, StartError, Target,
};
use common::{Add, Seen, Sum, pair, prefix, target, until};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

fn rpc_error<T: std::fmt::Debug>(result: Result<T, CallError>) -> RpcError {
    match result {
        Err(CallError::Rpc(error)) => error,
        other => panic!("no RpcError: {other:?}"),
    }
}

fn data(error: &RpcError) -> Value {
    error.data.as_ref().map_or(Value::Null, |data| data.decode().unwrap())
}

#[tokio::test]
async fn a_call_gets_its_result_on_a_current_thread_runtime() {
    let (server, client, _) = pair("call", Concurrency::Serial).await;
    let sum: Sum = client.call("arith.add", &Add { a: 2, b: 3 }).await.unwrap();
    assert_eq!(sum, Sum { sum: 5 });
    client.stop().await;
    assert_eq!(server.shutdown().await.left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_gets_its_result_on_a_multi_thread_runtime() {
    let (server, client, _) = pair("call-multi", Concurrency::Serial).await;
    let call = tokio::spawn(client.call("arith.add", Add { a: 2, b: 3 }));
    assert_eq!(call.await.unwrap(), Ok(Sum { sum: 5 }));
    client.stop().await;
    server.shutdown().await;
}

#[tokio::test]
async fn notifications_are_handled_in_order() {
    let (_server, client, seen) = pair("notify", Concurrency::Serial).await;
    for line in ["one", "two", "three"] {
        client.notify("arith.log", line).await.unwrap();
    }
    until("three lines", || seen.lines().len() == 3).await;
    assert_eq!(seen.lines(), ["one", "two", "three"]);
}

#[tokio::test]
async fn the_context_tells_who_was_called_and_how_often() {
    let (server, client, _) = pair("context", Concurrency::Serial).await;
    let who: (String, String, bool, u64) = client.call("arith.who", ()).await.unwrap();
    assert_eq!(who, (server.instance().to_owned(), "arith.who".into(), true, 1));
}

#[tokio::test]
async fn an_rpc_error_reaches_the_caller_as_it_was_made() {
    let (_server, client, _) = pair("rpc-error", Concurrency::Serial).await;
    let error = rpc_error(client.call::<Sum>("arith.divide", Add { a: 1, b: 0 }).await);
    assert_eq!((error.code, error.message.as_str()), (-32000, "division by zero"));
    assert_eq!(data(&error), json!({ "a": 1, "b": 0 }));
}

#[tokio::test]
async fn any_other_error_is_an_internal_error_with_its_name() {
    let (_server, client, _) = pair("error", Concurrency::Serial).await;
    let error = rpc_error(client.call::<i64>("arith.parse", "x").await);
    assert_eq!((error.code, error.message.as_str()), (-32603, "Internal error"));
    let message = "invalid digit found in string";
    assert_eq!(data(&error), json!({ "name": "ParseIntError", "message": message }));
}

#[tokio::test]
async fn a_panic_ends_its_request_and_not_the_server() {
    let (_server, client, _) = pair("panic", Concurrency::Serial).await;
    for now in [true, false] {
        let error = rpc_error(client.call::<()>("arith.panic", now).await);
        assert_eq!((error.code, error.message.as_str()), (-32603, "Internal error"));
        let message = format!("boom {now}");
        assert_eq!(data(&error), json!({ "name": "panic", "message": message }));
    }
    let sum: Sum = client.call("arith.add", Add { a: 1, b: 1 }).await.unwrap();
    assert_eq!(sum, Sum { sum: 2 });
}

#[tokio::test]
async fn a_handler_that_panics_before_it_returns_a_future_ends_its_request_only() {
    struct Rude;
    impl Handler for Rude {
        fn handle(&self, _: Json, _: Context) -> BoxFuture<'static, HandlerResult> {
            panic!("no future")
        }
    }
    let (target, prefix) = (target(), prefix("rude"));
    let service = Service::new("rude").handler("do", MethodKind::Request, Arc::new(Rude));
    let _server = Server::builder(&prefix).service(service).start(&target).await.unwrap();
    let client = Client::connect(&prefix, &target).await.unwrap();
    for _ in 0..2 {
        let error = rpc_error(client.call::<()>("rude.do", ()).await);
        assert_eq!(data(&error), json!({ "name": "panic", "message": "no future" }));
    }
}

#[tokio::test]
async fn an_error_that_panics_when_it_is_shown_ends_its_request_only() {
    #[derive(Debug)]
    struct Shy;
    impl std::fmt::Display for Shy {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("not shown")
        }
    }
    impl std::error::Error for Shy {}
    let (target, prefix) = (target(), prefix("shy"));
    let service = Service::new("shy").request("fail", async |(): (), _: Context| {
        Err::<(), _>(Shy)?;
        Ok(())
    });
    let _server = Server::builder(&prefix).service(service).start(&target).await.unwrap();
    let client = Client::connect(&prefix, &target).await.unwrap();
    for _ in 0..2 {
        let error = rpc_error(client.call::<()>("shy.fail", ()).await);
        assert_eq!(data(&error), json!({ "name": "panic", "message": "not shown" }));
    }
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_refused() {
    let (_server, client, _) = pair("params", Concurrency::Serial).await;
    for params in [json!({ "a": "two", "b": 3 }), json!({ "a": 1 }), json!(null), json!([])] {
        let error = rpc_error(client.call::<Sum>("arith.add", &params).await);
        assert_eq!((error.code, error.message.as_str()), (-32602, "Invalid params"), "{params}");
        assert_eq!(data(&error)["name"], "DecodeError");
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_an_internal_error() {
    let (_server, client, _) = pair("result", Concurrency::Serial).await;
    let error = rpc_error(client.call::<Value>("arith.keys", ()).await);
    assert_eq!((error.code, error.message.as_str()), (-32603, "Result validation failed"));
    assert_eq!(data(&error)["name"], "EncodeError");
}

#[tokio::test]
async fn a_result_of_another_type_is_a_protocol_fault() {
    let (_server, client, _) = pair("type", Concurrency::Serial).await;
    let result = client.call::<String>("arith.add", Add { a: 1, b: 1 }).await;
    assert!(matches!(result, Err(CallError::Protocol(ProtocolFault::Result { .. }))), "{result:?}");
}

#[tokio::test]
async fn a_method_that_is_not_there_is_not_found() {
    let (_server, client, _) = pair("missing", Concurrency::Serial).await;
    let error = rpc_error(client.call::<()>("arith.subtract", ()).await);
    assert_eq!((error.code, error.message.as_str()), (-32601, "Method not found"));
}

#[tokio::test]
async fn a_call_that_is_not_valid_is_never_sent() {
    let (_server, client, _) = pair("invalid", Concurrency::Serial).await;
    for method in ["arith", "Arith.add", "arith.Add", "arith.add.more", ""] {
        let result = client.call::<()>(method, ()).await;
        assert!(matches!(result, Err(CallError::Invalid(_))), "{method}: {result:?}");
    }
    let params = std::collections::BTreeMap::from([(vec![1], 1)]);
    let result = client.notify("arith.log", params).await;
    assert!(matches!(result, Err(CallError::Invalid(_))), "{result:?}");
}

#[tokio::test]
async fn a_call_ends_at_its_timeout_and_its_late_reply_harms_nobody() {
    let (_server, client, _) = pair("timeout", Concurrency::Serial).await;
    let call = client.call::<u64>("arith.slow", 200).timeout(Duration::from_millis(50));
    assert_eq!(timeout(Duration::from_secs(1), call).await.unwrap(), Err(CallError::Timeout));
    assert_eq!(client.call("arith.slow", 1).await, Ok(1_u64));
    assert_eq!(client.counters().await.replies_unmatched, 1);
}

#[tokio::test]
async fn a_dropped_call_is_forgotten_and_its_late_reply_harms_nobody() {
    let (_server, client, seen) = pair("drop", Concurrency::Serial).await;
    let call = client.call::<u64>("arith.slow", 100);
    assert!(timeout(Duration::from_millis(30), call).await.is_err());
    assert_eq!(client.call("arith.slow", 1).await, Ok(1_u64));
    assert_eq!(client.counters().await.replies_unmatched, 1);
    assert_eq!(Seen::count(&seen.finished), 2);
}

#[tokio::test]
async fn a_call_that_is_never_polled_is_never_sent() {
    let (_server, client, seen) = pair("unpolled", Concurrency::Serial).await;
    drop(client.call::<u64>("arith.slow", 1));
    assert_eq!(client.call("arith.slow", 1).await, Ok(1_u64));
    assert_eq!(Seen::count(&seen.started), 1);
}

#[tokio::test]
async fn a_thousand_calls_at_once_all_get_their_own_results() {
    let (_server, client, _) = pair("thousand", Concurrency::Limit(64)).await;
    let calls: Vec<_> =
        (0..1000).map(|a| tokio::spawn(client.call::<Sum>("arith.add", Add { a, b: 1 }))).collect();
    for (call, a) in calls.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap(), Ok(Sum { sum: a + 1 }));
    }
}

#[tokio::test]
async fn a_serial_service_runs_one_handler_at_a_time_and_a_limited_one_several() {
    for (test, concurrency, most) in
        [("serial", Concurrency::Serial, 1), ("limit", Concurrency::Limit(4), 4)]
    {
        let (_server, client, seen) = pair(test, concurrency).await;
        let calls: Vec<_> =
            (0..8).map(|_| tokio::spawn(client.call::<u64>("arith.slow", 30))).collect();
        let running = || Seen::count(&seen.started).saturating_sub(Seen::count(&seen.finished));
        let mut peak = 0;
        while Seen::count(&seen.finished) < 8 {
            peak = peak.max(running());
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(peak, most, "{test}");
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(30));
        }
    }
}

#[tokio::test]
async fn two_servers_share_the_work() {
    let (target, prefix) = (target(), prefix("pool"));
    let (one, two) = (Seen::default(), Seen::default());
    let mut servers = Vec::new();
    for seen in [&one, &two] {
        let server = Server::builder(&prefix).service(common::arith(seen));
        servers.push(server.start(&target).await.unwrap());
    }
    let client = Client::connect(&prefix, &target).await.unwrap();
    let calls: Vec<_> =
        (0..40).map(|_| tokio::spawn(client.call::<u64>("arith.slow", 5))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(5));
    }
    let (one, two) = (Seen::count(&one.finished), Seen::count(&two.finished));
    assert_eq!(one + two, 40);
    assert!(one >= 5 && two >= 5, "{one} and {two}");
}

#[tokio::test]
async fn a_client_that_stops_ends_its_calls() {
    let (_server, client, _) = pair("client-stop", Concurrency::Serial).await;
    let call = tokio::spawn(client.call::<u64>("arith.slow", 300));
    sleep(Duration::from_millis(50)).await;
    client.stop().await;
    assert_eq!(call.await.unwrap(), Err(CallError::Stopped));
    client.stop().await;
    assert_eq!(client.call::<u64>("arith.slow", 1).await, Err(CallError::Stopped));
    assert_eq!(client.notify("arith.log", "x").await, Err(CallError::Stopped));
}

#[tokio::test]
async fn a_server_that_stops_finishes_what_runs_and_answers_it() {
    let (server, client, seen) = pair("drain", Concurrency::Serial).await;
    let call = tokio::spawn(client.call::<u64>("arith.slow", 200));
    until("the handler runs", || Seen::count(&seen.started) == 1).await;
    assert_eq!(server.stop(Duration::from_secs(5)).await.left, 0);
    assert_eq!(call.await.unwrap(), Ok(200));
    assert_eq!(server.stop(Duration::ZERO).await.left, 0);
}

#[tokio::test]
async fn a_handler_that_outlives_the_grace_is_dropped_and_its_request_is_left_for_others() {
    let (server, client, seen) = pair("grace", Concurrency::Serial).await;
    let call = tokio::spawn(client.call::<u64>("arith.slow", 60_000));
    until("the handler runs", || Seen::count(&seen.started) == 1).await;
    let stopped = timeout(Duration::from_secs(3), server.stop(Duration::from_millis(50))).await;
    assert_eq!(stopped.unwrap().left, 1);
    // The handler's future holds a clone of what it saw: gone with it.
    until("the handler is dropped", || Arc::strong_count(&seen.started) == 1).await;
    assert!(!call.is_finished());
    call.abort();
}

#[tokio::test]
async fn a_stop_that_nobody_waits_for_goes_on() {
    let (server, client, seen) = pair("stop-dropped", Concurrency::Serial).await;
    let call = tokio::spawn(client.call::<u64>("arith.slow", 100));
    until("the handler runs", || Seen::count(&seen.started) == 1).await;
    let stop = server.stop(Duration::from_secs(5));
    assert!(timeout(Duration::from_millis(1), stop).await.is_err());
    assert_eq!(call.await.unwrap(), Ok(100));
    until("the server is gone", || Arc::strong_count(&seen.started) == 1).await;
}

#[tokio::test]
async fn a_dropped_server_finishes_what_runs_and_serves_no_more() {
    let (server, client, seen) = pair("server-drop", Concurrency::Serial).await;
    let call = tokio::spawn(client.call::<u64>("arith.slow", 100));
    until("the handler runs", || Seen::count(&seen.started) == 1).await;
    drop(server);
    assert_eq!(call.await.unwrap(), Ok(100));
    until("the server is gone", || Arc::strong_count(&seen.started) == 1).await;
}

#[tokio::test]
async fn a_client_lives_as_long_as_its_calls() {
    let (_server, client, _) = pair("client-drop", Concurrency::Serial).await;
    let call = client.call::<u64>("arith.slow", 50);
    drop(client);
    assert_eq!(call.await, Ok(50));
}

#[tokio::test]
async fn what_was_sent_before_the_first_server_started_is_served() {
    let (target, prefix) = (target(), prefix("early"));
    let client = Client::connect(&prefix, &target).await.unwrap();
    if target.to_string() == "memory" {
        // Nobody else could ever serve it, so nobody has to wait to learn that.
        let result = client.call::<Sum>("arith.add", Add { a: 1, b: 1 }).await;
        return assert_eq!(result, Err(CallError::NoWorkers));
    }
    let call = tokio::spawn(client.call::<Sum>("arith.add", Add { a: 1, b: 1 }));
    sleep(Duration::from_millis(100)).await;
    let service = common::arith(&Seen::default());
    let _server = Server::builder(&prefix).service(service).start(&target).await.unwrap();
    assert_eq!(call.await.unwrap(), Ok(Sum { sum: 2 }));
}

#[tokio::test]
async fn a_server_with_a_mistake_does_not_start() {
    let start = async |services: Vec<Service>| {
        let builder = Server::builder("mistake");
        let builder = services.into_iter().fold(builder, clamator_tokio::ServerBuilder::service);
        builder.start(target()).await.map(drop)
    };
    let good = || common::arith(&Seen::default());
    let twice = start(vec![good(), good()]).await.unwrap_err();
    assert_eq!(twice.to_string(), "service \"arith\" already registered on this server");
    let bad = start(vec![good(), Service::new("Bad")]).await.unwrap_err();
    assert_eq!(bad.to_string(), "invalid service \"Bad\"");
    assert_eq!(start(vec![]).await, Err(StartError::NoService));
    for instance in ["", "released"] {
        let builder = Server::builder("mistake").instance(instance).service(good());
        let fault = builder.start(target()).await.map(drop);
        assert!(matches!(fault, Err(StartError::Instance { .. })), "{fault:?}");
    }
}

#[tokio::test]
async fn a_lazy_client_needs_no_server_to_exist() {
    let target = Target::url("redis://127.0.0.1:1").unwrap();
    let client = Client::connect_lazy("lazy", &target);
    let call = client.call::<()>("arith.add", ());
    let result = timeout(Duration::from_secs(2), call).await.unwrap();
    assert_eq!(result, Err(CallError::NotSent));
    timeout(Duration::from_secs(2), client.stop()).await.unwrap();
    let error = Client::connect("lazy", &target).await.unwrap_err();
    assert!(matches!(error, ConnectError::Lost { .. }));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_the_clock_of_timeouts() {
    let (seen, target) = (Seen::default(), Target::memory(&clamator_tokio::MemoryBus::new()));
    let server = Server::builder("paused").service(common::arith(&seen));
    let server = server.start(&target).await.unwrap();
    let client = Client::connect("paused", &target).await.unwrap();
    let before = tokio::time::Instant::now();
    assert_eq!(client.call::<u64>("arith.slow", 3_600_000).await, Err(CallError::Timeout));
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(31), "{waited:?}");
    assert_eq!(server.stop(Duration::from_secs(1)).await.left, 1);
}

#[tokio::test]
async fn calls_may_come_from_many_threads() {
    let (_server, client, _) = pair("threads", Concurrency::Limit(8)).await;
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (client, done) = (client.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async move {
                    for a in 0..50 {
                        let sum = client.call::<Sum>("arith.add", Add { a, b: a }).await;
                        assert_eq!(sum, Ok(Sum { sum: a + a }));
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            })
        })
        .collect();
    until("all threads are done", || done.load(Ordering::SeqCst) == 200).await;
    for thread in threads {
        thread.join().unwrap();
    }
}
