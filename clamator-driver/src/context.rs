//! [`Context`]: what a handler may know about the request it handles.
//!
//! Not the parameters, which are its other argument.

use std::sync::Arc;

use clamator_engine::{Job, StreamId};
use clamator_proto::{MethodName, RequestId, ServiceName};

/// The circumstances of one delivery of one request or notification. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    deliveries: u64,
    entry: StreamId,
    instance: Arc<str>,
    method: MethodName,
    request: Option<RequestId>,
    service: ServiceName,
}

impl Context {
    pub(crate) fn new(job: &Job, instance: Arc<str>) -> Self {
        Self {
            deliveries: job.deliveries,
            entry: job.entry,
            instance,
            method: job.method.clone(),
            request: job.request.clone(),
            service: job.service.clone(),
        }
    }

    /// How often the entry was given to a worker, this time included. At least 1; above 1, the
    /// handler may have run before. 1 does not prove that it has not: the count is the consumer
    /// group's, and is lost with it. [`Self::entry`] tells.
    #[must_use]
    pub const fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// Id of the entry in the service's stream. The same in every delivery, so it can serve as a
    /// key for work that must be done only once.
    #[must_use]
    pub const fn entry(&self) -> StreamId {
        self.entry
    }

    /// Name of the server that runs the handler.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Which method was called.
    #[must_use]
    pub const fn method(&self) -> &MethodName {
        &self.method
    }

    /// Id of the request; `None` for a notification.
    #[must_use]
    pub const fn request(&self) -> Option<&RequestId> {
        self.request.as_ref()
    }

    /// Which service was called.
    #[must_use]
    pub const fn service(&self) -> &ServiceName {
        &self.service
    }
}
