//! [`Context`]: what a handler may know about the request it handles.
//!
//! Not the parameters, which are its other argument.

use std::sync::Arc;
use std::time::Duration;

use clamator_engine::{Job, StreamId};
use clamator_proto::{MethodName, RequestId, ServiceName, Traceparent};

use crate::deadline::{Clock, Deadline};
use crate::signal::Signal;

/// The circumstances of one delivery of one request or notification. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context(Arc<Delivery>);

#[derive(Debug)]
struct Delivery {
    deadline: Option<Deadline>,
    deliveries: u64,
    entry: StreamId,
    instance: Arc<str>,
    method: MethodName,
    request: Option<RequestId>,
    service: ServiceName,
    traceparent: Option<Traceparent>,
    lost: Signal,
    cancelled: Signal,
}

impl Context {
    pub(crate) fn new(job: &Job, instance: Arc<str>, clock: &Clock) -> Self {
        Self(Arc::new(Delivery {
            deadline: job.remaining.map(|left| Deadline::after(left, clock)),
            deliveries: job.deliveries,
            entry: job.entry,
            instance,
            method: job.method.clone(),
            request: job.request.clone(),
            service: job.service.clone(),
            traceparent: job.traceparent,
            lost: Signal::default(),
            cancelled: Signal::default(),
        }))
    }

    /// Until when the caller waits.
    pub(crate) fn deadline(&self) -> Option<&Deadline> {
        self.0.deadline.as_ref()
    }

    /// The trace the request belongs to.
    pub(crate) fn trace(&self) -> Option<Traceparent> {
        self.0.traceparent
    }

    /// What the handler comes to is not going to be heard.
    pub(crate) fn lose_lease(&self) {
        self.0.lost.give();
        self.cancel();
    }

    /// The handler had better end soon.
    pub(crate) fn cancel(&self) {
        self.0.cancelled.give();
    }

    /// Waits until the handler had better end early: its lease is lost ([`Self::lease_lost`]), or
    /// its server stops, which gives it the grace of the stop. Nothing ends it before the grace is
    /// over; then, or when it has run for
    /// [`handler_timeout`](crate::ServerBuilder::handler_timeout), its future is dropped.
    pub async fn cancelled(&self) {
        self.0.cancelled.given().await;
    }

    /// How often the entry was given to a worker, this time included. At least 1; above 1, the
    /// handler may have run before. 1 does not prove that it has not: the count is the consumer
    /// group's, and is lost with it. [`Self::entry`] tells.
    #[must_use]
    pub fn deliveries(&self) -> u64 {
        self.0.deliveries
    }

    /// Id of the entry in the service's stream. The same in every delivery, so it can serve as a
    /// key for work that must be done only once.
    #[must_use]
    pub fn entry(&self) -> StreamId {
        self.0.entry
    }

    /// Name of the server that runs the handler.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Whether the handler should be running no more: it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.is_given()
    }

    /// Whether another worker may have been given the request meanwhile, as after this process was
    /// frozen for longer than [`claim_idle`](crate::ServerBuilder::claim_idle), or when the handler
    /// was dropped. Whatever the handler comes to is not going to be heard then: no reply is sent.
    /// To be asked before an effect that must not happen twice. `false` is what is known now, and
    /// no promise for the moment after.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.0.lost.is_given()
    }

    /// Waits until the lease is lost: see [`Self::is_lease_lost`].
    pub async fn lease_lost(&self) {
        self.0.lost.given().await;
    }

    /// Which method was called.
    #[must_use]
    pub fn method(&self) -> &MethodName {
        &self.0.method
    }

    /// For how long the caller still waits, at most: zero when it has given up. `None` when it has
    /// not said, as for a notification, or for a request of a Python or TypeScript client. What is
    /// on its way to the caller is not counted, and Redis's clock says when it began to wait: it is
    /// some hundred milliseconds too long at the worst, unless that was set meanwhile. A call is given what is left by
    /// [`Call::within`](crate::Call::within).
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(Deadline::left)
    }

    /// Id of the request; `None` for a notification.
    #[must_use]
    pub fn request(&self) -> Option<&RequestId> {
        self.0.request.as_ref()
    }

    /// Which service was called.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.0.service
    }

    /// Which trace the request belongs to, and which span made it, as a W3C
    /// [`traceparent`](crate::manual::traces), valid whoever wrote it. `None` when the caller did not
    /// say, as Python and TypeScript ones do not. Calls that the handler makes belong to the same
    /// trace when they are given it: `client.call(…).within(&context)`, or
    /// `client.call(…).traceparent(context.traceparent())`.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_ref().map(Traceparent::as_str)
    }
}
