//! Target `names`: any text, read as a stream id, a method, a name, a version, an integer, a clock.
//!
//! What is accepted is written again as it was read. Not the URL of a target: that belongs to the
//! driver, which the fuzzer does not build.

use std::str;

use bytes::Bytes;
use clamator_engine::{Hello, StreamId, Value, Version};
use clamator_proto::{Json, Keys, Method, MethodName, ServiceName, integer};

use super::Seen;

pub(super) fn run(data: &[u8]) -> Seen {
    let mut seen = Seen::default();
    if let Some(id) = StreamId::parse(data) {
        seen.mark("id");
        assert_eq!(StreamId::parse(id.to_string().as_bytes()), Some(id));
        assert!(id.next() > id || id == StreamId::MAX);
        assert!(id.previous() < id || id == StreamId::ZERO);
        assert!(id == StreamId::MAX || id.next().previous() == id);
    }
    let clock = Value::Array(data.split(|byte| *byte == b' ').map(piece).collect());
    // Any of it may come from a server; none of it may end the process.
    let _ = (Hello::decode_time(&clock), Hello::decode(clock));
    let keys = Keys::new("app");
    assert!(!keys.is_replies(data) || data.starts_with(b"app:replies:"));
    let Ok(text) = str::from_utf8(data) else { return seen };
    if let Some(version) = Version::parse(text) {
        seen.mark("version");
        assert_eq!(Version::parse(&version.to_string()), Some(version));
    }
    if let Ok(method) = Method::parse(text) {
        seen.mark("method");
        assert_eq!(method.as_str(), text);
        let service = ServiceName::new(method.service()).expect("a method has a service's name");
        let name = MethodName::new(method.name()).expect("a method has a method's name");
        assert_eq!(Method::join(&service, &name).as_str(), text);
        let group = keys.commands(&service);
        assert!(!keys.is_replies(group.as_bytes()), "{group}");
    }
    let mut reader = serde_json::Deserializer::from_slice(data);
    if let Ok(whole) = integer::deserialize::<i64, _>(&mut reader) {
        seen.mark("integer");
        if let Ok(plain) = Json::parse(Bytes::copy_from_slice(data)).map(|json| json.decode()) {
            assert_eq!(plain.unwrap_or(whole), whole, "{text}");
        }
    }
    seen
}

fn piece(text: &[u8]) -> Value {
    match str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
        Some(number) => Value::Integer(number),
        None => Value::Bytes(Bytes::copy_from_slice(text)),
    }
}
