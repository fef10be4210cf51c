//! [`World`]: an async runtime that scenarios run on, and `scenarios!`, which makes a test of each
//! scenario for each of them.
//!
//! Not the scenarios, which know a [`Runtime`] and nothing of any world: what they need beside
//! clients and servers, such as a pause or a task, is in [`Async`], built on that trait alone.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use clamator_async_std::AsyncStd;
use clamator_driver::Runtime;
use clamator_driver::runtime::Timer;
use clamator_smol::Smol;
use clamator_tokio::Tokio;
use futures_channel::oneshot;
use futures_util::future::{AbortHandle, Abortable, Either, select};

/// A runtime, and how to run something on it.
pub trait World {
    type Runtime: Runtime + Default;

    /// Runs one future to its end on a runtime of its own, or on that of the process where a
    /// runtime is that of the process.
    fn run<F: Future>(start: impl FnOnce(Self::Runtime) -> F) -> F::Output;
}

/// What the threads of the tokio that a world started are called: those of any other have tokio's
/// own name for them.
pub const TOKIO_THREAD: &str = "world";

/// Tokio with two threads.
#[derive(Debug)]
pub struct TokioThreads;

impl World for TokioThreads {
    type Runtime = Tokio;

    fn run<F: Future>(start: impl FnOnce(Tokio) -> F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(2).thread_name(TOKIO_THREAD).enable_all();
        let runtime = builder.build().expect("threads can be made");
        let output = runtime.block_on(async { start(Tokio::default()).await });
        // A scenario that failed must not wait for what it left behind.
        runtime.shutdown_background();
        output
    }
}

/// Tokio on the test's own thread.
#[derive(Debug)]
pub struct TokioCurrentThread;

impl World for TokioCurrentThread {
    type Runtime = Tokio;

    fn run<F: Future>(start: impl FnOnce(Tokio) -> F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let builder = builder.thread_name(TOKIO_THREAD).enable_all();
        let runtime = builder.build().expect("a runtime can be made");
        runtime.block_on(async { start(Tokio::default()).await })
    }
}

/// async-std, whose threads are the process's.
#[derive(Debug)]
pub struct AsyncStdThreads;

impl World for AsyncStdThreads {
    type Runtime = AsyncStd;

    fn run<F: Future>(start: impl FnOnce(AsyncStd) -> F) -> F::Output {
        async_std::task::block_on(start(AsyncStd::default()))
    }
}

/// smol's global executor, whose thread is the process's.
#[derive(Debug)]
pub struct SmolGlobal;

impl World for SmolGlobal {
    type Runtime = Smol;

    fn run<F: Future>(start: impl FnOnce(Smol) -> F) -> F::Output {
        smol::block_on(start(Smol::default()))
    }
}

/// An executor of the program's own, run by the test's thread.
#[derive(Debug)]
pub struct SmolExecutor;

impl World for SmolExecutor {
    type Runtime = Smol;

    fn run<F: Future>(start: impl FnOnce(Smol) -> F) -> F::Output {
        let executor = Arc::new(smol::Executor::new());
        let weak = Arc::downgrade(&executor);
        let runtime = Smol::on(move |task| {
            if let Some(executor) = weak.upgrade() {
                executor.spawn(task).detach();
            }
        });
        smol::block_on(executor.run(start(runtime)))
    }
}

/// What scenarios do beside calling and serving, on any runtime.
pub trait Async: Runtime {
    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let at = self.now() + duration;
        let mut timer = self.timer();
        std::future::poll_fn(move |cx| timer.poll_at(at, cx))
    }

    /// Waits for a future, at most this long.
    fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> {
        let sleep = self.sleep(duration);
        async move {
            match select(std::pin::pin!(future), std::pin::pin!(sleep)).await {
                Either::Left((output, _)) => Ok(output),
                Either::Right(_) => Err(Elapsed),
            }
        }
    }

    /// Waits for a future, at most this long, and fails the test after that.
    fn within<F: Future>(
        &self,
        at_most: Duration,
        what: &str,
        future: F,
    ) -> impl Future<Output = F::Output> {
        let waiting = self.timeout(at_most, future);
        async move {
            let Ok(output) = waiting.await else { panic!("waited {at_most:?} for {what}") };
            output
        }
    }

    /// Waits until something is so, at most five seconds.
    fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
        async move {
            for _ in 0..500 {
                if is_so() {
                    return;
                }
                self.sleep(Duration::from_millis(10)).await;
            }
            panic!("not within 5 s: {what}");
        }
    }

    /// Starts a task whose output can be waited for. A dropped task goes on.
    fn task<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (sender, output) = oneshot::channel();
        let (handle, registration) = AbortHandle::new_pair();
        self.spawn(async move {
            if let Ok(output) = Abortable::new(future, registration).await {
                // Whoever does not wait for it does not want it.
                let _ = sender.send(output);
            }
        });
        Task { output, handle }
    }
}

impl<R: Runtime> Async for R {}

/// The time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// A task of a scenario: a future of its output, which panics when the task did or was aborted.
#[derive(Debug)]
pub struct Task<T> {
    output: oneshot::Receiver<T>,
    handle: AbortHandle,
}

impl<T> Task<T> {
    /// Drops the task's future, soon.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Takes the output if the task has ended.
    pub fn finished(&mut self) -> Option<T> {
        self.output.try_recv().expect("the task did not panic")
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let output = ready!(Pin::new(&mut self.output).poll(cx));
        Poll::Ready(output.expect("the task neither panicked nor was aborted"))
    }
}

/// Makes tests of scenarios: of each a module, with a test for each runtime.
///
/// `scenarios!(one, two)` runs `one(runtime)` and `two(runtime)`, generic async functions beside
/// the macro. `scenarios!(over start: one, two)` runs `one(start(runtime))`.
/// `scenarios!(on every world over start: one)` also runs them on a tokio of one thread and in a
/// smol executor of the program's own.
#[macro_export]
macro_rules! scenarios {
    (on every world over $start:path: $($scenario:ident),* $(,)?) => { $(
        mod $scenario {
            $crate::scenario!($scenario, $start, tokio, TokioThreads);
            $crate::scenario!($scenario, $start, tokio_current_thread, TokioCurrentThread);
            $crate::scenario!($scenario, $start, async_std, AsyncStdThreads);
            $crate::scenario!($scenario, $start, smol, SmolGlobal);
            $crate::scenario!($scenario, $start, smol_executor, SmolExecutor);
        }
    )* };
    (over $start:path: $($scenario:ident),* $(,)?) => { $(
        mod $scenario {
            $crate::scenario!($scenario, $start, tokio, TokioThreads);
            $crate::scenario!($scenario, $start, async_std, AsyncStdThreads);
            $crate::scenario!($scenario, $start, smol, SmolGlobal);
        }
    )* };
    ($($scenario:ident),* $(,)?) => {
        $crate::scenarios!(over std::convert::identity: $($scenario),*);
    };
}

/// Makes the test of one scenario for one runtime.
#[macro_export]
macro_rules! scenario {
    ($scenario:ident, $start:path, $name:ident, $world:ident) => {
        #[test]
        fn $name() {
            use $crate::world::World as _;
            $crate::world::$world::run(|runtime| super::$scenario($start(runtime)));
        }
    };
}
