//! The members of a JSON object, found by name as raw text.
//!
//! By hand, because a derived struct refuses a key written twice (here the last counts, as for the
//! peers) and `Option<&RawValue>` cannot tell null from absent. Not recursive and not limited in
//! depth: the caller looks at that.

use core::fmt;

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{invalid::InvalidJson, text};

/// Finds the named members of an object, the last of each name, as raw text.
pub(crate) fn named<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], InvalidJson> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = (&mut deserializer).deserialize_map(Named(names))?;
    deserializer.end()?;
    Ok(found)
}

/// Collects the named members of an object and passes over the others.
struct Named<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Named<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        // A raw key may hold a lone surrogate, which a `str` key would make an error.
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let key = text::string(key.get());
            let mut slots = self.0.iter().zip(&mut found);
            if let Some((_, slot)) = slots.find(|(name, _)| key.as_deref() == Some(**name)) {
                *slot = Some(value);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn a_and_b(text: &str) -> [Option<&str>; 2] {
        named(text, ["a", "b"]).unwrap().map(|json| json.map(RawValue::get))
    }

    #[test]
    fn members_are_raw_text_and_others_are_passed_over() {
        assert_eq!(
            a_and_b(r#"{"x":[1e999],"b": { "a":3 } ,"y":"\ud800"}"#),
            [None, Some(r#"{ "a":3 }"#)]
        );
    }

    #[test]
    fn null_is_not_absent() {
        assert_eq!(a_and_b(r#" {"a":null} "#), [Some("null"), None]);
    }

    #[test]
    fn of_a_member_written_twice_the_last_counts_even_when_it_is_null() {
        assert_eq!(a_and_b(r#"{"a":1,"b":1,"a":2,"b":null}"#), [Some("2"), Some("null")]);
    }

    #[test]
    fn a_key_may_be_written_with_escapes() {
        assert_eq!(a_and_b(r#"{"\u0061":1}"#), [Some("1"), None]);
        assert_eq!(a_and_b(r#"{"a":1,"\u0061":2}"#), [Some("2"), None]);
    }

    #[test]
    fn a_key_that_is_no_text_is_passed_over() {
        assert_eq!(a_and_b(r#"{"\ud800":1,"a\udc00":2,"a":3}"#), [Some("3"), None]);
    }

    #[test]
    fn a_broken_object_is_refused_wherever_it_is_broken() {
        let refused = [
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{a:1}"#,
            "{1:1}",
            r#"{"a":NaN}"#,
            r#"{"x":[1,]}"#,
            r#"{"x\q":1}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
        ];
        for text in refused {
            assert!(matches!(named(text, ["a"]), Err(InvalidJson::Syntax { .. })), "{text}");
        }
    }

    #[test]
    fn a_million_levels_need_no_stack() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(a_and_b(&format!(r#"{{"x":{deep},"b":1}}"#)), [None, Some("1")]);
    }
}
