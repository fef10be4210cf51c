//! Service and method names, checked once and then carried as types.
//!
//! Not the joined `<service>.<method>` of the wire: that is [`Method`](crate::Method). The rules
//! are `^[a-z][a-z0-9-]*$` for services and `^[a-z][a-zA-Z0-9]*$` for methods, ASCII only, and a
//! trailing newline is refused. A name that exists is valid, so nothing behind it checks again.

use alloc::{boxed::Box, string::String, sync::Arc};
use core::{borrow::Borrow, fmt, str::FromStr};

use thiserror::Error;

/// Defines one kind of name: the rules differ, what a name can do does not.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:expr, $is_valid:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and keeps a copy of it.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] when `text` breaks the rule of this kind of name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                if $is_valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { kind: $kind, text: text.into() })
                }
            }

            /// The name's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.as_str())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }
    };
}

name! {
    /// The name of a service: a lower-case ASCII letter, then lower-case letters, digits, hyphens.
    ///
    /// A clone shares the text.
    ServiceName, NameKind::Service, is_service
}

name! {
    /// The name of a method: a lower-case ASCII letter, then letters and digits.
    ///
    /// A clone shares the text.
    MethodName, NameKind::Method, is_method
}

/// A text that is no name of its kind; the caller's mistake.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid {kind} \"{text}\"")]
#[non_exhaustive]
pub struct InvalidName {
    /// Which rule the text breaks.
    pub kind: NameKind,
    /// The text as it was given.
    pub text: Box<str>,
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// A method of a service.
    Method,
    /// A service.
    Service,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "method",
            Self::Service => "service",
        })
    }
}

/// Whether `text` is a service name.
pub(crate) fn is_service(text: &str) -> bool {
    starts_lower(text) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Whether `text` is a method name.
pub(crate) fn is_method(text: &str) -> bool {
    starts_lower(text) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn starts_lower(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format, string::ToString};

    use super::*;

    #[test]
    fn a_service_is_lower_case_letters_digits_and_hyphens_behind_a_letter() {
        for text in ["a", "arith", "order-service", "a-", "a--b", "a1", "z9-0"] {
            assert_eq!(ServiceName::new(text).unwrap().as_str(), text);
        }
        let refused = [
            "", "Engine", "1engine", "-a", "a_b", "a.b", "aB", "a b", " a", "a\n", "\na", "a\0",
            "ä", "aé", "а", "a:b",
        ];
        for text in refused {
            assert!(ServiceName::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_method_is_letters_and_digits_behind_a_lower_case_letter() {
        for text in ["a", "add", "launchProcess", "a1B2", "aZ", "constructor"] {
            assert_eq!(MethodName::new(text).unwrap().as_str(), text);
        }
        let refused =
            ["", "Launch", "launch-process", "1a", "a_b", "a.b", "a b", "add\n", "é", "aé", "a\0"];
        for text in refused {
            assert!(MethodName::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_refused_name_is_told_as_the_peers_tell_it() {
        let error = ServiceName::new("X").unwrap_err();
        assert_eq!(error.to_string(), "invalid service \"X\"");
        assert_eq!((error.kind, &*error.text), (NameKind::Service, "X"));
        let error = MethodName::new("launch-process").unwrap_err();
        assert_eq!(error.to_string(), "invalid method \"launch-process\"");
        assert_eq!(error.kind, NameKind::Method);
    }

    #[test]
    fn every_conversion_checks() {
        assert!("add".parse::<MethodName>().is_ok() && "Add".parse::<MethodName>().is_err());
        assert!(ServiceName::try_from("a").is_ok() && ServiceName::try_from("A").is_err());
        assert!(ServiceName::try_from(String::from("A")).is_err());
        assert!(ServiceName::new(String::from("a")).is_ok());
    }

    #[test]
    fn a_name_is_found_in_a_map_by_its_text() {
        let map = BTreeMap::from([(MethodName::new("add").unwrap(), 1)]);
        assert_eq!(map.get("add"), Some(&1));
    }

    #[test]
    fn a_name_shows_its_text() {
        let name = ServiceName::new("arith").unwrap();
        assert_eq!(format!("{name}|{name:>7}|{name:?}"), "arith|  arith|ServiceName(\"arith\")");
        assert_eq!(name.as_ref(), "arith");
    }
}
