//! Envelope to text: compact JSON appended to a buffer, members in the order the peers write.
//!
//! Nothing here can fail: ids, params and results are JSON already, no deeper than an envelope has
//! room for, and go out byte for byte. Not a check of depth, which is where a [`Json`] is made, and
//! [`RpcError`]'s for its data. What the buffer held before stays.
//!
//! Spec: <https://www.jsonrpc.org/specification#request_object>

use alloc::{string::ToString, vec::Vec};

use crate::{error::RpcError, id::RequestId, json::Json, method::Method, text};

const CALL: &[u8] = br#"{"jsonrpc":"2.0","method":""#;
const PARAMS: &[u8] = br#"","params":"#;
const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":"#;

/// Appends a request; params that are `None` are written as `{}`.
pub fn request(out: &mut Vec<u8>, id: &RequestId, method: &Method<'_>, params: Option<&Json>) {
    let (method, params) = (method.as_str().as_bytes(), params.map_or(&b"{}"[..], Json::as_bytes));
    append(out, &[CALL, method, PARAMS, params, br#","id":"#, id.as_json().as_bytes(), b"}"]);
}

/// Appends a notification; params that are `None` are written as `{}`.
pub fn notification(out: &mut Vec<u8>, method: &Method<'_>, params: Option<&Json>) {
    let (method, params) = (method.as_str().as_bytes(), params.map_or(&b"{}"[..], Json::as_bytes));
    append(out, &[CALL, method, PARAMS, params, b"}"]);
}

/// Appends a success.
pub fn success(out: &mut Vec<u8>, id: &RequestId, result: &Json) {
    let id = id.as_json().as_bytes();
    append(out, &[ANSWER, id, br#","result":"#, result.as_bytes(), b"}"]);
}

/// Appends a failure; an id that is `None` is written as null, and so is data that is `None`. Data
/// that is too deep is replaced by the reason.
pub fn failure(out: &mut Vec<u8>, id: Option<&RequestId>, error: &RpcError) {
    let data = error.data_to_write();
    let pieces = [
        ANSWER,
        id.map_or("null", RequestId::as_json).as_bytes(),
        br#","error":{"code":"#,
        &error.code.to_string().into_bytes(),
        br#","message":"#,
        &text::quote(&error.message).into_bytes(),
        br#","data":"#,
        data.as_deref().map_or(b"null", Json::as_bytes),
        b"}}",
    ];
    append(out, &pieces);
}

/// Appends the pieces with at most one growth of the buffer.
fn append(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.reserve(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;
    use crate::envelope::Envelope;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::from(b"kept|");
        write(&mut out);
        let text = String::from_utf8(out).unwrap();
        String::from(text.strip_prefix("kept|").unwrap())
    }

    fn add() -> Method<'static> {
        Method::parse("arith.add").unwrap()
    }

    #[test]
    fn a_request_is_version_method_params_id() {
        let params = Json::parse(r#"{"a": 1.0,"b":"\u00e9\ud800"}"#).unwrap();
        let id = RequestId::from_text("a-1");
        assert_eq!(
            written(|out| request(out, &id, &add(), Some(&params))),
            r#"{"jsonrpc":"2.0","method":"arith.add","params":{"a": 1.0,"b":"\u00e9\ud800"},"id":"a-1"}"#
        );
    }

    #[test]
    fn a_notification_is_version_method_params_and_has_no_id() {
        let params = Json::parse("[1]").unwrap();
        assert_eq!(
            written(|out| notification(out, &add(), Some(&params))),
            r#"{"jsonrpc":"2.0","method":"arith.add","params":[1]}"#
        );
    }

    #[test]
    fn params_are_always_written() {
        let id = RequestId::from_text("1");
        assert_eq!(
            written(|out| request(out, &id, &add(), None)),
            r#"{"jsonrpc":"2.0","method":"arith.add","params":{},"id":"1"}"#
        );
        assert_eq!(
            written(|out| notification(out, &add(), None)),
            r#"{"jsonrpc":"2.0","method":"arith.add","params":{}}"#
        );
    }

    #[test]
    fn a_success_is_version_id_result() {
        let id = RequestId::from_text("1");
        let result = Json::parse("123456789012345678901234567890").unwrap();
        assert_eq!(
            written(|out| success(out, &id, &result)),
            r#"{"jsonrpc":"2.0","id":"1","result":123456789012345678901234567890}"#
        );
        assert_eq!(
            written(|out| success(out, &id, &Json::null())),
            r#"{"jsonrpc":"2.0","id":"1","result":null}"#
        );
    }

    #[test]
    fn the_deepest_value_that_can_be_made_is_read_in_every_place() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let most = (1..).map_while(|depth| Json::parse(nested(depth)).ok()).last().unwrap();
        let id = RequestId::from_text("1");
        for text in [
            written(|out| request(out, &id, &add(), Some(&most))),
            written(|out| notification(out, &add(), Some(&most))),
            written(|out| success(out, &id, &most)),
        ] {
            assert!(Envelope::parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_failure_is_version_id_error_and_always_has_data() {
        let id = RequestId::from_text("1");
        let error = RpcError::new(-32000, "division by \"zero\"\n");
        let head = r#"{"jsonrpc":"2.0","id":"1","error":{"code":-32000,"message":"division by \"zero\"\n","data":"#;
        assert_eq!(written(|out| failure(out, Some(&id), &error)), format!("{head}null}}}}"));
        let error = error.with_data(&[1, 2]);
        assert_eq!(written(|out| failure(out, Some(&id), &error)), format!("{head}[1,2]}}}}"));
    }

    #[test]
    fn a_failure_is_read_with_its_code_and_message_however_deep_its_data() {
        let id = RequestId::from_text("1");
        let mut error = RpcError::new(7, "no");
        for (depth, kept) in [(125, true), (126, true), (127, false)] {
            let data = Json::parse("[".repeat(depth) + &"]".repeat(depth)).unwrap();
            error.data = Some(data.clone());
            let text = written(|out| failure(out, Some(&id), &error));
            let Ok(Envelope::Failure(read)) = Envelope::parse(text.as_bytes()) else {
                panic!("{text}")
            };
            assert_eq!((read.error.code, read.error.message.as_str()), (7, "no"));
            let why = r#"{"name":"EncodeError","message":"nested deeper than 126"}"#;
            let data = if kept { data.as_str() } else { why };
            assert_eq!(read.error.data.as_ref().map(Json::as_str), Some(data));
        }
    }

    #[test]
    fn a_failure_for_nobody_has_a_null_id() {
        assert_eq!(
            written(|out| failure(out, None, &RpcError::new(1, ""))),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"","data":null}}"#
        );
    }
}
