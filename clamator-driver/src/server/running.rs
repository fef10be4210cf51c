//! [`Running`]: a handler at work on one job.
//!
//! Not what becomes of its outcome. A panic of the handler, whether it is called, polled or
//! dropped, ends that job and nothing else.

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

/// A future of what a handler makes of one job.
pub(super) struct Running {
    id: JobId,
    context: Context,
    work: Work,
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
    ) -> Self {
        Self { id, context, work: Work::New { handler, params } }
    }

    pub(super) const fn id(&self) -> JobId {
        self.id
    }

    /// Calls the handler the first time and polls its future every time.
    fn work(&mut self, cx: &mut TaskContext<'_>) -> Poll<HandlerResult> {
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
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

impl Future for Running {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Ended> {
        let this = &mut *self;
        let result = match catch_unwind(AssertUnwindSafe(|| this.work(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => result.map_err(|error| error.into_report()),
            Err(payload) => Err(Report::panic(&*payload)),
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
