//! Dead letters: what is started again and again and never ends is put aside, and an operator can
//! put it back (rule 4.8).
//!
//! Not what is no request at all: that is with the other peers' tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clamator_driver::{
    CallError, Context, Operator, OperatorError, Runtime, Server, Service, ServiceName, StreamId,
};
use clamator_engine::access::Role;
use clamator_tests::world::Async;

use crate::scene::{PREFIX, Scene};

clamator_tests::scenarios!(
    what_never_ends_is_put_aside_told_and_put_back,
    what_is_put_aside_is_listed_page_by_page_and_removed,
    an_operator_is_told_when_it_cannot_be_one,
);

const SECOND: Duration = Duration::from_secs(1);

fn odd() -> ServiceName {
    ServiceName::new("odd").expect("a good name")
}

async fn operator<R: Runtime>(runtime: &R, scene: &Scene<R>) -> Operator<R> {
    let connecting =
        Operator::connect_on(runtime.clone(), PREFIX, scene.redis.target(Role::Operator));
    runtime.within(5 * SECOND, "the operator", connecting).await.expect("Redis is there")
}

async fn what_never_ends_is_put_aside_told_and_put_back<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    let starts = Arc::new(AtomicUsize::new(0));
    let handler = {
        let starts = Arc::clone(&starts);
        move |(): (), _: Context| {
            let start = starts.fetch_add(1, Ordering::SeqCst);
            async move {
                if start < 2 {
                    std::future::pending::<()>().await;
                }
                Ok("done")
            }
        }
    };
    let service = Service::new("odd").request("run", handler);
    let server = Server::builder(PREFIX)
        .service(service)
        .claim_idle(SECOND / 2)
        .handler_timeout(SECOND / 4)
        .reclaim_tick(SECOND / 4)
        .deliveries_max(2)
        .start_on(runtime.clone(), scene.redis.target(Role::Server))
        .await
        .expect("the server starts");
    let call = scene.caller.client.call::<String>("odd.run", ()).timeout(20 * SECOND);
    let told = runtime.within(15 * SECOND, "the error", call).await;
    let Err(CallError::Rpc(error)) = &told else { panic!("{told:?}") };
    assert!(error.to_string().contains("-32603"), "{error}");
    assert_eq!(starts.load(Ordering::SeqCst), 2, "a third start would be one too many");
    let left = scene.redis.command("XPENDING faults:cmds:odd odd").array()[0].integer();
    assert!(left <= 1, "{left} pending");
    assert_eq!(server.stats().await.dead_letters, 1);
    let operator = operator(&runtime, &scene).await;
    let letters = operator.list(&odd(), StreamId::ZERO, 10).await.expect("Redis is there");
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((letter.deliveries, letter.reason.as_str()), (2, "delivered too often"));
    let names: Vec<&[u8]> = letter.fields.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, [&b"type"[..], b"envelope", b"reply-to", b"timeout-ms"]);
    // The reason is mended: the third start ends.
    let requeued = operator.requeue(&odd(), letter.id).await.expect("it is there");
    assert!(requeued.removed && Some(requeued.entry) > letter.entry, "{requeued:?}");
    scene.await_that("the third start", 5 * SECOND, |_| starts.load(Ordering::SeqCst) == 3).await;
    assert_eq!(operator.list(&odd(), StreamId::ZERO, 10).await, Ok(vec![]));
    assert_eq!(operator.requeue(&odd(), letter.id).await, Err(OperatorError::NotFound));
    operator.stop().await;
    runtime.within(10 * SECOND, "the stop", server.shutdown()).await;
}

async fn what_is_put_aside_is_listed_page_by_page_and_removed<R: Runtime>(runtime: R) {
    let scene = Scene::without_server(&runtime).await;
    for number in 0..5 {
        scene.redis.command(&format!(
            "XADD faults:dead:odd 1-{} envelope {number} dead-entry 7-{number} dead-deliveries 10",
            number + 1
        ));
    }
    let operator = operator(&runtime, &scene).await;
    let (mut after, mut pages) = (StreamId::ZERO, Vec::new());
    loop {
        let page = operator.list(&odd(), after, 2).await.expect("Redis is there");
        let Some(last) = page.last() else { break };
        after = last.id;
        pages.push(page.iter().map(|it| it.entry.expect("a name").seq).collect::<Vec<u64>>());
    }
    assert_eq!(pages, [vec![0, 1], vec![2, 3], vec![4]]);
    for there in [true, false] {
        assert_eq!(operator.remove(&odd(), StreamId::new(1, 2)).await, Ok(there));
    }
    assert_eq!(scene.length("faults:dead:odd"), 4);
    operator.clone().stop().await;
    assert_eq!(operator.list(&odd(), StreamId::ZERO, 2).await, Err(OperatorError::Stopped));
}

async fn an_operator_is_told_when_it_cannot_be_one<R: Runtime>(runtime: R) {
    let mut scene = Scene::without_server(&runtime).await;
    let operator = operator(&runtime, &scene).await;
    scene.redis.command("SET faults:dead:odd x");
    let refused = operator.list(&odd(), StreamId::ZERO, 2).await;
    assert!(matches!(&refused, Err(OperatorError::Refused(it)) if it.code == "WRONGTYPE"));
    scene.redis.kill();
    let unsent = async {
        loop {
            match operator.remove(&odd(), StreamId::new(1, 2)).await {
                Err(OperatorError::NotSent) => break,
                Err(OperatorError::OutcomeUnknown) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    runtime.within(5 * SECOND, "the news", unsent).await;
}
