//! [`Call`] and [`Notify`]: the futures that users wait on.
//!
//! Not the waiting of the engine. A future does nothing until it is polled, starts exactly once,
//! and tells the driver when it is dropped before its end, so that the engine forgets the call.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use clamator_engine::{CallError, InvalidCall, ProtocolFault};
use clamator_proto::{Json, Method};
use futures_channel::oneshot;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::role::{Kind, Request, Verb};
use crate::context::Context;
use crate::deadline::Deadline;
use crate::handler::no_params;
use crate::inbox::Inbox;
use crate::reentrant::Home;

/// What all handles and calls of one client share. The client stops when it is dropped.
pub(super) struct Handle {
    pub(super) inbox: Arc<Inbox<Verb>>,
    next_key: AtomicU64,
    home: Home,
}

impl Handle {
    pub(super) const fn new(inbox: Arc<Inbox<Verb>>, home: Home) -> Self {
        Self { inbox, next_key: AtomicU64::new(0), home }
    }

    /// Whether it would wait for the handler that makes it, here and now.
    fn is_reentrant(&self, request: &Request) -> bool {
        matches!(request.kind, Kind::Call) && self.home.is_reentrant(&request.method)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // An error means that the client has stopped already.
        let _ = self.inbox.push(Verb::Stop(None));
    }
}

/// A call on its way: a future of its result.
#[must_use = "a call starts when it is polled"]
pub struct Call<T> {
    pending: Pending,
    result: PhantomData<fn() -> T>,
}

impl<T> Call<T> {
    pub(super) const fn new(pending: Pending) -> Self {
        Self { pending, result: PhantomData }
    }

    /// Gives this call a timeout of its own, instead of the client's. Counts as soon as the client's
    /// task has taken the call, which its first poll hands over; after that it cannot be changed any
    /// more.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let State::New(request) = &mut self.pending.state {
            request.timeout = Some(timeout);
        }
        self
    }

    /// Says which trace the call belongs to and which span makes it, as a W3C
    /// [`traceparent`](crate::manual::traces); the handler is told by
    /// [`Context::traceparent`](crate::Context::traceparent). By default it says nothing. Nothing is
    /// what it says, too, with a text that is no traceparent: no call fails because of it. Call it
    /// before the first poll.
    pub fn traceparent<'a>(mut self, text: impl Into<Option<&'a str>>) -> Self {
        self.pending.set_traceparent(text.into());
        self
    }

    /// Gives this call no more time than the caller of a handler still waits, which makes it: what
    /// comes later helps nobody. Its own timeout, or the client's, holds where it is shorter. Looked
    /// at when the client's task takes the call; where nothing is left then, it is not sent and fails with
    /// [`CallError::NotSent`]. Changes nothing where [`Context::remaining`] is `None`; within several,
    /// the least time counts. The call belongs to the trace of that caller's, unless it was said
    /// before which it [belongs to](Self::traceparent).
    pub fn within(mut self, context: &Context) -> Self {
        if let State::New(request) = &mut self.pending.state {
            request.deadline =
                Deadline::first([request.deadline.take(), context.deadline().cloned()]);
            request.traceparent = request.traceparent.or_else(|| context.trace());
        }
        self
    }
}

impl<T: DeserializeOwned> Future for Call<T> {
    type Output = Result<T, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let result = ready!(self.get_mut().pending.poll(cx))?;
        Poll::Ready(result.decode().map_err(|error| {
            CallError::Protocol(ProtocolFault::Result { detail: error.to_string() })
        }))
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// A notification on its way: a future of its arrival on the stream.
#[must_use = "a notification is sent when it is polled"]
pub struct Notify {
    pending: Pending,
}

impl Notify {
    pub(super) const fn new(pending: Pending) -> Self {
        Self { pending }
    }

