//! Sending: a call becomes an entry of its service's command stream as soon as it has a place.
//!
//! Not whose turn it is (`turns`), nor what Redis says to it. Nothing waits for a connection that is
//! known to be out of reach, and nothing is sent twice (rules 5.4 and 5.5).

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{InvalidMethod, Method, RequestId, ServiceName, Traceparent};

use super::calls::{Ended, Kind, Outgoing};
use super::{Client, Purpose, Stage};
use crate::call::{CallError, InvalidCall};
use crate::command::Command;
use crate::engine::Lane;
use crate::seeded::Bug;
use crate::time::Instant;
use crate::wire;

/// A call or notification that is to be taken in.
pub(super) struct Draft {
    pub(super) kind: Kind,
    pub(super) envelope: Vec<u8>,
    pub(super) traceparent: Option<Traceparent>,
}

impl Client {
    pub(super) fn request_id(&self, id: u64) -> RequestId {
        RequestId::from_text(&format!("{}{id}", self.id_prefix))
    }

    pub(super) fn submit(
        &mut self,
        now: Instant,
        id: u64,
        method: &Method<'_>,
        draft: Draft,
        timeout: Duration,
    ) {
        let Draft { kind, envelope, traceparent } = draft;
        self.count_made(kind);
        let unsent = Ended { id, kind, sent: false };
        if self.stage != Stage::Running {
            return self.fail(&unsent, CallError::Stopped);
        }
        if kind == Kind::Call && self.config.instance.is_empty() {
            return self.fail(&unsent, CallError::Invalid(InvalidCall::Instance));
        }
        if !wire::fits(envelope.len()) {
            let fault = InvalidCall::TooLarge { bytes: envelope.len() };
            return self.fail(&unsent, CallError::Invalid(fault));
        }
        let key = match self.command_stream(method) {
            Ok(key) => key,
            Err(fault) => return self.fail(&unsent, CallError::Invalid(fault)),
        };
        let outgoing = Outgoing { key, envelope: envelope.into(), traceparent };
        self.calls.insert(now, id, kind, outgoing, timeout);
        self.send_waiting(now);
    }

    fn command_stream(&mut self, method: &Method<'_>) -> Result<Bytes, InvalidCall> {
        if let Some(key) = self.streams.find(method.service()) {
            return Ok(key.clone());
        }
        let service = ServiceName::new(method.service()).map_err(|_| InvalidCall::Method {
            fault: InvalidMethod::Service,
            method: method.to_string(),
        })?;
        if self.streams.are_too_many() {
            self.forget_idle();
        }
        let key = Bytes::from(self.keys.commands(&service));
        self.streams.insert(service.as_str(), key.clone());
        Ok(key)
    }

    /// Forgets the services that nothing is under way to.
    fn forget_idle(&mut self) {
        self.calls.forget_idle();
        self.streams.forget(|key| self.calls.are_under_way(key));
        self.withdrawals.forget(|key| self.calls.are_under_way(key));
    }

    /// Sends what has a place, or fails it all when there is no connection to wait for.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        if self.unfit.is_some() {
            return;
        }
        let embedded = match self.lanes.hello(Lane::Command) {
            Some(hello) => hello.embedded,
            None if self.lanes.is_opening(Lane::Command) => return,
            None if self.config.seeded.is(Bug::AmbiguousIsRetried) => return,
            None => {
                for ended in self.calls.end_unsent() {
                    self.fail(&ended, CallError::NotSent);
                }
                return;
            }
        };
        let expected = self.calls.expects_replies();
        // What would wait for room on the lane waits here, where it ends with its time.
        while self.lanes.has_room(Lane::Command)
            && let Some((id, kind, outgoing)) =
                self.calls.next_to_send(now, self.config.in_flight_max)
        {
            let remaining = self.calls.remaining(now, id);
            let command = self.request_entry(kind, outgoing, remaining, !embedded);
            let timeout = self.config.command_timeout;
            // The lane is open, so the command is taken.
            let _ = self.lanes.send(now, Lane::Command, command, timeout, Purpose::Send(id));
        }
        if !expected {
            self.reader.listen(now);
        }
    }

    /// The entry of a request. A missing stream is created, so that a request may come before its
    /// first server; streams that live in this process are never waited for.
    fn request_entry(
        &self,
        kind: Kind,
        outgoing: Outgoing,
        remaining: Option<Duration>,
        create: bool,
    ) -> Command {
        let reply_to = (kind == Kind::Call).then(|| self.replies.clone());
        let mut fields = wire::fields(outgoing.envelope, reply_to);
        fields.extend(remaining.and_then(wire::timeout));
        fields.extend(outgoing.traceparent.map(wire::traceparent));
        Command::XAdd { key: outgoing.key, create, max_len: None, fields }
    }
}
