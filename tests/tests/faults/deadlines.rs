//! Deadlines: what a caller has given up is not run, and a handler knows how long it is waited for
//! (rule 4.9).
//!
//! Not clocks that jump: those are simulated.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clamator_driver::{CallError, Client, Concurrency, Context, Runtime};
use clamator_tests::world::Async;

use crate::scene::{RAW, REPLIES, Scene, served};

clamator_tests::scenarios!(
    what_its_caller_has_given_up_is_skipped_and_what_is_behind_it_runs,
    a_handler_is_told_how_long_its_caller_still_waits,
    a_call_within_a_context_waits_no_longer_than_its_own_caller,
);

const SECOND: Duration = Duration::from_secs(1);

async fn what_its_caller_has_given_up_is_skipped_and_what_is_behind_it_runs<R: Runtime>(
    runtime: R,
) {
    let mut scene = Scene::without_server(&runtime).await;
    scene.serve(Concurrency::Serial, |builder| builder.deadline_slack(SECOND / 2)).await;
    let long = scene.caller.calls(1, 4000);
    scene.await_that("the handler", 5 * SECOND, |scene| scene.ledger.running() == 1).await;
    let impatient = scene.caller.call_within(0, Some(SECOND / 2)).await;
    assert_eq!(impatient, Err(CallError::Timeout));
    let patient = scene.caller.call_within(0, Some(15 * SECOND)).await;
    assert!(patient.is_ok(), "{patient:?}");
    long.end(10 * SECOND).await;
    let counters = scene.servers[0].stats().await;
    assert_eq!((counters.expired, counters.jobs_started, counters.clock_jumps), (1, 2, 0));
    scene.assert_settled().await;
    assert_eq!(scene.length(REPLIES), 2, "nobody is answered who does not wait");
}

async fn a_handler_is_told_how_long_its_caller_still_waits<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    let tells = async |(): (), context: Context| Ok(context.remaining());
    let _server = served(&runtime, &scene, tells, |builder| builder).await;
    let call = scene.caller.client.call::<Option<Duration>>("odd.run", ()).timeout(5 * SECOND);
    let remaining = call.await.expect("it is served").expect("a call has a deadline");
    assert!((4 * SECOND..=5 * SECOND).contains(&remaining), "{remaining:?}");
    // Peers do not say.
    let envelope = r#"{"jsonrpc":"2.0","method":"odd.run","id":1}"#;
    scene.redis.command(&format!("XADD faults:cmds:odd * envelope {envelope} reply-to {RAW}"));
    scene.await_that("the reply", 5 * SECOND, |scene| scene.length(RAW) == 1).await;
    let replies = scene.redis.command(&format!("XRANGE {RAW} - +"));
    let reply = replies.array()[0].array()[1].array()[3].text();
    assert!(reply.contains(r#""result":null"#), "{reply}");
}

async fn a_call_within_a_context_waits_no_longer_than_its_own_caller<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    let inner: Arc<Mutex<Option<(CallError, Duration)>>> = Arc::default();
    let handler = {
        let (client, inner): (Client<R>, _) = (scene.caller.client.clone(), Arc::clone(&inner));
        let runtime = runtime.clone();
        move |(): (), context: Context| {
            let (client, inner) = (client.clone(), Arc::clone(&inner));
            let runtime = runtime.clone();
            async move {
                let begun = Instant::now();
                let call = client.call::<()>("nobody.home", ()).timeout(10 * SECOND);
                // It goes on when its own caller is gone.
                let error = call.within(&context).await.expect_err("nobody serves it");
                *inner.lock().unwrap() = Some((error, begun.elapsed()));
                runtime.sleep(SECOND).await;
                Ok(())
            }
        }
    };
    let _server = served(&runtime, &scene, handler, |builder| builder).await;
    let call = scene.caller.client.call::<()>("odd.run", ()).timeout(SECOND);
    assert_eq!(call.await, Err(CallError::Timeout));
    scene.await_that("its end", 5 * SECOND, |_| inner.lock().unwrap().is_some()).await;
    let (error, took) = inner.lock().unwrap().take().expect("it has ended");
    assert!(matches!(error, CallError::NoWorkers | CallError::Timeout), "{error:?}");
    assert!((SECOND / 2..2 * SECOND).contains(&took), "{took:?}");
}
