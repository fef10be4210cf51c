//! The checks every JSON text passes before anything reads its values.
//!
//! UTF-8, syntax and depth, each iterative: no input can exhaust the stack. Not the rules of an
//! envelope. `serde_json` skips raw values without recursion and without a depth limit of its own,
//! so the limits are kept here; what a caller decodes later is at most [`PIECE_DEPTH_MAX`] deep.
//!
//! Spec: <https://www.rfc-editor.org/rfc/rfc8259>

use core::str;

use serde::de::IgnoredAny;

use crate::invalid::InvalidJson;

/// Most arrays and objects around a value in an envelope, whose own braces count: 128.
pub const DEPTH_MAX: usize = 128;

/// Most arrays and objects around a value in a [`Json`](crate::Json): 127, since the envelope is
/// one level around params and results.
pub const PIECE_DEPTH_MAX: usize = DEPTH_MAX - 1;

/// Most arrays and objects around a value in the data of an [`RpcError`](crate::RpcError): 126,
/// since the envelope and the error are two levels around it.
pub const DATA_DEPTH_MAX: usize = DEPTH_MAX - 2;

/// Takes the text as UTF-8 without a byte order mark.
pub(crate) fn utf8(text: &[u8]) -> Result<&str, InvalidJson> {
    let text = str::from_utf8(text)
        .map_err(|error| InvalidJson::InvalidUtf8 { offset: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(InvalidJson::ByteOrderMark);
    }
    Ok(text)
}

/// Checks that the text is one JSON value with nothing but whitespace around it.
pub(crate) fn syntax(text: &str) -> Result<(), InvalidJson> {
    serde_json::from_str::<IgnoredAny>(text)?;
    Ok(())
}

/// Checks that valid JSON is nested at most `depth_max` deep.
pub(crate) fn depth(text: &str, depth_max: usize) -> Result<(), InvalidJson> {
    // Each level costs two brackets.
    if text.len() <= 2 * depth_max {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return Err(InvalidJson::TooDeep { depth_max });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Skips the rest of a string, its closing quote included.
fn skip_string(bytes: &mut str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;

    fn nested(open: &str, close: &str, depth: usize) -> String {
        // Padded, so that the short cut for short texts is not what is tested.
        format!("{}1{}{:300}", open.repeat(depth), close.repeat(depth), "")
    }

    const TOO_DEEP: Result<(), InvalidJson> = Err(InvalidJson::TooDeep { depth_max: 128 });

    #[test]
    fn a_depth_of_the_most_is_accepted_and_one_more_refused() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
            let most = 128 / open.matches(['[', '{']).count();
            assert_eq!(depth(&nested(open, close, most), 128), Ok(()), "{open}");
            assert_eq!(depth(&nested(open, close, most + 1), 128), TOO_DEEP, "{open}");
        }
    }

    #[test]
    fn the_shortest_text_that_is_too_deep_is_refused() {
        for depth_max in [1, 127, 128] {
            let text = format!("{}{}", "[".repeat(depth_max + 1), "]".repeat(depth_max + 1));
            assert_eq!(depth(&text, depth_max), Err(InvalidJson::TooDeep { depth_max }));
        }
    }

    #[test]
    fn neighbours_do_not_add_up() {
        assert_eq!(depth(&format!("[{}[]]", "[[]],{},".repeat(1000)), 3), Ok(()));
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        let brackets = "[{".repeat(1000);
        assert_eq!(depth(&format!(r#"["{brackets}"]"#), 128), Ok(()));
        assert_eq!(depth(&format!(r#"["\"{brackets}\\\""]"#), 128), Ok(()));
        // The string ends behind the escaped backslash, so these brackets do count.
        let text = format!(r#"["\\",{}{}]"#, "[".repeat(128), "]".repeat(128));
        assert_eq!(depth(&text, 128), TOO_DEEP);
    }

    #[test]
    fn a_million_brackets_need_no_stack() {
        let open = "[".repeat(1_000_000);
        assert_eq!(syntax(&open), Err(InvalidJson::Syntax { line: 1, column: 1_000_000 }));
        assert_eq!(depth(&open, 128), TOO_DEEP);
        let closed = format!("{open}{}", "]".repeat(1_000_000));
        assert_eq!(syntax(&closed), Ok(()));
        assert_eq!(depth(&closed, 128), TOO_DEEP);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_placed() {
        assert_eq!(utf8(b"\"a\xff\""), Err(InvalidJson::InvalidUtf8 { offset: 2 }));
        assert_eq!(utf8(b"\"\xed\xa0\x80\""), Err(InvalidJson::InvalidUtf8 { offset: 1 }));
        assert_eq!(utf8(b"\xef\xbb\xbf{}"), Err(InvalidJson::ByteOrderMark));
    }

    #[test]
    fn only_one_json_value_is_json() {
        for text in [" 5\t", "\r\n{}\n", r#""\ud800""#, "1e999", "[null,true]"] {
            assert_eq!(syntax(text), Ok(()), "{text:?}");
        }
        let refused = [
            "",
            " ",
            "{",
            "{}x",
            "{} {}",
            "NaN",
            "[NaN]",
            "Infinity",
            "-",
            "01",
            "1.",
            ".5",
            "+1",
            "'a'",
            "[1,]",
            r#"{"a":1,}"#,
            "{a:1}",
            "\"\n\"",
            r#""\x""#,
            r#""\u12""#,
            "tru",
            "\u{a0}1",
        ];
        for text in refused {
            assert!(matches!(syntax(text), Err(InvalidJson::Syntax { .. })), "{text:?}");
        }
    }
}
