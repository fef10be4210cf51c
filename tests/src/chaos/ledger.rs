//! [`Ledger`]: every run of every handler, everything that was done to workers and to Redis, and
//! what became of every call.
//!
//! Not the making of calls, nor the doing: see `pool`. A run that is not the last of its number has
//! to be explained: its worker was killed before it can have acknowledged, or was frozen for longer
//! than entries may be idle; or Redis was away then, or has forgotten the acknowledgement.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clamator_tokio::CallError;

use crate::process::now;

/// How long after its handler has ended an entry may not be acknowledged yet.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// How long after Redis is back a worker may still find out.
const NOTICES_WITHIN: Duration = Duration::from_secs(2);

/// How long after a thaw a handler may start that was about to be started.
const STARTS_WITHIN: Duration = Duration::from_millis(50);

/// How a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Killed,
    Stopped,
}

#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// By the number of the call.
    runs: BTreeMap<u64, Vec<Run>>,
    calls: BTreeMap<u64, Call>,
    workers: Vec<Worker>,
    outages: Vec<Outage>,
}

/// When Redis was away.
#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    until: Instant,
    /// Whether it forgot something.
    forgot: bool,
}

#[derive(Debug)]
struct Run {
    worker: usize,
    started: Instant,
    ended: Option<Instant>,
}

#[derive(Debug)]
struct Call {
    made: Instant,
    end: Option<(Instant, Result<u64, CallError>)>,
}

/// One process.
#[derive(Debug, Default)]
struct Worker {
    ended: Option<(Instant, Ending)>,
    /// From when to when it did nothing.
    frozen: Vec<(Instant, Instant)>,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Account {
    pub sent: usize,
    pub answered: usize,
    pub killed: usize,
    pub stopped: usize,
    pub frozen: usize,
    /// How often Redis was away.
    pub away: usize,
    pub once: usize,
    pub again: usize,
    /// Why runs were not the last of their numbers.
    why: BTreeMap<Why, usize>,
    /// Calls that were told that Redis was away.
    pub told: usize,
    /// Calls that ended otherwise, or never.
    lost: Vec<String>,
    /// Calls that were answered with what is another's.
    wrong: Vec<u64>,
    unexplained: Vec<String>,
    pub slowest: Duration,
    /// Consumers that are still in the group after everybody has stopped, but for the one that is nobody
    /// and for whom is pending what is handed back.
    pub consumers: usize,
}

impl Ledger {
    pub fn worker(&self) -> usize {
        let mut book = self.book();
        book.workers.push(Worker::default());
        book.workers.len() - 1
    }

    pub fn ended(&self, worker: usize, ending: Ending) {
        self.book().workers[worker].ended = Some((now(), ending));
    }

    pub fn froze(&self, worker: usize, since: Instant) {
        self.book().workers[worker].frozen.push((since, now()));
    }

    pub fn away(&self, since: Instant, forgot: bool) {
        self.book().outages.push(Outage { since, until: now(), forgot });
    }

