//! One piece of valid JSON text that is owned, cheap to clone and never changed on the way through.
//!
//! Params, results and error data travel as [`Json`]: numbers of any size, unknown members and
//! lone surrogates stay as they were written. Not a tree: [`decode`](Json::decode) it into
//! a type to look inside. A piece cut from an envelope keeps the whole envelope's memory alive.
//!
//! Whoever makes a piece is told when it is nested deeper than an envelope has room for, and not
//! whoever receives it: every `Json` can be sent as params or as a result. An error's data, which is
//! one level further in, is [`RpcError`](crate::RpcError)'s to look at.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc8259>

use alloc::{boxed::Box, string::String};
use core::{fmt, str};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    invalid::InvalidJson,
    scan::{self, PIECE_DEPTH_MAX},
};

/// Valid JSON text without whitespace around it, nested at most [`PIECE_DEPTH_MAX`] deep. Equal when
/// the text is equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Bytes);

impl Json {
    /// Takes one JSON value and drops the whitespace around it; the text is shared, not copied.
    ///
    /// # Errors
    ///
    /// [`InvalidJson`] when the bytes are not UTF-8, not one JSON value, or nested deeper than
    /// [`PIECE_DEPTH_MAX`].
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, InvalidJson> {
        let bytes = text.into();
        let text = scan::utf8(&bytes)?;
        let value: &RawValue = serde_json::from_str(text)?;
        scan::depth(text, PIECE_DEPTH_MAX)?;
        Ok(Self::slice_of(&bytes, value))
    }

    /// Writes a value as compact JSON; a float that is NaN or infinite is written as null.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the value's own `Serialize` fails, a map has keys that are no strings,
    /// or the text would be nested deeper than [`PIECE_DEPTH_MAX`].
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Self::encode_within(value, PIECE_DEPTH_MAX)
    }

    /// The same for a place in an envelope that has room for `depth_max` levels.
    pub(crate) fn encode_within<T: Serialize + ?Sized>(
        value: &T,
        depth_max: usize,
    ) -> Result<Self, EncodeError> {
        let text = serde_json::to_string(value)?;
        scan::depth(&text, depth_max).map_err(|_| EncodeError::TooDeep { depth_max })?;
        Ok(Self::from_valid(text))
    }

    /// Cuts `value` out of the envelope it was parsed from, whose text is `text`, without copying
    /// it.
    ///
    /// A value that is not part of `text` is copied. The depth is not looked at again: what a valid
    /// envelope carries fits. A value from elsewhere is for [`TryFrom`].
    pub fn slice_of(text: &Bytes, value: &RawValue) -> Self {
        let value = value.get().as_bytes();
        let start = value.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
        let inside = start.checked_add(value.len()).is_some_and(|end| end <= text.len());
        Self(if inside { text.slice_ref(value) } else { Bytes::copy_from_slice(value) })
    }

    /// The value null.
    pub const fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// Keeps text that the caller knows to be one JSON value.
    pub(crate) fn from_valid(text: String) -> Self {
        Self(Bytes::from(text))
    }

    /// Reads the value as a `T`, which may borrow from the text.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the value is no `T`.
    pub fn decode<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        serde_json::from_slice(&self.0).map_err(DecodeError)
    }

    /// The JSON text as bytes, which are UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON text; costs a pass over it.
    pub fn as_str(&self) -> &str {
        match str::from_utf8(&self.0) {
            Ok(text) => text,
            Err(error) => unreachable!("every constructor takes UTF-8 only: {error}"),
        }
    }

    /// Whether the value is null.
    pub fn is_null(&self) -> bool {
        self.as_bytes() == b"null"
    }
}

impl TryFrom<&RawValue> for Json {
    type Error = InvalidJson;

    /// Copies the value's text, unless it is nested deeper than [`PIECE_DEPTH_MAX`].
    fn try_from(value: &RawValue) -> Result<Self, InvalidJson> {
        scan::depth(value.get(), PIECE_DEPTH_MAX)?;
        Ok(Self(Bytes::copy_from_slice(value.get().as_bytes())))
    }
}

impl From<Json> for Bytes {
    /// Gives the text away without copying it.
    fn from(json: Json) -> Self {
        json.0
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({})", self.as_str())
    }
}

impl Serialize for Json {
    /// Writes the text as it is; `serde_json` only.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &RawValue = serde_json::from_slice(&self.0).map_err(S::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    /// Takes the text as it is, unless it is nested deeper than [`PIECE_DEPTH_MAX`]; `serde_json`
    /// only.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Box<str> = Box::<RawValue>::deserialize(deserializer)?.into();
        scan::depth(&text, PIECE_DEPTH_MAX).map_err(D::Error::custom)?;
        Ok(Self::from_valid(text.into()))
    }
}

/// A value that cannot be written as JSON; the fault of whoever made it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value's `Serialize` failed, or a map has keys that are no strings.
    #[error("{0}")]
    Serialize(serde_json::Error),
    /// The text would have more arrays and objects around a value than may be there.
    #[error("nested deeper than {depth_max}")]
    TooDeep {
        /// How many may be: [`PIECE_DEPTH_MAX`], and [`DATA_DEPTH_MAX`](crate::DATA_DEPTH_MAX) in an
        /// error's data.
        depth_max: usize,
    },
}

impl From<serde_json::Error> for EncodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Serialize(error)
    }
}

