//! What may be left, and how much may be said about it (4.1, 4.10, 4.11, 5.7).
//!
//! Not how long single things take.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::{Fact, Invariant, Kind, Scene};
use crate::server::Notice;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{NodeKind, NodeState, Outcome, is_dead};
use crate::sim::network::NodeId;
use crate::sim::plan::Plan;
use crate::time::Instant;

/// Whoever is told to stop has stopped in time (4.10, 5.7).
#[derive(Debug, Default)]
pub(super) struct StopsInTime {
    /// When each process was told to stop, and until when it may take.
    stops: BTreeMap<NodeId, (Instant, Instant)>,
}

impl Invariant for StopsInTime {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-stop-ends-in-time", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Idle, Kind::Over, Kind::Stopped, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Stopping { node, grace } => {
                let Plan { command_timeout, read_block, .. } = scene.plan;
                let until = scene.now + *grace + *command_timeout + *read_block;
                self.stops.insert(*node, (scene.now, until));
            }
            Fact::Idle { node, .. } | Fact::Stopped { node, .. } => {
                let Some((told, until)) = self.stops.get(node) else { return Ok(()) };
                let frozen = FaultSet::of(&[Fault::ClientFrozen, Fault::WorkerFrozen]);
                if *until < scene.now && !scene.history.struck_since(*told, frozen) {
                    return Err(format!("{node} has not stopped until {until}: {fact:?}"));
                }
                if matches!(fact, Fact::Stopped { .. }) {
                    self.stops.remove(node);
                }
            }
            Fact::Over => {
                let late = scene.history.nodes.iter().find(|(_, info)| {
                    info.state != NodeState::Gone && info.kind != NodeKind::Python
                });
                if let Some((node, info)) = late {
                    return Err(format!("{node} has not stopped: {info:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where nothing went wrong, nothing is left but the streams of the groups, empty (4.11, 5.7).
#[derive(Debug)]
pub(super) struct LeavesNoTrace;

impl Invariant for LeavesNoTrace {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-left-where-nothing-went-wrong", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Over]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if !matches!(fact, Fact::Over) || !scene.history.strikes.is_empty() {
            return Ok(());
        }
        if scene.plan.allows(Fault::PythonWorker) || scene.plan.allows(Fault::TwinClients) {
            return Ok(());
        }
        let streams = scene.network.streams();
        for key in streams.keys() {
            // An answer on its way for longer than `claim_idle` costs an entry one of its starts.
            if is_dead(key) {
                continue;
            }
            let service = scene.history.service_of(key);
            if service.is_none() || streams.len(key) > 0 {
                return Err(format!("{key:?} is left with {} entries", streams.len(key)));
            }
        }
        Ok(())
    }
}

/// When everybody who takes part from the start is connected.
const UP_WITHIN: Duration = Duration::from_secs(2);

/// Where nothing went wrong, every call succeeds and runs once (O1).
#[derive(Debug)]
pub(super) struct FairWeather;

impl Invariant for FairWeather {
    fn title(&self) -> (&'static str, &'static str) {
        ("where-nothing-goes-wrong-every-call-succeeds-once", "4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Over]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let calm = scene.history.strikes.is_empty()
            && !scene.plan.allows(Fault::PythonWorker)
            && !scene.plan.allows(Fault::TwinClients)
            && !scene.plan.allows(Fault::ReplyOverflow);
        if !matches!(fact, Fact::Over) || !calm {
            return Ok(());
        }
        for (number, call) in &scene.history.calls {
            // Servers come up in the first second: who calls earlier may wait too long for them.
            let early = call.made_at < Instant::ZERO + UP_WITHIN;
            let done = call.outcome == Some(Outcome::Done)
                || early && call.outcome == Some(Outcome::Timeout);
            let once = call.starts == 1 && call.ends == 1 || early && call.skipped;
            let early = early && call.outcome == Some(Outcome::NoWorkers);
            let impatient = !call.fresh && call.timeout < scene.plan.timeout;
            // An answer on its way for longer than `claim_idle` costs an entry one of its starts.
            let spent = call.aside && scene.plan.deliveries_max <= 3;
            if !(call.cancelled || impatient || spent || early || done && once) {
                return Err(format!("call {number}: {call:?}"));
            }
        }
        Ok(())
    }
}

/// A server tells its operator about one trouble about once a second (4.1).
#[derive(Debug, Default)]
pub(super) struct SpeaksSeldom {
    said: BTreeMap<(NodeId, &'static str), (u64, u64)>,
}

/// Over how many seconds notices are counted.
const WINDOW: u64 = 10;

impl Invariant for SpeaksSeldom {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-trouble-is-told-about-once-a-second", "4.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Noticed]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Noticed { node, notice } = fact else { return Ok(()) };
        let kind = match notice {
            Notice::ClockJumped => "clock jumped",
            Notice::AckRefused { .. } => "acknowledgement refused",
            Notice::GroupRefused { .. } => "group refused",
            Notice::GroupRestored { .. } => "group restored",
            Notice::LookRefused { .. } => "look refused",
            Notice::ReadRefused { .. } => "read refused",
            Notice::RenewalRefused { .. } => "renewal refused",
            Notice::ConsumerLeft { .. }
            | Notice::DeadLetter { .. }
            | Notice::DeadLetterRefused { .. }
            | Notice::Unreadable { .. }
            | Notice::Expired { .. }
            | Notice::ExpiryRefused { .. }
            | Notice::HandlerOverdue { .. }
            | Notice::NotFound { .. }
            | Notice::Poison { .. }
            | Notice::ReplyRefused { .. }
            | Notice::ReplyToRefused { .. } => return Ok(()),
        };
        let window = scene.now.since_start().as_secs() / WINDOW;
        let (of, said) = self.said.entry((*node, kind)).or_default();
        if *of != window {
            (*of, *said) = (window, 0);
        }
        *said += 1;
        let services = u64::try_from(scene.plan.services).unwrap_or(1);
        let jumps = if scene.plan.allows(Fault::WorkerClockAhead) { 2 } else { 1 };
        if *said > (WINDOW + 3) * services * jumps {
            return Err(format!("{node} said {said} times in {WINDOW} s: {kind}"));
        }
        Ok(())
    }
}
