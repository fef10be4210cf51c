//! [`Service`]: a name, its methods and the handlers that run them.
//!
//! Not the serving. A service remembers its first mistake (a bad name, a method twice) and the
//! server's start reports it, so that building one reads as a list of methods.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use clamator_engine::{Concurrency, ServiceConfig, StartFrom};
use clamator_proto::{Contract, DuplicateMethod, InvalidName, MethodKind, MethodName, ServiceName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::handler::{Handler, HandlerError, Typed};

/// A service: what a server serves under one name.
///
/// Handlers run inside the server's task. Work that blocks a thread, or computes for long, belongs
/// on the runtime's blocking pool.
#[must_use = "a service does nothing until it is given to a server's builder"]
pub struct Service {
    built: Result<Built, InvalidService>,
}

pub(crate) struct Built {
    pub(crate) config: ServiceConfig,
    pub(crate) handlers: Handlers,
    /// Whether handlers may call their own service although it is serial.
    reentrant: bool,
}

/// A service's handlers by method.
pub(crate) type Handlers = BTreeMap<MethodName, Arc<dyn Handler>>;

impl Service {
    /// Names a service: a lower-case ASCII letter, then lower-case letters, digits and hyphens.
    pub fn new(name: impl AsRef<str>) -> Self {
        let built = ServiceName::new(name).map_err(InvalidService::from).map(|name| Built {
            config: ServiceConfig::new(Contract::new(name)),
            handlers: BTreeMap::new(),
            reentrant: false,
        });
        Self { built }
    }

    /// Adds a method that is answered.
    ///
    /// `run` takes the parameters and the [`Context`] and returns what serializes as the result.
    /// An async closure that captures nothing will do; one that captures is written
    /// `move |params, context| { let it = it.clone(); async move { … } }`.
    ///
    /// Parameters that are absent read as `{}`, which `()` and `Option` take too. A result that
    /// cannot be written as JSON, or is nested deeper than 127, is answered as
    /// [`HandlerError::invalid_result`] is.
    pub fn request<F, P, T, Fut>(self, method: impl AsRef<str>, run: F) -> Self
    where
        F: Fn(P, Context) -> Fut + Send + Sync + 'static,
        P: DeserializeOwned + 'static,
        T: Serialize + 'static,
        Fut: Future<Output = Result<T, HandlerError>> + Send + 'static,
    {
        self.handler(method, MethodKind::Request, Arc::new(Typed::new(run)))
    }

    /// Adds a method that is never answered. As [`Service::request`] otherwise; a failure is
    /// logged and nobody else learns of it.
    pub fn notification<F, P, Fut>(self, method: impl AsRef<str>, run: F) -> Self
    where
        F: Fn(P, Context) -> Fut + Send + Sync + 'static,
        P: DeserializeOwned + 'static,
        Fut: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.handler(method, MethodKind::Notification, Arc::new(Typed::new(run)))
    }

    /// Adds a method run by a [`Handler`], which takes and returns JSON.
    pub fn handler(
        self,
        method: impl AsRef<str>,
        kind: MethodKind,
        handler: Arc<dyn Handler>,
    ) -> Self {
        let built = self.built.and_then(|built| built.with(method.as_ref(), kind, handler));
        Self { built }
    }

    /// Lets handlers of this service call the service they belong to although one server runs one
    /// of them at a time. Default: such a call fails at once with
    /// [`CallError::Reentrant`](crate::CallError::Reentrant), since it would wait for the handler
    /// that makes it.
    ///
    /// The call needs another server of the pool that is free: where calls go `n` deep, `n` more.
    /// Without one it waits until its timeout. So that it does not wait behind the very handler that
    /// makes it, a server takes no request of this service in while a handler of it runs, which
    /// costs fast handlers a round trip each. A service with [`Concurrency::Limit`] above 1 may
    /// call itself while a place is free.
    pub fn allow_reentrant(mut self) -> Self {
        if let Ok(built) = &mut self.built {
            built.reentrant = true;
        }
        self.configure(|config| config.prefetch = false)
    }

    /// Lets several handlers of this service run at once in one server. Default: one at a time, in
    /// the order of the stream.
    pub fn concurrency(self, concurrency: Concurrency) -> Self {
        self.configure(|config| config.concurrency = concurrency)
    }

    /// Says where the service starts when no server has ever served it. Default: with the oldest
    /// request in the stream.
    pub fn start_from(self, start_from: StartFrom) -> Self {
        self.configure(|config| config.start_from = start_from)
    }

    pub(crate) fn build(self) -> Result<Built, InvalidService> {
        self.built
    }

    fn configure(mut self, configure: impl FnOnce(&mut ServiceConfig)) -> Self {
        if let Ok(built) = &mut self.built {
            configure(&mut built.config);
        }
        self
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.built.as_ref().map(|built| &built.config);
        f.debug_struct("Service").field("config", &config).finish_non_exhaustive()
    }
}

impl Built {
    /// Whether a call from a handler of the service to the service would wait for that handler.
    pub(crate) const fn waits_for_itself(&self) -> bool {
        let serial =
            matches!(self.config.concurrency, Concurrency::Serial | Concurrency::Limit(0 | 1));
        serial && !self.reentrant
    }

    fn with(
        mut self,
        method: &str,
        kind: MethodKind,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, InvalidService> {
        let name = MethodName::new(method)?;
        let contract = self.config.contract;
        self.config.contract = match kind {
            MethodKind::Notification => contract.notification(name.clone()),
            MethodKind::Request => contract.request(name.clone()),
        }?;
        self.handlers.insert(name, handler);
        Ok(self)
    }
}

/// What is wrong with a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidService {
    /// A method was added twice.
    #[error(transparent)]
    Duplicate(#[from] DuplicateMethod),
    /// The service's name, or a method's, is not one.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_remembers_its_first_mistake() {
        let add = async |(): (), _| Ok(1);
        let service = Service::new("arith").request("add", add).request("Add", add);
        let fault = service.request("add", add).build().err().unwrap();
        assert_eq!(fault.to_string(), "invalid method \"Add\"");
        let service = Service::new("Arith").request("add", add);
        assert!(matches!(service.build(), Err(InvalidService::Name(_))));
        let service = Service::new("arith").request("add", add);
        let service = service.notification("add", async |(): (), _| Ok(()));
        assert!(matches!(service.build(), Err(InvalidService::Duplicate(_))));
    }

    #[test]
    fn a_service_keeps_its_settings_and_its_kinds() {
        let service = Service::new("arith")
            .request("add", async |(): (), _| Ok(1))
            .notification("ping", async |(): (), _| Ok(()))
            .concurrency(Concurrency::Limit(8))
            .start_from(StartFrom::New);
        let Built { config, handlers, .. } =
            service.build().unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(config.concurrency, Concurrency::Limit(8));
        assert_eq!(config.start_from, StartFrom::New);
        assert_eq!(config.contract.kind("ping"), Some(MethodKind::Notification));
        assert_eq!(handlers.len(), 2);
    }
}