/// JSON that is no value of the type asked for; the fault of whoever wrote it.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct DecodeError(serde_json::Error);

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format, string::ToString, vec, vec::Vec};

    use super::*;

    fn json(text: &'static str) -> Json {
        Json::parse(text).unwrap()
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn text_stays_as_it_was_written() {
        let rows = [
            r#"{"b": 1,  "a":1.0, "a":2}"#,
            "123456789012345678901234567890",
            "1e999",
            "-0.0",
            r#""\ud800\u0061""#,
            "null",
        ];
        for text in rows {
            assert_eq!(json(text).as_str(), text);
            assert_eq!(json(text).as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn whitespace_around_the_value_is_dropped() {
        assert_eq!(json(" \n[1, 2]\t"), json("[1, 2]"));
        assert_ne!(json("[1, 2]"), json("[1,2]"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "NaN", "{} x", "\u{feff}1", "[1,]"] {
            assert!(Json::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Json::parse(&b"\"\xff\""[..]), Err(InvalidJson::InvalidUtf8 { offset: 1 }));
    }

    #[test]
    fn a_depth_of_127_is_taken_and_128_refused_whichever_way_it_comes() {
        let (most, more) = (nested(127), nested(128));
        let json = Json::parse(most.clone()).unwrap();
        assert_eq!(Json::encode(&json).unwrap(), json);
        assert_eq!(serde_json::from_str::<Json>(&most).unwrap(), json);
        assert_eq!(Json::try_from(&*RawValue::from_string(most).unwrap()).unwrap(), json);
        let too_deep = InvalidJson::TooDeep { depth_max: 127 };
        assert_eq!(Json::parse(more.clone()), Err(too_deep));
        assert_eq!(Json::parse(nested(1_000_000)), Err(too_deep));
        let error = Json::encode(&vec![json]).unwrap_err();
        assert_eq!(error.to_string(), "nested deeper than 127");
        let error = serde_json::from_str::<Json>(&more).unwrap_err();
        assert!(error.to_string().starts_with("nested deeper than 127"), "{error}");
        assert_eq!(Json::try_from(&*RawValue::from_string(more).unwrap()), Err(too_deep));
    }

    #[test]
    fn the_deepest_value_is_decoded() {
        let most = Json::parse(nested(127)).unwrap();
        assert!(most.decode::<serde_json::Value>().is_ok());
        assert_eq!(most.decode::<Json>().unwrap(), most);
    }

    #[test]
    fn a_slice_shares_the_memory_of_its_envelope() {
        let text = Bytes::from(String::from(r#"{"params": {"a":1}}"#));
        let members: BTreeMap<&str, &RawValue> = serde_json::from_slice(&text).unwrap();
        let params = Json::slice_of(&text, members["params"]);
        assert_eq!(params.as_str(), r#"{"a":1}"#);
        assert_eq!(params.as_bytes().as_ptr(), text.slice(11..).as_ptr());
    }

    #[test]
    fn a_value_from_elsewhere_is_copied() {
        let elsewhere: &RawValue = serde_json::from_str("[1]").unwrap();
        for text in ["", "[1]", "[1],[1]"] {
            let sliced = Json::slice_of(&Bytes::copy_from_slice(text.as_bytes()), elsewhere);
            assert_eq!(sliced.as_str(), "[1]");
        }
        assert_eq!(Json::try_from(elsewhere).unwrap(), json("[1]"));
    }

    #[test]
    fn json_passes_through_types_untouched() {
        let text = r#"{"value":{"b": 1.0, "a":123456789012345678901234567890}}"#;
        let map: BTreeMap<String, Json> = json(text).decode().unwrap();
        assert_eq!(map["value"].as_str(), r#"{"b": 1.0, "a":123456789012345678901234567890}"#);
        assert_eq!(Json::encode(&map).unwrap().as_str(), text);
        let surrogate: Vec<Json> = json(r#"["\ud800"]"#).decode().unwrap();
        assert_eq!(Json::encode(&surrogate).unwrap().as_str(), r#"["\ud800"]"#);
        let (null, absent): (Option<Json>, Option<Json>) = json("[null, 1]").decode().unwrap();
        assert_eq!((null, absent), (None, Some(json("1"))));
    }

    #[test]
    fn a_decoded_type_may_borrow() {
        let text = json(r#"["a","b"]"#);
        let items: Vec<&str> = text.decode().unwrap();
        assert_eq!(items, ["a", "b"]);
    }

    #[test]
    fn encoding_is_compact_and_writes_nan_as_null() {
        let value = BTreeMap::from([("a", vec![1.5, f64::NAN, f64::INFINITY])]);
        assert_eq!(Json::encode(&value).unwrap().as_str(), r#"{"a":[1.5,null,null]}"#);
    }

    #[test]
    fn failures_say_what_was_wrong() {
        let error = json(r#""x""#).decode::<u8>().unwrap_err();
        assert!(error.to_string().contains("expected u8"), "{error}");
        let error = Json::encode(&BTreeMap::from([(vec![1], 1)])).unwrap_err();
        assert!(error.to_string().contains("key must be a string"), "{error}");
    }

    #[test]
    fn null_is_null() {
        assert_eq!(Json::null(), json(" null "));
        assert!(Json::null().is_null() && !json("0").is_null());
        assert_eq!(json("[null]").decode::<Vec<Json>>().unwrap(), [Json::null()]);
    }

    #[test]
    fn json_shows_its_text() {
        assert_eq!(format!("{} {:?}", json("[1]"), json("[1]")), "[1] Json([1])");
        assert_eq!(Bytes::from(json("[1]")), "[1]");
    }
}
