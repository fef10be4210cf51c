//! What becomes of an entry once it was given out: replies, acknowledgements, deletions (4, 4.6,
//! 4.7, 4.11).
//!
//! Not the running: see `runs`. Everything is judged by what a server sends, before Redis has it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::{Fact, Invariant, Kind, Scene};
use crate::command::Command;
use crate::reply::{Refusal, Reply};
use crate::server::Notice;
use crate::sim::fault::{Fault, FaultSet};
use crate::sim::history::{NodeKind, id_in, is_answer, is_dead, number_in};
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How long a server may take to see that another group reads the stream.
const SEES_GROUPS_WITHIN: Duration = Duration::from_secs(15);

/// What each process settles unrun: what it was told to be gone from its stream, also when an older
/// copy of the data has brought it back meanwhile, and what it found expired.
#[derive(Debug, Default)]
struct Unrun(BTreeSet<(NodeId, Bytes, StreamId)>);

impl Unrun {
    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) {
        if let Fact::Noticed { node, notice: Notice::Expired { service, entry } } = fact {
            let service = scene.history.service_named(service.as_str());
            let names = service.and_then(|service| scene.history.services.get(service));
            self.0.extend(names.map(|names| (*node, names.stream.clone(), *entry)));
        }
        let Fact::Replied { node, command, reply, .. } = fact else { return };
        let gone = found_gone(command, reply).into_iter();
        self.0.extend(gone.filter_map(|id| Some((*node, command.key()?.clone(), id))));
    }

    fn contains(&self, node: NodeId, key: &Bytes, entry: StreamId) -> bool {
        self.0.contains(&(node, key.clone(), entry))
    }
}

/// The entries of its stream that an answer says are gone.
pub(super) fn found_gone(command: &Command, reply: &Result<Reply, Refusal>) -> Vec<StreamId> {
    match (command, reply) {
        (Command::XReadGroup { .. }, Ok(Reply::Entries(entries)))
        | (Command::XAutoClaim { .. }, Ok(Reply::Claimed { entries, .. })) => {
            let gone = entries.iter().filter(|entry| entry.fields.is_none());
            gone.map(|entry| entry.id).collect()
        }
        (Command::XRange { start, .. }, Ok(Reply::Entries(entries))) if entries.is_empty() => {
            alloc::vec![*start]
        }
        _ => Vec::new(),
    }
}

/// An entry is acknowledged only after its reply was answered (4).
#[derive(Debug, Default)]
pub(super) struct ReplyBeforeAck {
    /// The calls whose reply was answered to this process, with an id or for ever.
    answered: BTreeSet<(NodeId, u64)>,
    unrun: Unrun,
}

