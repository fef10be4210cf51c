//! Garbage on a client's reply stream.
//!
//! Not a server's fault, but somebody's: whoever can write the stream can write anything. A reply
//! that cannot be read is warned about once and dropped; one that names a call ends that call, as
//! an error of the protocol, and no other.

use std::time::Duration;

use clamator_driver::{CallError, ProtocolFault, Runtime};
use clamator_tests::scenarios;
use clamator_tests::world::Async;
use serde_json::Value;

use crate::stage::{COMMANDS, Fields, Stage, Warning, texts};

scenarios!(
    a_reply_that_cannot_be_read_is_dropped_with_one_warning,
    a_reply_to_nobody_is_dropped_without_a_warning,
    garbage_that_names_a_call_ends_that_call_and_no_other,
);

const UNREADABLE: Warning = Some("redis reply parse failed");
/// How long a call may take to end once it was answered.
const SOON: Duration = Duration::from_secs(5);
const MIB: usize = 1 << 20;
const DEEP: usize = 1_000_000;

fn enveloped(envelope: impl Into<Vec<u8>>) -> Fields {
    vec![(b"type".to_vec(), b"rpc".to_vec()), (b"envelope".to_vec(), envelope.into())]
}

async fn a_reply_that_cannot_be_read_is_dropped_with_one_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    stage.assert_served().await;
    let mut entries = vec![
        texts(&[("type", "rpc")]),
        texts(&[("", "")]),
        texts(&[("envelope", "")]),
        texts(&[("type", "envelope"), ("x", "envelope")]),
        enveloped((0..=255).collect::<Vec<u8>>()),
        enveloped(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"result\":1}"),
        enveloped("\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}"),
        enveloped(vec![b'x'; MIB]),
        enveloped(vec![0; MIB]),
        enveloped("[".repeat(DEEP)),
        enveloped("[".repeat(DEEP) + &"]".repeat(DEEP)),
        enveloped(format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{}{}}}"#,
            "[".repeat(DEEP),
            "]".repeat(DEEP)
        )),
    ];
    let texts = [
        "null",
        "1",
        "[]",
        "{}",
        "NaN",
        "envelope",
        r#"[{"jsonrpc":"2.0","id":1,"result":1}]"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","result":1}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":1}"#,
        r#"{"jsonrpc":2.0,"id":1,"result":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":NaN}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":null}}"#,
        r#"{"jsonrpc":"2.0","method":"nodot","id":1}"#,
    ];
    entries.extend(texts.map(enveloped));
    for fields in &entries {
        stage.add_reply(fields, UNREADABLE);
    }
    stage.assert_served().await;
    stage.assert_warned().await;
    let stats = stage.client.stats().await;
    assert_eq!(stats.replies_unparsable, u64::try_from(entries.len()).unwrap());
}

async fn a_reply_to_nobody_is_dropped_without_a_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    stage.assert_served().await;
    let own = format!(r#"{{"jsonrpc":"2.0","id":"{}-1","result":"\ud800"}}"#, stage.caller);
    let entries = [
        r#"{"jsonrpc":"2.0","id":1,"result":1}"#,
        &own,
        r#"{"jsonrpc":"2.0","id":"\ud800","result":1e999}"#,
        r#"{"jsonrpc":"2.0","id":{"a":[1]},"result":1}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":""}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":[1]}}"#,
        r#"{"jsonrpc":"2.0","method":"echo.echo","id":1}"#,
        r#"{"jsonrpc":"2.0","method":"echo.echo"}"#,
    ];
    for envelope in entries {
        stage.add_reply(&enveloped(envelope), None);
    }
    stage.assert_served().await;
    // Time for what should not be said.
    stage.runtime.sleep(Duration::from_millis(200)).await;
    stage.assert_warned().await;
    assert_eq!(stage.client.stats().await.replies_unmatched, 8);
}

async fn garbage_that_names_a_call_ends_that_call_and_no_other<R: Runtime>(runtime: R) {
    let mut stage = Stage::without_server(runtime).await;
    let replies = [
        (r#"{"jsonrpc":"2.0","id":ID}"#, "invalid response envelope"),
        (r#"{"jsonrpc":"2.0","id":ID,"result":1,"error":null}"#, "invalid response envelope"),
        (r#"{"jsonrpc":"2.0","id":ID,"error":{"code":1.5,"message":"m"}}"#, "numeric code"),
        (r#"{"jsonrpc":"1.0","id":ID,"result":1}"#, "jsonrpc must equal"),
        (r#"{"jsonrpc":"2.0","id":ID,"method":"echo.echo"}"#, "unexpected response kind: request"),
        (r#"{"jsonrpc":"2.0","id":ID,"result":"text"}"#, "expected type"),
    ];
    let mut other = stage.runtime.task(stage.client.call::<u64>("echo.echo", 0));
    let mut seen = wait_for_requests(&stage, 1).await.len();
    for (reply, expected) in replies {
        let call = stage.runtime.task(stage.client.call::<u64>("echo.echo", 1));
        let ids = wait_for_requests(&stage, seen + 1).await;
        seen = ids.len();
        stage.add_reply(&enveloped(reply.replace("ID", &ids[seen - 1])), None);
        let ended = stage.runtime.within(SOON, "the end of the call", call).await;
        let Err(CallError::Protocol(fault)) = ended else { panic!("{reply}: {ended:?}") };
        assert!(fault.to_string().contains(expected), "{fault}");
        assert!(other.finished().is_none(), "another call ended");
    }
    let first = wait_for_requests(&stage, seen).await.remove(0);
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{first},"result":5.0}}"#);
    stage.add_reply(&enveloped(reply), None);
    let ended = stage.runtime.within(SOON, "the end of the other call", other).await;
    // A number with a fraction part is no integer here: see `clamator_driver::integer`.
    assert!(matches!(ended, Err(CallError::Protocol(ProtocolFault::Result { .. }))), "{ended:?}");
    stage.assert_warned().await;
}

/// The ids of the requests on the command stream, as JSON, once there are this many.
async fn wait_for_requests<R: Runtime>(stage: &Stage<R>, count: usize) -> Vec<String> {
    for _ in 0..500 {
        let requests = stage.envelopes(COMMANDS);
        if requests.len() >= count {
            let id = |text: &String| serde_json::from_str::<Value>(text).unwrap()["id"].to_string();
            return requests.iter().map(id).collect();
        }
        stage.runtime.sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} requests were not sent within 5 s");
}
