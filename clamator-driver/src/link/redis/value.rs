//! From the values of `redis` to those of the engine: bytes are moved, never copied.
//!
//! Not their meaning: that is [`clamator_engine::ReplyShape`]. Nothing is refused here; what no
//! command in use answers with becomes [`Value::Other`].

use bytes::Bytes;
use clamator_engine::{Refusal, Value};

/// Takes a value over.
pub(super) fn convert(value: redis::Value) -> Value {
    match value {
        redis::Value::Array(values) | redis::Value::Set(values) => list(values),
        redis::Value::Attribute { data, .. } => convert(*data),
        redis::Value::BulkString(bytes) => Value::Bytes(Bytes::from(bytes)),
        redis::Value::Int(integer) => Value::Integer(integer),
        redis::Value::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(key, value)| (convert(key), convert(value)));
            Value::Map(pairs.collect())
        }
        redis::Value::Nil => Value::Nil,
        redis::Value::Okay => Value::Bytes(Bytes::from_static(b"OK")),
        redis::Value::Push { data, .. } => list(data),
        redis::Value::ServerError(error) => Value::Error(refusal(&error)),
        redis::Value::SimpleString(text) | redis::Value::VerbatimString { text, .. } => {
            Value::Bytes(Bytes::from(text))
        }
        redis::Value::BigNumber(_) | redis::Value::Boolean(_) | redis::Value::Double(_) => {
            Value::Other
        }
        _ => Value::Other,
    }
}

/// Takes over what a server said when it refused.
pub(super) fn refusal(error: &redis::ServerError) -> Refusal {
    Refusal::new(error.code(), error.details().unwrap_or_default())
}

fn list(values: Vec<redis::Value>) -> Value {
    Value::Array(values.into_iter().map(convert).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_data_keeps_its_order_and_its_bytes() {
        let redis = redis::Value::Array(vec![
            redis::Value::BulkString(b"\xff".to_vec()),
            redis::Value::Map(vec![(redis::Value::Okay, redis::Value::Nil)]),
            redis::Value::Push {
                kind: redis::PushKind::Other("x".into()),
                data: vec![redis::Value::Int(-1)],
            },
        ]);
        let ours = Value::Array(vec![
            Value::Bytes(Bytes::from_static(b"\xff")),
            Value::Map(vec![(Value::Bytes(Bytes::from_static(b"OK")), Value::Nil)]),
            Value::Array(vec![Value::Integer(-1)]),
        ]);
        assert_eq!(convert(redis), ours);
    }

    #[test]
    fn an_error_keeps_its_first_word_and_the_rest_apart() {
        let error = redis::parse_redis_value(b"-NOGROUP No such key 'k'\r\n").unwrap();
        let refusal = Refusal::new("NOGROUP", "No such key 'k'");
        assert_eq!(convert(error), Value::Error(refusal));
        let error = redis::parse_redis_value(b"-READONLY You can't write\r\n").unwrap();
        assert_eq!(convert(error), Value::Error(Refusal::new("READONLY", "You can't write")));
    }

    #[test]
    fn what_no_command_answers_with_is_other() {
        assert_eq!(convert(redis::Value::Boolean(true)), Value::Other);
        assert_eq!(convert(redis::Value::Double(1.0)), Value::Other);
    }
}
