//! Calls and notifications that end as they should: with their own results, in order, or at their
//! timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clamator_driver::{CallError, Concurrency, Runtime};
use clamator_tests::world::Async;

use crate::arith::{Add, Seen, Sum, arith};
use crate::stage::Stage;

every_transport!(
    a_call_gets_its_result,
    notifications_are_handled_in_order,
    the_context_tells_who_was_called_and_how_often,
    a_call_ends_at_its_timeout_and_its_late_reply_harms_nobody,
    a_dropped_call_is_forgotten_and_its_late_reply_harms_nobody,
    a_call_that_is_never_polled_is_never_sent,
    a_thousand_calls_at_once_all_get_their_own_results,
    a_serial_service_runs_one_handler_at_a_time_and_a_limited_one_several,
    two_servers_share_the_work,
    calls_may_come_from_many_threads,
);

async fn a_call_gets_its_result<R: Runtime>(stage: Stage<R>) {
    let (server, client, _) = stage.pair(Concurrency::Serial).await;
    let sum: Sum = client.call("arith.add", &Add { a: 2, b: 3 }).await.unwrap();
    assert_eq!(sum, Sum { sum: 5 });
    client.stop().await;
    assert_eq!(server.shutdown().await.left, 0);
}

async fn notifications_are_handled_in_order<R: Runtime>(stage: Stage<R>) {
    let (_server, client, seen) = stage.pair(Concurrency::Serial).await;
    for line in ["one", "two", "three"] {
        client.notify("arith.log", line).await.unwrap();
    }
    stage.runtime.until("three lines", || seen.lines().len() == 3).await;
    assert_eq!(seen.lines(), ["one", "two", "three"]);
}

async fn the_context_tells_who_was_called_and_how_often<R: Runtime>(stage: Stage<R>) {
    let (server, client, _) = stage.pair(Concurrency::Serial).await;
    let who: (String, String, bool, u64) = client.call("arith.who", ()).await.unwrap();
    assert_eq!(who, (server.instance().to_owned(), "arith.who".into(), true, 1));
}

async fn a_call_ends_at_its_timeout_and_its_late_reply_harms_nobody<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Serial).await;
    let call = client.call::<u64>("arith.slow", 200).timeout(Duration::from_millis(50));
    assert_eq!(
        stage.runtime.timeout(Duration::from_secs(1), call).await.unwrap(),
        Err(CallError::Timeout)
    );
    assert_eq!(client.call("arith.slow", 1).await, Ok(1_u64));
    assert_eq!(client.stats().await.replies_unmatched, 1);
}

async fn a_dropped_call_is_forgotten_and_its_late_reply_harms_nobody<R: Runtime>(stage: Stage<R>) {
    let (_server, client, seen) = stage.pair(Concurrency::Serial).await;
    let call = client.call::<u64>("arith.slow", 100);
    assert!(stage.runtime.timeout(Duration::from_millis(30), call).await.is_err());
    assert_eq!(client.call("arith.slow", 1).await, Ok(1_u64));
    assert_eq!(client.stats().await.replies_unmatched, 1);
    assert_eq!(Seen::count(&seen.finished), 2);
}

async fn a_call_that_is_never_polled_is_never_sent<R: Runtime>(stage: Stage<R>) {
    let (_server, client, seen) = stage.pair(Concurrency::Serial).await;
    drop(client.call::<u64>("arith.slow", 1));
    assert_eq!(client.call("arith.slow", 1).await, Ok(1_u64));
    assert_eq!(Seen::count(&seen.started), 1);
}

async fn a_thousand_calls_at_once_all_get_their_own_results<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Limit(64)).await;
    let calls: Vec<_> = (0..1000)
        .map(|a| stage.runtime.task(client.call::<Sum>("arith.add", Add { a, b: 1 })))
        .collect();
    for (call, a) in calls.into_iter().zip(0..) {
        assert_eq!(call.await, Ok(Sum { sum: a + 1 }));
    }
}

async fn a_serial_service_runs_one_handler_at_a_time_and_a_limited_one_several<R: Runtime>(
    stage: Stage<R>,
) {
    for (test, concurrency, most) in
        [("serial", Concurrency::Serial, 1), ("limit", Concurrency::Limit(4), 4)]
    {
        let (_server, client, seen) = stage.pair(concurrency).await;
        let calls: Vec<_> =
            (0..8).map(|_| stage.runtime.task(client.call::<u64>("arith.slow", 30))).collect();
        let running = || Seen::count(&seen.started).saturating_sub(Seen::count(&seen.finished));
        let mut peak = 0;
        while Seen::count(&seen.finished) < 8 {
            peak = peak.max(running());
            stage.runtime.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(peak, most, "{test}");
        for call in calls {
            assert_eq!(call.await, Ok(30));
        }
    }
}

async fn two_servers_share_the_work<R: Runtime>(stage: Stage<R>) {
    let (one, two) = (Seen::default(), Seen::default());
    let mut servers = Vec::new();
    for seen in [&one, &two] {
        servers.push(stage.serve(arith(&stage.runtime, seen)).await);
    }
    let client = stage.client().await;
    let calls: Vec<_> =
        (0..40).map(|_| stage.runtime.task(client.call::<u64>("arith.slow", 5))).collect();
    for call in calls {
        assert_eq!(call.await, Ok(5));
    }
    let (one, two) = (Seen::count(&one.finished), Seen::count(&two.finished));
    assert_eq!(one + two, 40);
    assert!(one >= 5 && two >= 5, "{one} and {two}");
}

async fn calls_may_come_from_many_threads<R: Runtime>(stage: Stage<R>) {
    let (_server, client, _) = stage.pair(Concurrency::Limit(8)).await;
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (client, done) = (client.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                // Not on any runtime: a call needs none on its caller's side.
                smol::future::block_on(async move {
                    for a in 0..50 {
                        let sum = client.call::<Sum>("arith.add", Add { a, b: a }).await;
                        assert_eq!(sum, Ok(Sum { sum: a + a }));
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            })
        })
        .collect();
    stage.runtime.until("all threads are done", || done.load(Ordering::SeqCst) == 200).await;
    for thread in threads {
        thread.join().unwrap();
    }
}
