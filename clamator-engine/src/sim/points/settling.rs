//! Points of what becomes of entries: handlers, replies, acknowledgements.
//!
//! Not of how workers come to them. A reply that is sent again is known by its envelope, an
//! acknowledgement by its first entry.

use super::super::fact::Start;
use super::super::fault::{Fault, FaultSet};
use super::super::history::{NodeKind, NodeState, Outcome};
use super::super::invariants::Scene;
use super::super::network::{Executed, NodeId};
use super::Point;
use super::watch::{Running, Watch, What};
use crate::command::{ClaimAs, Command};
use crate::reply::{Fields, Refusal, RefusalKind, Reply};
use crate::server::{Concurrency, Notice, PoisonFault};
use crate::stream_id::StreamId;

/// Where the reply is to go to that a request asks for which is nobody's.
const STRANGER: &[u8] = b"stranger";

impl Watch {
    pub(super) fn started(&mut self, scene: &Scene<'_>, node: NodeId, job: u64, start: &Start) {
        let (service, entry) = (start.service, start.entry);
        let python = self.is(node, NodeKind::Python);
        let hits = &mut self.hits;
        let (mut here, mut busy) = (1, false);
        for other in &self.running {
            if other.node == node {
                here += usize::from(other.service == service);
                busy |= other.service != service;
            } else if (other.service, other.entry) == (service, entry) {
                hits.hit(Point::TwoWorkersRan);
            }
        }
        hits.hit_if(busy, Point::BothServicesBusy);
        hits.hit_if(scene.plan.concurrency == Concurrency::Limit(here), Point::HandlersAtLimit);
        hits.hit_if(python, Point::PythonServed);
        hits.hit_if(start.deliveries >= 3, Point::DeliveredThrice);
        if let Some(call) = start.number.and_then(|number| scene.history.calls.get(&number)) {
            hits.hit_if(call.cancelled, Point::CancelledCallRan);
            hits.hit_if(call.outcome == Some(Outcome::Timeout), Point::ExpiredCallRan);
        }
        self.running.push(Running { node, job, service, entry, since: scene.now });
    }

    pub(super) fn ended(&mut self, scene: &Scene<'_>, node: NodeId, job: u64, number: Option<u64>) {
        let stopping = self.eye(node).is_some_and(|eye| eye.stopping);
        let place = self.running.iter().position(|it| (it.node, it.job) == (node, job));
        let Some(running) = place.map(|place| self.running.swap_remove(place)) else { return };
        let hits = &mut self.hits;
        hits.hit_if(stopping, Point::HandlerEndedInGrace);
        let long = scene.now.since(running.since) >= scene.plan.claim_idle;
        hits.hit_if(long, Point::HandlerOutlastedClaimIdle);
        if let Some(seen) = self.entries.get(&(running.service, running.entry)) {
            let taken = seen.owner != node;
            hits.hit_if(taken, Point::HandlerEndedAfterTakeover);
            let settled = seen.settled.is_some_and(|by| by != node);
            hits.hit_if(settled, Point::HandlerEndedAfterSettled);
            let thawed = taken
                && scene.history.struck_since(running.since, FaultSet::of(&[Fault::WorkerFrozen]));
            hits.hit_if(thawed, Point::HandlerThawedAfterTakeover);
        }
        let Some(call) = number.and_then(|number| scene.history.calls.get(&number)) else { return };
        let client = scene.history.nodes.get(call.client);
        let gone = client.is_some_and(|client| client.state == NodeState::Gone);
        hits.hit_if(gone && !call.notification, Point::AnswerToGoneClient);
    }

