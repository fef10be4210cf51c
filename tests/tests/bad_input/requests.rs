//! Garbage on a command stream, kind by kind.
//!
//! Not the mutations of good entries: see `generated`. Odd but valid requests are in here too: they
//! run, and nobody is warned.

use std::time::Duration;

use clamator_driver::Runtime;
use clamator_tests::process::now;
use clamator_tests::scenarios;

use crate::stage::{COMMANDS, Fields, PREFIX, Stage, UNREAD, Warning, texts};

scenarios!(
    an_entry_without_an_envelope_is_settled_with_one_warning,
    bytes_that_are_no_json_are_settled_with_one_warning,
    nesting_of_a_million_levels_is_settled_with_one_warning,
    json_that_is_no_request_is_settled_with_one_warning,
    the_caller_of_a_malformed_request_is_told_under_the_id_it_sent,
    a_request_that_is_odd_but_valid_is_served_without_a_warning,
    a_reply_goes_to_no_key_that_is_no_reply_stream,
    an_entry_of_a_hundred_megabytes_does_not_slow_down_what_comes_after_it,
);

const POISON: Warning = Some("redis poison envelope");
const MIB: usize = 1 << 20;
const DEEP: usize = 1_000_000;
const PROPER: &str = r#"{"jsonrpc":"2.0","method":"echo.echo","params":[1],"id":1}"#;

/// An entry with this envelope, whose reply is wanted by nobody in particular.
fn enveloped(envelope: impl Into<Vec<u8>>) -> Fields {
    let mut fields = texts(&[("type", "rpc"), ("envelope", ""), ("reply-to", UNREAD)]);
    fields[1].1 = envelope.into();
    fields
}

/// Adds these entries, then checks that each was warned about once and the next call is served.
async fn assert_poison<R: Runtime>(stage: &mut Stage<R>, entries: Vec<Fields>) {
    for fields in entries {
        stage.add_request(&fields, POISON);
    }
    stage.assert_served().await;
    stage.assert_settled().await;
    stage.assert_warned().await;
}

