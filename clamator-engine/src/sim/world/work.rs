//! What applications do: callers call, handlers run.
//!
//! Not the engines. A call carries its number as its only parameter and expects it back, so it can
//! be told whose result it is. How long a handler takes, and whether it panics, is rolled when it
//! starts.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::{Json, Method, RpcError};

use super::super::fact::{Fact, Start};
use super::super::fault::Fault;
use super::super::history::{
    Call, Given, NodeKind, Outcome, is_answer, is_dead, number_in, number_of,
};
use super::super::network::{Executed, NodeId};
use super::super::node::{Handler, Machine, Step};
use super::super::python::PythonJob;
use super::{Planned, VALUE_MAX, World};
use crate::call::{CallError, CallId};
use crate::client::ClientEvent;
use crate::command::{Command, GroupStart};
use crate::reply::{Fields, Reply};
use crate::server::{Answer, Job, JobId, Notice, ServerEvent};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// The shortest time that an impatient caller waits.
const IMPATIENCE: Duration = Duration::from_millis(1);
/// How long a fresh call may take: everything works by then.
const FRESH_TIMEOUT: Duration = Duration::from_secs(4);

impl World {
    /// Somebody calls.
    pub(super) fn call(&mut self, fresh: bool) {
        let clients = self.running(NodeKind::Client);
        let Some(client) = self.dice.pick(&clients).copied() else {
            let at = self.now + Duration::from_millis(500);
            return self.plan_at(at, Planned::Call { fresh });
        };
        let number = u64::try_from(self.history.calls.len()).unwrap_or(u64::MAX) + 1;
        let service =
            usize::try_from(self.dice.roll(u64::try_from(self.plan.services).unwrap_or(1)));
        let service = service.unwrap_or(0);
        let notification = !fresh && self.dice.chance(8);
        let timeout = self.roll_timeout(fresh, notification);
        let now = self.now;
        let Some(node) = self.nodes.get_mut(client) else { return };
        if let Some(until) = node.frozen_until {
            // Its application is frozen too.
            return self
                .plan_at(until.max(now + Duration::from_millis(1)), Planned::Call { fresh });
        }
        let local = node.local(now);
        let Machine::Client(engine) = &mut node.machine else { return };
        let Some(names) = self.history.services.get(service) else { return };
        let name = format!("{}.echo", names.service);
        let (Ok(method), Ok(params)) = (Method::parse(&name), Json::encode(&[number])) else {
            return;
        };
        let id = if notification {
            engine.notify(local, &method, &params, None)
        } else {
            engine.call(local, &method, &params, Some(timeout), None)
        };
        self.history.calls.insert(
            number,
            Call {
                client,
                id,
                service,
                made: local,
                made_at: now,
                timeout,
                notification,
                fresh,
                cancelled: false,
                entries: alloc::vec![],
                starts: 0,
                ends: 0,
                outcomes: 0,
                outcome: None,
                past: false,
                aside: false,
                withdrawn: None,
                skipped: false,
                lost: None,
            },
        );
        self.tell(&Fact::Called { number });
        if !fresh && self.dice.chance(5) {
            let after = self.dice.scale(Duration::from_micros(50), Duration::from_secs(5));
            self.plan_at(self.now + after, Planned::Cancel { number });
        }
        self.touch(client);
    }

    /// How long a call may take: some callers are impatient.
    fn roll_timeout(&mut self, fresh: bool, notification: bool) -> Duration {
        if fresh {
            FRESH_TIMEOUT
        } else if !notification && self.dice.chance(10) {
            self.dice.scale(IMPATIENCE, self.plan.timeout)
        } else {
            self.plan.timeout
        }
    }

    /// A caller does not wait any longer.
    pub(super) fn cancel(&mut self, number: u64) {
        let Some(call) = self.history.calls.get_mut(&number) else { return };
        let now = self.now;
        let Some(node) = self.nodes.get_mut(call.client) else { return };
        if call.outcomes > 0 || node.frozen_until.is_some() {
            return;
        }
        call.cancelled = true;
        let local = node.local(now);
        if let Machine::Client(engine) = &mut node.machine {
            engine.cancel(local, call.id);
        }
        let client = call.client;
        self.touch(client);
    }

