//! What handlers are promised: how often they run, beside whom, and in which order (4.2, 4.5).
//!
//! Not what happens when they have ended: see `settling`. Workers of Python promise nothing.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use super::{Fact, Invariant, REWRITES, Scene};
use crate::command::Command;
use crate::server::Concurrency;
use crate::sim::history::{NodeKind, id_in};
use crate::sim::network::NodeId;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// The handlers that run, by process: the service, the entry and the call of each job.
#[derive(Debug, Default)]
struct Running(BTreeMap<NodeId, BTreeMap<u64, (usize, StreamId, Option<u64>)>>);

impl Running {
    fn observe(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Started { node, job, start } => {
                let jobs = self.0.entry(*node).or_default();
                jobs.insert(*job, (start.service, start.entry, start.number));
            }
            Fact::Ended { node, job, .. } | Fact::Dropped { node, job, .. } => {
                if let Some(jobs) = self.0.get_mut(node) {
                    jobs.remove(job);
                }
            }
            Fact::Crashed(node) => {
                self.0.remove(node);
            }
            _ => {}
        }
    }

    fn of(&self, node: NodeId) -> impl Iterator<Item = &(usize, StreamId, Option<u64>)> {
        self.0.get(&node).into_iter().flat_map(BTreeMap::values)
    }
}

/// No entry is run twice at once in one process (4.5).
#[derive(Debug, Default)]
pub(super) struct NotTwiceAtOnce(Running);

impl Invariant for NotTwiceAtOnce {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-entry-runs-twice-at-once-in-a-process", "4.5")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Started { node, start, .. } = fact
            && scene.history.kind_of(*node) == Some(NodeKind::Server)
        {
            let (service, entry, number) = (start.service, start.entry, start.number);
            let same = |run: &&(usize, StreamId, Option<u64>)| **run == (service, entry, number);
            if self.0.of(*node).any(|run| same(&run)) {
                return Err(format!("{node} starts {start:?} while it runs"));
            }
        }
        self.0.observe(fact);
        Ok(())
    }
}

/// No more handlers of a service run at once in a server than it was allowed (4.2).
#[derive(Debug, Default)]
pub(super) struct WithinLimit(Running);

impl Invariant for WithinLimit {
    fn title(&self) -> (&'static str, &'static str) {
        ("handlers-at-once-are-limited", "4.2")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.0.observe(fact);
        let Fact::Started { node, start, .. } = fact else { return Ok(()) };
        if scene.history.kind_of(*node) != Some(NodeKind::Server) {
            return Ok(());
        }
        let running = self.0.of(*node).filter(|(service, ..)| *service == start.service).count();
        let limit = scene.plan.concurrency.limit();
        if running > limit {
            return Err(format!("{node} runs {running} handlers of a service, of {limit}"));
        }
        Ok(())
    }
}

/// What is given out for the first time starts in stream order in a serial service (4.2).
#[derive(Debug, Default)]
pub(super) struct InOrder {
    last: BTreeMap<(NodeId, usize), StreamId>,
}

impl Invariant for InOrder {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-serial-service-runs-in-stream-order", "4.2")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            // The stream may be another one from here on.
            Fact::Struck(fault) if REWRITES.contains(fault) => self.last.clear(),
            Fact::Started { node, start, .. }
                if scene.plan.concurrency == Concurrency::Serial && start.deliveries == 1 =>
            {
                let last = self.last.entry((*node, start.service)).or_default();
                if start.entry < *last {
                    return Err(format!("{node} starts {start:?} behind {last}"));
                }
                *last = start.entry;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A process whose handler has ended does not run the entry again, unless Redis forgot (4).
#[derive(Debug, Default)]
pub(super) struct NotAgain {
    ended: BTreeMap<(NodeId, u64), Instant>,
}

impl Invariant for NotAgain {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-failure-of-a-later-step-runs-a-handler-again", "4")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Ended { node, number: Some(number), .. } => {
                self.ended.insert((*node, *number), scene.now);
            }
            Fact::Started { node, start, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let Some(number) = start.number else { return Ok(()) };
                let Some(call) = scene.history.calls.get(&number) else { return Ok(()) };
                if self.ended.contains_key(&(*node, number))
                    && !scene.history.struck_since(call.made_at, &REWRITES)
                {
                    return Err(format!("{node} runs call {number} again: {start:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A first delivery is the first, unless Redis forgot (4.5, 4.8).
#[derive(Debug, Default)]
pub(super) struct CountsDeliveries {
    starts: BTreeMap<u64, u64>,
}

impl Invariant for CountsDeliveries {
    fn title(&self) -> (&'static str, &'static str) {
        ("deliveries-are-counted", "4.8")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Struck(fault) if REWRITES.contains(fault) => self.starts.clear(),
            Fact::Started { node, start, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let Some(number) = start.number else { return Ok(()) };
                let before = self.starts.entry(number).or_default();
                *before += 1;
                if start.deliveries < *before && !recently_rewritten(scene) {
                    return Err(format!(
                        "{node} starts call {number} the {before}. time as {start:?}"
                    ));
                }
            }
            Fact::Started { start, .. } => {
                if let Some(number) = start.number {
                    *self.starts.entry(number).or_default() += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether what workers hold may be of a group, or a stream, that is gone.
fn recently_rewritten(scene: &Scene<'_>) -> bool {
    let last = scene.history.strikes.iter().rev().find(|(_, fault)| REWRITES.contains(fault));
    last.is_some_and(|(at, _)| scene.now.since(*at) < scene.plan.claim_idle * 2)
}

/// A method of another service, or of none, is not run (4.7).
#[derive(Debug)]
pub(super) struct OwnMethods;

impl Invariant for OwnMethods {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-method-of-another-service-runs", "4.7")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Started { node, start, .. } = fact else { return Ok(()) };
        if start.number.is_some() || scene.history.kind_of(*node) != Some(NodeKind::Server) {
            return Ok(());
        }
        let Some(names) = scene.history.services.get(start.service) else {
            return Err(format!("{node} starts {start:?}, of no service"));
        };
        let Some(fields) = scene.network.streams().find(&names.stream, start.entry) else {
            return Ok(());
        };
        let method = format!("\"method\":\"{}.echo\"", names.service);
        let named = |value: &[u8]| value.windows(method.len()).any(|at| at == method.as_bytes());
        if fields.iter().any(|(_, value)| named(value)) {
            return Ok(());
        }
        Err(format!("{node} starts {start:?}: {fields:?}"))
    }
}

/// A reply carries the result of its own handler, or an error (4).
#[derive(Debug)]
pub(super) struct OwnAnswers;

impl Invariant for OwnAnswers {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-carries-its-own-result", "4")
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command: Command::XAdd { fields, max_len: Some(_), .. }, .. } = fact
        else {
            return Ok(());
        };
        let id = id_in(fields);
        let Some(number) = id.and_then(|id| scene.history.requests.get(&id)).copied() else {
            return Ok(());
        };
        let envelope = fields.iter().find(|(name, _)| &name[..] == b"envelope");
        let Some((_, envelope)) = envelope else { return Err(format!("{node}: {fields:?}")) };
        let result = format!("\"result\":{number}}}");
        let error = b"\"error\":";
        if envelope.ends_with(result.as_bytes())
            || envelope.windows(error.len()).any(|window| window == error)
        {
            return Ok(());
        }
        Err(format!("{node} answers call {number} with {envelope:?}"))
    }
}
