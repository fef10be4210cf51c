//! The four envelopes of JSON-RPC 2.0 without batch, borrowed from the text they came in.
//!
//! Params and results stay raw JSON text: nothing is decoded before its type is known. Not the
//! writing of envelopes, which is [`encode`](crate::encode). Absent and null differ where the spec
//! says so: `result: null` is a success, absent params are `None` and null params are the text
//! `null`.
//!
//! Spec: <https://www.jsonrpc.org/specification#request_object>

use serde_json::value::RawValue;

use crate::{error::RpcError, id::RawId, invalid::InvalidEnvelope, method::Method, parse};

/// One envelope, told apart by its members.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "JSON-RPC 2.0 has exactly these four")]
pub enum Envelope<'a> {
    /// A call that wants an answer.
    Request(Request<'a>),
    /// A call that wants none.
    Notification(Notification<'a>),
    /// The answer of a call that went well.
    Success(Success<'a>),
    /// The answer of a call that failed.
    Failure(Failure<'a>),
}

impl<'a> Envelope<'a> {
    /// Reads one whole envelope; any bytes may come in.
    ///
    /// Unknown members are ignored and of a member written twice the last counts.
    ///
    /// # Errors
    ///
    /// [`InvalidEnvelope`] names the first rule broken and the id that can be answered, if any.
    pub fn parse(text: &'a [u8]) -> Result<Self, InvalidEnvelope> {
        parse::envelope(text)
    }
}

/// A call that wants an answer under its id.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The caller's id, a string or a number, to be given back byte for byte.
    pub id: RawId<'a>,
    /// What to call.
    pub method: Method<'a>,
    /// The params of any JSON type; `None` when absent, `null` when null.
    pub params: Option<&'a RawValue>,
}

/// A call that is never answered: its id is absent or null.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Notification<'a> {
    /// What to call.
    pub method: Method<'a>,
    /// The params of any JSON type; `None` when absent, `null` when null.
    pub params: Option<&'a RawValue>,
}

/// The answer of a call that went well.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Success<'a> {
    /// The id of the call; any JSON value but null.
    pub id: RawId<'a>,
    /// The result of any JSON type, null included.
    pub result: &'a RawValue,
}

