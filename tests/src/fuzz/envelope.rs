//! Target `envelope`: any text, read as an envelope.
//!
//! What is accepted is written and read again to the same; what is refused is refused in words. Not
//! the memory that reading takes, which `tests/tests/fuzz/memory.rs` measures.

use bytes::Bytes;
use clamator_proto::{DEPTH_MAX, Envelope, InvalidJson, Json, RawValue, Reason, RequestId, encode};
use serde_json::Value;

use super::script::Script;
use super::{Seen, material};

const IDS: [&str; 8] =
    [r#""i-1""#, "7", "-0.5e3", r#""\u00e9""#, "null", "true", r#""\ud800""#, "[1]"];

pub(super) fn run(data: &[u8]) -> Seen {
    // No JSON begins with a control character: behind one, an envelope is composed.
    match data {
        [0..=8, script @ ..] => {
            let mut script = Script::new(script);
            let ids = IDS.map(str::to_owned);
            check(&material::envelope(&mut script, &ids))
        }
        text => check(text),
    }
}

fn check(data: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let text = Bytes::copy_from_slice(data);
    match Envelope::parse(&text) {
        Err(fault) => {
            seen.mark(match fault.reason {
                Reason::Json(InvalidJson::TooDeep { .. }) => "too deep",
                _ => "refused",
            });
            assert!(matches!(fault.code(), -32700 | -32600), "{fault:?}");
            assert!(!fault.to_string().is_empty());
            if fault.code() == -32700 {
                assert!(fault.id.is_none() || depth(data) > DEPTH_MAX, "{fault:?}");
            }
        }
        Ok(envelope) => {
            assert!(depth(data) <= DEPTH_MAX, "nested {} deep", depth(data));
            seen.mark(match &envelope {
                Envelope::Failure(_) => "failure",
                Envelope::Notification(_) => "notification",
                Envelope::Request(_) => "request",
                Envelope::Success(_) => "success",
            });
            let written = write(&text, &envelope);
            let again = Envelope::parse(&written).unwrap_or_else(|fault| {
                panic!("{fault}: {}", String::from_utf8_lossy(&written));
            });
            assert_eq!(shown(&envelope), shown(&again), "{}", String::from_utf8_lossy(&written));
            assert_eq!(written, write(&written, &again), "writing changes what was written");
            // Somebody else's reader takes what is written too, but for what it cannot hold.
            let other = serde_json::from_slice::<Value>(&written);
            let fault = other.err().map(|fault| fault.to_string()).unwrap_or_default();
            let excuses = ["surrogate", "escape", "out of range", "recursion limit"];
            let excused = excuses.iter().any(|excuse| fault.contains(excuse));
            assert!(fault.is_empty() || excused, "{fault}");
        }
    }
    seen
}

/// How deep the brackets outside strings are nested at most.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// Writes an envelope again, with the pieces it was read with.
fn write(text: &Bytes, envelope: &Envelope<'_>) -> Bytes {
    let mut out = Vec::new();
    let json = |value: Option<&RawValue>| value.map(|value| Json::slice_of(text, value));
    match envelope {
        Envelope::Request(request) => {
            let (id, params) = (RequestId::from(request.id), json(request.params));
            encode::request(&mut out, &id, &request.method, params.as_ref());
        }
        Envelope::Notification(call) => {
            encode::notification(&mut out, &call.method, json(call.params).as_ref());
        }
        Envelope::Success(success) => {
            let result = Json::slice_of(text, success.result);
            encode::success(&mut out, &RequestId::from(success.id), &result);
        }
        Envelope::Failure(failure) => {
            let id = failure.id.map(RequestId::from);
            encode::failure(&mut out, id.as_ref(), &failure.error);
        }
    }
    out.into()
}

/// What was read: kind, id, method or code, payload. Absent params are written as `{}`.
fn shown(envelope: &Envelope<'_>) -> [String; 4] {
    let params = |params: Option<&RawValue>| params.map_or("{}", RawValue::get).to_owned();
    match envelope {
        Envelope::Request(it) => {
            ["request".into(), it.id.as_json().into(), it.method.as_str().into(), params(it.params)]
        }
        Envelope::Notification(it) => {
            ["notification".into(), String::new(), it.method.as_str().into(), params(it.params)]
        }
        Envelope::Success(it) => {
            ["success".into(), it.id.as_json().into(), String::new(), it.result.get().into()]
        }
        Envelope::Failure(it) => [
            "failure".into(),
            it.id.map_or("null", |id| id.as_json()).into(),
            it.error.code.to_string(),
            format!("{:?} {:?}", it.error.message, it.error.data),
        ],
    }
}
