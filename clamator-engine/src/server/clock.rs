//! [`Clock`]: what is known of Redis's clock (rule 4.9).
//!
//! Not what follows from it: see `expired`. Entries carry Redis's time in their ids, so only Redis's
//! clock tells how old they are; this server's own may be hours off. TIME is asked on each new
//! command lane before anything else, then with each tick while entries come or wait, and with
//! every fifth of an idle server. It is not asked behind a command that is long unanswered, as a large
//! reply is: what takes long to be answered tells little.
//!
//! What was seen is never carried on by this server's own clock where it matters: an answer is a
//! time that Redis's clock has *passed*, however late it is looked at. The own clock is for the
//! comparison of two samples. If they disagree, one of the clocks was set, the lane leads to another
//! server, or a host stood still; which of them, nobody can tell. What was written before that
//! carries a time that means nothing any more, so no deadline of it is taken to be past.
//!
//! <https://redis.io/docs/latest/commands/time/>

use core::time::Duration;

use super::event::Notice;
use super::group::IDLE_TICKS;
use super::service::Service;
use super::{Aim, Server};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, Reply};
use crate::seeded::{Bug, Seeded};
use crate::time::Instant;

/// How far a sample may be from what earlier ones said.
const APART_MAX: Duration = Duration::from_millis(250);
/// An answer that took longer is compared with nothing: nobody knows when of this time Redis looked at
/// its clock. One that did not is half of it off at most.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(250);
/// One in so many seconds is what two clocks that nobody sets may drift apart: 1000 ppm, twice what
/// a clock is slewed by as a rule.
const DRIFT: i128 = 1000;

/// Redis's clock, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The last sample of this lane.
    last: Option<Sample>,
    /// How many nanoseconds Redis's clock is ahead of the own one, by all samples that agree.
    ahead: Option<i128>,
    /// What was written before this time may carry another clock's.
    since: Duration,
    /// Whether an answer is awaited.
    asked: bool,
    /// Whether the last two samples disagreed.
    disagrees: bool,
    seeded: Seeded,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// What Redis's clock has passed.
    time: Duration,
    /// When that was answered.
    at: Instant,
}

/// What a sample says of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Agrees,
    /// It disagrees with those before. `news` unless the one before did as well.
    Jumped {
        news: bool,
    },
    /// It was too long on its way to tell.
    Late,
}

impl Clock {
    pub(super) fn new(seeded: Seeded) -> Self {
        Self { seeded, ..Self::default() }
    }

    /// The lane has ended. The next one may lead to another server.
    pub(super) const fn forget(&mut self) {
        self.last = None;
        self.asked = false;
    }

    /// Whether it is sure that a deadline is past that an entry has which was written at `written`.
    pub(super) fn is_past(&self, now: Instant, written: Duration, deadline: Duration) -> bool {
        let by_own = self.seeded.is(Bug::DeadlineByOwnClock);
        match self.last {
            None => self.seeded.is(Bug::ExpiredUnsampled),
            Some(sample) if by_own => deadline < sample.time + now.since(sample.at),
            Some(sample) => self.since <= written && deadline < sample.time,
        }
    }

    /// What the clock shows now, if that can be compared with when an entry was written.
    pub(super) fn estimate(&self, now: Instant, written: Duration) -> Option<Duration> {
        let sample = self.last.filter(|_| self.since <= written)?;
        Some(sample.time.saturating_add(now.since(sample.at)))
    }