/// The answer of a call that failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The id of the call, any JSON value; `None` when null or absent: nobody can be told.
    pub id: Option<RawId<'a>>,
    /// What went wrong.
    pub error: RpcError,
}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString},
        vec::Vec,
    };

    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::{DEPTH_MAX, InvalidJson, Json, Method, Reason, RequestId, encode};

    fn refused(text: &[u8]) -> InvalidEnvelope {
        Envelope::parse(text).map(|envelope| panic!("{envelope:?}")).unwrap_err()
    }

    /// A request whose text is nested `depth` deep, its own braces included.
    fn nested(depth: usize) -> String {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"a.b","params":{open}{close}}}"#)
    }

    #[test]
    fn whitespace_around_an_envelope_is_fine_and_nothing_else_is() {
        let text = r#"{"jsonrpc":"2.0","method":"a.b"}"#;
        assert!(Envelope::parse(format!(" \r\n\t{text}\n ").as_bytes()).is_ok());
        for around in [format!("{text}x"), format!("{text}{text}"), format!("\u{a0}{text}")] {
            let reason = refused(around.as_bytes()).reason;
            assert!(matches!(reason, Reason::Json(InvalidJson::Syntax { .. })), "{around}");
        }
        let bom = refused(format!("\u{feff}{text}").as_bytes());
        assert_eq!(bom.reason, Reason::Json(InvalidJson::ByteOrderMark));
    }

    #[test]
    fn text_that_is_not_json_is_a_parse_error_without_an_id() {
        let texts: [&[u8]; 8] = [
            b"",
            b"{",
            b"[1",
            b"\xff",
            br#"{"jsonrpc":"2.0","id":1,"method":"a.b","params":NaN}"#,
            br#"{"jsonrpc":"2.0","id":1,"method":"a.b","params":[Infinity]}"#,
            br#"{"jsonrpc":"2.0","id":1,"method":"a.b","x":01}"#,
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a.b\",\"x\":\"\xed\xa0\x80\"}",
        ];
        for text in texts {
            let invalid = refused(text);
            assert_eq!((invalid.code(), invalid.id), (-32700, None), "{text:?}");
        }
    }

    #[test]
    fn a_refused_envelope_carries_the_id_that_can_be_answered() {
        let rows = [
            (r#"{"id":"i"}"#, Some(r#""i""#)),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"Bad.method"}"#, Some("1.0")),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"bad"}"#, Some("2")),
            (r#"{"jsonrpc":"2.0","id":5,"result":1,"error":null}"#, Some("5")),
            (r#"{"jsonrpc":"2.0","id":"\ud800","error":5}"#, Some(r#""\ud800""#)),
            (r#"{"jsonrpc":"2.0","id":true,"method":"a.b"}"#, None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"bad"}"#, None),
            (r#"{"jsonrpc":"2.0","result":1}"#, None),
            (r#"[{"id":1}]"#, None),
        ];
        for (text, id) in rows {
            let invalid = refused(text.as_bytes());
            assert_eq!(invalid.id.as_ref().map(RequestId::as_json), id, "{text}");
            assert_eq!(invalid.code(), -32600);
        }
    }

    #[test]
    fn a_depth_of_128_is_read_and_129_refused_with_the_id() {
        assert!(Envelope::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        let invalid = refused(nested(DEPTH_MAX + 1).as_bytes());
        assert_eq!(invalid.to_string(), "Invalid Request: nested deeper than 128");
        assert_eq!(invalid.id.as_ref().map(RequestId::as_json), Some("7"));
    }

    #[test]
    fn what_the_deepest_envelope_carries_can_be_cut_out_and_sent_on() {
        let deepest = Bytes::from(nested(DEPTH_MAX));
        let Ok(Envelope::Request(request)) = Envelope::parse(&deepest) else { panic!("none") };
        let params = Json::slice_of(&deepest, request.params.unwrap());
        assert_eq!(Json::encode(&params).unwrap(), params);
        let id = RequestId::from(request.id);
        let (mut call, mut answer, mut note) = (Vec::new(), Vec::new(), Vec::new());
        encode::request(&mut call, &id, &request.method, Some(&params));
        encode::success(&mut answer, &id, &params);
        encode::notification(&mut note, &request.method, Some(&params));
        for text in [call, answer, note] {
            goes_round(&Envelope::parse(&text).unwrap());
        }
    }

    #[test]
    fn the_deepest_data_that_came_in_can_be_sent_on() {
        let data = format!("{}{}", "[".repeat(DEPTH_MAX - 2), "]".repeat(DEPTH_MAX - 2));
        let error = format!(r#"{{"code":7,"message":"no","data":{data}}}"#);
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
        let deepest = Envelope::parse(text.as_bytes()).unwrap();
        goes_round(&deepest);
        let Envelope::Failure(Failure { error, .. }) = deepest else { panic!("no failure") };
        let data = error.data.clone().unwrap();
        assert_eq!(error.clone().with_data(&data), error);
    }

    #[test]
    fn a_million_brackets_are_refused_without_a_crash() {
        let million = "[".repeat(1_000_000);
        for text in [million.clone(), million.replace('[', r#"{"a":"#), nested(1_000_000)] {
            refused(text.as_bytes());
        }
        let text = format!(r#"{{"jsonrpc":"2.0","method":"a.b","params":"{million}"}}"#);
        assert!(Envelope::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn members_written_twice_or_with_escaped_keys_are_read_as_the_peers_read_them() {
        let text = r#"{"jsonrpc":"1.0","method":"x","id":1,"params":[1],"a\ud800":1,
            "jsonrpc":"2.0","\u006dethod":"a.b","id":null,"params":{"a":1,"a":2}}"#;
        let Ok(Envelope::Notification(call)) = Envelope::parse(text.as_bytes()) else {
            panic!("no notification")
        };
        assert_eq!(call.method.as_str(), "a.b");
        assert_eq!(call.params.map(RawValue::get), Some(r#"{"a":1,"a":2}"#));
    }

    #[test]
    fn a_lone_surrogate_in_an_error_message_does_not_hide_the_error() {
        let text =
            br#"{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"\ud800!","data":"\ud800"}}"#;
        let Ok(Envelope::Failure(failure)) = Envelope::parse(text) else { panic!("no failure") };
        assert_eq!(failure.error.code, 7);
        assert!(failure.error.message.ends_with("\u{fffd}!"));
        assert_eq!(failure.error.data.as_ref().map(Json::as_str), Some(r#""\ud800""#));
    }

    #[test]
    fn mutated_envelopes_never_panic_and_agree_with_a_plain_reading_of_the_rules() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut accepted = [0_u32; 4];
        for _ in 0..200_000 {
            let mut text = SEEDS[dice.below(SEEDS.len())].as_bytes().to_vec();
            for _ in 0..dice.below(4) {
                dice.mutate(&mut text);
            }
            let read = Envelope::parse(&text);
            if let Ok(value) = serde_json::from_slice::<Value>(&text) {
                let read = read.as_ref().map(kind).map_err(ToString::to_string);
                assert_eq!(read, plain(&value), "{}", String::from_utf8_lossy(&text));
            }
            match read {
                Ok(envelope) => {
                    accepted[kind(&envelope)] += 1;
                    goes_round(&envelope);
                }
                Err(invalid) => assert!(invalid.id.is_none() || invalid.code() == -32600),
            }
        }
        assert!(accepted.iter().all(|count| *count > 5_000), "too tame: {accepted:?}");
    }

    const SEEDS: [&str; 8] = [
        r#"{"jsonrpc":"2.0","method":"arith.add","params":{"a":1,"b":2.0},"id":"n-1"}"#,
        r#"{"jsonrpc":"2.0","method":"a.b","params":null,"id":123456789012345678901234567890}"#,
        r#"{"jsonrpc": "2.0", "method": "log.ping", "params": {"tag": "\u00e9\ud800"}}"#,
        r#"{"jsonrpc":"2.0","method":"a.b","id":null,"x":[[],{}]}"#,
        r#"{"jsonrpc":"2.0","id":"n-1","result":{"sum":5.0}}"#,
        r#"{"jsonrpc":"2.0","id":1.0,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":"n-1","error":{"code":-32000,"message":"no","data":{"a":[1]}}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":1e3,"message":"\n\"","data":null}}"#,
    ];

    const TOKENS: [&str; 24] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "null",
        "true",
        "1.5",
        "-0",
        "1e400",
        "\"2.0\"",
        ".",
        "\\ud800",
        " ",
        "\n",
        "NaN",
        "\"id\":1,",
        "\"id\":false,",
        "\"method\":\"a.b\",",
        "\"error\":null,",
        "\"result\":0,",
    ];

    /// A xorshift generator: the same mutations in every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap() % end
        }

        fn mutate(&mut self, text: &mut Vec<u8>) {
            let at = self.below(text.len() + 1);
            let end = text.len().min(at + self.below(8));
            match self.below(5) {
                0 => drop(text.drain(at..end)),
                1 => text.extend_from_within(at..end),
                2 => drop(text.splice(at..end, [u8::try_from(self.below(256)).unwrap()])),
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())].bytes();
                    drop(text.splice(at..at, token));
                }
                // Behind the opening brace, where a whole member fits.
                _ => {
                    let token = TOKENS[19 + self.below(5)].bytes();
                    drop(text.splice(text.len().min(1)..text.len().min(1), token));
                }
            }
        }
    }

    fn kind(envelope: &Envelope<'_>) -> usize {
        match envelope {
            Envelope::Request(_) => 0,
            Envelope::Notification(_) => 1,
            Envelope::Success(_) => 2,
            Envelope::Failure(_) => 3,
        }
    }

    /// The rules over a tree of values: no raw text, no shared code but the method's.
    fn plain(value: &Value) -> Result<usize, String> {
        let no = |text: &str| Err(format!("Invalid Request: {text}"));
        let Value::Object(members) = value else {
            let batch = value.is_array();
            return no(if batch { "batch requests not supported" } else { "not an object" });
        };
        let id = members.get("id").filter(|id| !id.is_null());
        if members.get("jsonrpc") != Some(&Value::from("2.0")) {
            return no("jsonrpc must equal \"2.0\"");
        }
        if let Some(Value::String(method)) = members.get("method") {
            return match (Method::parse(method), id) {
                (Err(error), _) => no(&error.to_string()),
                (Ok(_), None) => Ok(1),
                (Ok(_), Some(Value::String(_) | Value::Number(_))) => Ok(0),
                (Ok(_), Some(_)) => no("id must be string or number"),
            };
        }
        match (members.get("result"), members.get("error")) {
            (Some(_), None) if id.is_none() => no("response must have id"),
            (Some(_), None) => Ok(2),
            (None, Some(error)) => {
                let fits = |code: f64| code % 1.0 == 0.0 && code.abs() < 9.2e18;
                let code = error["code"].as_f64().is_some_and(fits);
                if code && error["message"].is_string() {
                    return Ok(3);
                }
                no("error must have numeric code + string message")
            }
            _ => no("envelope must be request, notification, or response"),
        }
    }

    /// Writes what was read and reads that: nothing may have changed.
    fn goes_round(envelope: &Envelope<'_>) {
        let json = |value| Json::try_from(value).unwrap();
        let mut out = Vec::new();
        match envelope {
            Envelope::Request(Request { id, method, params }) => {
                encode::request(&mut out, &(*id).into(), method, params.map(json).as_ref());
            }
            Envelope::Notification(Notification { method, params }) => {
                encode::notification(&mut out, method, params.map(json).as_ref());
            }
            Envelope::Success(Success { id, result }) => {
                encode::success(&mut out, &(*id).into(), &json(result));
            }
            Envelope::Failure(Failure { id, error }) => {
                encode::failure(&mut out, id.map(RequestId::from).as_ref(), error);
            }
        }
        let again = Envelope::parse(&out).unwrap();
        let expected =
            format!("{envelope:?}").replace("params: None", "params: Some(RawValue({}))");
        assert_eq!(format!("{again:?}"), expected);
    }
}