    /// Redis carried a command out, or refused it.
    pub(super) fn executed(&mut self, scene: &Scene<'_>, executed: &Executed) {
        let given = match (&executed.command, &executed.reply) {
            (Command::XReadGroup { key, .. }, Ok(Reply::Entries(entries))) => {
                if !entries.is_empty()
                    && let Some(service) = scene.history.service_of(key)
                {
                    self.given_new(executed.node, service, entries);
                }
                entries.len()
            }
            (
                Command::XClaim { key, claim_as: ClaimAs::Delivered, .. },
                Ok(Reply::Entries(entries)),
            )
            | (Command::XAutoClaim { key, .. }, Ok(Reply::Claimed { entries, .. })) => {
                if let Some(service) = scene.history.service_of(key) {
                    self.given_again(executed.node, service, entries);
                }
                entries.len()
            }
            (Command::XRead { key, .. }, Ok(Reply::Entries(entries))) => {
                self.read_out(key, entries);
                entries.len()
            }
            (Command::ClientUnblock { .. }, Ok(Reply::Integer(1))) => {
                if let Some(eye) = self.eye(executed.node) {
                    eye.unblocked = eye.unblocked.saturating_add(1);
                }
                0
            }
            _ => 0,
        };
        if !self.mark_executed(executed, given) {
            return;
        }
        match (&executed.command, &executed.reply) {
            (Command::XAck { key, ids, .. }, Ok(Reply::Integer(settled))) => {
                let Some(service) = scene.history.service_of(key) else { return };
                let all = usize::try_from(*settled) == Ok(ids.len());
                self.acknowledged(executed.node, service, ids, all);
            }
            (Command::XAdd { key, max_len, fields, .. }, Ok(Reply::Added(Some(id)))) => {
                let ahead = u128::from(id.ms) > scene.network.streams().time(scene.now).as_millis();
                self.hits.hit_if(ahead, Point::IdAheadOfClock);
                if max_len.is_some() {
                    self.written(scene, executed.node, key, fields, *id);
                }
            }
            _ => {}
        }
    }

    /// Marks a command as carried out. Tells whether its answer is still awaited.
    fn mark_executed(&mut self, executed: &Executed, given: usize) -> bool {
        let Some(eye) = self.eye(executed.node) else { return false };
        if let Some(flight) = eye.flights.iter_mut().find(|it| it.ticket == executed.ticket) {
            (flight.executed, flight.given) = (executed.reply.is_ok(), given);
            return true;
        }
        let late = eye.voided.iter_mut().find(|it| it.ticket == executed.ticket);
        let Some(flight) = late.filter(|flight| !flight.executed) else { return false };
        flight.executed = executed.reply.is_ok();
        let (read, claim) = (matches!(flight.what, What::Read), matches!(flight.what, What::Claim));
        self.hits.hit(Point::ExecutedAfterLaneEnded);
        self.hits.hit_if(read && given > 0, Point::ReadLostWithEntries);
        self.hits.hit_if(claim && given > 0, Point::ClaimLostWithEntries);
        false
    }

    fn acknowledged(&mut self, node: NodeId, service: usize, ids: &[StreamId], all: bool) {
        for id in ids {
            let Some(seen) = self.entries.get_mut(&(service, *id)) else { continue };
            self.hits.hit_if(seen.owner != node, Point::AckAfterTakeover);
            if all {
                seen.settled = Some(node);
            }
        }
        let again = |what: &What| matches!(what, What::Acknowledge(first) if ids.contains(first));
        match self.take_voided(node, again) {
            Some(true) => self.hits.hit(Point::AckRepeatedAfterExecution),
            Some(false) => self.hits.hit(Point::AckRepeatedAfterLoss),
            None => {}
        }
    }

    /// A reply was written.
    fn written(
        &mut self,
        scene: &Scene<'_>,
        node: NodeId,
        key: &bytes::Bytes,
        fields: &Fields,
        id: StreamId,
    ) {
        if scene.plan.allows(Fault::ReplyOverflow) {
            self.trimmed(scene, key, id);
        }
        if self.eye(node).is_none_or(|eye| eye.voided.is_empty()) {
            return;
        }
        let Some((_, envelope)) = fields.get(1) else { return };
        let again = |what: &What| matches!(what, What::Reply(lost) if lost == envelope);
        match self.take_voided(node, again) {
            Some(true) => self.hits.hit(Point::ReplyRepeatedAfterExecution),
            Some(false) => self.hits.hit(Point::ReplyRepeatedAfterLoss),
            None => {}
        }
    }