    /// Takes a sample that was asked for at `sent`.
    fn take(&mut self, sent: Instant, now: Instant, time: Duration) -> Finding {
        if now.since(sent) > ROUND_TRIP_MAX {
            self.take_late(sent, now, time);
            return Finding::Late;
        }
        if self.seeded.is(Bug::DeadlineByOwnClock) && self.last.is_some() {
            return Finding::Agrees;
        }
        let own = (nanos(sent.since_start()) + nanos(now.since_start())) / 2;
        let ahead = nanos(time) - own;
        let passed = self.last.map_or(Duration::ZERO, |last| now.since(last.at));
        self.last = Some(Sample { time, at: now });
        let apart = ahead - *self.ahead.get_or_insert(ahead);
        if apart.abs() <= nanos(APART_MAX) || self.seeded.is(Bug::ClockJumpTrusted) {
            let drift = nanos(passed) / DRIFT;
            self.ahead = Some(ahead - apart + apart.clamp(-drift, drift));
            self.disagrees = false;
            return Finding::Agrees;
        }
        self.ahead = Some(ahead);
        self.since = time;
        Finding::Jumped { news: !core::mem::replace(&mut self.disagrees, true) }
    }
}

impl Clock {
    /// Of an answer that was long on its way is known what Redis's clock has passed, if at some time
    /// between the question and the answer that is what it showed by earlier samples.
    fn take_late(&mut self, sent: Instant, now: Instant, time: Duration) {
        let Some(ahead) = self.ahead else { return };
        let (least, most) = (nanos(sent.since_start()) + ahead, nanos(now.since_start()) + ahead);
        let apart = nanos(APART_MAX);
        if (least - apart..=most + apart).contains(&nanos(time)) {
            self.last = Some(Sample { time, at: now });
        }
    }
}

