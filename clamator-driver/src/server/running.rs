//! [`Running`]: a handler at work on one job.
//!
//! Not what becomes of its outcome. A panic of the handler or of its error, whether it is called,
//! polled, shown or dropped, ends that job and nothing else.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use clamator_engine::JobId;
use clamator_proto::Json;
use futures_util::future::BoxFuture;

use crate::context::Context;
use crate::handler::{Handler, HandlerResult, Report};
use crate::panics;
use crate::reentrant::{Inside, Spot};

/// A future of what a handler makes of one job.
pub(super) struct Running {
    id: JobId,
    context: Context,
    work: Work,
    /// Where it is, if its own service cannot be called from it.
    spot: Option<Arc<Spot>>,
}

enum Work {
    Ended,
    New { handler: Arc<dyn Handler>, params: Json },
    Polled(BoxFuture<'static, HandlerResult>),
}

/// How a job ended.
pub(super) struct Ended {
    pub(super) id: JobId,
    pub(super) context: Context,
    pub(super) result: Result<Json, Report>,
}

impl Running {
    pub(super) const fn new(
        id: JobId,
        context: Context,
        handler: Arc<dyn Handler>,
        params: Json,
        spot: Option<Arc<Spot>>,
    ) -> Self {
        Self { id, context, work: Work::New { handler, params }, spot }
    }

    pub(super) const fn id(&self) -> JobId {
        self.id
    }

    /// What the handler knows of its job.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    /// Calls the handler the first time and polls its future every time.
    fn work(&mut self, cx: &mut TaskContext<'_>) -> Poll<HandlerResult> {
        let _inside = Inside::of(self.spot.as_ref());
        if let Work::New { handler, params } = &mut self.work {
            let params = std::mem::replace(params, Json::null());
            self.work = Work::Polled(handler.handle(params, self.context.clone()));
        }
        match &mut self.work {
            Work::Polled(future) => future.as_mut().poll(cx),
            Work::Ended | Work::New { .. } => unreachable!("polled after its end"),
        }
    }

    /// Drops the handler's future, if it is still there.
    fn end(&mut self) {
        let work = std::mem::replace(&mut self.work, Work::Ended);
        // What a value does when it is dropped is the handler's own affair; the job has ended.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(work))) {
            panics::drop_payload(payload);
        }
    }
}

/// The report of a panic.
fn panicked(payload: Box<dyn Any + Send>) -> Report {
    let report = Report::panic(&*payload);
    panics::drop_payload(payload);
    report
}

impl Future for Running {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Ended> {
        let this = &mut *self;
        // The error's own code runs too: its text, its causes and its end.
        let work = || this.work(cx).map_err(|error| error.into_report());
        let result = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result,
            Err(payload) => Err(panicked(payload)),
        };
        this.end();
        Poll::Ready(Ended { id: this.id, context: this.context.clone(), result })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