    pub(super) fn hear_client(&mut self, id: NodeId, event: ClientEvent) {
        match event {
            ClientEvent::Finished(call, outcome) => {
                let outcome = outcome.as_ref().map(Some);
                self.finish(id, call, outcome);
            }
            ClientEvent::Notified(call, outcome) => {
                let outcome = outcome.as_ref().map(|()| None);
                self.finish(id, call, outcome);
            }
            ClientEvent::Stopped => self.stopped(id, 0),
            ClientEvent::Connected
            | ClientEvent::Disconnected(_)
            | ClientEvent::ReadRefused(_)
            | ClientEvent::Unparsable { .. } => {}
        }
    }

    fn finish(&mut self, node: NodeId, id: CallId, outcome: Result<Option<&Json>, &CallError>) {
        let calls = &mut self.history.calls;
        let Some((number, call)) =
            calls.iter_mut().rev().find(|(_, call)| call.client == node && call.id == id)
        else {
            return;
        };
        let number = *number;
        call.outcomes += 1;
        call.outcome = Some(match &outcome {
            Ok(_) => Outcome::Done,
            Err(CallError::NoWorkers) => Outcome::NoWorkers,
            Err(CallError::NotSent) => Outcome::NotSent,
            Err(CallError::OutcomeUnknown) => Outcome::Unknown,
            Err(CallError::Protocol(_)) => Outcome::Protocol,
            Err(CallError::Refused(_)) => Outcome::Refused,
            Err(CallError::Rpc(_)) => Outcome::Rpc,
            Err(CallError::Stopped) => Outcome::Stopped,
            Err(CallError::Timeout) => Outcome::Timeout,
            Err(CallError::Invalid(_) | CallError::Reentrant) => Outcome::Other,
        });
        self.tell(&Fact::Finished { number, outcome });
    }

    pub(super) fn hear_server(&mut self, id: NodeId, event: ServerEvent) {
        match event {
            ServerEvent::Abandon(job) => self.drop_handler(id, job),
            ServerEvent::Notice(notice) => {
                if let Notice::Expired { service, entry } = &notice {
                    self.history.skipped(service.as_str(), *entry);
                }
                self.tell(&Fact::Noticed { node: id, notice: &notice });
            }
            ServerEvent::Start(job) => {
                self.start(id, &job);
                self.crash_at(id, Step::Started);
            }
            ServerEvent::Stopped { left } => self.stopped(id, left),
            // Its handler goes on to its end, as one does that nobody asks.
            ServerEvent::Connected
            | ServerEvent::Disconnected(_)
            | ServerEvent::LeaseLost(_)
            | ServerEvent::Started => {}
        }
    }

    fn start(&mut self, id: NodeId, job: &Job) {
        let names = &self.history.services;
        let service = names.iter().position(|names| names.service == job.service.as_str());
        let number =
            job.params.as_ref().and_then(|params| number_of(params.as_str().get(1..)?.as_bytes()));
        let start = Start {
            service: service.unwrap_or(usize::MAX),
            entry: job.entry,
            number: number.filter(|number| self.history.calls.contains_key(number)),
            deliveries: job.deliveries,
        };
        self.run_handler(id, start, Some(job.id), None);
    }

    pub(super) fn start_python(&mut self, id: NodeId, job: PythonJob) {
        let number = job.entry.fields.as_ref().and_then(number_in);
        let start = Start {
            service: 0,
            entry: job.entry.id,
            number: number.filter(|number| self.history.calls.contains_key(number)),
            deliveries: 0,
        };
        self.run_handler(id, start, None, Some(job));
    }

