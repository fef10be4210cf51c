//! Text to envelope: the rules of a JSON-RPC 2.0 envelope in the order the peers check them.
//!
//! One pass finds the members as raw text, then the rules look at those. Not the meaning of params
//! or results, and not the texts of the refusals, which are in `invalid`. Nothing here recurses,
//! whatever the text.
//!
//! Spec: <https://www.jsonrpc.org/specification>

use serde_json::value::RawValue;

use crate::{
    envelope::{Envelope, Failure, Notification, Request, Success},
    error::RpcError,
    id::{RawId, RequestId},
    integer,
    invalid::{InvalidEnvelope, Reason},
    json::Json,
    members,
    method::Method,
    scan::{self, DEPTH_MAX},
    text,
};

/// Reads one whole envelope.
pub(crate) fn envelope(text: &[u8]) -> Result<Envelope<'_>, InvalidEnvelope> {
    let text = scan::utf8(text)?;
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    if !text.starts_with('{') {
        scan::syntax(text)?;
        let reason = if text.starts_with('[') { Reason::Batch } else { Reason::NotObject };
        return Err(reason.into());
    }
    let names = ["jsonrpc", "method", "id", "params", "result", "error"];
    let [jsonrpc, method, id, params, result, error] = members::named(text, names)?;
    let members = Members { jsonrpc, method, id, params, result, error };
    let depth = scan::depth(text, DEPTH_MAX).map_err(Reason::from);
    depth.and_then(|()| members.classify()).map_err(|reason| InvalidEnvelope {
        reason,
        id: id.and_then(RawId::valid).map(RequestId::from),
    })
}

/// The members that the rules look at; `None` is absent, null is the text `null`.
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'a> Members<'a> {
    fn classify(&self) -> Result<Envelope<'a>, Reason> {
        let version = self.jsonrpc.and_then(|json| text::string(json.get()));
        if version.as_deref() != Some("2.0") {
            return Err(Reason::Version);
        }
        if let Some(method) = self.method.and_then(|json| text::string(json.get())) {
            return self.call(Method::parse(method)?);
        }
        match (self.result, self.error) {
            (Some(result), None) => {
                let id = self.id.and_then(RawId::any).ok_or(Reason::ResponseId)?;
                Ok(Envelope::Success(Success { id, result }))
            }
            (None, Some(error)) => {
                let error = rpc_error(error).ok_or(Reason::Error)?;
                Ok(Envelope::Failure(Failure { id: self.id.and_then(RawId::any), error }))
            }
            (None, None) | (Some(_), Some(_)) => Err(Reason::Kind),
        }
    }

    fn call(&self, method: Method<'a>) -> Result<Envelope<'a>, Reason> {
        let params = self.params;
        match self.id {
            Some(id) if id.get() != "null" => {
                let id = RawId::valid(id).ok_or(Reason::Id)?;
                Ok(Envelope::Request(Request { id, method, params }))
            }
            Some(_) | None => Ok(Envelope::Notification(Notification { method, params })),
        }
    }
}

