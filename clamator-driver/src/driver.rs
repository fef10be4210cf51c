//! [`Driver`]: the one loop that connects an engine to its lanes, its handles and its clock.
//!
//! Not the rules (the engine), not the lanes (the link), not what events mean to the application
//! (the role). Everything is polled in one fixed order with one `now` per turn, so that replies
//! beat timers and what came in together goes out together.
//!
//! The loop returns `Pending` only after a turn in which nothing happened: everything that can
//! wake the task, a lane opened a moment ago included, was then polled with the task's waker.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use clamator_engine::{Engine, Input, Instant, Output};

use crate::link::Link;
use crate::runtime::{Runtime, Timer};

/// Most turns before other tasks of the runtime get their chance.
const TURNS_MAX: usize = 16;
/// Most things that are handed in within one turn, for links and for handlers each.
pub(crate) const INPUTS_MAX: usize = 256;

/// What the application makes of an engine: the client's or the server's half of a driver.
pub(crate) trait Role: Send + Unpin + 'static {
    type Engine: Engine;

    fn engine(&mut self) -> &mut Self::Engine;

    /// Hands in every verb that waits. Tells whether there was one.
    fn take_verbs(&mut self, now: Instant, cx: &Context<'_>) -> bool;

    /// Hands in what the application finished meanwhile. Tells whether there was something.
    fn poll_work(&mut self, now: Instant, cx: &mut Context<'_>) -> bool;

    /// Takes an event. May start work and hand its outcome in at once, with a `now` of its own.
    fn handle_event(&mut self, event: <Self::Engine as Engine>::Event, cx: &mut Context<'_>);

    /// Passes on what the engine has counted, if it counts.
    #[cfg(feature = "metrics")]
    fn measure(&mut self) {}

    /// Whether the engine has said its last event.
    fn is_done(&self) -> bool;
}

/// The task behind one client or server.
pub(crate) struct Driver<R: Runtime, L, P> {
    runtime: R,
    link: L,
    role: P,
    /// Made by the first poll, inside the runtime.
    timer: Option<R::Timer>,
    /// What the timer is set to; it may fire early, never late.
    armed: Option<Instant>,
    /// When the engine wants its next tick.
    due: Option<Instant>,
}

impl<R: Runtime, L: Link, P: Role> Driver<R, L, P> {
    pub(crate) const fn new(runtime: R, link: L, role: P) -> Self {
        Self { runtime, link, role, timer: None, armed: None, due: None }
    }

    /// Takes one turn. Tells whether anything happened.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.runtime.now();
        let mut busy = self.role.take_verbs(now, cx);
        busy |= self.take_inputs(now, cx);
        busy |= self.role.poll_work(now, cx);
        if self.due.is_some_and(|due| due <= now) {
            self.role.engine().handle_input(now, Input::Tick);
            busy = true;
        }
        busy |= self.drain(now, cx);
        self.link.flush(now);
        #[cfg(feature = "metrics")]
        if busy {
            self.role.measure();
        }
        busy
    }

    fn take_inputs(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        for _ in 0..INPUTS_MAX {
            let Poll::Ready(input) = self.link.poll_input(now, cx) else { break };
            self.role.engine().handle_input(now, input);
            busy = true;
        }
        busy
    }

    /// Passes on what the engine says, until it has nothing more to say.
    fn drain(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        loop {
            match self.role.engine().poll_output() {
                Output::Open(lane) => self.link.open(now, lane),
                Output::Close(lane) => self.link.close(now, lane),
                Output::Command { lane, token, command, .. } => {
                    self.link.send(lane, token, command);
                }
                Output::Event(event) => self.role.handle_event(event, cx),
                Output::Idle(deadline) => {
                    self.due = deadline.map(|deadline| deadline.at);
                    return busy;
                }
                // What this driver does not know, it cannot do.
                _ => {}
            }
            busy = true;
        }
    }

    /// Waits for the earlier of the engine's and the link's deadline.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = match (self.due, self.link.deadline()) {
            (Some(engine), Some(link)) => engine.min(link),
            (engine, link) => match engine.or(link) {
                Some(next) => next,
                None => return Poll::Pending,
            },
        };
        let runtime = &self.runtime;
        let timer = self.timer.get_or_insert_with(|| runtime.timer());
        // Deadlines move back with every reply: a timer that fires early is cheaper than one that
        // is set again each time.
        let at = self.armed.map_or(next, |armed| armed.min(next));
        self.armed = Some(at);
        ready!(timer.poll_at(at, cx));
        if at < next {
            self.armed = Some(next);
            ready!(timer.poll_at(next, cx));
        }
        self.armed = None;
        Poll::Ready(())
    }
}

