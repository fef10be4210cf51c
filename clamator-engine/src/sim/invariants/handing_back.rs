//! What a worker that stops does with what it is not going to finish (4.10).
//!
//! Not the order of the stop, nor its end: see `runs` and `groups`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::lanes::Reach;
use super::runs::Running;
use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::{ClaimAs, Command};
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::NodeKind;
use crate::sim::network::{Executed, NodeId};
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// Faults by which an entry is not in its stream, as somebody else has settled it before its time
/// or for another reason, or its group is not there, or it cannot be handed back.
const KEEPING: FaultSet = REWRITES.and(FaultSet::of(&[
    Fault::ConsumerDeleted,
    Fault::EntryDeleted,
    Fault::GroupDestroyed,
    Fault::NoPermission,
    Fault::RedisClockAhead,
    Fault::StreamTrimmed,
]));

/// Faults that happen to others than the worker, its connections and Redis.
const OF_OTHERS: FaultSet = FaultSet::of(&[
    Fault::ClientClockAhead,
    Fault::ClientFrozen,
    Fault::ClientStopped,
    Fault::ForeignGroup,
    Fault::ForeignReply,
    Fault::Garbage,
    Fault::HandlerPanics,
    Fault::HandlerSlow,
    Fault::HandlerStuck,
    Fault::PythonWorker,
    Fault::ReplyDuplicated,
    Fault::TwinClients,
    Fault::WorkerStopped,
]);

/// What is handed back is not run by whoever hands it back, and is counted as given out as often as
/// a handler was started for it.
#[derive(Debug, Default)]
pub(super) struct HandsBackWhole {
    running: Running,
    /// What each worker has started.
    started: BTreeSet<(NodeId, usize, StreamId)>,
}

impl Invariant for HandsBackWhole {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-is-handed-back-does-not-run-and-is-counted", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Crashed, Kind::Dropped, Kind::Ended, Kind::Executed, Kind::Sent, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XClaim])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.running.observe(fact);
        if let Fact::Started { node, start, .. } = fact {
            self.started.insert((*node, start.service, start.entry));
        }
        let (node, command) = match fact {
            Fact::Sent { node, command, .. } => (node, *command),
            Fact::Executed(Executed { node, command, reply: Ok(_), .. }) => (node, command),
            _ => return Ok(()),
        };
        let Command::XClaim {
            key,
            group,
            ids,
            claim_as: ClaimAs::HandedBack { deliveries: told },
            ..
        } = command
        else {
            return Ok(());
        };
        // One id may be of two entries, of two streams. Who may not count guesses.
        let guessed = FaultSet::of(&[Fault::NoPermission]);
        if scene.history.struck_since(Instant::ZERO, REWRITES.and(guessed)) {
            return Ok(());
        }
        let Some(service) = scene.history.service_of(key) else { return Ok(()) };
        let (Some(info), Some(names)) =
            (scene.history.nodes.get(*node), scene.history.services.get(service))
        else {
            return Ok(());
        };
        let consumer = format!("{}:{}", names.service, info.name);
        for id in ids {
            if self.running.of(*node).any(|run| (run.0, run.1) == (service, *id)) {
                return Err(format!("{node} hands {id} back, which it runs"));
            }
            if matches!(fact, Fact::Executed(_)) {
                continue;
            }
            let started = self.started.contains(&(*node, service, *id));
            let pending = scene.network.streams().pending_entry(scene.now, key, group, *id);
            let own = pending.filter(|row| row.consumer == consumer.as_bytes());
            let Some(pending) = own else { continue };
            let most = pending.deliveries.saturating_sub(u64::from(!started));
            if *told > most || (started && *told == 0) {
                return Err(format!(
                    "{node} hands {id} back as given out {told} times: {pending:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Once a stop has begun, nothing is started that can be handed back.
#[derive(Debug, Default)]
pub(super) struct StartsNothing {
    stopping: BTreeSet<NodeId>,
}

impl Invariant for StartsNothing {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-started-once-a-stop-has-begun", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Started, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Stopping { node, .. } => {
                self.stopping.insert(*node);
            }
            Fact::Started { node, start, .. } if self.stopping.contains(node) => {
                let python = scene.history.kind_of(*node) != Some(NodeKind::Server);
                // What is gone from its stream cannot be handed back.
                let names = scene.history.services.get(start.service);
                let there = names.is_some_and(|names| {
                    scene.network.streams().find(&names.stream, start.entry).is_some()
                });
                if !python && there && !scene.history.struck_since(Instant::ZERO, KEEPING) {
                    return Err(format!("{node} starts {start:?} while it stops"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whoever stops undisturbed leaves nothing pending for itself.
#[derive(Debug, Default)]
pub(super) struct LeavesNothingPending {
    reach: Reach,
    /// When each worker that could reach Redis ever since began to stop.
    undisturbed: BTreeMap<NodeId, Instant>,
}

/// For how long before a stop nothing may have gone wrong.
const CALM_BEFORE: Duration = Duration::from_secs(10);

impl Invariant for LeavesNothingPending {
    fn title(&self) -> (&'static str, &'static str) {
        ("who-stops-leaves-nothing-pending-for-itself", "4.10")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Opened, Kind::Stopped, Kind::Stopping]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.reach.observe(fact);
        match fact {
            Fact::Stopping { node, .. } if self.reach.has(*node) => {
                self.undisturbed.insert(*node, scene.now);
            }
            Fact::Lost { node, .. } => {
                self.undisturbed.remove(node);
            }
            Fact::Stopped { node, .. } => {
                let Some(began) = self.undisturbed.remove(node) else { return Ok(()) };
                let since = began.since_start().saturating_sub(CALM_BEFORE);
                let since = Instant::from_start(since);
                let strikes = scene.history.strikes.iter();
                let disturbed = strikes
                    .filter(|(at, _)| *at >= since)
                    .any(|(_, fault)| !OF_OTHERS.contains(*fault));
                let Some(info) = scene.history.nodes.get(*node) else { return Ok(()) };
                if disturbed || info.kind != NodeKind::Server {
                    return Ok(());
                }
                for names in &scene.history.services {
                    let consumer = format!("{}:{}", names.service, info.name);
                    let streams = scene.network.streams();
                    let pending = streams.pending(scene.now, &names.stream, &names.group);
                    let own = pending.iter().find(|row| row.consumer == consumer.as_bytes());
                    if let Some(own) = own {
                        return Err(format!("{node} leaves {own:?}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
