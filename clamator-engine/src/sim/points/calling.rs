//! Points of calls and of the reading of replies; and what is sent, by whomever.
//!
//! Not of the serving. Which call a reply is to is known by its result, which is the number of its
//! call.

use bytes::Bytes;

use super::super::fault::Fault;
use super::super::history::{Given, NodeKind, Outcome, is_dead};
use super::super::invariants::Scene;
use super::super::network::NodeId;
use super::Point;
use super::watch::{Flight, ReadsFrom, Watch, What};
use crate::call::CallError;
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Entry, Refusal, RefusalKind, Reply};
use crate::stream_id::StreamId;
use clamator_proto::Json;

/// A reply of ours is longer: the id alone has this many digits.
const SHORT: usize = 32;

impl Watch {
    /// A process sends a command.
    pub(super) fn sent(
        &mut self,
        scene: &Scene<'_>,
        node: NodeId,
        lane: Lane,
        command: &Command,
        ticket: u64,
    ) {
        let Some(eye) = self.eye(node) else { return };
        let kind = eye.kind;
        let acknowledged = core::mem::take(&mut eye.acknowledges);
        let what = match command {
            Command::XAck { ids, .. } => {
                eye.acknowledges = true;
                self.hits.hit_if(ids.len() > 1, Point::AckOfMany);
                ids.first().map_or(What::Other, |first| What::Acknowledge(*first))
            }
            Command::XAdd { key, max_len: Some(_), fields, .. } if !is_dead(key) => {
                self.replies(key, fields);
                fields.get(1).map_or(What::Other, |(_, envelope)| What::Reply(envelope.clone()))
            }
            Command::XAdd { .. } => {
                eye.requested += 1;
                What::Other
            }
            Command::XAutoClaim { start, .. } => {
                let on = kind == Some(NodeKind::Server) && *start != StreamId::ZERO;
                self.hits.hit_if(on, Point::ClaimContinued);
                What::Claim
            }
            Command::XReadGroup { .. } => {
                eye.has_read = true;
                What::Read
            }
            Command::XPendingRange { key, start: StreamId::ZERO, .. }
                if matches!(lane, Lane::Blocking(_)) =>
            {
                let service = scene.history.service_of(key);
                let looks = service.and_then(|service| eye.looks.get_mut(service));
                looks.into_iter().for_each(|looks| *looks = looks.saturating_add(1));
                What::Other
            }
            Command::XRead { after, .. } => {
                let missing = *after == StreamId::ZERO && eye.newest != StreamId::ZERO;
                if missing && eye.reads_from == ReadsFrom::Last {
                    eye.reads_from = ReadsFrom::Silence;
                    self.hits.hit(Point::RereadAfterSilence);
                }
                What::Other
            }
            _ => What::Other,
        };
        if acknowledged && !matches!(command, Command::XDel { .. }) {
            self.withheld(scene, node);
        }
        if let Some(eye) = self.eye(node) {
            eye.flights.push(Flight { ticket, lane, what, executed: false, given: 0 });
        }
    }

    /// Nothing follows an acknowledgement.
    fn withheld(&mut self, scene: &Scene<'_>, node: NodeId) {
        let foreign = self.is(node, NodeKind::Server)
            && scene.history.strikes.iter().any(|(_, fault)| *fault == Fault::ForeignGroup);
        self.hits.hit_if(foreign, Point::WithheldDelete);
    }

    /// A process has said all it has to say.
    pub(super) fn idle(&mut self, scene: &Scene<'_>, node: NodeId) {
        let Some(eye) = self.eye(node) else { return };
        eye.unfit = false;
        let waits = core::mem::take(&mut eye.called) > core::mem::take(&mut eye.requested);
        let acknowledged = core::mem::take(&mut eye.acknowledges);
        if waits && let Some(seen) = eye.lane(Lane::Command) {
            let (open, opening) = (seen.is_open, seen.is_opening);
            self.hits.hit_if(open, Point::CallWaitedForPlace);
            self.hits.hit_if(opening, Point::CallWaitedForLane);
        }
        if acknowledged {
            self.withheld(scene, node);
        }
    }

    /// A process is answered.
    pub(super) fn replied(
        &mut self,
        scene: &Scene<'_>,
        node: NodeId,
        lane: Lane,
        command: &Command,
        reply: &Result<Reply, Refusal>,
    ) {
        let Some(eye) = self.eye(node) else { return };
        let kind = eye.kind;
        if let Err(refusal) = reply {
            eye.unfit |= refusal.kind() == RefusalKind::WrongServer;
        }
        match kind {
            Some(NodeKind::Client) => match (command, reply) {
                (Command::XRead { .. }, Ok(Reply::Entries(entries))) => {
                    for entry in entries {
                        self.heard_reply(scene, node, entry);
                    }
                }
                (Command::XDel { key, ids }, Ok(Reply::Integer(1..))) => {
                    self.withdrawn(scene, key, ids);
                }
                (Command::XDel { .. } | Command::XInfoGroups { .. }, Err(_)) => {
                    self.hits.hit(Point::WithdrawalRefused);
                }
                _ => {}
            },
            Some(NodeKind::Server) => match command {
                Command::XPendingRange { .. } | Command::XRange { .. }
                    if matches!(lane, Lane::Blocking(_)) =>
                {
                    self.look_answered(scene, node, command, reply);
                }
                Command::ClientUnblock { .. }
                | Command::DelIdleConsumers { .. }
                | Command::XAck { .. }
                | Command::XAdd { .. }
                | Command::XGroupDelConsumer { .. }
                | Command::XTrim { .. } => {
                    self.answered_settling(node, command, reply);
                }
                Command::XPendingRange { .. } => {
                    self.answered_taking(scene, node, command, reply);
                    self.answered_settling(node, command, reply);
                }
                _ => self.answered_taking(scene, node, command, reply),
            },
            Some(NodeKind::Python) | None => {}
        }
    }