impl<R: Runtime, L: Link, P: Role> Future for Driver<R, L, P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..TURNS_MAX {
            let busy = this.turn(cx);
            if this.role.is_done() {
                return Poll::Ready(());
            }
            if !busy && this.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use clamator_engine::{Command, Hello, Lane, Loss, Token, Version};

    use super::*;
    use crate::testing::{CountingWaker, ManualRuntime};

    /// An engine that says what it is told to, and remembers what it heard.
    #[derive(Default)]
    struct Script {
        says: VecDeque<Output<Event>>,
        due: Option<Instant>,
        heard: Vec<&'static str>,
    }

    enum Event {
        Again,
        Done,
    }

    impl Engine for Script {
        type Event = Event;

        fn handle_input(&mut self, _now: Instant, input: Input) {
            self.heard.push(match input {
                Input::LaneOpen(..) => "open",
                Input::LaneLost(..) => "lost",
                Input::Tick => {
                    self.due = None;
                    "tick"
                }
                Input::Reply(..) | _ => "reply",
            });
        }

        fn poll_output(&mut self) -> Output<Event> {
            self.says.pop_front().unwrap_or_else(|| match self.due {
                None => Output::Idle(None),
                Some(due) => Output::Idle(Some(deadline(due))),
            })
        }
    }

    /// A deadline of the real engine's making, moved: deadlines cannot be made elsewhere.
    fn deadline(at: Instant) -> clamator_engine::Deadline {
        let config = clamator_engine::ClientConfig::new("p", [0; 16], 0);
        let mut client = clamator_engine::Client::new(Instant::ZERO, config);
        loop {
            if let Output::Idle(Some(mut deadline)) = client.poll_output() {
                deadline.at = at;
                return deadline;
            }
        }
    }

    #[derive(Default)]
    struct TestRole {
        engine: Script,
        done: bool,
    }

    impl Role for TestRole {
        type Engine = Script;

        fn engine(&mut self) -> &mut Script {
            &mut self.engine
        }

        fn take_verbs(&mut self, _now: Instant, _cx: &Context<'_>) -> bool {
            false
        }

        fn poll_work(&mut self, _now: Instant, _cx: &mut Context<'_>) -> bool {
            false
        }

        fn handle_event(&mut self, event: Event, _cx: &mut Context<'_>) {
            match event {
                Event::Again => self.engine.says.push_back(Output::Open(Lane::Command)),
                Event::Done => self.done = true,
            }
        }

        fn is_done(&self) -> bool {
            self.done
        }
    }

    #[derive(Default)]
    struct TestLink {
        happened: VecDeque<Input>,
        open: usize,
        /// How many of the open lanes have been polled with the task's waker.
        watched: usize,
        flushes: usize,
        /// How much happened in each turn.
        turns: Vec<usize>,
        taken: usize,
    }

    impl Link for TestLink {
        fn open(&mut self, _now: Instant, _lane: Lane) {
            self.open += 1;
        }

        fn send(&mut self, _lane: Lane, _token: Token, _command: Command) {}

        fn flush(&mut self, _now: Instant) {
            self.flushes += 1;
            self.turns.push(std::mem::take(&mut self.taken));
        }

        fn close(&mut self, _now: Instant, _lane: Lane) {}

        fn poll_input(&mut self, _now: Instant, _cx: &mut Context<'_>) -> Poll<Input> {
            let Some(input) = self.happened.pop_front() else {
                self.watched = self.open;
                return Poll::Pending;
            };
            self.taken += 1;
            Poll::Ready(input)
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }
    }

    type TestDriver = Driver<ManualRuntime, TestLink, TestRole>;

    fn driver() -> (TestDriver, ManualRuntime) {
        let runtime = ManualRuntime::default();
        (Driver::new(runtime.clone(), TestLink::default(), TestRole::default()), runtime)
    }