fn nanos(duration: Duration) -> i128 {
    // A duration has fewer than 2^64 seconds: it always fits.
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

impl Server {
    /// A new tick: the clock is asked if there is something whose deadline may come.
    pub(super) fn tick_clock(&mut self) {
        let moves = |it: &Service| it.group.moved || it.held.unstarted() > 0;
        let due = self.ticks.is_multiple_of(IDLE_TICKS) || self.services.iter().any(moves);
        if due {
            self.ask_time();
        }
    }

    /// Asks Redis for its time, unless the answer would be long on its way.
    pub(super) fn ask_time(&mut self) {
        let unanswered = self.lanes.unanswered_since(Lane::Command);
        let slow = unanswered.is_some_and(|since| self.now.since(since) > ROUND_TRIP_MAX);
        if !slow && !self.clock.asked && self.is_serving() {
            self.clock.asked = self.send(0, Command::Time, Aim::Time { sent: self.now });
        }
    }

    pub(super) fn handle_time(&mut self, sent: Instant, reply: &Result<Reply, Refusal>) {
        self.clock.asked = false;
        let Ok(Reply::Time(time)) = reply else { return };
        if let Finding::Jumped { news } = self.clock.take(sent, self.now, *time) {
            self.stats.clock_jumps += 1;
            if news {
                self.notice(Notice::ClockJumped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    /// What Redis's clock shows when the own one starts.
    const START: Duration = Duration::from_secs(1_700_000_000);

    fn at(passed: Duration) -> Instant {
        Instant::from_start(passed)
    }

    /// Takes a sample that took no time, of a clock that is ahead by this.
    fn take(clock: &mut Clock, passed: Duration, ahead: Duration) -> Finding {
        clock.take(at(passed), at(passed), START + passed + ahead)
    }

    #[test]
    fn nothing_is_past_before_the_first_sample_nor_on_a_new_lane_before_its_own() {
        let mut clock = Clock::default();
        assert!(!clock.is_past(at(SECOND), START, START));
        take(&mut clock, SECOND, Duration::ZERO);
        assert!(clock.is_past(at(SECOND), START, START));
        clock.forget();
        assert!(!clock.is_past(at(SECOND), START, START));
        assert_eq!(clock.estimate(at(SECOND), START), None);
    }

    #[test]
    fn what_is_past_is_what_redis_has_said_and_not_what_the_own_clock_adds() {
        let mut clock = Clock::default();
        take(&mut clock, SECOND, Duration::ZERO);
        let late = at(100 * SECOND);
        assert!(!clock.is_past(late, START, START + SECOND));
        assert!(clock.is_past(late, START, START + SECOND - MS));
        assert_eq!(clock.estimate(late, START), Some(START + 100 * SECOND));
    }

    #[test]
    fn after_a_jump_only_what_was_written_since_can_be_past() {
        for back in [false, true] {
            let (mut clock, jump) = (Clock::default(), 10 * SECOND);
            let none = Duration::ZERO;
            let (before, after) = if back { (jump, none) } else { (none, jump) };
            assert_eq!(take(&mut clock, SECOND, before), Finding::Agrees);
            assert_eq!(take(&mut clock, 2 * SECOND, after), Finding::Jumped { news: true });
            assert_eq!(take(&mut clock, 3 * SECOND, after), Finding::Agrees);
            let (now, jumped) = (at(30 * SECOND), START + after + 2 * SECOND);
            take(&mut clock, 30 * SECOND, after);
            assert!(!clock.is_past(now, jumped - MS, jumped), "written before");
            assert_eq!(clock.estimate(now, jumped - MS), None);
            assert!(clock.is_past(now, jumped, jumped + SECOND), "written since");
            assert_eq!(clock.estimate(now, jumped), Some(START + after + 30 * SECOND));
        }
    }

    #[test]
    fn a_clock_that_goes_on_jumping_is_news_once() {
        let mut clock = Clock::default();
        take(&mut clock, SECOND, Duration::ZERO);
        for (second, news) in [(2, true), (3, false), (4, false)] {
            let found = take(&mut clock, second * SECOND, second * SECOND);
            assert_eq!(found, Finding::Jumped { news });
        }
        assert_eq!(take(&mut clock, 5 * SECOND, 4 * SECOND), Finding::Agrees);
        assert_eq!(take(&mut clock, 6 * SECOND, 5 * SECOND), Finding::Jumped { news: true });
    }

    #[test]
    fn small_steps_in_one_direction_are_a_jump_in_the_end_and_slow_drift_is_none() {
        let mut clock = Clock::default();
        let steps = (0..10).map(|step| take(&mut clock, step * SECOND, step * 100 * MS));
        assert!(steps.skip(1).any(|found| found != Finding::Agrees));
        let mut clock = Clock::default();
        for minute in 0..1000 {
            // 500 ppm.
            let found = take(&mut clock, minute * 60 * SECOND, minute * 30 * MS);
            assert_eq!(found, Finding::Agrees, "minute {minute}");
        }
    }

    #[test]
    fn what_was_long_on_its_way_says_nothing() {
        let mut clock = Clock::default();
        assert_eq!(clock.take(at(SECOND), at(1251 * MS), START), Finding::Late);
        assert!(!clock.is_past(at(2 * SECOND), START - SECOND, START - SECOND));
        assert_eq!(clock.take(at(SECOND), at(1250 * MS), START), Finding::Agrees);
    }

    #[test]
    fn what_was_long_on_its_way_tells_what_has_passed_if_it_fits_what_is_known() {
        let mut clock = Clock::default();
        take(&mut clock, SECOND, Duration::ZERO);
        let late = |clock: &mut Clock, time| clock.take(at(4 * SECOND), at(8 * SECOND), time);
        for odd in [START + 4 * SECOND - 251 * MS, START + 8 * SECOND + 251 * MS] {
            assert_eq!(late(&mut clock, odd), Finding::Late);
            assert!(!clock.is_past(at(8 * SECOND), START, START + SECOND), "{odd:?}");
        }
        for fits in [START + 4 * SECOND - 250 * MS, START + 8 * SECOND + 250 * MS] {
            assert_eq!(late(&mut clock, fits), Finding::Late);
            assert!(clock.is_past(at(8 * SECOND), START, fits - MS), "{fits:?}");
            assert!(!clock.is_past(at(8 * SECOND), START, fits), "{fits:?}");
        }
    }

    #[test]
    fn the_latest_and_the_earliest_times_there_are_do_no_harm() {
        let mut clock = Clock::default();
        let never = Instant::from_start(Duration::MAX);
        for time in [Duration::MAX, Duration::ZERO, Duration::MAX] {
            clock.take(never, never, time);
            clock.take(Instant::ZERO, Instant::ZERO, time);
            let _ = clock.estimate(never, time);
        }
    }
}
