//! What clients and servers say of themselves: their numbers, and that they are well.
//!
//! Not that they are not, which takes a fault and is in `faults`, but for one that has stopped.

use std::time::Duration;

use clamator_driver::{Ailment, CallError, Concurrency, Health, Runtime};
use clamator_tests::world::Async;

use crate::arith::{Add, Seen, Sum};
use crate::stage::Stage;

every_transport!(
    what_was_called_and_how_it_ended_is_counted_on_both_sides,
    clients_and_servers_are_healthy_until_they_stop,
);

async fn what_was_called_and_how_it_ended_is_counted_on_both_sides<R: Runtime>(stage: Stage<R>) {
    let (server, client, seen) = stage.pair(Concurrency::Serial).await;
    for a in 0..5 {
        let sum: Sum = client.call("arith.add", Add { a, b: 1 }).await.unwrap();
        assert_eq!(sum.sum, a + 1);
    }
    client.notify("arith.log", "heard").await.unwrap();
    stage.runtime.until("it is heard", || seen.lines() == ["heard"]).await;
    let mut slow = stage.runtime.task(client.call::<u64>("arith.slow", 300));
    stage.runtime.until("the handler runs", || Seen::count(&seen.started) == 1).await;
    let stats = server.stats().await;
    assert_eq!((stats.jobs_started, stats.replies_written, stats.running), (7, 5, 1));
    assert!(stats.held >= 1);
    assert_eq!(client.stats().await.in_flight, 1);
    let late = client.call::<u64>("arith.slow", 1).timeout(Duration::from_millis(50)).await;
    assert_eq!(late, Err(CallError::Timeout));
    assert!(slow.finished().is_none());
    slow.await.unwrap();
    let stats = client.stats().await;
    assert_eq!((stats.calls, stats.notifications, stats.replies), (7, 1, 6));
    assert_eq!((stats.timeouts, stats.reconnects, stats.not_sent), (1, 0, 0));
}

async fn clients_and_servers_are_healthy_until_they_stop<R: Runtime>(stage: Stage<R>) {
    let (server, client, _) = stage.pair(Concurrency::Serial).await;
    let busy = client.call::<u64>("arith.slow", 1500);
    let busy = stage.runtime.task(busy);
    for _ in 0..20 {
        assert_eq!(server.health().await, Health::Healthy);
        assert_eq!(client.health().await, Health::Healthy);
        stage.runtime.sleep(Duration::from_millis(100)).await;
    }
    busy.await.unwrap();
    client.stop().await;
    server.shutdown().await;
    assert_eq!(server.health().await, Health::from(Ailment::Stopped));
    assert_eq!(client.health().await, Health::from(Ailment::Stopped));
}