    /// A handler starts, and its end is rolled.
    fn run_handler(
        &mut self,
        id: NodeId,
        start: Start,
        job: Option<JobId>,
        python: Option<PythonJob>,
    ) {
        if let Some(call) = start.number.and_then(|number| self.history.calls.get_mut(&number)) {
            call.starts += 1;
        }
        let (takes, panics) = self.roll_handler(start.number.is_some());
        let tells_too_much =
            self.rolls_too_much(start.number.is_some() && job.is_some() && !panics);
        let heal = Instant::ZERO + self.plan.heal;
        let long = self.now + takes;
        let ends = if long > heal { long.min(heal.max(self.now + QUICK)) } else { long };
        let (entry, number) = (start.entry, start.number);
        let Some(node) = self.nodes.get_mut(id) else { return };
        let job = node.run(Handler { entry, number, job, python, panics, tells_too_much });
        self.plan_at(ends, Planned::EndHandler { node: id, job });
        self.tell(&Fact::Started { node: id, job, start });
    }

    /// How long a handler takes, and whether it panics.
    fn roll_handler(&mut self, known: bool) -> (Duration, bool) {
        let claim_idle = self.plan.claim_idle;
        if self.is_faulty() && known {
            let plan = &self.plan;
            let (slow, stuck, panics) = (
                plan.allows(Fault::HandlerSlow) && self.dice.chance(4),
                plan.allows(Fault::HandlerStuck) && self.dice.chance(2),
                plan.allows(Fault::HandlerPanics) && self.dice.chance(4),
            );
            if slow {
                self.struck(Fault::HandlerSlow);
                let longest = SLOW.max(claim_idle * 2);
                return (self.dice.time(claim_idle / 2, longest), false);
            }
            if stuck {
                self.struck(Fault::HandlerStuck);
                return (self.plan.end, false);
            }
            if panics {
                self.struck(Fault::HandlerPanics);
                return (QUICK, true);
            }
        }
        (self.dice.scale(Duration::from_micros(20), Duration::from_millis(30)), false)
    }

    /// Whether a handler has more to say than Redis takes.
    fn rolls_too_much(&mut self, known: bool) -> bool {
        let allowed = self.plan.allows(Fault::ReplyTooLong) && self.is_faulty() && known;
        let tells = allowed && self.dice.chance(1);
        if tells {
            self.struck(Fault::ReplyTooLong);
        }
        tells
    }

    /// A handler has come to its end, unless its process is gone or frozen.
    pub(super) fn end_handler(&mut self, id: NodeId, job: u64) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        if let Some(until) = node.frozen_until
            && until > now
        {
            return self.plan_at(until, Planned::EndHandler { node: id, job });
        }
        let Some(handler) = node.handlers.get(&job) else { return };
        let (entry, number) = (handler.entry, handler.number);
        if self.crash_at(id, Step::Ended) {
            return;
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(handler) = node.handlers.remove(&job) else { return };
        let result = Json::encode(&number.unwrap_or(0));
        let answer = match result {
            Ok(_) if handler.tells_too_much => {
                Answer::Error(RpcError::new(-32603, "too much ".repeat(VALUE_MAX / 8)))
            }
            Ok(result) if !handler.panics => Answer::Result(result),
            Ok(_) | Err(_) => Answer::Error(RpcError::new(-32603, "panicked")),
        };
        if let Some(call) = number.and_then(|number| self.history.calls.get_mut(&number)) {
            call.ends += 1;
        }
        self.tell(&Fact::Ended { node: id, job, entry, number, answer: &answer });
        let Some(node) = self.nodes.get_mut(id) else { return };
        let local = node.local(now);
        match &mut node.machine {
            Machine::Server(server) => {
                if let Some(job) = handler.job {
                    server.answer(local, job, answer);
                }
            }
            Machine::Python(python) => {
                if let Some(job) = handler.python {
                    python.answer(local, &job, python_reply(&job, number.unwrap_or(0)));
                }
            }
            Machine::Client(_) => {}
        }
        self.touch(id);
    }

    fn drop_handler(&mut self, id: NodeId, dropped: JobId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let found = node.handlers.iter().find(|(_, handler)| handler.job == Some(dropped));
        let Some(job) = found.map(|(job, _)| *job) else { return };
        node.handlers.remove(&job);
        let local = node.local(now);
        if let Machine::Server(server) = &mut node.machine {
            server.abandoned(local, dropped);
        }
        self.tell(&Fact::Dropped { node: id, job });
    }

