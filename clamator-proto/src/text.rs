//! JSON strings to text and back.
//!
//! Not a JSON parser: what comes in is a value that `serde_json` has already accepted. A lone
//! surrogate (`"\ud800"`) is valid JSON and no Unicode text; it becomes U+FFFD here, so code that
//! must give it back unchanged keeps the raw text instead.

use alloc::{borrow::Cow, string::String};
use core::fmt::{self, Write};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// Reads one raw JSON value as text; `None` when it is not a string.
///
/// Borrows unless there is an escape to resolve.
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<Lossy>(json).ok().map(|Lossy(text)| Cow::Owned(text))
}

/// Writes `text` as a JSON string, quotes included.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a `String` cannot fail.
            '\0'..='\u{1f}' => drop(write!(out, "\\u{:04x}", u32::from(char))),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// The text of a JSON string with U+FFFD for what is not Unicode.
struct Lossy(String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for bytes, `serde_json` passes lone surrogates on instead of failing.
        deserializer.deserialize_bytes(LossyVisitor)
    }
}

struct LossyVisitor;

impl Visitor<'_> for LossyVisitor {
    type Value = Lossy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Lossy, E> {
        Ok(Lossy(String::from_utf8_lossy(bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(string(r#""grün""#), Some(Cow::Borrowed("grün"))));
        assert_eq!(string(r#""""#).as_deref(), Some(""));
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(string(r#""\u0061\n\"\\\ud83d\ude00""#).as_deref(), Some("a\n\"\\\u{1f600}"));
    }

    #[test]
    fn a_lone_surrogate_reads_as_the_replacement_character() {
        for json in [r#""a\ud800""#, r#""a\udc00""#] {
            let text = string(json).unwrap();
            assert!(text.starts_with("a\u{fffd}"), "{json}");
        }
    }

    #[test]
    fn what_is_no_string_reads_as_none() {
        for json in ["5", "null", "true", "[]", "{}", r#"["a"]"#] {
            assert_eq!(string(json), None, "{json}");
        }
    }

    #[test]
    fn quoting_any_text_and_reading_it_gives_the_text() {
        let every_control = (0..0x30_u8).map(char::from).collect::<String>();
        for text in ["", "a", "\"\\/", "grün \u{1f600}\u{2028}", &every_control] {
            let json = quote(text);
            assert_eq!(string(&json).as_deref(), Some(text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
