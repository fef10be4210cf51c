//! Which trace a request belongs to is told to its handler, and to those that the handler calls.
//!
//! Not spans: none are made here. What others may write into the field is in `bad_input`.

use clamator_driver::{Context, Runtime, Server, Service};
use clamator_tests::world::Async;

use crate::arith::Seen;
use crate::stage::Stage;

every_transport!(
    a_trace_goes_with_a_call_and_on_with_what_its_handler_calls,
    a_trace_goes_with_a_notification,
    what_is_no_trace_is_not_sent_and_harms_no_call,
);

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Serves `inner.tell`, which tells what it was told, `outer.ask` and `outer.within`, which ask that,
/// and `inner.note`, which notes it.
async fn serve<R: Runtime>(stage: &Stage<R>, seen: &Seen) -> Server<R> {
    let told = |context: &Context| context.traceparent().map(str::to_owned);
    let (client, seen) = (stage.client().await, seen.clone());
    let inner = Service::new("inner")
        .request("tell", move |(): (), context: Context| async move { Ok(told(&context)) })
        .notification("note", move |(): (), context: Context| {
            seen.lines.lock().unwrap().push(told(&context).unwrap_or_default());
            async { Ok(()) }
        });
    let caller = client.clone();
    let outer = Service::new("outer")
        .request("ask", move |(): (), context: Context| {
            let call = client.call::<Option<String>>("inner.tell", ());
            let call = call.traceparent(context.traceparent());
            async move { Ok(call.await?) }
        })
        .request("within", move |(): (), context: Context| {
            let call = caller.call::<Option<String>>("inner.tell", ()).within(&context);
            async move { Ok(call.await?) }
        });
    stage.start(stage.server().service(inner).service(outer)).await.unwrap()
}

async fn a_trace_goes_with_a_call_and_on_with_what_its_handler_calls<R: Runtime>(stage: Stage<R>) {
    let _server = serve(&stage, &Seen::default()).await;
    let client = stage.client().await;
    for method in ["inner.tell", "outer.ask", "outer.within"] {
        let call = client.call::<Option<String>>(method, ());
        assert_eq!(call.traceparent(TRACE).await, Ok(Some(TRACE.into())), "{method}");
        assert_eq!(client.call(method, ()).await, Ok(None::<String>), "{method}");
    }
}

async fn a_trace_goes_with_a_notification<R: Runtime>(stage: Stage<R>) {
    let seen = Seen::default();
    let _server = serve(&stage, &seen).await;
    let client = stage.client().await;
    client.notify("inner.note", ()).traceparent(TRACE).await.unwrap();
    stage.runtime.until("the note", || seen.lines() == [TRACE]).await;
}

async fn what_is_no_trace_is_not_sent_and_harms_no_call<R: Runtime>(stage: Stage<R>) {
    let _server = serve(&stage, &Seen::default()).await;
    let client = stage.client().await;
    for text in ["", "envelope", &TRACE[1..], &TRACE.to_uppercase()] {
        let call = client.call::<Option<String>>("inner.tell", ()).traceparent(text);
        assert_eq!(call.await, Ok(None), "{text}");
    }
}
