//! What becomes of an entry that is started again and again (4.8).
//!
//! Not how its starts are counted: see `runs`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use bytes::Bytes;

use super::taking::AGING;
use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::Command;
use crate::reply::Reply;
use crate::server::Concurrency;
use crate::sim::given::{GIVING, asked, given};
use crate::sim::history::{NodeKind, dead_entry, is_dead};
use crate::sim::network::{Executed, NodeId};
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How often what may wait behind others may have been given out.
const UNSUSPICIOUS: u64 = 2;

/// Nothing is started that was started as often as it may be (4.8, I9).
#[derive(Debug)]
pub(super) struct StartsSoOften;

impl Invariant for StartsSoOften {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-started-more-often-than-it-may-be", "4.8")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Started]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Started { node, start, .. } = fact else { return Ok(()) };
        let ours = scene.history.kind_of(*node) == Some(NodeKind::Server);
        // Whoever cannot ask for the count guesses 2, and puts nothing aside by that.
        if start.deliveries == 2 {
            return Ok(());
        }
        if ours && start.deliveries > scene.plan.deliveries_max {
            return Err(format!("{node} starts {start:?}"));
        }
        Ok(())
    }
}

/// A process does not give itself what it was given: that would be counted as if it had been started
/// once more, and what nobody has started would be put aside (4.8, I9). What XAUTOCLAIM finds is left
/// out, which tells nobody whose it was: all that it finds has not been renewed for `claim_idle`.
#[derive(Debug, Default)]
pub(super) struct CountsNoLooks {
    /// Who was given each entry last.
    given: BTreeMap<(Bytes, StreamId), NodeId>,
}

impl Invariant for CountsNoLooks {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-a-process-was-given-is-not-counted-again", "4.8")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed, Kind::Healed, Kind::Struck]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            // Redis's clock is set right when all is healed.
            Fact::Healed => self.given.clear(),
            Fact::Struck(fault) if AGING.contains(*fault) => self.given.clear(),
            Fact::Executed(Executed { node, command, reply: Ok(reply), .. }) => {
                let Some((key, entries)) = given(command, reply) else { return Ok(()) };
                let scans = matches!(command, Command::XAutoClaim { .. });
                let ours = scene.history.kind_of(*node) == Some(NodeKind::Server);
                for entry in entries {
                    let before = self.given.insert((key.clone(), entry.id), *node);
                    if before == Some(*node) && ours && !scans {
                        return Err(format!("{node} is given {} again: {command:?}", entry.id));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// While one runs that may be what ends processes, nothing waits behind it, where handlers run one at
/// a time: it would be counted along with it (4.8).
#[derive(Debug, Default)]
pub(super) struct NothingWaitsBehindSuspects {
    /// What runs where, for which service.
    running: BTreeMap<NodeId, (u64, usize)>,
}

impl Invariant for NothingWaitsBehindSuspects {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-waits-behind-what-may-end-processes", "4.8")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Crashed, Kind::Dropped, Kind::Ended, Kind::Sent, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        GIVING
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Started { node, job, start }
                if start.deliveries > UNSUSPICIOUS
                    && scene.plan.concurrency == Concurrency::Serial
                    && scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                self.running.insert(*node, (*job, start.service));
            }
            Fact::Dropped { node, job } | Fact::Ended { node, job, .. } => {
                self.running.retain(|at, (running, _)| (at, *running) != (node, *job));
            }
            Fact::Crashed(node) => {
                self.running.remove(node);
            }
            Fact::Sent { node, command, .. } => {
                let Some((key, _)) = asked(command) else { return Ok(()) };
                let Some((job, service)) = self.running.get(node) else { return Ok(()) };
                if scene.history.service_of(key) == Some(*service) {
                    return Err(format!("{node} takes in more of {key:?} while job {job} runs"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Only what was given out too often is put aside (4.8).
#[derive(Debug, Default)]
pub(super) struct BuriesOnlySpent {
    /// When each entry was given to each process last, which may hold it for long.
    given: BTreeMap<(NodeId, Bytes, StreamId), Instant>,
}

impl Invariant for BuriesOnlySpent {
    fn title(&self) -> (&'static str, &'static str) {
        ("only-what-was-started-too-often-is-put-aside", "4.8")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd, Verb::XAutoClaim, Verb::XClaim, Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Executed(Executed { node, command, reply: Ok(reply), .. }) = fact
            && let Some((key, entries)) = given(command, reply)
        {
            let given = entries.iter().map(|entry| (*node, key.clone(), entry.id));
            self.given.extend(given.map(|entry| (entry, scene.now)));
        }
        let Fact::Executed(Executed {
            node,
            command: Command::XAdd { key, fields, .. },
            reply: Ok(Reply::Added(Some(_))),
            ..
        }) = fact
        else {
            return Ok(());
        };
        if !is_dead(key) {
            return Ok(());
        }
        let Some(entry) = dead_entry(fields) else {
            return Err(format!("{node} puts aside what has no name: {fields:?}"));
        };
        let names = scene.history.services.iter().find(|it| key.ends_with(it.service.as_bytes()));
        let Some(names) = names else { return Err(format!("{node} writes to {key:?}")) };
        let given = self.given.get(&(*node, names.stream.clone(), entry));
        let since = given.copied().unwrap_or_default();
        if scene.history.struck_within(since, scene.plan.claim_idle * 3, REWRITES) {
            return Ok(());
        }
        let streams = scene.network.streams();
        let pending = streams.pending_entry(scene.now, &names.stream, &names.group, entry);
        if let Some(pending) = pending.filter(|it| it.deliveries <= scene.plan.deliveries_max) {
            return Err(format!("{node} puts aside {pending:?}"));
        }
        Ok(())
    }
}