    /// How long it took from then on until a call was made and answered.
    pub fn resumed(&self, since: Instant, at_most: Duration) -> Duration {
        while since.elapsed() < at_most {
            let ends = |call: &Call| match call.end {
                Some((at, Ok(_))) if call.made >= since => Some(at - since),
                _ => None,
            };
            if let Some(first) = self.book().calls.values().filter_map(ends).min() {
                return first;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no call was made and answered within {at_most:?}")
    }

    /// A worker has printed this.
    pub fn read(&self, worker: usize, line: &str) {
        let Some((what, number)) = line.split_once(' ') else { return };
        let Ok(number) = number.parse() else { return };
        let mut book = self.book();
        let runs = book.runs.entry(number).or_default();
        match what {
            "start" => runs.push(Run { worker, started: now(), ended: None }),
            "end" => {
                let own = |run: &&mut Run| run.worker == worker && run.ended.is_none();
                let run = runs.iter_mut().rev().find(own).expect("what ends was started");
                run.ended = Some(now());
            }
            other => panic!("a worker says {other:?}"),
        }
    }

    pub fn call(&self, number: u64) {
        let call = Call { made: now(), end: None };
        self.book().calls.insert(number, call);
    }

    pub fn answer(&self, number: u64, result: Result<u64, CallError>) {
        let end = Some((now(), result));
        self.book().calls.get_mut(&number).expect("it was made").end = end;
    }

    pub fn account(&self, claim_idle: Duration, consumers: usize) -> Account {
        let book = self.book();
        let ended = |as_what| {
            let ends = book.workers.iter().filter_map(|worker| worker.ended);
            ends.filter(|(_, ending)| *ending == as_what).count()
        };
        let mut account = Account {
            sent: book.calls.len(),
            killed: ended(Ending::Killed),
            stopped: ended(Ending::Stopped),
            frozen: book.workers.iter().map(|worker| worker.frozen.len()).sum(),
            away: book.outages.len(),
            consumers,
            ..Account::default()
        };
        for (number, call) in &book.calls {
            match &call.end {
                Some((at, Ok(reply))) => {
                    account.answered += 1;
                    account.slowest = account.slowest.max(*at - call.made);
                    if *reply != number * 3 + 1 {
                        account.wrong.push(*number);
                    }
                }
                Some((at, Err(error))) if book.explains_error(call.made, *at, error) => {
                    account.told += 1;
                }
                other => account.lost.push(format!("{number}: {other:?}")),
            }
        }
        for (number, runs) in &book.runs {
            account.once += usize::from(runs.len() == 1);
            account.again += runs.len() - 1;
            for pair in runs.windows(2) {
                match book.explains(&pair[0], &pair[1], claim_idle) {
                    Some(why) => *account.why.entry(why).or_default() += 1,
                    None => account.unexplained.push(format!("{number}: {runs:?}")),
                }
            }
        }
        account
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why something ran again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Killed,
    Frozen,
    /// Its worker was frozen between the last look at the time and the start.
    Thawed,
    /// Redis was away.
    Away,
    /// Redis has forgotten that it was acknowledged.
    Forgotten,
}

impl Book {
    /// Why what ran ran again.
    fn explains(&self, run: &Run, next: &Run, claim_idle: Duration) -> Option<Why> {
        let settled = run.ended.map(|ended| ended + SETTLES_WITHIN);
        let redis = self.outages.iter().find_map(|outage| {
            let during = run.started <= outage.until
                && settled.is_none_or(|settled| settled >= outage.since);
            let forgotten =
                outage.forgot && run.started <= outage.until && next.started >= outage.since;
            if during { Some(Why::Away) } else { forgotten.then_some(Why::Forgotten) }
        });
        let thawed = self.workers[next.worker].was_thawed(next.started, claim_idle);
        let own = self.workers[run.worker].explains(run, settled, claim_idle);
        own.or_else(|| thawed.then_some(Why::Thawed)).or(redis)
    }

    /// Whether a call that was under way from then to then ended like this because of Redis.
    fn explains_error(&self, made: Instant, ended: Instant, error: &CallError) -> bool {
        self.outages.iter().any(|outage| {
            let during = made <= outage.until + NOTICES_WITHIN && ended >= outage.since;
            // What Redis has confirmed is answered, unless Redis itself has lost it.
            let lost = outage.forgot && *error == CallError::Timeout;
            let is_told = |error: &CallError| {
                matches!(
                    error,
                    CallError::NotSent | CallError::OutcomeUnknown | CallError::Refused(_)
                )
            };
            during && (lost || is_told(error))
        })
    }
}

impl Worker {
    /// Why what ran here ran again elsewhere.
    fn explains(&self, run: &Run, settled: Option<Instant>, claim_idle: Duration) -> Option<Why> {
        let frozen = self.frozen.iter().any(|(since, until)| {
            let long = *until - *since >= claim_idle;
            long && run.started <= *until && settled.is_none_or(|settled| settled >= *since)
        });
        if frozen {
            return Some(Why::Frozen);
        }
        let (at, ending) = self.ended?;
        let open = settled.is_none_or(|settled| settled >= at);
        (ending == Ending::Killed && open).then_some(Why::Killed)
    }

    /// Whether it had just been frozen for as long as an entry may be idle.
    fn was_thawed(&self, at: Instant, claim_idle: Duration) -> bool {
        self.frozen.iter().any(|(since, until)| {
            *until - *since >= claim_idle && at >= *since && at <= *until + STARTS_WITHIN
        })
    }
}

impl Account {
    /// Nothing is lost, nothing is wrong, and every second run is explained.
    pub fn assert_sound(&self) {
        assert!(self.lost.is_empty(), "{self}\nlost: {:#?}", self.lost);
        assert!(self.wrong.is_empty(), "{self}\nwrong: {:?}", self.wrong);
        assert!(self.unexplained.is_empty(), "{self}\nunexplained: {:#?}", self.unexplained);
    }

    /// How many handlers were started by workers that had just been frozen.
    pub fn thawed(&self) -> usize {
        self.why.get(&Why::Thawed).copied().unwrap_or_default()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, told, killed, stopped, frozen, away, once, again, .. } = self;
        let Self { slowest, why, consumers, .. } = self;
        let (lost, wrong, unexplained) =
            (self.lost.len(), self.wrong.len(), self.unexplained.len());
        let why = |which| why.get(&which).unwrap_or(&0);
        writeln!(
            f,
            "{sent} sent, {answered} answered, {told} told that Redis was away, {lost} lost, \
             {wrong} wrong"
        )?;
        writeln!(
            f,
            "{killed} workers killed, {frozen} times frozen, {stopped} stopped; Redis {away} times \
             away"
        )?;
        write!(
            f,
            "{once} run once, {again} runs again: {} as a worker was killed, {} as one was frozen, \
             {} as one was frozen right before the start, {} as Redis was away, {} as Redis forgot, \
             {unexplained} unexplained; the slowest call took {slowest:?}; {consumers} consumers left",
            why(Why::Killed),
            why(Why::Frozen),
            why(Why::Thawed),
            why(Why::Away),
            why(Why::Forgotten)
        )
    }
}
