//! Request ids, kept byte for byte as the JSON text they came in.
//!
//! Not numbers: `1.0`, integers of 30 digits and `"5"` all go back exactly as they came.
//! Two ids correlate when their [`text`](RequestId::text) is equal, as it is for the peers: `5`
//! and `"5"` are one key. Equality of the types here is stricter: it compares the JSON text.
//!
//! Spec: <https://www.jsonrpc.org/specification#request_object>

use alloc::{borrow::Cow, sync::Arc};
use core::fmt;

use serde_json::value::RawValue;

use crate::text;

/// An id that owns its JSON text: a string or a number. A clone shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Makes the JSON string that reads `text`.
    pub fn from_text(text: &str) -> Self {
        Self(text::quote(text).into())
    }

    /// The raw JSON text, quotes included.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The text that ids are matched by: a string unescaped, anything else as it is written.
    ///
    /// A lone surrogate reads as U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        RawId(&self.0).text()
    }
}

impl From<RawId<'_>> for RequestId {
    fn from(id: RawId<'_>) -> Self {
        Self(id.0.into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

/// An id inside an envelope, borrowed as its raw JSON text.
///
/// A request's is a string or a number. A response's may be any value but null, because the peers
/// do not check it; one that is neither string nor number matches no call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawId<'a>(&'a str);

impl<'a> RawId<'a> {
    /// Takes the id of a response; `None` when it is null.
    pub(crate) fn any(json: &'a RawValue) -> Option<Self> {
        (json.get() != "null").then_some(Self(json.get()))
    }

    /// Takes the id of a request; `None` when it is neither string nor number.
    pub(crate) fn valid(json: &'a RawValue) -> Option<Self> {
        let valid = matches!(json.get().bytes().next(), Some(b'"' | b'-' | b'0'..=b'9'));
        valid.then_some(Self(json.get()))
    }

    /// The raw JSON text, quotes included.
    pub fn as_json(self) -> &'a str {
        self.0
    }

    /// The text that ids are matched by: a string unescaped, anything else as it is written.
    ///
    /// A lone surrogate reads as U+FFFD.
    pub fn text(self) -> Cow<'a, str> {
        text::string(self.0).unwrap_or(Cow::Borrowed(self.0))
    }
}

impl fmt::Display for RawId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl fmt::Debug for RawId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_id_keeps_its_bytes() {
        let rows = [
            "0",
            "-1",
            "1.0",
            "1.5",
            "1e3",
            "-0.0",
            "123456789012345678901234567890",
            r#""""#,
            r#""\u0061""#,
            r#""\ud800""#,
        ];
        for json in rows {
            let id = RawId::valid(raw(json)).unwrap();
            assert_eq!(id.as_json(), json);
            assert_eq!(RequestId::from(id).as_json(), json);
        }
    }

    #[test]
    fn a_number_and_a_string_of_the_same_text_correlate_and_are_not_equal() {
        let (number, string) = (RawId::any(raw("5")), RawId::any(raw(r#""5""#)));
        assert_eq!(number.unwrap().text(), string.unwrap().text());
        assert_ne!(number, string);
    }

    #[test]
    fn escapes_do_not_change_what_an_id_correlates_with() {
        assert_eq!(RawId::any(raw(r#""\u0061\/b""#)).unwrap().text(), "a/b");
        assert!(matches!(RawId::any(raw(r#""a""#)).unwrap().text(), Cow::Borrowed("a")));
    }

    #[test]
    fn an_id_made_from_text_reads_as_that_text() {
        for text in ["", "nonce-1", "a\"b\\c\n", "grün"] {
            assert_eq!(RequestId::from_text(text).text(), text);
        }
        assert_eq!(RequestId::from_text("a-1").as_json(), r#""a-1""#);
    }

    #[test]
    fn only_strings_and_numbers_can_be_answered() {
        for json in ["null", "true", "false", "[]", "[1]", "{}"] {
            assert_eq!(RawId::valid(raw(json)), None, "{json}");
        }
    }

    #[test]
    fn any_value_but_null_is_kept_from_a_response() {
        assert_eq!(RawId::any(raw("null")), None);
        for json in ["true", "[1]", r#"{"a":1}"#] {
            assert_eq!(RawId::any(raw(json)).unwrap().text(), json);
        }
    }

    #[test]
    fn an_id_shows_its_text_and_debugs_its_json() {
        let id = RequestId::from_text("a");
        assert_eq!(format!("{id} {id:?}"), String::from(r#"a RequestId("a")"#));
    }
}
