//! What a service offers: its name and its methods, built by hand.
//!
//! Contracts made from a trait use the same type. Not the handlers, and not the shape of params or
//! results: those are Rust types elsewhere. A method appears once, so its kind is never in doubt.

use alloc::collections::{BTreeMap, btree_map::Entry};

use thiserror::Error;

use crate::name::{MethodName, ServiceName};

/// A service's name and methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    service: ServiceName,
    methods: BTreeMap<MethodName, MethodKind>,
}

impl Contract {
    /// Starts a contract without methods.
    pub fn new(service: ServiceName) -> Self {
        Self { service, methods: BTreeMap::new() }
    }

    /// Adds a method that is answered.
    ///
    /// # Errors
    ///
    /// [`DuplicateMethod`] when the contract has a method of that name, of either kind.
    pub fn request(self, method: MethodName) -> Result<Self, DuplicateMethod> {
        self.with(method, MethodKind::Request)
    }

    /// Adds a method that is never answered.
    ///
    /// # Errors
    ///
    /// [`DuplicateMethod`] when the contract has a method of that name, of either kind.
    pub fn notification(self, method: MethodName) -> Result<Self, DuplicateMethod> {
        self.with(method, MethodKind::Notification)
    }

    /// The service's name.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The kind of a method; `None` when the service does not have it.
    pub fn kind(&self, method: &str) -> Option<MethodKind> {
        self.methods.get(method).copied()
    }

    /// The name and the kind of a method; `None` when the service does not have it.
    pub fn find(&self, method: &str) -> Option<(&MethodName, MethodKind)> {
        self.methods.get_key_value(method).map(|(name, kind)| (name, *kind))
    }

    /// All methods in the order of their names' bytes.
    pub fn methods(&self) -> impl Iterator<Item = (&MethodName, MethodKind)> {
        self.methods.iter().map(|(name, kind)| (name, *kind))
    }

    fn with(mut self, method: MethodName, kind: MethodKind) -> Result<Self, DuplicateMethod> {
        match self.methods.entry(method) {
            Entry::Occupied(entry) => {
                Err(DuplicateMethod { service: self.service, method: entry.key().clone() })
            }
            Entry::Vacant(entry) => {
                entry.insert(kind);
                Ok(self)
            }
        }
    }
}

/// Whether a method is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "JSON-RPC 2.0 has exactly these two")]
pub enum MethodKind {
    /// Never answered.
    Notification,
    /// Answered with a result or an error.
    Request,
}

/// A contract that names a method twice; the mistake of whoever builds it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("method \"{method}\" already in the contract of service \"{service}\"")]
#[non_exhaustive]
pub struct DuplicateMethod {
    /// The service of the contract, which is gone.
    pub service: ServiceName,
    /// The method that was there already.
    pub method: MethodName,
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;

    fn name(text: &str) -> MethodName {
        MethodName::new(text).unwrap()
    }

    fn arith() -> Contract {
        Contract::new(ServiceName::new("arith").unwrap())
            .request(name("divide"))
            .and_then(|contract| contract.notification(name("ping")))
            .and_then(|contract| contract.request(name("add")))
            .unwrap()
    }

    #[test]
    fn a_contract_knows_the_kind_of_each_method() {
        assert_eq!(arith().service().as_str(), "arith");
        assert_eq!(arith().kind("add"), Some(MethodKind::Request));
        assert_eq!(arith().kind("ping"), Some(MethodKind::Notification));
        assert_eq!(arith().kind("constructor"), None);
        assert_eq!(arith().kind("Bad Name"), None);
    }

    #[test]
    fn methods_come_sorted() {
        let contract = arith();
        let methods = contract.methods().map(|(name, kind)| (name.as_str(), kind));
        let expected = [
            ("add", MethodKind::Request),
            ("divide", MethodKind::Request),
            ("ping", MethodKind::Notification),
        ];
        assert_eq!(methods.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_second_method_of_a_name_is_refused_whatever_its_kind() {
        let expected = "method \"add\" already in the contract of service \"arith\"";
        assert_eq!(arith().request(name("add")).unwrap_err().to_string(), expected);
        let error = arith().notification(name("add")).unwrap_err();
        assert_eq!((error.service.as_str(), error.method.as_str()), ("arith", "add"));
    }
}
