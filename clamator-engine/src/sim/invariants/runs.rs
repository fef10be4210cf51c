//! What handlers are promised: how often they run, beside whom, and in which order (4.2, 4.5).
//!
//! Not what happens when they have ended: see `settling`. Workers of Python promise nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::settling::found_gone;
use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::Command;
use crate::reply::Reply;
use crate::server::Concurrency;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::given::{GIVING, given};
use crate::sim::history::NodeKind;
use crate::sim::network::{Executed, NodeId};
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// The handlers that run, by process: the service, the entry and the call of each job.
#[derive(Debug, Default)]
pub(super) struct Running(BTreeMap<NodeId, BTreeMap<u64, Run>>);

/// Of which service, of which entry, and of which call.
pub(super) type Run = (usize, StreamId, Option<u64>);

/// What [`Running`] looks at.
const RUNNING: &[Kind] = &[Kind::Crashed, Kind::Dropped, Kind::Ended, Kind::Started];

impl Running {
    pub(super) fn observe(&mut self, fact: &Fact<'_>) {
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

    pub(super) fn of(&self, node: NodeId) -> impl Iterator<Item = &Run> {
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

    fn about(&self) -> &'static [Kind] {
        RUNNING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Started { node, start, .. } = fact
            && scene.history.kind_of(*node) == Some(NodeKind::Server)
        {
            let (service, entry, number) = (start.service, start.entry, start.number);
            let same = |run: &&Run| **run == (service, entry, number);
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

    fn about(&self) -> &'static [Kind] {
        RUNNING
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
    /// What each process was handed by reads of new entries, and has not started.
    handed: BTreeSet<(NodeId, usize, StreamId)>,
    last: BTreeMap<(NodeId, usize), StreamId>,
}

impl Invariant for InOrder {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-serial-service-runs-in-stream-order", "4.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Replied, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        // Where Redis forgets, ids come again in any order.
        let forgets = scene.plan.allowed.intersects(REWRITES);
        if forgets || scene.plan.concurrency != Concurrency::Serial {
            return Ok(());
        }
        match fact {
            Fact::Replied {
                node,
                command: Command::XReadGroup { key, .. },
                reply: Ok(Reply::Entries(entries)),
                ..
            } => {
                let Some(service) = scene.history.service_of(key) else { return Ok(()) };
                self.handed.extend(entries.iter().map(|entry| (*node, service, entry.id)));
            }
            Fact::Started { node, start, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server)
                    && start.deliveries == 1
                    && self.handed.remove(&(*node, start.service, start.entry)) =>
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

/// How long a server may take to notice that its stream is another one.
pub(super) const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// A process whose handler has ended does not run the entry again, unless Redis forgot, or another
/// worker was given it meanwhile (4, 4.4).
#[derive(Debug, Default)]
pub(super) struct NotAgain {
    /// Which processes have run which calls, and nobody else was given them since: whether the
    /// handler has ended.
    runs: BTreeMap<(u64, NodeId), bool>,
    /// Whom Redis gave each call last.
    owners: BTreeMap<u64, NodeId>,
}

impl Invariant for NotAgain {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-failure-of-a-later-step-runs-a-handler-again", "4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Ended, Kind::Executed, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Ended { node, number: Some(number), .. } => {
                self.runs.entry((*number, *node)).and_modify(|ended| *ended = true);
            }
            Fact::Executed(Executed { node, command, reply: Ok(reply), .. }) => {
                let ids: Vec<StreamId> = match reply {
                    Reply::Claimed { entries, .. } | Reply::Entries(entries) => {
                        entries.iter().map(|it| it.id).collect()
                    }
                    Reply::Ids(ids) => ids.clone(),
                    _ => Vec::new(),
                };
                let service = command.key().and_then(|key| scene.history.service_of(key));
                let numbers = ids.into_iter().map(|id| scene.history.number_of(service?, id));
                let taken: BTreeSet<u64> = numbers.flatten().collect();
                let claims = !matches!(command, Command::XReadGroup { .. });
                self.runs
                    .retain(|(number, by), _| !claims || by == node || !taken.contains(number));
                self.owners.extend(taken.into_iter().map(|number| (number, *node)));
            }
            Fact::Started { node, start, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let Some(number) = start.number else { return Ok(()) };
                let Some(call) = scene.history.calls.get(&number) else { return Ok(()) };
                // Until it knows that its stream is another one, a server takes what that gives it
                // for what the one before gave, and will not settle it.
                let unnoticed = call.made_at.since_start().saturating_sub(NOTICED_WITHIN);
                let forgot = Instant::from_start(unnoticed);
                // What starts although another was given it meanwhile is that one's.
                if self.owners.get(&number).is_some_and(|owner| owner != node) {
                    self.runs.remove(&(number, *node));
                    return Ok(());
                }
                let ended = self.runs.insert((number, *node), false);
                if ended == Some(true) && !scene.history.struck_since(forgot, REWRITES) {
                    return Err(format!("{node} runs call {number} again: {start:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// How often an entry was given out is what Redis says, as long as it is the worker's (4.5, 4.8).
#[derive(Debug, Default)]
pub(super) struct CountsDeliveries {
    /// How often each call was started since Redis last forgot.
    starts: BTreeMap<u64, u64>,
    /// How often it had been, when it was given to a process that has not started it, and when.
    given: BTreeMap<(NodeId, u64), (u64, Instant)>,
}

impl CountsDeliveries {
    /// Redis gives entries out.
    fn give(&mut self, scene: &Scene<'_>, executed: &Executed) {
        let Executed { command, reply: Ok(reply), .. } = executed else { return };
        let Some((key, entries)) = given(command, reply) else { return };
        let Some(service) = scene.history.service_of(key) else { return };
        for entry in entries {
            if let Some(number) = scene.history.number_of(service, entry.id) {
                let starts = self.starts.get(&number).copied().unwrap_or_default();
                self.given.entry((executed.node, number)).or_insert((starts, scene.now));
            }
        }
    }
}

impl Invariant for CountsDeliveries {
    fn title(&self) -> (&'static str, &'static str) {
        ("deliveries-are-counted", "4.8")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed, Kind::Started, Kind::Struck]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if matches!(fact, Fact::Struck(fault) if REWRITES.contains(*fault)) {
            self.starts.clear();
        }
        if let Fact::Executed(executed) = fact {
            self.give(scene, executed);
        }
        let Fact::Started { node, start, .. } = fact else { return Ok(()) };
        let (Some(number), Some(names), Some(info)) = (
            start.number,
            scene.history.services.get(start.service),
            scene.history.nodes.get(*node),
        ) else {
            return Ok(());
        };
        // What was counted in a group that is gone is told a while longer.
        // Where Redis does not tell the count, it is guessed.
        let guessed = FaultSet::of(&[Fault::NoPermission]);
        let given = self.given.remove(&(*node, number));
        let (before, at) = given.map_or((None, scene.now), |(before, at)| (Some(before), at));
        let age = scene.now.since(at).max(scene.plan.claim_idle * 3);
        if scene.history.struck_within(scene.now, age, REWRITES.and(guessed)) {
            return Ok(());
        }
        let starts = self.starts.entry(number).or_default();
        *starts += 1;
        let starts = before.map_or(*starts, |before| before + 1);
        let streams = scene.network.streams();
        let pending = streams.pending_entry(scene.now, &names.stream, &names.group, start.entry);
        let consumer = format!("{}:{}", names.service, info.name);
        match pending.filter(|pending| pending.consumer == consumer.as_bytes()) {
            Some(pending) if info.kind == NodeKind::Server => {
                // What was given out again since, while it was held, is not counted.
                let told = start.deliveries;
                if (starts..=pending.deliveries).contains(&told) || pending.deliveries < starts {
                    return Ok(());
                }
                Err(format!(
                    "{node} starts call {number} the {starts}. time: {start:?}, {pending:?}"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A handler that runs when the stop begins has the whole grace, and nothing else drops one (4.10).
#[derive(Debug, Default)]
pub(super) struct HasGrace {
    until: BTreeMap<NodeId, Instant>,
}

impl Invariant for HasGrace {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-handler-has-the-whole-grace", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Dropped, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Stopping { node, grace } => {
                self.until.insert(*node, scene.now + *grace);
            }
            // A clock that jumps ends every grace.
            Fact::Dropped { node, job } if !scene.plan.allows(Fault::WorkerClockAhead) => {
                let until = self.until.get(node);
                if until.is_none_or(|until| scene.now < *until) {
                    return Err(format!("{node} drops handler {job}, grace until {until:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a process has acknowledged since Redis gave it the entry last is not started (4, 4.5).
#[derive(Debug, Default)]
pub(super) struct NotSettled {
    /// The entries that each process acknowledged and was not given since.
    settled: BTreeSet<(NodeId, Bytes, StreamId)>,
    /// What was given without its body: what may still wait under its id is of an earlier stream.
    gone: BTreeSet<(NodeId, Bytes, StreamId)>,
}

impl Invariant for NotSettled {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-starts-that-was-acknowledged-since-it-was-given", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[
            Verb::XAck,
            Verb::XAutoClaim,
            Verb::XClaim,
            Verb::XPendingRange,
            Verb::XRange,
            Verb::XReadGroup,
        ])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Executed(Executed { node, command, reply, .. }) => {
                // What is pending although it was acknowledged is so again.
                if let (Command::XPendingRange { key, .. }, Ok(Reply::PendingRange(rows))) =
                    (command, reply)
                {
                    for row in rows {
                        self.settled.remove(&(*node, key.clone(), row.id));
                    }
                }
                if let (Command::XAck { key, ids, .. }, Ok(_)) = (command, reply) {
                    let settled = ids.iter().map(|id| (*node, key.clone(), *id));
                    self.settled.extend(settled.filter(|it| !self.gone.contains(it)));
                }
                let given = reply.as_ref().ok().and_then(|reply| given(command, reply));
                for (key, entry) in
                    given.into_iter().flat_map(|(key, all)| all.iter().map(move |it| (key, it)))
                {
                    let given = (*node, key.clone(), entry.id);
                    self.settled.remove(&given);
                    self.gone.remove(&given);
                }
                let gone = found_gone(command, reply).into_iter();
                self.gone.extend(gone.filter_map(|id| Some((*node, command.key()?.clone(), id))));
            }
            Fact::Started { node, start, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let Some(names) = scene.history.services.get(start.service) else { return Ok(()) };
                if self.settled.contains(&(*node, names.stream.clone(), start.entry)) {
                    return Err(format!("{node} starts {start:?}, which it acknowledged"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
