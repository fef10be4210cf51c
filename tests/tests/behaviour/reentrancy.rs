//! Handlers that call the service they belong to: refused at once where they would wait for
//! themselves, and served where they do not.
//!
//! Rule 5.8. Not calls to other services, which never wait for each other, but for one that shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clamator_driver::{CallError, Client, Concurrency, Context, HandlerError, Runtime, Service};
use clamator_tests::world::Async;

use crate::stage::{PREFIX, Stage};

every_transport!(
    a_handler_that_calls_its_own_serial_service_is_told_at_once,
    a_handler_may_call_other_services_and_its_own_under_another_prefix,
    a_handler_may_notify_its_own_service,
    a_service_that_runs_several_handlers_may_call_itself,
    where_it_is_allowed_another_server_of_the_pool_takes_the_call,
    where_it_is_allowed_a_lone_server_goes_on_when_the_call_has_timed_out,
    a_task_that_a_handler_spawns_is_not_seen,
);

const SOON: Duration = Duration::from_secs(2);

/// A service that calls itself as often as it is told, and tells who ran and how that ended.
fn count<R: Runtime>(client: &Client<R>, timeout: Duration) -> Service {
    let client = client.clone();
    Service::new("count").request("down", move |left: u64, context: Context| {
        let client = client.clone();
        async move {
            if left == 0 {
                return Ok(vec![context.instance().to_owned()]);
            }
            let next = client.call::<Vec<String>>("count.down", left - 1).timeout(timeout);
            let mut all = match next.await {
                Ok(all) => all,
                Err(CallError::Reentrant) => vec!["reentrant".to_owned()],
                // No worker was given it, which is known on some.
                Err(CallError::NoWorkers | CallError::Timeout) => vec!["timeout".to_owned()],
                Err(error) => return Err(HandlerError::from(error)),
            };
            all.push(context.instance().to_owned());
            Ok(all)
        }
    })
}

/// Calls `count.down`.
async fn down<R: Runtime>(stage: &Stage<R>, client: &Client<R>, left: u64) -> Vec<String> {
    let call = client.call::<Vec<String>>("count.down", left);
    stage.runtime.within(SOON, "the call", call).await.unwrap()
}

async fn a_handler_that_calls_its_own_serial_service_is_told_at_once<R: Runtime>(stage: Stage<R>) {
    let client = stage.client().await;
    for concurrency in [Concurrency::Serial, Concurrency::Limit(1)] {
        let service = count(&client, Duration::from_secs(60)).concurrency(concurrency);
        let server = stage.serve(service).await;
        // Also by a client that connected elsewhere in the program.
        let answer = down(&stage, &stage.client().await, 3).await;
        assert_eq!(answer, ["reentrant", server.instance()]);
        assert_eq!(server.stats().await.jobs_started, 1, "nothing was sent");
        // It is the handler's affair, not the caller's.
        assert_eq!(down(&stage, &client, 0).await, [server.instance()]);
        server.shutdown().await;
    }
}

async fn a_handler_may_call_other_services_and_its_own_under_another_prefix<R: Runtime>(
    stage: Stage<R>,
) {
    let other_home = Client::builder("elsewhere");
    let target = stage.unrestricted();
    let other_home = other_home.connect_on(stage.runtime.clone(), &target).await.unwrap();
    let far = Service::new("front").request("ask", async |(): (), _: Context| Ok("far"));
    let far = clamator_driver::Server::builder("elsewhere").service(far);
    let _far = far.start_on(stage.runtime.clone(), &target).await.unwrap();
    let back = Service::new("back").request("ask", async |(): (), _: Context| Ok("back"));
    let client = stage.client().await;
    let front = {
        let client = client.clone();
        Service::new("front").request("ask", move |(): (), _: Context| {
            let (near, far) = (client.clone(), other_home.clone());
            async move {
                let near: String = near.call("back.ask", ()).await?;
                let far: String = far.call("front.ask", ()).await?;
                Ok(format!("{near} and {far}"))
            }
        })
    };
    let _server = stage.start(stage.server().service(front).service(back)).await.unwrap();
    assert_eq!(client.call::<String>("front.ask", ()).await.unwrap(), "back and far");
}

async fn a_handler_may_notify_its_own_service<R: Runtime>(stage: Stage<R>) {
    let client = stage.client().await;
    let heard = Arc::new(AtomicUsize::new(0));
    let service = {
        let (client, heard) = (client.clone(), Arc::clone(&heard));
        Service::new("echo")
            .request("shout", move |(): (), _: Context| {
                let client = client.clone();
                async move { Ok(client.notify("echo.hear", ()).await?) }
            })
            .notification("hear", move |(): (), _: Context| {
                heard.fetch_add(1, Ordering::SeqCst);
                async { Ok(()) }
            })
    };
    let _server = stage.serve(service).await;
    client.call::<()>("echo.shout", ()).await.unwrap();
    stage.runtime.until("it is heard", || heard.load(Ordering::SeqCst) == 1).await;
}

async fn a_service_that_runs_several_handlers_may_call_itself<R: Runtime>(stage: Stage<R>) {
    let client = stage.client().await;
    let service = count(&client, SOON).concurrency(Concurrency::Limit(3));
    let server = stage.serve(service).await;
    assert_eq!(down(&stage, &client, 2).await, [server.instance(); 3]);
}

async fn where_it_is_allowed_another_server_of_the_pool_takes_the_call<R: Runtime>(
    stage: Stage<R>,
) {
    let client = stage.client().await;
    let service = || count(&client, SOON).allow_reentrant();
    let first = stage.serve(service()).await;
    let second = stage.serve(service()).await;
    let mut instances = [first.instance(), second.instance()];
    instances.sort_unstable();
    // Often: so fast a handler that a server would fetch much ahead if it might.
    for _ in 0..50 {
        let mut ran = down(&stage, &client, 1).await;
        ran.sort();
        assert_eq!(ran, instances);
    }
    let started = first.stats().await.jobs_started + second.stats().await.jobs_started;
    assert_eq!(started, 100, "each once");
}

async fn where_it_is_allowed_a_lone_server_goes_on_when_the_call_has_timed_out<R: Runtime>(
    stage: Stage<R>,
) {
    let client = stage.client().await;
    let service = count(&client, Duration::from_millis(100)).allow_reentrant();
    let server = stage.serve(service).await;
    assert_eq!(down(&stage, &client, 1).await, ["timeout", server.instance()]);
    assert_eq!(down(&stage, &client, 0).await, [server.instance()]);
}

async fn a_task_that_a_handler_spawns_is_not_seen<R: Runtime>(stage: Stage<R>) {
    let client = stage.client().await;
    let service = {
        let (client, runtime) = (client.clone(), stage.runtime.clone());
        Service::new("deep").request("dive", move |(): (), _: Context| {
            let call = client.call::<()>("deep.dive", ()).timeout(Duration::from_millis(100));
            let task = runtime.task(call);
            async move { Ok(matches!(task.await, Err(CallError::Timeout))) }
        })
    };
    let _server = stage.serve(service).await;
    let builder = Client::builder(PREFIX);
    let caller = builder.connect_on(stage.runtime.clone(), &stage.target).await.unwrap();
    assert!(caller.call::<bool>("deep.dive", ()).await.unwrap());
}
