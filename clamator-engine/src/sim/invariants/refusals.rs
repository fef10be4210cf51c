//! What a server does about replies that Redis refuses: it waits, or lets them go (4, 4.6, 4.12).
//!
//! Not what becomes of their entries: see `settling`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::{Fact, Invariant, Kind, REWRITES, Scene};
use crate::command::Command;
use crate::reply::RefusalKind;
use crate::sim::given::asked;
use crate::sim::history::{NodeKind, id_in, is_dead};
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::time::Instant;

/// While Redis refuses a reply that it may take later, nothing new is read (4.12).
#[derive(Debug, Default)]
pub(super) struct StopsReadingWhenFull {
    full: BTreeSet<NodeId>,
    /// When each worker was told last which entries are its own.
    looks: BTreeMap<NodeId, Instant>,
}

/// How long after that a worker may find that an entry is another's.
const SOUGHT_WITHIN: Duration = Duration::from_secs(5);

impl StopsReadingWhenFull {
    /// Whether the worker is about to find what it no longer has, or has just found it.
    fn looks_now(&self, node: NodeId, now: Instant) -> bool {
        self.looks.get(&node).is_some_and(|at| now.since(*at) < SOUGHT_WITHIN)
    }
}

impl Invariant for StopsReadingWhenFull {
    fn title(&self) -> (&'static str, &'static str) {
        ("nothing-is-read-while-redis-is-full", "4.12")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[
            Verb::XAdd,
            Verb::XAutoClaim,
            Verb::XClaim,
            Verb::XInfoGroups,
            Verb::XPendingRange,
            Verb::XRange,
            Verb::XReadGroup,
        ])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Replied {
                node, command: Command::XAdd { max_len: Some(_), .. }, reply, ..
            } if scene.history.kind_of(*node) == Some(NodeKind::Server) => match reply {
                // What a look has found to be another worker's is not kept when it is refused.
                Err(refusal) if refusal.kind() == RefusalKind::Heals => {
                    let kept = !self.looks_now(*node, scene.now);
                    self.full.extend(Some(*node).filter(|_| kept));
                }
                Ok(_) | Err(_) => {
                    self.full.remove(node);
                }
            },
            Fact::Lost { node, .. } | Fact::Closed { node, .. } => {
                self.full.remove(node);
            }
            // A reply whose entry is another worker's by now is kept no longer (4.4).
            Fact::Replied {
                node,
                command:
                    command @ (Command::XPendingRange { .. }
                    | Command::XInfoGroups { .. }
                    | Command::XRange { .. }),
                ..
            } => {
                if self.looks_now(*node, scene.now) {
                    self.full.remove(node);
                }
                if matches!(command, Command::XPendingRange { .. }) {
                    self.looks.insert(*node, scene.now);
                }
            }
            Fact::Sent { node, command, .. }
                if self.full.contains(node) && asked(command).is_some() =>
            {
                return Err(format!("{node} reads: {fact:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A reply that Redis will never take is not sent again (4, 4.6).
#[derive(Debug, Default)]
pub(super) struct FinalIsFinal {
    /// When the reply to each call was refused, by process.
    refused: BTreeMap<(NodeId, u64), Instant>,
}

impl Invariant for FinalIsFinal {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-reply-that-was-refused-for-good-is-not-sent-again", "4.6")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Closed, Kind::Replied, Kind::Sent, Kind::Started]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let number_of = |fields| scene.history.number_by_id(&id_in(fields)?);
        match fact {
            Fact::Replied {
                node,
                command: Command::XAdd { key, fields, max_len: Some(_), .. },
                reply: Err(refusal),
                ..
            } if refusal.kind() == RefusalKind::Final
                && !is_dead(key)
                && scene.history.kind_of(*node) == Some(NodeKind::Server) =>
            {
                let number = number_of(fields);
                self.refused.extend(number.map(|number| ((*node, number), scene.now)));
            }
            // What a lane says behind the reason to give it up is not heard.
            Fact::Closed { node, .. } => {
                self.refused.retain(|(of, _), at| of != node || *at < scene.now);
            }
            // It runs again, and is answered again.
            Fact::Started { node, start, .. } => {
                if let Some(number) = start.number {
                    self.refused.remove(&(*node, number));
                }
            }
            Fact::Sent {
                node,
                command: Command::XAdd { key, fields, max_len: Some(_), .. },
                ..
            } if !is_dead(key) => {
                let Some(number) = number_of(fields) else { return Ok(()) };
                // Where Redis forgot, the reply of an earlier run may be waiting as well.
                let made_at = scene.history.calls.get(&number).map(|call| call.made_at);
                let again = made_at.is_some_and(|at| scene.history.struck_since(at, REWRITES));
                if self.refused.contains_key(&(*node, number)) && !again {
                    return Err(format!("{node} sends again: {fields:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
