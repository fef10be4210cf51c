//! [`Link`]: the lanes of one engine as the driver sees them, whatever carries them.
//!
//! Not the decision when a lane opens, closes or is overdue: that is the engine's. A link keeps a
//! lane's promise: commands go out in the order they were given and replies come back in that
//! order. Once a lane was closed by the engine, nothing of it comes out of the link any more.

use std::task::{Context, Poll};

use clamator_engine::{Command, Input, Instant, Lane, Token};

use crate::driver::{Driver, Role};
use crate::runtime::Runtime;
use crate::target::{Place, Target};

pub(crate) mod memory;
pub(crate) mod redis;
#[cfg(feature = "sim")]
pub(crate) mod simulated;

/// What carries the lanes of one engine.
pub(crate) trait Link: Send + Unpin + 'static {
    /// Starts to open a lane, which is not open. Ends in [`Input::LaneOpen`] or
    /// [`Input::LaneLost`].
    fn open(&mut self, now: Instant, lane: Lane);

    /// Takes a command for an open lane. Sent with the next [`Link::flush`].
    fn send(&mut self, lane: Lane, token: Token, command: Command);

    /// Sends what was taken since the last time: one write per lane.
    fn flush(&mut self, now: Instant);

    /// Drops a lane's connection at once, and with it whatever it has not said yet.
    fn close(&mut self, now: Instant, lane: Lane);

    /// Says the next thing that happened: any input but a tick. Pending means that nothing more
    /// has happened, and that the task of `cx` is woken when something does. Progress wakes
    /// nobody: it only matters at a deadline, which does.
    fn poll_input(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Input>;

    /// When the link wants [`Link::poll_input`] called although nothing woke the task.
    fn deadline(&self) -> Option<Instant>;
}

/// Starts the driver of an engine, with the link that leads to the target.
pub(crate) fn launch<R: Runtime, P: Role>(runtime: R, target: Target, name: String, role: P) {
    match target.0 {
        Place::Memory(bus) => {
            let link = memory::MemoryLink::new(bus);
            runtime.clone().spawn(Driver::new(runtime, link, role));
        }
        Place::Redis(route) => {
            let link = redis::RedisLink::new(runtime.clone(), route, name);
            runtime.clone().spawn(Driver::new(runtime, link, role));
        }
        #[cfg(feature = "sim")]
        Place::Simulated(process) => {
            let link = simulated::SimulatedLink::new(process);
            runtime.clone().spawn(Driver::new(runtime, link, role));
        }
    }
}