async fn an_entry_without_an_envelope_is_settled_with_one_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    let names: Vec<(String, String)> =
        (0..1000).map(|n| (format!("f{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|(name, n)| (&name[..], &n[..])).collect();
    let mut entries: Vec<Fields> = [
        &[("type", "rpc")][..],
        &[("", "")],
        &[("", PROPER)],
        &[("envelope", "")],
        &[("Envelope", PROPER), ("ENVELOPE", PROPER), (" envelope", PROPER)],
        &[("envelope", PROPER), ("envelope", "")],
        &[("type", "envelope"), ("reply-to", "envelope")],
        &[("reply-to", UNREAD)],
        &many,
    ]
    .map(texts)
    .into();
    entries.push(vec![(vec![b'x'; MIB], b"a name of a mebibyte".to_vec())]);
    entries.push(vec![(b"\xff\0\r\n".to_vec(), b"\xfe".to_vec())]);
    assert_poison(&mut stage, entries).await;
    assert_eq!(stage.length(UNREAD), 0, "there is nobody to answer");
}

async fn bytes_that_are_no_json_are_settled_with_one_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    let text = |text: &str| enveloped(text);
    let entries = vec![
        enveloped((0..=255).collect::<Vec<u8>>()),
        enveloped(b"{\"jsonrpc\":\"2.0\",\"method\":\"echo.echo\",\"id\":\"\xff\"}"),
        enveloped(b"{\"jsonrpc\":\"2.0\",\"method\":\"echo.echo\",\"id\":\"\xed\xa0\x80\"}"),
        enveloped([&b"\xef\xbb\xbf"[..], PROPER.as_bytes()].concat()),
        enveloped([PROPER.as_bytes(), b"x"].concat()),
        enveloped(&PROPER.as_bytes()[..PROPER.len() - 1]),
        enveloped(vec![0; MIB]),
        enveloped(vec![b'x'; MIB]),
        enveloped(vec![b'"'; MIB]),
        enveloped(vec![b'{'; MIB]),
        text(" "),
        text("envelope"),
        text("reply-to"),
        text("rpc"),
        text(r#"{"jsonrpc":"2.0","method":"echo.echo","params":[NaN],"id":1}"#),
        text(r#"{"jsonrpc":"2.0","method":"echo.echo","params":[-Infinity],"id":1}"#),
        text(r#"{"jsonrpc":"2.0","method":"echo.echo","params":['x'],"id":1}"#),
        text(r#"{"jsonrpc":"2.0","method":"echo.echo","params":[01],"id":1}"#),
        text(r#"{"jsonrpc":"2.0","method":"echo.echo","params":["\x"],"id":1}"#),
        text(r#"{"jsonrpc":"2.0","method":"echo.echo",}"#),
        text("{\"jsonrpc\":\"2.0\",\"method\":\"echo.echo\",\"id\":\"\n\"}"),
    ];
    assert_poison(&mut stage, entries).await;
}

async fn nesting_of_a_million_levels_is_settled_with_one_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(DEEP), close.repeat(DEEP));
    let inside = |member: &str, nested: &str| {
        enveloped(format!(r#"{{"jsonrpc":"2.0","method":"echo.echo","{member}":{nested},"x":1}}"#))
    };
    let entries = vec![
        enveloped(nested("[", "")),
        enveloped(nested("[", "]")),
        enveloped(nested("{\"a\":", "")),
        enveloped(nested("[{\"a\":", "0}]")),
        inside("params", &nested("[", "]")),
        inside("id", &nested("[", "]")),
        inside("unknown", &nested("[", "]")),
        inside("params", &nested("[", "")),
    ];
    assert_poison(&mut stage, entries).await;
}

async fn json_that_is_no_request_is_settled_with_one_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    let mut entries: Vec<Fields> = [
        "null",
        "true",
        "0",
        "-1e400",
        "\"\"",
        "[]",
        "{}",
        "[[]]",
        "\"{}\"",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":null}"#,
    ]
    .map(enveloped)
    .into();
    entries.push(enveloped(format!("[{PROPER}]")));
    let odd = ["null", "true", "2.0", "[]", "{}", "\"\"", "\"2\"", "[\"2.0\"]", r#""\ud800""#];
    for value in odd {
        entries.push(enveloped(format!(r#"{{"jsonrpc":{value},"method":"echo.echo","id":1}}"#)));
        entries.push(enveloped(format!(r#"{{"jsonrpc":"2.0","method":{value},"id":1}}"#)));
    }
    for id in ["true", "false", "[]", "{}", "[1]"] {
        entries.push(enveloped(format!(r#"{{"jsonrpc":"2.0","method":"echo.echo","id":{id}}}"#)));
    }
    for method in ["echo", ".", "echo.", ".echo", "Echo.echo", "echo.Echo", "echo.a.b", "é.echo"] {
        entries.push(enveloped(format!(r#"{{"jsonrpc":"2.0","method":"{method}","id":1}}"#)));
    }
    assert_poison(&mut stage, entries).await;
}

async fn the_caller_of_a_malformed_request_is_told_under_the_id_it_sent<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    let ids =
        [r#""é\u0041\ud800""#, "1.0", "-0", "123456789012345678901234567890", "1e400", "\"\""];
    let entries = ids.map(|id| enveloped(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#)));
    assert_poison(&mut stage, entries.into()).await;
    let replies = stage.envelopes(UNREAD);
    assert_eq!(replies.len(), ids.len());
    for (id, reply) in ids.into_iter().zip(replies) {
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32600,"#);
        assert!(reply.starts_with(&start), "{reply}");
    }
}

async fn a_request_that_is_odd_but_valid_is_served_without_a_warning<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    let names: Vec<String> = (0..1000).map(|n| format!("f{n}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (&name[..], "envelope")).collect();
    many.extend([("", ""), ("envelope", PROPER), ("reply-to", UNREAD)]);
    let params = [
        r#"{"jsonrpc":"2.0","method":"echo.echo","params":["\ud800",1e999,-0],"id":"a\u0000"}"#,
        r#"{"id":1,"id":2,"method":"x","method":"echo.echo","jsonrpc":"1","jsonrpc":"2.0"}"#,
        "\r\n\t {\"jsonrpc\":\"2.0\",\"method\":\"echo.echo\",\"id\":0} \n",
    ];
    let mut entries: Vec<Fields> = params.map(enveloped).into();
    entries.push(texts(&many));
    entries.push(texts(&[("type", "envelope"), ("envelope", PROPER), ("reply-to", UNREAD)]));
    for trace in ["", "envelope", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\0"] {
        let mut fields = enveloped(PROPER);
        fields.extend(texts(&[("traceparent", trace)]));
        entries.push(fields);
    }
    let long = format!(r#"{{"jsonrpc":"2.0","method":"echo.echo","id":"{}"}}"#, "x".repeat(MIB));
    entries.push(enveloped(long));
    let wide = format!("[{}0]", "0,".repeat(MIB / 2));
    entries.push(enveloped(PROPER.replace("[1]", &wide)));
    for fields in &entries {
        stage.add_request(fields, None);
    }
    stage.assert_served().await;
    stage.assert_settled().await;
    stage.assert_warned().await;
    let replies = stage.envelopes(UNREAD);
    assert_eq!(replies.len(), entries.len(), "each was answered");
    assert!(replies.iter().all(|reply| reply.contains(r#""result":"#)), "{:?}", replies[0]);
    assert!(replies[0].contains(r#"["\ud800",1e999,-0]"#), "{}", replies[0]);
}

async fn a_reply_goes_to_no_key_that_is_no_reply_stream<R: Runtime>(runtime: R) {
    let mut stage = Stage::start(runtime).await;
    stage.redis.command("SET bad:replies:string x");
    let refused = Some("reply-to refused");
    let other = stage.replies.replace(PREFIX, "other");
    let spaced = format!(" {}", stage.replies);
    let keys: [(&[u8], Warning); 12] = [
        (COMMANDS.as_bytes(), refused),
        (b"bad:replies:", refused),
        (b"bad:replies", refused),
        (other.as_bytes(), refused),
        (spaced.as_bytes(), refused),
        (b"reply-to", refused),
        (b"envelope", refused),
        (b"\xff\0", refused),
        (b"bad:replies:string", Some("redis reply refused")),
        (b"bad:replies:\xff\0 ", None),
        // As if there were none.
        (b"", None),
        (UNREAD.as_bytes(), None),
    ];
    for (key, warning) in keys {
        let mut fields = enveloped(PROPER);
        fields[2].1 = key.into();
        stage.add_request(&fields, warning);
    }
    stage.assert_served().await;
    stage.assert_settled().await;
    stage.assert_warned().await;
    assert_eq!(stage.redis.command("GET bad:replies:string").text(), "x");
    let server = stage.server.as_ref().expect("there is a server");
    let stats = server.stats().await;
    // All of them ran, and the proper call.
    assert_eq!(stats.jobs_started, 13);
    assert_eq!((stats.reply_to_refused, stats.replies_refused), (8, 1));
    let mut keys = stage.redis.command("KEYS *").array().len();
    // The two streams of the command side and of the client, and the three keys written above.
    keys -= 2;
    assert_eq!(keys, 3, "{:?}", stage.redis.command("KEYS *"));
}

/// A connection has room for the largest value it ever carried: what comes after must not pay for
/// it.
async fn an_entry_of_a_hundred_megabytes_does_not_slow_down_what_comes_after_it<R: Runtime>(
    runtime: R,
) {
    let mut stage = Stage::start(runtime).await;
    let before = small_entries(&mut stage).await;
    let huge = vec![(b"payload".to_vec(), vec![b'x'; 100 * MIB])];
    assert_poison(&mut stage, vec![huge]).await;
    let after = small_entries(&mut stage).await;
    assert!(after < 4 * before, "2000 small entries took {before:?} before and {after:?} after");
}

/// Settles 2000 small entries and tells how long that took.
async fn small_entries<R: Runtime>(stage: &mut Stage<R>) -> Duration {
    let begun = now();
    for _ in 0..10 {
        assert_poison(stage, vec![texts(&[("type", "rpc")]); 200]).await;
    }
    begun.elapsed()
}