    /// Says which trace the notification belongs to: see [`Call::traceparent`].
    pub fn traceparent<'a>(mut self, text: impl Into<Option<&'a str>>) -> Self {
        self.pending.set_traceparent(text.into());
        self
    }
}

impl Future for Notify {
    type Output = Result<(), CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.get_mut().pending.poll(cx).map_ok(|_| ())
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

/// A call or notification between its making and its end.
pub(super) struct Pending {
    handle: Arc<Handle>,
    state: State,
}

enum State {
    Ended,
    Invalid(InvalidCall),
    New(Request),
    Waiting { key: u64, answer: oneshot::Receiver<Result<Json, CallError>> },
}

impl Pending {
    pub(super) fn call(handle: &Arc<Handle>, method: &str, params: impl Serialize) -> Self {
        Self::new(handle, Kind::Call, method, params)
    }

    pub(super) fn notification(handle: &Arc<Handle>, method: &str, params: impl Serialize) -> Self {
        Self::new(handle, Kind::Notification, method, params)
    }

    fn new(handle: &Arc<Handle>, kind: Kind, method: &str, params: impl Serialize) -> Self {
        let state = match request(kind, method, params) {
            Ok(request) => State::New(request),
            Err(fault) => State::Invalid(fault),
        };
        Self { handle: Arc::clone(handle), state }
    }

    fn set_traceparent(&mut self, text: Option<&str>) {
        if let State::New(request) = &mut self.state {
            request.traceparent = text.and_then(|text| text.parse().ok());
        }
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Json, CallError>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => unreachable!("polled after its end, which futures forbid"),
                State::Invalid(fault) => return Poll::Ready(Err(CallError::Invalid(fault))),
                State::New(request) if self.handle.is_reentrant(&request) => {
                    return Poll::Ready(Err(CallError::Reentrant));
                }
                State::New(request) => {
                    let key = self.handle.next_key.fetch_add(1, Ordering::Relaxed);
                    let (sender, answer) = oneshot::channel();
                    let verb = Verb::Start { key, request, answer: sender };
                    if self.handle.inbox.push(verb).is_err() {
                        return Poll::Ready(Err(CallError::Stopped));
                    }
                    self.state = State::Waiting { key, answer };
                }
                State::Waiting { key, mut answer } => match Pin::new(&mut answer).poll(cx) {
                    Poll::Pending => {
                        self.state = State::Waiting { key, answer };
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(result)) => return Poll::Ready(result),
                    // The driver is gone, and every call with it.
                    Poll::Ready(Err(oneshot::Canceled)) => {
                        return Poll::Ready(Err(CallError::Stopped));
                    }
                },
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let State::Waiting { key, .. } = self.state {
            // An error means that the client has stopped, and every call with it.
            let _ = self.handle.inbox.push(Verb::Cancel(key));
        }
    }
}

fn request(kind: Kind, method: &str, params: impl Serialize) -> Result<Request, InvalidCall> {
    let invalid = |fault| InvalidCall::Method { fault, method: method.to_owned() };
    let method = Method::parse(method).map_err(invalid)?.into_owned();
    let params =
        Json::encode(&params).map_err(|error| InvalidCall::Params { detail: error.to_string() })?;
    // On the wire, no parameters are an empty object.
    let params = if params.is_null() { no_params() } else { params };
    Ok(Request { kind, method, params, timeout: None, deadline: None, traceparent: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_refused_from_the_depth_on_that_a_server_would_drop_or_refuse() {
        let most = Json::parse("[".repeat(127) + &"]".repeat(127)).unwrap();
        for kind in [Kind::Call, Kind::Notification] {
            let Ok(request) = request(kind, "a.b", &most) else { panic!("127 levels are refused") };
            assert_eq!(request.params, most);
            let refused = super::request(kind, "a.b", [&most]).map(|_| ());
            assert_eq!(
                refused,
                Err(InvalidCall::Params { detail: "nested deeper than 127".into() })
            );
        }
    }
}
