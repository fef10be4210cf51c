//! Reading the handshake: from the replies to `HELLO` and `TIME` to [`Hello`].
//!
//! Not the handshake itself: what is asked, and with which credentials, is the business of whoever
//! opens the connection. Takes RESP2 and RESP3 shapes; a refusal is the reason why the lane cannot
//! be opened, sorted by what an operator may do. So is the role of a replica: it would answer reads,
//! and nobody who only reads would ever learn that what is written is written elsewhere.
//!
//! <https://redis.io/docs/latest/commands/hello/>, <https://redis.io/docs/latest/commands/time/>

use core::str;
use core::time::Duration;

use crate::engine::{Hello, Loss, Version};
use crate::reply::{Refusal, Reply};
use crate::resp::{ReplyShape, Value, bytes, pairs};

impl Hello {
    /// Reads the reply to `HELLO`. The clock is not in it: see [`Self::decode_time`].
    ///
    /// # Errors
    /// [`Loss::Credentials`] or [`Loss::Unfit`] when the server refused, or is a replica;
    /// [`Loss::Garbled`] when the reply has no version; to be handed in with
    /// [`Input::LaneLost`](crate::Input::LaneLost).
    pub fn decode(reply: Value) -> Result<Self, Loss> {
        if let Value::Error(refusal) = reply {
            let credentials = matches!(refusal.code.as_str(), "NOAUTH" | "NOPERM" | "WRONGPASS");
            return Err(if credentials {
                Loss::Credentials { detail: alloc::format!("{refusal}") }
            } else {
                Loss::Unfit(refusal)
            });
        }
        let (hello, replica) = hello(reply)
            .ok_or_else(|| Loss::Garbled { detail: "the reply to HELLO has no version".into() })?;
        if replica {
            return Err(Loss::Unfit(Refusal::new("READONLY", "the server is a replica")));
        }
        Ok(hello)
    }

    /// Reads the reply to `TIME`: what has passed since the Unix epoch; `None` when it was refused.
    #[must_use]
    pub fn decode_time(reply: &Value) -> Option<Duration> {
        match ReplyShape::Time.decode(reply.clone()) {
            Ok(Ok(Reply::Time(time))) => Some(time),
            Ok(_) | Err(_) => None,
        }
    }
}

/// What the server says of itself, and whether it is a replica.
fn hello(reply: Value) -> Option<(Hello, bool)> {
    let (mut version, mut client_id, mut valkey, mut replica) = (None, None, false, false);
    for (name, value) in pairs(reply)? {
        match (&*bytes(name)?, value) {
            (b"id", Value::Integer(id)) => client_id = u64::try_from(id).ok(),
            (b"role", Value::Bytes(role)) => replica = matches!(&*role, b"replica" | b"slave"),
            (b"server", Value::Bytes(server)) => valkey = &*server == b"valkey",
            (b"version", Value::Bytes(text)) => {
                version = str::from_utf8(&text).ok().and_then(Version::parse);
            }
            _ => {}
        }
    }
    let mut hello = Hello::new(version?);
    hello.client_id = client_id;
    hello.valkey = valkey;
    Some((hello, replica))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;

    fn text(text: &'static str) -> Value {
        Value::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_server_is_recognised_in_resp2_and_in_resp3() {
        let pairs = vec![
            (text("server"), text("valkey")),
            (text("version"), text("9.1.2")),
            (text("proto"), Value::Integer(2)),
            (text("id"), Value::Integer(7)),
            (text("modules"), Value::Array(Vec::new())),
        ];
        let flat = pairs.iter().cloned().flat_map(|(name, value)| [name, value]).collect();
        for value in [Value::Array(flat), Value::Map(pairs)] {
            let hello = Hello::decode(value).unwrap();
            assert_eq!(hello.version, Version::new(9, 1, 2));
            assert_eq!((hello.client_id, hello.valkey), (Some(7), true));
        }
    }

    #[test]
    fn a_reply_without_a_version_is_garbled() {
        let nameless = Value::Array(vec![text("server"), text("redis")]);
        for value in [text("OK"), Value::Nil, Value::Array(vec![text("version")]), nameless] {
            let decoded = Hello::decode(value.clone());
            assert!(matches!(decoded, Err(Loss::Garbled { .. })), "{value:?}: {decoded:?}");
        }
    }

    #[test]
    fn a_refusal_is_a_matter_of_credentials_or_of_the_server() {
        for code in ["NOAUTH", "NOPERM", "WRONGPASS"] {
            let decoded = Hello::decode(Refusal::new(code, "text").into());
            assert_eq!(decoded, Err(Loss::Credentials { detail: alloc::format!("{code} text") }));
        }
        let busy = Refusal::new("ERR", "max number of clients reached");
        assert_eq!(Hello::decode(busy.clone().into()), Err(Loss::Unfit(busy)));
    }

    #[test]
    fn a_replica_is_left_before_anything_is_asked_of_it() {
        let hello = |role| {
            Hello::decode(Value::Array(vec![
                text("version"),
                text("7.0.15"),
                text("role"),
                text(role),
            ]))
        };
        assert!(hello("master").is_ok());
        for role in ["replica", "slave"] {
            let decoded = hello(role);
            let Err(Loss::Unfit(refusal)) = &decoded else { panic!("{decoded:?}") };
            assert_eq!(refusal.code, "READONLY");
        }
    }

    #[test]
    fn the_time_is_seconds_and_microseconds() {
        let time = Value::Array(vec![text("1700000000"), text("250000")]);
        assert_eq!(Hello::decode_time(&time), Some(Duration::from_millis(1_700_000_000_250)));
        assert_eq!(Hello::decode_time(&Value::Error(Refusal::new("NOPERM", "no"))), None);
        assert_eq!(Hello::decode_time(&Value::Array(vec![text("x")])), None);
        let absurd = text("18446744073709551615");
        let absurd = Value::Array(vec![absurd.clone(), absurd]);
        assert!(Hello::decode_time(&absurd).is_some());
    }
}
