//! What happens to the lanes of any engine: they open, end, refuse and answer oddly.
//!
//! Not the good answers, which depend on what is asked (`client`, `server`).

use std::fmt::Debug;

use clamator_engine::{Command, Engine, Reply};

use super::Seen;
use super::material;
use super::port::Port;
use super::script::Script;

/// Every lane that is wanted opens.
pub(super) fn open<E: Engine<Event: Debug>>(script: &mut Script<'_>, port: &mut Port<E>) {
    for lane in port.opening() {
        let hello = material::hello(script);
        port.open(lane, hello);
    }
}

/// A lane ends.
pub(super) fn lose<E: Engine<Event: Debug>>(
    script: &mut Script<'_>,
    port: &mut Port<E>,
    seen: &mut Seen,
) {
    let lanes = port.lanes();
    if !lanes.is_empty() {
        let lane = script.pick(&lanes);
        port.lose(lane, material::loss(script));
        seen.mark("lane lost");
    }
}

/// The oldest command of a lane is refused.
pub(super) fn refuse<E: Engine<Event: Debug>>(script: &mut Script<'_>, port: &mut Port<E>) {
    let busy = port.busy();
    if !busy.is_empty() {
        let lane = script.pick(&busy);
        let refusal = material::refusal(script);
        port.reply(lane, Err(refusal));
    }
}

/// The oldest command of a lane gets any answer, if it may get that one, or bytes of one move.
pub(super) fn answer_oddly<E: Engine<Event: Debug>>(
    script: &mut Script<'_>,
    port: &mut Port<E>,
    may: impl FnOnce(Option<&Command>, &Reply) -> bool,
) {
    let lanes = port.lanes();
    if lanes.is_empty() {
        return;
    }
    let (lane, odd) = (script.pick(&lanes), script.once_in(4));
    let reply = material::any_reply(script);
    if odd && may(port.oldest(lane), &reply) {
        port.reply(lane, Ok(reply));
    } else {
        port.progress(lane, script.roll(256) * 1024);
    }
}