    /// Whether a group will never be given an entry that was just written: Redis's clock was set
    /// back, and the group was made for greater ids.
    fn passes(&self, service: usize, entry: StreamId) -> bool {
        let Some(names) = self.history.services.get(service) else { return false };
        let (stream, group) = (&names.stream, &names.group);
        let streams = self.network.streams();
        streams.last_delivered(stream, group).is_some_and(|last| entry <= last)
            && streams.pending_entry(self.now, stream, group, entry).is_none()
    }

    /// Writes down what Redis has executed.
    pub(super) fn write(&mut self, executed: &Executed) {
        if let Command::XAdd { key, fields, .. } = &executed.command
            && is_dead(key)
            && is_answer(&executed.reply)
            && let Some(call) = number_in(fields).and_then(|it| self.history.calls.get_mut(&it))
        {
            call.aside = true;
        }
        if let Command::XAdd { key, fields, .. } = &executed.command
            && let Ok(Reply::Added(Some(entry))) = &executed.reply
        {
            match self.history.service_of(key) {
                Some(service) => {
                    let passed = self.passes(service, *entry);
                    self.history.written(service, *entry, fields, passed);
                }
                None => self.write_reply(key, *entry),
            }
        }
        if let (Command::XDel { key, ids }, Ok(Reply::Integer(1..))) =
            (&executed.command, &executed.reply)
        {
            self.write_withdrawn(executed.node, key, ids);
        }
        if let Command::XTrim { key, min_id } = &executed.command
            && let Ok(Reply::Integer(1..)) = &executed.reply
            && let Some(service) = self.history.service_of(key)
        {
            self.history.trimmed(service, *min_id);
        }
        if let Command::XGroupCreate { key, start: GroupStart::After(after), .. } =
            &executed.command
            && executed.reply.is_ok()
            && let Some(service) = self.history.service_of(key)
        {
            let last = self.network.streams().last_generated(key);
            self.history.created(self.now, service, *after, last);
        }
    }

    /// A client has deleted a request.
    fn write_withdrawn(&mut self, node: NodeId, key: &Bytes, ids: &[StreamId]) {
        let Some((service, names)) = self.history.find_service(key) else { return };
        let last = self.network.streams().last_delivered(key, &names.group);
        if self.history.kind_of(node) != Some(NodeKind::Client) {
            return;
        }
        for id in ids {
            let number = self.history.number_of(service, *id);
            if let Some(call) = number.and_then(|number| self.history.calls.get_mut(&number)) {
                let given = last.is_some_and(|last| *id <= last);
                call.withdrawn = Some(if given { Given::ToWorker } else { Given::ToNobody });
            }
        }
    }

    /// Finds out whether a short reply stream has lost its oldest entries to a new one.
    fn write_reply(&mut self, key: &Bytes, entry: StreamId) {
        if !self.plan.allows(Fault::ReplyOverflow) {
            return;
        }
        let first = self.network.streams().ids(key).next().unwrap_or(entry);
        let before = self.replies.insert(key.clone(), first);
        // A stream that begins with this entry is a new one.
        if before.is_some_and(|before| before < first) && first < entry {
            self.struck(Fault::ReplyOverflow);
        }
    }
}

/// How long a handler takes that has nothing to do.
const QUICK: Duration = Duration::from_millis(1);
/// The longest time that a slow handler takes, unless `claim_idle` is long: much happens meanwhile.
const SLOW: Duration = Duration::from_secs(6);

/// What the Python worker answers to a request, and where; `None` for anything else.
fn python_reply(job: &PythonJob, number: u64) -> Option<(Bytes, String)> {
    let fields: &Fields = job.entry.fields.as_ref()?;
    let (_, key) = fields.iter().find(|(name, _)| &name[..] == b"reply-to")?;
    let (_, envelope) = fields.iter().find(|(name, _)| &name[..] == b"envelope")?;
    let text = core::str::from_utf8(envelope).ok()?;
    let (_, id) = text.split_once("\"id\":\"")?;
    let (id, _) = id.split_once('"')?;
    let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id}\",\"result\":{number}}}");
    Some((key.clone(), reply))
}
