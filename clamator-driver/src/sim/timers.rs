//! [`Timers`]: who is woken when, on the world's clock.
//!
//! Not the clocks: a process whose clock is ahead asks for what its clock will show, and its timers
//! are moved when its clock jumps. Wakers that are not needed any more are handed out and not
//! dropped here, since dropping one may run anything.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use clamator_engine::Instant;

use super::world::ProcessId;

/// A timer's number, for as long as it lives.
pub(super) type TimerId = u64;

/// Timers that are set. Those of one instant go off in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeMap<(Instant, TimerId), (ProcessId, Waker)>,
    times: BTreeMap<TimerId, Instant>,
    made: TimerId,
}

impl Timers {
    /// Makes a timer, which is not set.
    pub(super) const fn make(&mut self) -> TimerId {
        self.made += 1;
        self.made
    }

    /// Sets a timer, which may be set. Gives back the waker that it does not need any more.
    pub(super) fn set(
        &mut self,
        timer: TimerId,
        at: Instant,
        process: ProcessId,
        waker: &Waker,
    ) -> Option<Waker> {
        if self.times.get(&timer) == Some(&at) {
            let (_, known) = self.set.get_mut(&(at, timer))?;
            let same = known.will_wake(waker);
            return (!same).then(|| std::mem::replace(known, waker.clone()));
        }
        let before = self.cancel(timer);
        self.times.insert(timer, at);
        self.set.insert((at, timer), (process, waker.clone()));
        before
    }

    /// Unsets a timer.
    pub(super) fn cancel(&mut self, timer: TimerId) -> Option<Waker> {
        let at = self.times.remove(&timer)?;
        self.set.remove(&(at, timer)).map(|(_, waker)| waker)
    }

    /// Unsets the timers of a process.
    pub(super) fn cancel_all(&mut self, process: ProcessId) -> Vec<Waker> {
        self.of(process).into_iter().filter_map(|(_, timer)| self.cancel(timer)).collect()
    }

    /// Lets a process's timers go off earlier by this much.
    pub(super) fn advance(&mut self, process: ProcessId, by: Duration) {
        for (at, timer) in self.of(process) {
            let Some(set) = self.set.remove(&(at, timer)) else { continue };
            let at = Instant::from_start(at.since_start().saturating_sub(by));
            self.times.insert(timer, at);
            self.set.insert((at, timer), set);
        }
    }

    /// When the next timer goes off.
    pub(super) fn due(&self) -> Option<Instant> {
        self.set.keys().next().map(|(at, _)| *at)
    }

    /// Takes those that go off by now.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let mut expired = Vec::new();
        while let Some(entry) = self.set.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, timer), (_, waker)) = entry.remove_entry();
            self.times.remove(&timer);
            expired.push(waker);
        }
        expired
    }

    fn of(&self, process: ProcessId) -> Vec<(Instant, TimerId)> {
        self.set.iter().filter(|(_, (of, _))| *of == process).map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ProcessId = ProcessId::new(1);
    const TWO: ProcessId = ProcessId::new(2);

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn timers_go_off_in_the_order_of_their_times() {
        let mut timers = Timers::default();
        let ids: Vec<_> = (0..3).map(|_| timers.make()).collect();
        for (id, seconds) in ids.iter().zip([3, 1, 2]) {
            assert!(timers.set(*id, at(seconds), ONE, Waker::noop()).is_none());
        }
        assert_eq!(timers.due(), Some(at(1)));
        assert_eq!(timers.expire(at(2)).len(), 2);
        assert_eq!(timers.due(), Some(at(3)));
        assert!(timers.cancel(ids[0]).is_some());
        assert_eq!(timers.due(), None);
    }

    #[test]
    fn a_timer_that_is_set_again_goes_off_once() {
        let mut timers = Timers::default();
        let id = timers.make();
        assert!(timers.set(id, at(5), ONE, Waker::noop()).is_none());
        assert!(timers.set(id, at(2), ONE, Waker::noop()).is_some());
        assert_eq!(timers.expire(at(9)).len(), 1);
        assert_eq!(timers.due(), None);
    }

    #[test]
    fn a_clock_that_jumps_moves_the_timers_of_its_process_only() {
        let mut timers = Timers::default();
        for process in [ONE, TWO] {
            let id = timers.make();
            timers.set(id, at(10), process, Waker::noop());
        }
        timers.advance(ONE, Duration::from_secs(7));
        assert_eq!(timers.due(), Some(at(3)));
        assert_eq!(timers.expire(at(9)).len(), 1);
        assert_eq!(timers.cancel_all(ONE).len(), 0);
        assert_eq!(timers.cancel_all(TWO).len(), 1);
    }
}
