//! Clients and servers that come and go: what is under way ends as it may, and nothing is left
//! running.

use std::sync::Arc;
use std::time::Duration;

use clamator_driver::{CallError, Client, Concurrency, ConnectError, Runtime, Target};
use clamator_tests::world::Async;

use crate::arith::{Add, Seen, Sum, arith};
use crate::stage::Stage;

every_transport!(
    a_client_that_stops_ends_its_calls,
    a_server_that_stops_finishes_what_runs_and_answers_it,
    a_handler_that_outlives_the_grace_is_dropped_and_its_request_is_left_for_others,
    a_stop_that_nobody_waits_for_goes_on,
    a_dropped_server_finishes_what_runs_and_serves_no_more,
    a_client_lives_as_long_as_its_calls,
    what_was_sent_before_the_first_server_started_is_served,
    a_lazy_client_needs_no_server_to_exist,
);

async fn a_client_that_stops_ends_its_calls<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let call = stage.runtime.task(client.call::<u64>("arith.slow", 300));
    stage.runtime.sleep(Duration::from_millis(50)).await;
    client.stop().await;
    assert_eq!(call.await, Err(CallError::Stopped));
    client.stop().await;
    assert_eq!(client.call::<u64>("arith.slow", 1).await, Err(CallError::Stopped));
    assert_eq!(client.notify("arith.log", "x").await, Err(CallError::Stopped));
}

async fn a_server_that_stops_finishes_what_runs_and_answers_it<R: Runtime>(stage: Stage<R>) {
    let (server, client, seen) = stage.pair(Concurrency::Serial).await;
    let call = stage.runtime.task(client.call::<u64>("arith.slow", 200));
    stage.runtime.until("the handler runs", || Seen::count(&seen.started) == 1).await;
    assert_eq!(server.stop(Duration::from_secs(5)).await.left, 0);
    assert_eq!(call.await, Ok(200));
    assert_eq!(server.stop(Duration::ZERO).await.left, 0);
}

async fn a_handler_that_outlives_the_grace_is_dropped_and_its_request_is_left_for_others<
    R: Runtime,
>(
    stage: Stage<R>,
) {
    let (server, client, seen) = stage.pair(Concurrency::Serial).await;
    let mut call = stage.runtime.task(client.call::<u64>("arith.slow", 60_000));
    stage.runtime.until("the handler runs", || Seen::count(&seen.started) == 1).await;
    let stopped =
        stage.runtime.timeout(Duration::from_secs(3), server.stop(Duration::from_millis(50))).await;
    assert_eq!(stopped.unwrap().left, 1);
    // The handler's future holds a clone of what it saw: gone with it.
    stage.runtime.until("the handler is dropped", || Arc::strong_count(&seen.started) == 1).await;
    assert_eq!(call.finished(), None);
    call.abort();
}

async fn a_stop_that_nobody_waits_for_goes_on<R: Runtime>(stage: Stage<R>) {
    let seen = Seen::default();
    let builder = stage.server().service(arith(&stage.runtime, &seen));
    let builder = builder.grace(Duration::from_millis(10));
    let server = stage.start(builder).await.unwrap();
    let client = stage.client().await;
    let call = stage.runtime.task(client.call::<u64>("arith.slow", 300));
    stage.runtime.until("the handler runs", || Seen::count(&seen.started) == 1).await;
    let stop = server.stop(Duration::from_secs(5));
    assert!(stage.runtime.timeout(Duration::from_millis(1), stop).await.is_err());
    // Its own grace is shorter, and not asked for.
    drop(server);
    assert_eq!(call.await, Ok(300));
    stage.runtime.until("the server is gone", || Arc::strong_count(&seen.started) == 1).await;
}

async fn a_dropped_server_finishes_what_runs_and_serves_no_more<R: Runtime>(stage: Stage<R>) {
    let (server, client, seen) = stage.pair(Concurrency::Serial).await;
    let call = stage.runtime.task(client.call::<u64>("arith.slow", 100));
    stage.runtime.until("the handler runs", || Seen::count(&seen.started) == 1).await;
    drop(server);
    assert_eq!(call.await, Ok(100));
    stage.runtime.until("the server is gone", || Arc::strong_count(&seen.started) == 1).await;
}

async fn a_client_lives_as_long_as_its_calls<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let call = client.call::<u64>("arith.slow", 50);
    drop(client);
    assert_eq!(call.await, Ok(50));
}

async fn what_was_sent_before_the_first_server_started_is_served<R: Runtime>(stage: Stage<R>) {
    let client = stage.client().await;
    if stage.is_memory() {
        // Nobody else could ever serve it, so nobody has to wait to learn that.
        let result = client.call::<Sum>("arith.add", Add { a: 1, b: 1 }).await;
        return assert_eq!(result, Err(CallError::NoWorkers));
    }
    let call = stage.runtime.task(client.call::<Sum>("arith.add", Add { a: 1, b: 1 }));
    stage.runtime.sleep(Duration::from_millis(100)).await;
    let service = arith(&stage.runtime, &Seen::default());
    let _server = stage.serve(service).await;
    assert_eq!(call.await, Ok(Sum { sum: 2 }));
}

async fn a_lazy_client_needs_no_server_to_exist<R: Runtime>(stage: Stage<R>) {
    let target = Target::url("redis://127.0.0.1:1").unwrap();
    let builder = || Client::builder("lazy");
    let client = builder().connect_lazy_on(stage.runtime.clone(), &target);
    let call = client.call::<()>("arith.add", ());
    let result = stage.runtime.timeout(Duration::from_secs(2), call).await.unwrap();
    assert_eq!(result, Err(CallError::NotSent));
    stage.runtime.timeout(Duration::from_secs(2), client.stop()).await.unwrap();
    let error = builder().connect_on(stage.runtime.clone(), &target).await.unwrap_err();
    assert!(matches!(error, ConnectError::Lost { .. }));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