    /// A client has deleted requests.
    fn withdrawn(&mut self, scene: &Scene<'_>, key: &[u8], ids: &[StreamId]) {
        let Some(service) = scene.history.service_of(key) else { return };
        for id in ids {
            let number = scene.history.number_of(service, *id);
            let call = number.and_then(|number| scene.history.calls.get(&number));
            let Some(call) = call else { continue };
            let late = call.withdrawn == Some(Given::ToWorker);
            self.hits.hit_if(late, Point::WithdrawnTooLate);
            self.hits.hit_if(!late && call.cancelled, Point::WithdrawnOfCancelled);
        }
    }

    /// A client reads a reply.
    fn heard_reply(&mut self, scene: &Scene<'_>, node: NodeId, entry: &Entry) {
        let Some(eye) = self.eye(node) else { return };
        let (reads_from, newest) = (eye.reads_from, eye.newest);
        eye.newest = newest.max(entry.id);
        eye.reads_from = ReadsFrom::Last;
        let envelope = entry.fields.as_ref().and_then(|fields| fields.iter().find(is_envelope));
        let Some((_, envelope)) = envelope.filter(|(_, envelope)| envelope.len() > SHORT + 15)
        else {
            return self.hits.hit(Point::WrongReplyDropped);
        };
        let number = result(envelope);
        let Some(call) = number.and_then(|number| scene.history.calls.get(&number)) else { return };
        let hits = &mut self.hits;
        if call.client != node {
            return hits.hit(Point::TwinReplyDropped);
        }
        if call.cancelled {
            return hits.hit(Point::AnswerToCancelledCall);
        }
        match call.outcome {
            None => {
                hits.hit_if(entry.id < newest, Point::ReplyUnderLowerId);
                match reads_from {
                    ReadsFrom::Last => {}
                    ReadsFrom::NewLane => hits.hit(Point::ReplyFoundAfterReconnect),
                    ReadsFrom::Silence => hits.hit(Point::ReplyFoundByRereading),
                }
            }
            Some(Outcome::Timeout) => hits.hit(Point::AnswerToExpiredCall),
            Some(Outcome::Done) => {
                hits.hit_if(entry.id > newest, Point::DuplicateReplyDropped);
            }
            Some(_) => {}
        }
    }

    pub(super) fn finished(
        &mut self,
        scene: &Scene<'_>,
        number: u64,
        outcome: &Result<Option<&Json>, &CallError>,
    ) {
        let Some(call) = scene.history.calls.get(&number) else { return };
        let point = match outcome {
            Ok(None) => Point::NotificationWritten,
            Ok(Some(_)) => return,
            Err(CallError::NoWorkers) => Point::Withdrawn,
            Err(CallError::NotSent) => Point::CallNotSent,
            Err(CallError::Refused(_)) => Point::CallRefused,
            Err(CallError::Rpc(_)) => Point::CallRpcError,
            Err(CallError::Stopped) => Point::CallStopped,
            Err(CallError::Timeout) if call.ends > 0 => Point::CallTimedOutServed,
            Err(CallError::Timeout) => Point::CallTimedOutUnserved,
            Err(
                CallError::Invalid(_)
                | CallError::OutcomeUnknown
                | CallError::Protocol(_)
                | CallError::Reentrant,
            ) => return,
        };
        self.hits.hit(point);
    }

    /// The run is over: what became of what nobody was told about.
    pub(super) fn over(&mut self, scene: &Scene<'_>) {
        for call in scene.history.calls.values() {
            if call.outcome == Some(Outcome::Unknown) {
                self.hits.hit(if call.entries.is_empty() {
                    Point::CallOutcomeUnknownAndNotWritten
                } else {
                    Point::CallOutcomeUnknownAndWritten
                });
            }
        }
        let claims = self.eyes.iter().flat_map(|eye| &eye.voided);
        for _ in claims.filter(|it| matches!(it.what, What::Claim) && !it.executed) {
            self.hits.hit(Point::ClaimLostUnexecuted);
        }
    }

    /// A client was given replies.
    pub(super) fn read_out(&mut self, key: &Bytes, entries: &[Entry]) {
        if let (Some(unread), Some(last)) = (self.unread.get_mut(key), entries.last()) {
            unread.retain(|id| *id > last.id);
        }
    }

    /// A reply was written to a short stream.
    pub(super) fn trimmed(&mut self, scene: &Scene<'_>, key: &Bytes, id: StreamId) {
        let first = scene.network.streams().ids(key).next().unwrap_or(id);
        let unread = self.unread.entry(key.clone()).or_default();
        let before = unread.len();
        unread.retain(|unread| *unread >= first);
        // A stream that begins with this reply is a new one.
        self.hits.hit_if(unread.len() < before && first < id, Point::RepliesTrimmedUnread);
        unread.push(id);
    }
}

fn is_envelope(field: &&(Bytes, Bytes)) -> bool {
    field.0 == b"envelope"[..]
}

/// The number that is the result of a reply, its last member.
fn result(envelope: &[u8]) -> Option<u64> {
    let text = envelope.strip_suffix(b"}")?;
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = text.len().checked_sub(digits).filter(|_| digits > 0)?;
    if !text.get(..start)?.ends_with(b"\"result\":") {
        return None;
    }
    super::super::history::number_of(text.get(start..)?)
}
