//! Clients and servers that cannot work say so, and say when they can again.
//!
//! Not how they heal, which is in the other files: only what `health` says meanwhile.

use std::time::{Duration, Instant};

use clamator_driver::{Ailment, Concurrency, Health, Runtime};
use clamator_tests::world::Async;

use crate::scene::Scene;

clamator_tests::scenarios!(
    a_frozen_redis_makes_both_unhealthy_until_it_goes_on,
    a_redis_that_is_gone_makes_both_unhealthy_until_it_is_back,
    a_full_redis_makes_a_busy_server_and_its_caller_unhealthy_until_it_is_not,
    a_server_that_may_not_acknowledge_is_unhealthy_until_it_may,
);

/// Twice `read_block`, a second, and what a busy machine needs.
const UNHEALTHY_MAX: Duration = Duration::from_secs(5);
const HEALTHY_MAX: Duration = Duration::from_secs(5);

impl<R: Runtime> Scene<R> {
    async fn healths(&self) -> [Health; 2] {
        [self.servers[0].health().await, self.caller.client.health().await]
    }

    /// Waits until server and client are as healthy as this; tells how long that took.
    async fn await_health(&self, runtime: &R, wanted: [bool; 2], at_most: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            let healths = self.healths().await;
            if healths.each_ref().map(Health::is_healthy) == wanted {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < at_most, "not {wanted:?} but {healths:?}");
            runtime.sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The commands that Redis is said to refuse.
fn refused(health: &Health) -> Vec<&'static str> {
    let Health::Unhealthy { reasons } = health else { return Vec::new() };
    let refused = reasons.iter().filter_map(|reason| match reason {
        Ailment::Refused { command, .. } => Some(*command),
        _ => None,
    });
    refused.collect()
}

async fn a_frozen_redis_makes_both_unhealthy_until_it_goes_on<R: Runtime>(runtime: R) {
    let scene = Scene::start(&runtime).await;
    scene.caller.call(0).await.unwrap();
    runtime.sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.healths().await, [Health::Healthy, Health::Healthy]);
    scene.redis.signal("STOP");
    let took = scene.await_health(&runtime, [false; 2], UNHEALTHY_MAX).await;
    // A pause that two reads may take is none; the one under way may have waited its whole time by then.
    assert!(took > Duration::from_millis(1900), "{took:?}");
    runtime.sleep(Duration::from_secs(5)).await;
    assert!(scene.healths().await.iter().all(|health| !health.is_healthy()));
    scene.redis.signal("CONT");
    scene.await_health(&runtime, [true; 2], HEALTHY_MAX).await;
    scene.caller.call(0).await.unwrap();
    let (server, client) = (scene.servers[0].stats().await, scene.caller.client.stats().await);
    assert!(server.reconnects >= 2 && client.reconnects >= 1, "{server:?} {client:?}");
}

async fn a_redis_that_is_gone_makes_both_unhealthy_until_it_is_back<R: Runtime>(runtime: R) {
    let mut scene = Scene::start(&runtime).await;
    scene.redis.kill();
    scene.await_health(&runtime, [false; 2], UNHEALTHY_MAX).await;
    runtime.sleep(Duration::from_secs(3)).await;
    for health in scene.healths().await {
        let Health::Unhealthy { reasons } = &health else { panic!("healthy without a Redis") };
        let gone = reasons.iter().any(|reason| matches!(reason, Ailment::Disconnected(_)));
        assert!(gone, "{health}");
    }
    scene.redis.restart();
    scene.await_health(&runtime, [true; 2], HEALTHY_MAX).await;
    scene.caller.call(0).await.unwrap();
}

async fn a_full_redis_makes_a_busy_server_and_its_caller_unhealthy_until_it_is_not<R: Runtime>(
    runtime: R,
) {
    let scene = Scene::start(&runtime).await;
    let calls = scene.caller.calls(10, 500);
    let seconds = Duration::from_secs;
    scene.await_that("10 handlers", seconds(5), |scene| scene.ledger.running() == 10).await;
    scene.redis.command("CONFIG SET maxmemory 1");
    scene.await_that("10 results", seconds(5), |scene| scene.ledger.finished() == 10).await;
    scene.await_health(&runtime, [false, true], UNHEALTHY_MAX).await;
    let end = Instant::now() + seconds(4);
    while Instant::now() < end {
        let [server, _] = scene.healths().await;
        assert_eq!(refused(&server), ["XADD"], "{server}");
        runtime.sleep(Duration::from_millis(50)).await;
    }
    scene.caller.call(0).await.unwrap_err();
    let [_, client] = scene.healths().await;
    assert_eq!(refused(&client), ["XADD"], "{client}");
    scene.redis.command("CONFIG SET maxmemory 0");
    calls.end(seconds(5)).await;
    scene.caller.call(0).await.unwrap();
    scene.await_health(&runtime, [true; 2], HEALTHY_MAX).await;
}

async fn a_server_that_may_not_acknowledge_is_unhealthy_until_it_may<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Serial, |builder| builder.prefetch_max(1)).await;
    scene.redis.restrict(|grant| grant.command == "xack");
    let mut number = 0;
    let end = Instant::now() + Duration::from_secs(4);
    // More than its backlog holds.
    while Instant::now() < end {
        let call = scene.caller.call_within(0, Some(Duration::from_millis(200))).await;
        number += u64::from(call.is_ok());
        if Instant::now() + Duration::from_secs(2) > end {
            let [server, client] = scene.healths().await;
            assert_eq!(refused(&server), ["XACK"], "after {number} calls");
            assert_eq!(client, Health::Healthy);
        }
    }
    assert!(number >= 4, "{number}");
    scene.redis.restrict(|_| false);
    scene.await_health(&runtime, [true; 2], HEALTHY_MAX).await;
    scene.assert_settled().await;
    assert_eq!(scene.servers[0].stats().await.held, 0);
}
