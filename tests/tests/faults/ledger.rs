//! [`Ledger`]: what became of every call, and how often every handler ran.
//!
//! Not the making of calls: that is `scene`. Callers and handlers write into the same ledger, by
//! the number that a call carries as its parameter; a reply is right when it is that number's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clamator_driver::CallError;

/// What became of every call. Shared by callers and handlers.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    calls: BTreeMap<u64, Call>,
    runs: BTreeMap<u64, Run>,
    by_instance: BTreeMap<String, usize>,
    running: usize,
    running_max: usize,
}

#[derive(Clone, Debug)]
struct Call {
    made: Instant,
    end: Option<(Instant, Result<(), CallError>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    starts: usize,
    finishes: usize,
}

/// A handler at work. Dropped before [`Running::finish`], it was stopped half way.
#[derive(Debug)]
pub(crate) struct Running {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Ledger {
    /// The reply that is this number's and no other's.
    pub(crate) const fn reply(number: u64) -> u64 {
        number * 3 + 1
    }

    pub(crate) fn call(&self, number: u64) {
        let call = Call { made: Instant::now(), end: None };
        assert!(self.book().calls.insert(number, call).is_none(), "call {number} made twice");
    }

    pub(crate) fn ended(&self, number: u64, result: Result<u64, CallError>) {
        if let Ok(reply) = result {
            assert_eq!(reply, Self::reply(number), "call {number} got another call's reply");
        }
        let mut book = self.book();
        let call = book.calls.get_mut(&number).expect("a call is made before it ends");
        assert!(call.end.is_none(), "call {number} ended twice");
        call.end = Some((Instant::now(), result.map(|_| ())));
    }

    pub(crate) fn start(self: &Arc<Self>, number: u64, instance: &str) -> Running {
        let mut book = self.book();
        book.runs.entry(number).or_default().starts += 1;
        *book.by_instance.entry(instance.into()).or_default() += 1;
        book.running += 1;
        book.running_max = book.running_max.max(book.running);
        drop(book);
        Running { ledger: Arc::clone(self), number }
    }

    /// How many handlers run now.
    pub(crate) fn running(&self) -> usize {
        self.book().running
    }

    /// How many handlers ran at once, at most.
    pub(crate) fn running_max(&self) -> usize {
        self.book().running_max
    }

    /// How many requests were handled to the end.
    pub(crate) fn finished(&self) -> usize {
        self.book().runs.values().filter(|run| run.finishes > 0).count()
    }

    /// How many calls got their reply.
    pub(crate) fn answered(&self) -> usize {
        self.book().calls.values().filter(|call| call.answered().is_some()).count()
    }

    /// How many handlers each server started.
    pub(crate) fn by_instance(&self) -> BTreeMap<String, usize> {
        self.book().by_instance.clone()
    }

    /// How often the handler of each request was started, at most.
    pub(crate) fn starts_max(&self) -> usize {
        self.book().runs.values().map(|run| run.starts).max().unwrap_or_default()
    }

    /// How long after `since` the first call made since then was answered.
    pub(crate) fn recovery(&self, since: Instant) -> Duration {
        let book = self.book();
        let made_since = book.calls.values().filter(|call| call.made >= since);
        let first = made_since.filter_map(Call::answered).min();
        first.expect("some call made after the fault was answered") - since
    }

    /// The longest that a call took that was answered.
    pub(crate) fn slowest(&self) -> Duration {
        let book = self.book();
        let times = book.calls.values().filter_map(|call| Some(call.answered()? - call.made));
        times.max().expect("some call was answered")
    }

    /// Asserts that every call made at or after `since` was answered.
    pub(crate) fn assert_answered_since(&self, since: Instant) {
        for (number, call) in &self.book().calls {
            let made = call.made.checked_duration_since(since);
            if let (Some(made), None) = (made, call.answered()) {
                panic!("call {number}, made {made:?} later, ended as {:?}", call.end);
            }
        }
    }

    /// Asserts what holds after any fault: every call ended, in a reply or in an error of these
    /// kinds; what was answered was handled; what was not sent, or refused, never ran; nothing was
    /// started more than `starts_max` times. Gives back how many calls ended in each way.
    pub(crate) fn assert_sound(
        &self,
        errors: &[&'static str],
        starts_max: usize,
    ) -> BTreeMap<&'static str, usize> {
        let book = self.book();
        let mut ends = BTreeMap::new();
        for (number, call) in &book.calls {
            let run = book.runs.get(number).copied().unwrap_or_default();
            let Some((_, end)) = &call.end else { panic!("call {number} never ended") };
            let kind = end.as_ref().map_or_else(kind, |()| "answered");
            *ends.entry(kind).or_default() += 1;
            match kind {
                "answered" => assert!(run.finishes > 0, "call {number} answered but not handled"),
                _ => assert!(errors.contains(&kind), "call {number} ended as {end:?}"),
            }
            if let "NotSent" | "Refused" = kind {
                assert_eq!(run.starts, 0, "call {number} ran although it ended as {kind}");
            }
        }
        for (number, run) in &book.runs {
            assert!(run.starts <= starts_max, "request {number} started {} times", run.starts);
        }
        ends
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A test that fails while it holds the ledger fails once, not again in every handler.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn answered(&self) -> Option<Instant> {
        self.end.as_ref().filter(|(_, end)| end.is_ok()).map(|(at, _)| *at)
    }
}

impl Running {
    pub(crate) fn finish(self) {
        self.ledger.book().runs.entry(self.number).or_default().finishes += 1;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ledger.book().running -= 1;
    }
}

/// The name of an error's variant.
pub(crate) fn kind(error: &CallError) -> &'static str {
    match error {
        CallError::Invalid(_) => "Invalid",
        CallError::NoWorkers => "NoWorkers",
        CallError::NotSent => "NotSent",
        CallError::OutcomeUnknown => "OutcomeUnknown",
        CallError::Protocol(_) => "Protocol",
        CallError::Reentrant => "Reentrant",
        CallError::Refused(_) => "Refused",
        CallError::Rpc(_) => "Rpc",
        CallError::Stopped => "Stopped",
        CallError::Timeout => "Timeout",
        _ => "other",
    }
}