/// Reads the error member; `None` when it is not one.
fn rpc_error(json: &RawValue) -> Option<RpcError> {
    if !json.get().starts_with('{') {
        return None;
    }
    let [code, message, data] = members::named(json.get(), ["code", "message", "data"]).ok()?;
    let code = integer::exact(code?.get())?;
    let message = text::string(message?.get())?;
    let mut error = RpcError::new(code, message);
    let data = data.filter(|data| data.get() != "null");
    error.data = data.map(|data| Json::from_valid(data.get().into()));
    Some(error)
}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString},
    };

    use super::*;
    use crate::method::InvalidMethod;

    fn parse(text: &str) -> Result<Envelope<'_>, InvalidEnvelope> {
        envelope(text.as_bytes())
    }

    /// What was read, in one line: kind, id, method, payload.
    fn shown(text: &str) -> String {
        let json = |json: Option<&RawValue>| json.map_or("-", RawValue::get).to_string();
        match parse(text).unwrap_or_else(|error| panic!("{text}: {error}")) {
            Envelope::Request(Request { id, method, params }) => {
                format!("request {} {method} {}", id.as_json(), json(params))
            }
            Envelope::Notification(Notification { method, params }) => {
                format!("notification {method} {}", json(params))
            }
            Envelope::Success(Success { id, result }) => {
                format!("success {} {}", id.as_json(), result.get())
            }
            Envelope::Failure(Failure { id, error }) => {
                let id = id.map_or("-", RawId::as_json);
                format!("failure {id} {error} {}", error.data.as_ref().map_or("-", Json::as_str))
            }
        }
    }

    /// Checks rows of members behind the version against what is read.
    fn reads(rows: &[(&str, &str)]) {
        for (members, expected) in rows {
            assert_eq!(shown(&format!(r#"{{"jsonrpc":"2.0",{members}}}"#)), *expected);
        }
    }

    /// Checks rows of members behind the version against the reason for refusing them.
    fn refuses(rows: &[(&str, Reason)]) {
        for (members, reason) in rows {
            let text = format!(r#"{{"jsonrpc":"2.0",{members}}}"#);
            assert_eq!(parse(&text).unwrap_err().reason, *reason, "{text}");
        }
    }

    #[test]
    fn each_kind_is_told_by_its_members() {
        reads(&[
            (
                r#""method":"arith.add","params":{"a":1},"id":"i""#,
                r#"request "i" arith.add {"a":1}"#,
            ),
            (r#""method":"arith.add","params":{"a":1}"#, r#"notification arith.add {"a":1}"#),
            (r#""id":"i","result":[1]"#, r#"success "i" [1]"#),
            (
                r#""id":"i","error":{"code":-32000,"message":"m","data":{"a":1}}"#,
                r#"failure "i" -32000 m {"a":1}"#,
            ),
        ]);
    }

    #[test]
    fn a_text_that_is_no_object_is_refused_and_a_batch_before_that() {
        for text in ["[]", " [1]", r#"[{"jsonrpc":"2.0","method":"a.b"}]"#] {
            assert_eq!(parse(text).unwrap_err().reason, Reason::Batch, "{text}");
        }
        for text in ["5", "null", "true", r#""{}""#] {
            assert_eq!(parse(text).unwrap_err().reason, Reason::NotObject, "{text}");
        }
    }

    #[test]
    fn the_version_is_the_string_2_0() {
        for version in ["2.0", r#""2""#, r#""1.0""#, r#""2.00""#, "null", "2", r#"["2.0"]"#] {
            let text = format!(r#"{{"jsonrpc":{version},"method":"bad"}}"#);
            assert_eq!(parse(&text).unwrap_err().reason, Reason::Version, "{text}");
        }
        assert_eq!(parse("{}").unwrap_err().reason, Reason::Version);
        assert_eq!(shown(r#"{"jsonrpc":"\u0032.0","method":"a.b"}"#), "notification a.b -");
    }

    #[test]
    fn a_string_method_decides_whatever_else_is_there() {
        reads(&[
            (r#""method":"a.b","id":1,"result":1,"error":{}"#, "request 1 a.b -"),
            (r#""method":5,"id":1,"result":2"#, "success 1 2"),
            (r#""method":null,"id":1,"error":{"code":1,"message":""}"#, "failure 1 1  -"),
            (r#""method":"a\u002eb","id":1"#, "request 1 a.b -"),
        ]);
        refuses(&[(r#""method":5,"id":1"#, Reason::Kind), (r#""method":["a.b"]"#, Reason::Kind)]);
    }

    #[test]
    fn a_method_is_checked_before_the_id() {
        refuses(&[
            (r#""method":"add","id":true"#, InvalidMethod::Shape.into()),
            (r#""method":".add","id":true"#, InvalidMethod::Shape.into()),
            (r#""method":"Engine.Add","id":true"#, InvalidMethod::Service.into()),
            (r#""method":"arith.Launch","id":true"#, InvalidMethod::Name.into()),
            (r#""method":"arith.add\n","id":1"#, InvalidMethod::Name.into()),
            (r#""method":"arith.\ud800","id":1"#, InvalidMethod::Name.into()),
            (r#""method":"","result":1,"id":1"#, InvalidMethod::Shape.into()),
        ]);
    }

    #[test]
    fn the_id_of_a_request_is_a_string_or_any_number() {
        reads(&[
            (r#""method":"a.b","id":0"#, "request 0 a.b -"),
            (r#""method":"a.b","id":-1"#, "request -1 a.b -"),
            (r#""method":"a.b","id":1.0"#, "request 1.0 a.b -"),
            (r#""method":"a.b","id":1e999"#, "request 1e999 a.b -"),
            (
                r#""method":"a.b","id":123456789012345678901234567890"#,
                "request 123456789012345678901234567890 a.b -",
            ),
            (r#""method":"a.b","id":"""#, r#"request "" a.b -"#),
            (r#""method":"a.b","id":"\ud800""#, r#"request "\ud800" a.b -"#),
        ]);
        refuses(&[
            (r#""method":"a.b","id":true"#, Reason::Id),
            (r#""method":"a.b","id":false"#, Reason::Id),
            (r#""method":"a.b","id":[1]"#, Reason::Id),
            (r#""method":"a.b","id":{}"#, Reason::Id),
        ]);
    }

    #[test]
    fn a_null_id_makes_a_notification() {
        reads(&[(r#""method":"a.b","id":null"#, "notification a.b -")]);
    }

    #[test]
    fn params_are_of_any_type_and_null_is_not_absent() {
        for params in ["null", "[]", r#""\ud800""#, "false", "0", "1.0", r#"{ "a" : 1e999 }"#] {
            let members = format!(r#""method":"a.b","params":{params}"#);
            reads(&[(&members, &format!("notification a.b {params}"))]);
        }
    }

    #[test]
    fn a_null_result_is_a_success() {
        reads(&[(r#""id":1,"result":null"#, "success 1 null")]);
    }

    #[test]
    fn a_success_needs_an_id_of_any_type_but_null() {
        refuses(&[
            (r#""result":1"#, Reason::ResponseId),
            (r#""result":1,"id":null"#, Reason::ResponseId),
        ]);
        reads(&[
            (r#""result":1,"id":true"#, "success true 1"),
            (r#""result":1,"id":[1]"#, "success [1] 1"),
        ]);
    }

    #[test]
    fn a_failure_needs_no_id() {
        reads(&[
            (r#""error":{"code":1,"message":"m"}"#, "failure - 1 m -"),
            (r#""error":{"code":1,"message":"m","data":null},"id":null"#, "failure - 1 m -"),
            (r#""error":{"code":1,"message":"m"},"id":{}"#, "failure {} 1 m -"),
        ]);
    }

    #[test]
    fn result_beside_error_is_refused_even_when_one_is_null() {
        refuses(&[
            (r#""id":1,"result":1,"error":null"#, Reason::Kind),
            (r#""id":1,"result":null,"error":{"code":1,"message":"m"}"#, Reason::Kind),
            (r#""id":1"#, Reason::Kind),
            (r#""x":1"#, Reason::Kind),
        ]);
    }

    #[test]
    fn an_error_is_an_integral_code_and_a_string_message() {
        reads(&[
            (r#""error":{"code":1.0,"message":"m"}"#, "failure - 1 m -"),
            (r#""error":{"code":1e3,"message":"m"}"#, "failure - 1000 m -"),
            (r#""error":{"x":[],"code":-32000,"message":"\u0061","y":1}"#, "failure - -32000 a -"),
            (r#""error":{"code":1,"code":2,"message":5,"message":"m"}"#, "failure - 2 m -"),
        ]);
        for error in [
            "null",
            "5",
            "[]",
            "{}",
            r#"{"code":1}"#,
            r#"{"message":"m"}"#,
            r#"{"code":1.5,"message":"m"}"#,
            r#"{"code":true,"message":"m"}"#,
            r#"{"code":"1","message":"m"}"#,
            r#"{"code":null,"message":"m"}"#,
            r#"{"code":1e19,"message":"m"}"#,
            r#"{"code":1,"message":5}"#,
            r#"{"code":1,"message":null}"#,
            r#"{"code":1,"message":"m","message":null}"#,
        ] {
            refuses(&[(&format!(r#""id":1,"error":{error}"#), Reason::Error)]);
        }
    }
}