    fn poll(driver: &mut TestDriver) -> (Poll<()>, usize) {
        let (waker, wakes) = CountingWaker::pair();
        let polled = Pin::new(driver).poll(&mut Context::from_waker(&waker));
        (polled, wakes.count())
    }

    fn opened() -> Input {
        Input::LaneOpen(Lane::Command, Hello::new(Version::OLDEST))
    }

    fn seconds(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lane_opened_in_the_drain_is_polled_before_the_task_sleeps() {
        let (mut driver, _) = driver();
        driver.role.engine.says.push_back(Output::Open(Lane::Command));
        assert_eq!(poll(&mut driver), (Poll::Pending, 0));
        assert_eq!((driver.link.open, driver.link.watched), (1, 1));
    }

    #[test]
    fn what_comes_in_together_is_drained_and_written_together() {
        let (mut driver, _) = driver();
        driver.link.happened.extend((0..INPUTS_MAX + 44).map(|_| opened()));
        assert_eq!(poll(&mut driver), (Poll::Pending, 0));
        assert_eq!(driver.link.turns, [INPUTS_MAX, 44, 0]);
    }

    #[test]
    fn replies_are_handed_in_before_a_tick_that_is_due() {
        let (mut driver, runtime) = driver();
        driver.role.engine.due = Some(seconds(1));
        assert_eq!(poll(&mut driver), (Poll::Pending, 0));
        runtime.set(seconds(2));
        let detail = String::new();
        driver.link.happened.push_back(Input::LaneLost(Lane::Command, Loss::Closed { detail }));
        assert_eq!(poll(&mut driver), (Poll::Pending, 0));
        assert_eq!(driver.role.engine.heard, ["lost", "tick"]);
    }

    #[test]
    fn a_deadline_that_moves_back_does_not_set_the_timer_again_and_is_kept() {
        let (mut driver, runtime) = driver();
        for due in 1..=5 {
            driver.role.engine.due = Some(seconds(due));
            driver.link.happened.push_back(opened());
            assert_eq!(poll(&mut driver).0, Poll::Pending);
        }
        assert_eq!(runtime.set_to(), [seconds(1)]);
        runtime.set(seconds(1));
        assert_eq!(poll(&mut driver).0, Poll::Pending);
        assert_eq!(runtime.set_to(), [seconds(1), seconds(5)]);
        assert!(!driver.role.engine.heard.contains(&"tick"));
        runtime.set(seconds(5));
        assert_eq!(poll(&mut driver).0, Poll::Pending);
        assert_eq!(driver.role.engine.heard.last(), Some(&"tick"));
    }

    #[test]
    fn a_deadline_that_moves_forward_sets_the_timer_at_once() {
        let (mut driver, runtime) = driver();
        for due in [5, 3] {
            driver.role.engine.due = Some(seconds(due));
            driver.link.happened.push_back(opened());
            assert_eq!(poll(&mut driver).0, Poll::Pending);
        }
        assert_eq!(runtime.set_to(), [seconds(5), seconds(3)]);
    }

    #[test]
    fn a_driver_that_never_runs_out_of_work_lets_others_run() {
        let (mut driver, _) = driver();
        driver.link.happened.extend((0..TURNS_MAX * INPUTS_MAX + 1).map(|_| opened()));
        assert_eq!(poll(&mut driver), (Poll::Pending, 1));
        assert_eq!(driver.link.flushes, TURNS_MAX);
        assert_eq!(poll(&mut driver), (Poll::Pending, 0));
    }

    #[test]
    fn what_an_event_leads_to_is_drained_in_the_same_turn() {
        let (mut driver, _) = driver();
        driver.role.engine.says.push_back(Output::Event(Event::Again));
        assert_eq!(poll(&mut driver).0, Poll::Pending);
        assert_eq!((driver.link.open, driver.link.flushes), (1, 2));
    }

    #[test]
    fn the_driver_ends_with_its_role_after_a_last_write() {
        let (mut driver, _) = driver();
        driver.role.engine.says.push_back(Output::Event(Event::Done));
        assert_eq!(poll(&mut driver), (Poll::Ready(()), 0));
        assert_eq!(driver.link.flushes, 1);
    }
}