    /// Takes out a command whose answer was lost, and tells whether it had been carried out.
    fn take_voided(&mut self, node: NodeId, which: impl Fn(&What) -> bool) -> Option<bool> {
        let eye = self.eye(node)?;
        let place = eye.voided.iter().position(|flight| which(&flight.what))?;
        Some(eye.voided.swap_remove(place).executed)
    }

    /// A server is answered a command by which it settles entries, or its stop.
    pub(super) fn answered_settling(
        &mut self,
        node: NodeId,
        command: &Command,
        reply: &Result<Reply, Refusal>,
    ) {
        let Some(eye) = self.eye(node) else { return };
        match (command, reply) {
            (Command::XAdd { fields, .. }, Err(refusal)) => {
                if refusal.kind() == RefusalKind::Heals
                    && let Some((_, envelope)) = fields.get(1)
                {
                    eye.refused.push(envelope.clone());
                }
            }
            (Command::XAdd { .. }, Ok(Reply::Added(None))) => {
                self.hits.hit(Point::ReplyStreamGone);
            }
            (Command::XAdd { fields, .. }, Ok(_)) => {
                let refused = eye.refused.len();
                if refused > 0 {
                    eye.refused
                        .retain(|it| fields.get(1).is_none_or(|(_, envelope)| envelope != it));
                    let accepted = eye.refused.len() < refused;
                    self.hits.hit_if(accepted, Point::ReplyRefusedThenAccepted);
                }
            }
            (Command::DelIdleConsumers { .. }, Ok(Reply::Integer(1..))) => {
                self.hits.hit(Point::ConsumersRemoved);
            }
            (Command::XTrim { .. }, Ok(Reply::Integer(1..))) => {
                self.hits.hit(Point::StreamTrimmed);
            }
            (Command::XAck { .. }, Ok(Reply::Integer(0))) => self.hits.hit(Point::AckOfNothing),
            (Command::XGroupDelConsumer { .. }, Ok(_)) => {
                eye.left = true;
                self.hits.hit(Point::ConsumerRemoved);
            }
            (Command::ClientUnblock { .. }, Ok(Reply::Integer(1))) => {
                self.hits.hit(Point::StopUnblocked);
            }
            _ => {}
        }
    }

    /// A server sends a reply.
    pub(super) fn replies(&mut self, key: &[u8], fields: &Fields) {
        let code = b"-32601";
        let unknown = key.ends_with(STRANGER)
            && fields.get(1).is_some_and(|(_, text)| text.windows(6).any(|part| part == code));
        self.hits.hit_if(unknown, Point::MethodNotFoundAnswered);
    }

    pub(super) fn noticed(&mut self, notice: &Notice) {
        let point = match notice {
            Notice::AckRefused { .. } => Point::AckRefused,
            Notice::ConsumerLeft { .. }
            | Notice::HandlerOverdue { .. }
            | Notice::Unreadable { .. } => return,
            Notice::DeadLetter { .. } => Point::DeadLetter,
            Notice::DeadLetterRefused { .. } => Point::DeadLetterRefused,
            Notice::ClockJumped => Point::ClockJumped,
            Notice::Expired { .. } => Point::ExpiredSkipped,
            Notice::ExpiryRefused { .. } => Point::ExpiryRefused,
            Notice::GroupRefused { .. } => Point::GroupRefused,
            Notice::GroupRestored { after: StreamId::ZERO, .. } => Point::GroupRestoredAtStart,
            Notice::GroupRestored { .. } => Point::GroupRestoredAtMark,
            Notice::LookRefused { .. } => Point::LookRefused,
            Notice::NotFound { .. } => Point::MethodNotFoundDropped,
            Notice::Poison { fault: PoisonFault::Envelope(_), .. } => Point::PoisonEnvelope,
            Notice::Poison { fault: PoisonFault::NoEnvelope, .. } => Point::PoisonNoEnvelope,
            Notice::Poison { fault: PoisonFault::Response, .. } => Point::PoisonResponse,
            Notice::ReadRefused { .. } => Point::ReadRefused,
            Notice::RenewalRefused { .. } => Point::RenewalRefused,
            Notice::ReplyRefused { .. } => Point::ReplyRefusedForEver,
            Notice::ReplyToRefused { .. } => Point::ReplyToRefused,
        };
        self.hits.hit(point);
    }
}
