//! The wire's method member, `<service>.<method>`, split and checked.
//!
//! Split at the first dot, so a second dot falls to the method segment, which refuses it. Not a
//! look-up: whether the service serves such a method is the contract's business. Both segments of
//! a [`Method`] are valid names, so it needs no JSON escaping.

use alloc::{borrow::Cow, format};
use core::fmt;

use thiserror::Error;

use crate::name::{self, MethodName, ServiceName};

/// A checked `<service>.<method>`, borrowed from an envelope where its text has no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Method<'a> {
    text: Cow<'a, str>,
    dot: usize,
}

impl<'a> Method<'a> {
    /// Splits `text` at its first dot and checks both segments.
    ///
    /// # Errors
    ///
    /// [`InvalidMethod`] names the first rule broken: the shape, then the service, then the name.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, InvalidMethod> {
        let text = text.into();
        let (service, name) = text.split_once('.').ok_or(InvalidMethod::Shape)?;
        if service.is_empty() || name.is_empty() {
            return Err(InvalidMethod::Shape);
        }
        if !name::is_service(service) {
            return Err(InvalidMethod::Service);
        }
        if !name::is_method(name) {
            return Err(InvalidMethod::Name);
        }
        let dot = service.len();
        Ok(Self { text, dot })
    }

    /// Joins two names, which cannot fail.
    pub fn join(service: &ServiceName, name: &MethodName) -> Method<'static> {
        Method { text: Cow::Owned(format!("{service}.{name}")), dot: service.as_str().len() }
    }

    /// Detaches the method from the text it was parsed from.
    pub fn into_owned(self) -> Method<'static> {
        Method { text: Cow::Owned(self.text.into_owned()), dot: self.dot }
    }

    /// The whole text, `<service>.<method>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the first dot, a valid service name.
    pub fn service(&self) -> &str {
        self.text.get(..self.dot).unwrap_or_default()
    }

    /// The part behind the first dot, a valid method name.
    pub fn name(&self) -> &str {
        self.text.get(self.dot + 1..).unwrap_or_default()
    }
}

impl fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no `<service>.<method>`; the peer's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidMethod {
    /// There is no dot, or nothing before or behind it.
    #[error("method must be \"<service>.<method>\"")]
    Shape,
    /// The part before the first dot is no service name.
    #[error("invalid service segment")]
    Service,
    /// The part behind the first dot is no method name.
    #[error("invalid method segment")]
    Name,
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;

    #[test]
    fn a_method_splits_at_the_first_dot() {
        let method = Method::parse("order-service.launchProcess").unwrap();
        assert_eq!((method.service(), method.name()), ("order-service", "launchProcess"));
        assert_eq!(method.to_string(), "order-service.launchProcess");
        assert_eq!(Method::parse("a.b.c"), Err(InvalidMethod::Name));
    }

    #[test]
    fn the_shape_is_checked_first_then_the_service_then_the_name() {
        let rows = [
            ("", InvalidMethod::Shape),
            ("add", InvalidMethod::Shape),
            (".", InvalidMethod::Shape),
            (".add", InvalidMethod::Shape),
            ("arith.", InvalidMethod::Shape),
            ("Engine.", InvalidMethod::Shape),
            ("Engine.Launch", InvalidMethod::Service),
            ("1a.b", InvalidMethod::Service),
            ("arith.Launch", InvalidMethod::Name),
            ("arith.launch-process", InvalidMethod::Name),
            ("arith.add\n", InvalidMethod::Name),
            ("arith\n.add", InvalidMethod::Service),
            ("arith..add", InvalidMethod::Name),
        ];
        for (text, error) in rows {
            assert_eq!(Method::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn joined_names_are_what_parsing_their_text_gives() {
        let service = ServiceName::new("arith").unwrap();
        let method = Method::join(&service, &MethodName::new("add").unwrap());
        assert_eq!(Method::parse("arith.add"), Ok(method.clone()));
        assert_eq!((method.service(), method.name()), ("arith", "add"));
    }

    #[test]
    fn an_owned_method_outlives_its_text() {
        let owned = {
            let text = String::from("arith.add");
            Method::parse(text.as_str()).unwrap().into_owned()
        };
        assert_eq!((owned.as_str(), owned.service(), owned.name()), ("arith.add", "arith", "add"));
    }
}
