//! What a server does with what it finds when it looks for what lost lanes were given (4.5).
//!
//! Not whether it looks, and when: see `taking`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::taking::AGING;
use super::{Fact, Invariant, Kind, Scene};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, Reply};
use crate::sim::given::{given, handed};
use crate::sim::network::{Executed, NodeId};
use crate::sim::verb::{Verb, Verbs};
use crate::stream_id::StreamId;

/// What a look finds that this process was given, and was not handed, is asked for before anything new
/// is read (4.5).
#[derive(Debug, Default)]
pub(super) struct FetchesWhatItFinds {
    /// What each process was handed, by service, and has not acknowledged.
    handed: BTreeSet<Place>,
    /// What each was given besides.
    unheard: BTreeSet<Place>,
    /// What of that each list named when it was made.
    listed: BTreeMap<(NodeId, u64), Vec<Place>>,
    /// What of that its look has found, and it has not asked for.
    found: BTreeSet<Place>,
}

/// Which process, of which service, which entry.
type Place = (NodeId, usize, StreamId);

impl Invariant for FetchesWhatItFinds {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-a-look-finds-is-asked-for", "4.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[
            Kind::Closed,
            Kind::Executed,
            Kind::Healed,
            Kind::Lost,
            Kind::Replied,
            Kind::Sent,
            Kind::Struck,
        ]
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
        let service = |command: &Command| scene.history.service_of(command.key()?);
        match fact {
            Fact::Healed => self.forget(),
            Fact::Struck(fault) if AGING.contains(*fault) => self.forget(),
            // The look starts over.
            Fact::Closed { node, .. } | Fact::Lost { node, .. } => {
                self.found.retain(|(of, ..)| of != node);
            }
            Fact::Executed(Executed {
                node,
                command,
                reply: Ok(Reply::PendingRange(rows)),
                ticket,
                ..
            }) => {
                let Some(service) = service(command) else { return Ok(()) };
                let rows = rows.iter().map(|row| (*node, service, row.id));
                let rows = rows.filter(|place| self.unheard.contains(place)).collect();
                self.listed.insert((*node, *ticket), rows);
            }
            Fact::Executed(Executed { node, command, reply: Ok(reply), .. }) => {
                let Some(service) = service(command) else { return Ok(()) };
                let given = given(command, reply).into_iter().flat_map(|(_, entries)| entries);
                let places = given
                    .filter(|entry| entry.fields.is_some())
                    .map(|entry| (*node, service, entry.id));
                self.unheard.extend(places.filter(|place| !self.handed.contains(place)));
            }
            Fact::Replied { node, lane, command, reply, ticket, .. } => {
                let Some(service) = service(command) else { return Ok(()) };
                let listed = self.listed.remove(&(*node, *ticket)).unwrap_or_default();
                self.replied((*node, service, *lane), listed, command, reply);
            }
            Fact::Sent { node, lane, command, .. } => {
                let Some(service) = service(command) else { return Ok(()) };
                match command {
                    Command::XAck { ids, .. } => {
                        ids.iter().for_each(|id| self.hand((*node, service, *id)));
                    }
                    Command::XRange { start, .. } if matches!(lane, Lane::Blocking(_)) => {
                        self.found.remove(&(*node, service, *start));
                    }
                    Command::XReadGroup { .. } => {
                        let places =
                            (*node, service, StreamId::ZERO)..=(*node, service, StreamId::MAX);
                        if let Some((.., id)) = self.found.range(places).next() {
                            return Err(format!("{node} has found {id}, and reads on"));
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl FetchesWhatItFinds {
    /// What was given may be something else, or look as if it was given before.
    fn forget(&mut self) {
        self.unheard.clear();
        self.listed.clear();
        self.found.clear();
    }

    fn replied(
        &mut self,
        (node, service, lane): (NodeId, usize, Lane),
        listed: Vec<Place>,
        command: &Command,
        reply: &Result<Reply, Refusal>,
    ) {
        match (command, reply) {
            (_, Ok(Reply::PendingRange(_))) if matches!(lane, Lane::Blocking(_)) => {
                let unheard = listed.into_iter().filter(|it| self.unheard.contains(it));
                self.found.extend(unheard);
            }
            (Command::XAck { ids, .. }, Ok(_)) => {
                for id in ids {
                    self.handed.remove(&(node, service, *id));
                }
            }
            (_, Ok(reply)) => {
                let handed = handed(lane, command, reply);
                for entry in handed.into_iter().flat_map(|(_, entries)| entries) {
                    self.hand((node, service, entry.id));
                }
            }
            // It starts over, or is not allowed.
            (_, Err(_)) => self.found.retain(|(of, ..)| *of != node),
        }
    }

    fn hand(&mut self, place: Place) {
        self.unheard.remove(&place);
        self.found.remove(&place);
        self.handed.insert(place);
    }
}