impl Invariant for ReplyBeforeAck {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-is-answered-before-its-entry-is-acknowledged", "4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Noticed, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAck, Verb::XAdd, Verb::XAutoClaim, Verb::XRange, Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.unrun.observe(scene, fact);
        match fact {
            Fact::Replied {
                node,
                command: Command::XAdd { key, fields, max_len: Some(_), .. },
                reply,
                ..
            } if !is_dead(key) => {
                let id = id_in(fields);
                let number = id.and_then(|id| scene.history.number_by_id(&id));
                if let Some(number) = number.filter(|_| is_answer(reply)) {
                    self.answered.insert((*node, number));
                }
            }
            Fact::Sent { node, command: Command::XAck { key, ids, .. }, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                for (entry, number) in calls_of(scene, key, ids) {
                    let call = scene.history.calls.get(&number);
                    if call.is_some_and(|call| !call.notification)
                        && !self.answered.contains(&(*node, number))
                        && is_there(scene, key, entry)
                        && !self.unrun.contains(*node, key, entry)
                    {
                        return Err(format!("{node} acknowledges {entry}, call {number}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The calls among these entries, with their numbers.
fn calls_of(scene: &Scene<'_>, key: &[u8], ids: &[StreamId]) -> Vec<(StreamId, u64)> {
    let service = scene.history.service_of(key);
    let number = |id: &StreamId| {
        let number = scene.history.number_of(service?, *id)?;
        let call = scene.history.calls.get(&number)?;
        // What was gone once may be settled as such when an older copy brings it back.
        call.lost.is_none().then_some((*id, number))
    };
    ids.iter().filter_map(number).collect()
}

/// Whether the entry's body is still in the stream: what is gone has nothing to run.
fn is_there(scene: &Scene<'_>, key: &[u8], entry: StreamId) -> bool {
    scene.network.streams().find(key, entry).is_some()
}

/// Nothing is acknowledged that was not handled in this process (4, 4.6).
#[derive(Debug, Default)]
pub(super) struct AckOnlyHandled {
    ended: BTreeSet<(NodeId, u64)>,
    /// What each process has put aside as a dead letter, or never can.
    buried: BTreeSet<(NodeId, u64)>,
    unrun: Unrun,
}

impl Invariant for AckOnlyHandled {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-acknowledged-that-was-not-handled", "4.6")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Ended, Kind::Noticed, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAck, Verb::XAdd, Verb::XAutoClaim, Verb::XRange, Verb::XReadGroup])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        self.unrun.observe(scene, fact);
        match fact {
            Fact::Replied { node, command: Command::XAdd { key, fields, .. }, reply, .. }
                if is_dead(key) && is_answer(reply) =>
            {
                self.buried.extend(number_in(fields).map(|number| (*node, number)));
            }
            Fact::Ended { node, number: Some(number), .. } => {
                self.ended.insert((*node, *number));
            }
            Fact::Sent { node, command: Command::XAck { key, ids, .. }, .. }
                if scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                for (entry, number) in calls_of(scene, key, ids) {
                    if !self.ended.contains(&(*node, number))
                        && !self.buried.contains(&(*node, number))
                        && is_there(scene, key, entry)
                        && !self.unrun.contains(*node, key, entry)
                    {
                        return Err(format!("{node} acknowledges {entry}, call {number}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Nothing is deleted that was not acknowledged before, by the same server (4.11).
#[derive(Debug, Default)]
pub(super) struct AckBeforeDelete {
    acknowledged: BTreeSet<(NodeId, Bytes, StreamId)>,
}

impl Invariant for AckBeforeDelete {
    fn title(&self) -> (&'static str, &'static str) {
        ("an-entry-is-acknowledged-before-it-is-deleted", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAck, Verb::XDel])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command, .. } = fact else { return Ok(()) };
        if scene.history.kind_of(*node) != Some(NodeKind::Server) {
            return Ok(());
        }
        match command {
            Command::XAck { key, ids, .. } => {
                let acknowledged = ids.iter().map(|id| (*node, key.clone(), *id));
                self.acknowledged.extend(acknowledged);
            }
            Command::XDel { key, ids } => {
                for id in ids {
                    if !self.acknowledged.contains(&(*node, key.clone(), *id)) {
                        return Err(format!("{node} deletes {id}"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Nothing is deleted that another group has not been given (4.11).
#[derive(Debug, Default)]
pub(super) struct SpareOthers {
    /// Since when another group reads a stream.
    since: BTreeMap<Bytes, Instant>,
}

impl Invariant for SpareOthers {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-deleted-that-another-group-reads", "4.11")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent, Kind::Struck]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XDel])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Struck(_) = fact {
            let streams = scene.network.streams();
            for names in &scene.history.services {
                if streams.groups(&names.stream).any(|group| *group != names.group) {
                    self.since.entry(names.stream.clone()).or_insert(scene.now);
                } else {
                    self.since.remove(&names.stream);
                }
            }
        }
        let Fact::Sent { node, command: Command::XDel { key, ids }, .. } = fact else {
            return Ok(());
        };
        let known = self.since.get(key).is_some_and(|since| {
            let born = scene.history.nodes.get(*node).map_or(Instant::ZERO, |info| info.born);
            scene.now.since(*since) > SEES_GROUPS_WITHIN
                && scene.now.since(born) > SEES_GROUPS_WITHIN
        });
        // A server that cannot ask does not know.
        let blind =
            FaultSet::of(&[Fault::WorkerFrozen, Fault::Slow, Fault::ConnectHangs, Fault::HalfOpen]);
        if known && !scene.plan.allowed.intersects(blind) {
            return Err(format!("{node} deletes {ids:?} although another group reads {key:?}"));
        }
        Ok(())
    }
}

/// When everything has had time to settle, nothing is pending, nothing unread, and every request
/// that Redis kept was handled (4, 4.5).
#[derive(Debug)]
pub(super) struct Settles;

impl Invariant for Settles {
    fn title(&self) -> (&'static str, &'static str) {
        ("every-accepted-request-is-handled", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Over, Kind::Settled]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if !matches!(fact, Fact::Settled | Fact::Over) {
            return Ok(());
        }
        let streams = scene.network.streams();
        for names in &scene.history.services {
            let mut pending = streams.pending(scene.now, &names.stream, &names.group);
            // Redis 6.2 hands entries out that are gone, and Python's workers never settle them.
            pending.retain(|held| {
                !held.consumer.ends_with(b":py") || streams.find(&names.stream, held.id).is_some()
            });
            if !pending.is_empty() {
                return Err(format!("{} is left pending: {pending:?}", names.service));
            }
            let last = streams.last_delivered(&names.stream, &names.group);
            let unread = streams.ids(&names.stream).find(|id| last.is_none_or(|last| *id > last));
            if let Some(entry) = unread {
                return Err(format!("{} has not been given {entry}", names.service));
            }
        }
        for (number, call) in &scene.history.calls {
            if !call.entries.is_empty() && !call.is_handled() && call.lost.is_none() {
                return Err(format!("call {number} was not handled: {call:?}"));
            }
        }
        Ok(())
    }
}

/// A server writes replies to reply streams of its deployment and to no other key (4.7).
#[derive(Debug)]
pub(super) struct ReplyKeys;

impl Invariant for ReplyKeys {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-goes-to-a-reply-stream", "4.7")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, command: Command::XAdd { key, .. }, .. } = fact else {
            return Ok(());
        };
        let kind = scene.history.kind_of(*node);
        let dead = is_dead(key);
        if kind == Some(NodeKind::Server) && !dead && !key.starts_with(b"app:replies:") {
            return Err(format!("{node} writes to {key:?}"));
        }
        Ok(())
    }
}
