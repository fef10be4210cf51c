//! Values nested as deep as there is room for on the wire, and one level deeper.
//!
//! An envelope may be 128 levels deep and is itself one around params and results, and two around an
//! error's data. Whoever makes a value that is too deep is told: its peer would drop it, or not
//! understand it.

use clamator_driver::{CallError, Context, InvalidCall, Json, RpcError, Runtime, Service};

use crate::stage::Stage;

every_transport!(
    params_are_nested_as_deep_as_a_server_reads_and_no_deeper,
    a_result_is_nested_as_deep_as_a_caller_reads_and_no_deeper,
    an_error_reaches_its_caller_however_deep_its_data,
);

/// A value nested as deep as this.
fn nested(depth: usize) -> Json {
    Json::parse("[".repeat(depth) + &"]".repeat(depth)).unwrap()
}

fn deep(sender: futures_channel::mpsc::UnboundedSender<Json>) -> Service {
    Service::new("deep")
        .request("echo", async |params: Json, _: Context| Ok(params))
        .request("wrap", async |params: Json, _: Context| Ok([params]))
        .request("fail", async |params: Json, _: Context| {
            Err::<(), _>(RpcError::new(7, "no").with_data(&params))?;
            Ok(())
        })
        .request("failAsIs", async |params: Json, _: Context| {
            let mut error = RpcError::new(7, "no");
            error.data = Some(params);
            Err::<(), _>(error)?;
            Ok(())
        })
        .notification("tell", move |params: Json, _: Context| {
            let sent = sender.unbounded_send(params);
            async move { Ok(sent?) }
        })
}

async fn params_are_nested_as_deep_as_a_server_reads_and_no_deeper<R: Runtime>(stage: Stage<R>) {
    let (sender, mut told) = futures_channel::mpsc::unbounded();
    let _server = stage.serve(deep(sender)).await;
    let client = stage.client().await;
    let most = nested(127);
    client.notify("deep.tell", &most).await.unwrap();
    assert_eq!(client.call::<Json>("deep.echo", &most).await, Ok(most.clone()));
    assert_eq!(told.try_recv(), Ok(most.clone()));
    let refused =
        CallError::Invalid(InvalidCall::Params { detail: "nested deeper than 127".into() });
    assert_eq!(client.notify("deep.tell", [&most]).await, Err(refused.clone()));
    assert_eq!(client.call::<Json>("deep.echo", [&most]).await, Err(refused));
}

async fn a_result_is_nested_as_deep_as_a_caller_reads_and_no_deeper<R: Runtime>(stage: Stage<R>) {
    let (sender, _told) = futures_channel::mpsc::unbounded();
    let _server = stage.serve(deep(sender)).await;
    let client = stage.client().await;
    assert_eq!(client.call::<Json>("deep.wrap", nested(126)).await, Ok(nested(127)));
    let outcome = client.call::<Json>("deep.wrap", nested(127)).await;
    let error = RpcError::invalid_result("EncodeError", "nested deeper than 127");
    assert_eq!(outcome, Err(CallError::Rpc(error)));
}

async fn an_error_reaches_its_caller_however_deep_its_data<R: Runtime>(stage: Stage<R>) {
    let (sender, _told) = futures_channel::mpsc::unbounded();
    let _server = stage.serve(deep(sender)).await;
    let client = stage.client().await;
    for method in ["deep.fail", "deep.failAsIs"] {
        for (depth, kept) in [(126, true), (127, false)] {
            let Err(CallError::Rpc(error)) = client.call::<()>(method, nested(depth)).await else {
                panic!("{method} does not fail")
            };
            assert_eq!((error.code, error.message.as_str()), (7, "no"), "{method}");
            let why = r#"{"name":"EncodeError","message":"nested deeper than 126"}"#;
            let data = if kept { nested(depth) } else { Json::parse(why).unwrap() };
            assert_eq!(error.data, Some(data), "{method}");
        }
    }
}
