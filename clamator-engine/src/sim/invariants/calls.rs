//! What callers are promised (section 5).
//!
//! Not what becomes of their requests at the workers: see `runs` and `settling`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Fact, Invariant, Kind, Scene};
use crate::call::CallError;
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, Reply};
use crate::sim::by_node::ByNode;
use crate::sim::fault::Fault;
use crate::sim::history::{Given, NodeKind, Outcome, id_in, number_in};
use crate::sim::network::NodeId;
use crate::sim::verb::{Verb, Verbs};
use crate::time::Instant;

/// A call ends exactly once (5.2).
#[derive(Debug)]
pub(super) struct EndsOnce;

impl Invariant for EndsOnce {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-call-ends-exactly-once", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished, Kind::Over]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Finished { number, .. } = fact {
            let ends = scene.history.calls.get(number).map_or(0, |call| call.outcomes);
            if ends != 1 {
                return Err(format!("call {number} has ended {ends} times"));
            }
        }
        if matches!(fact, Fact::Over) {
            let endless =
                scene.history.calls.iter().find(|(_, call)| call.outcomes == 0 && !call.cancelled);
            if let Some((number, call)) = endless {
                return Err(format!("call {number} never ended: {call:?}"));
            }
        }
        Ok(())
    }
}

/// A call whose caller does not wait any more says nothing (5.2).
#[derive(Debug)]
pub(super) struct CancelledIsSilent;

impl Invariant for CancelledIsSilent {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-cancelled-call-says-nothing", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Finished { number, outcome } = fact else { return Ok(()) };
        if scene.history.calls.get(number).is_some_and(|call| call.cancelled) {
            return Err(format!("call {number} was cancelled and ended with {outcome:?}"));
        }
        Ok(())
    }
}

/// A call ends within its timeout (5.2).
#[derive(Debug)]
pub(super) struct EndsInTime;

impl Invariant for EndsInTime {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-call-ends-within-its-timeout", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        // A client that does nothing, or whose clock jumps, cannot keep its callers' time.
        if scene.plan.allows(Fault::ClientFrozen) || scene.plan.allows(Fault::ClientClockAhead) {
            return Ok(());
        }
        let Fact::Finished { number, .. } = fact else { return Ok(()) };
        let Some(call) = scene.history.calls.get(number) else { return Ok(()) };
        let took = scene.now.since(call.made);
        if took > call.timeout {
            return Err(format!("call {number} took {took:?} of {:?}", call.timeout));
        }
        Ok(())
    }
}

/// A result is the call's own, and a handler has made it (5.1).
#[derive(Debug)]
pub(super) struct OwnResult;

impl Invariant for OwnResult {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-reply-completes-another-call", "5.1")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Finished { number, outcome: Ok(Some(result)) } = fact else { return Ok(()) };
        if result.as_str() != format!("{number}") {
            return Err(format!("call {number} got {}", result.as_str()));
        }
        if scene.history.calls.get(number).is_some_and(|call| call.ends == 0) {
            return Err(format!("call {number} has a result, and no handler has ended"));
        }
        Ok(())
    }
}

/// What is said not to have been sent is on no stream, and runs nowhere (5.4).
#[derive(Debug)]
pub(super) struct NotSent;

impl Invariant for NotSent {
    fn title(&self) -> (&'static str, &'static str) {
        ("what-was-not-sent-does-not-run", "5.4")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Over]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if !matches!(fact, Fact::Over) {
            return Ok(());
        }
        for (number, call) in &scene.history.calls {
            let safe = [Outcome::NotSent, Outcome::Refused];
            let sent = !call.entries.is_empty() || call.starts > 0;
            if sent && call.outcome.is_some_and(|outcome| safe.contains(&outcome)) {
                return Err(format!("call {number}: {call:?}"));
            }
        }
        Ok(())
    }
}

/// A notification that is told to be on the stream is there (5.6).
#[derive(Debug)]
pub(super) struct NotifiedIsWritten;

impl Invariant for NotifiedIsWritten {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-notification-that-succeeds-is-on-the-stream", "5.6")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Finished { number, outcome: Ok(None) } = fact else { return Ok(()) };
        match scene.history.calls.get(number) {
            Some(call) if call.entries.is_empty() => {
                Err(format!("notification {number}: {call:?}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A request whose caller has waited long enough is not sent any more (5.2).
#[derive(Debug)]
pub(super) struct SentInTime;

impl Invariant for SentInTime {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-request-is-sent-after-its-timeout", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Sent { node, local, command: Command::XAdd { fields, .. }, .. } = fact else {
            return Ok(());
        };
        if scene.history.kind_of(*node) != Some(NodeKind::Client) {
            return Ok(());
        }
        let number = number_in(fields);
        let Some(call) = number.and_then(|number| scene.history.calls.get(&number)) else {
            return Ok(());
        };
        if *local > call.made + call.timeout {
            return Err(format!("{node} sends call {number:?} at {local}: {call:?}"));
        }
        Ok(())
    }
}

/// A request becomes one entry at most: nothing is sent twice (5.5).
#[derive(Debug)]
pub(super) struct SentOnce;

impl Invariant for SentOnce {
    fn title(&self) -> (&'static str, &'static str) {
        ("no-request-is-sent-twice", "5.5")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Executed]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Executed(executed) = fact else { return Ok(()) };
        let Command::XAdd { fields, max_len: None, .. } = &executed.command else { return Ok(()) };
        let number = number_in(fields);
        let call = number.and_then(|number| scene.history.calls.get(&number));
        match call {
            Some(call) if call.entries.len() > 1 => {
                Err(format!("call {number:?} became {:?}", call.entries))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// When everything works, a call succeeds (sections 4 and 5).
#[derive(Debug, Default)]
pub(super) struct FreshSucceed {
    succeeded: u64,
    /// When each process lost its command lane last.
    lost: ByNode<Instant>,
}

/// How long after a half-open connection has ended there may be no other.
const REOPENED_WITHIN: Duration = Duration::from_secs(2);

impl Invariant for FreshSucceed {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-call-succeeds-when-everything-works", "5.2")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Finished, Kind::Lost, Kind::Over]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        if let Fact::Lost { node, lane: Lane::Command } = fact {
            self.lost.insert(*node, scene.now);
        }
        if let Fact::Finished { number, outcome } = fact
            && let Some(call) = scene.history.calls.get(number).filter(|call| call.fresh)
        {
            self.succeeded += 1;
            // A connection may turn out to have been half open all the time.
            let lost = self.lost.get(call.client);
            let lost = lost.is_some_and(|at| scene.now.since(*at) < REOPENED_WITHIN);
            if let Err(error) = outcome
                && !(lost && matches!(error, CallError::NotSent))
            {
                return Err(format!("call {number} failed: {error}"));
            }
        }
        if matches!(fact, Fact::Over) && self.succeeded == 0 {
            return Err("no call was made when everything worked".into());
        }
        Ok(())
    }
}

/// No more calls are under way than may be, those included whose late replies may still come; and
/// of one service no more than three quarters, in a client that calls several (5.3).
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The services that a client has called, and since when.
    called: BTreeMap<NodeId, BTreeMap<usize, Instant>>,
    /// Places taken, by client and number of the call, and until when if its caller has gone.
    places: BTreeMap<NodeId, BTreeMap<u64, Option<Instant>>>,
}

impl InFlight {
    fn sent(
        &mut self,
        scene: &Scene<'_>,
        node: NodeId,
        number: u64,
        local: Instant,
    ) -> Result<(), String> {
        let calls = &scene.history.calls;
        if calls.get(&number).is_none_or(|call| call.notification) {
            return Ok(());
        }
        let places = self.places.entry(node).or_default();
        places.insert(number, None);
        let max = scene.plan.in_flight_max.max(1);
        let of_one = (max * 3 - 1) / 4 + 1;
        if places.len() <= of_one {
            return Ok(());
        }
        // What a caller gave up may keep its place for a while, which is not judged.
        places.retain(|number, until| {
            let cancelled = calls.get(number).is_none_or(|it| it.cancelled);
            !cancelled && until.is_none_or(|until| until > local)
        });
        if places.len() > max {
            let all = places.len();
            return Err(format!("{all} calls of {node} are under way, of {max}: {places:?}"));
        }
        let service = |number| calls.get(number).map(|call| call.service);
        let same = places.keys().filter(|it| service(it) == service(&number)).count();
        // What was called in the same turn may have been called later.
        let since = self.called.get(&node).into_iter().flat_map(BTreeMap::values);
        let several = since.filter(|since| **since < scene.now).count() > 1;
        if several && same > of_one {
            return Err(format!("one service has {same} of {max} places: {places:?}"));
        }
        Ok(())
    }
}

impl Invariant for InFlight {
    fn title(&self) -> (&'static str, &'static str) {
        ("calls-under-way-are-limited", "5.3")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Called, Kind::Closed, Kind::Finished, Kind::Lost, Kind::Replied, Kind::Sent]
    }

    fn verbs(&self) -> Verbs {
        Verbs::of(&[Verb::XAdd, Verb::XDel, Verb::XRead])
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Called { number } => {
                let Some(call) = scene.history.calls.get(number) else { return Ok(()) };
                let called = self.called.entry(call.client).or_default();
                called.entry(call.service).or_insert(scene.now);
            }
            Fact::Sent {
                node,
                local,
                command: Command::XAdd { fields, max_len: None, .. },
                ..
            } => {
                if let Some(number) = number_in(fields) {
                    self.sent(scene, *node, number, *local)?;
                }
            }
            Fact::Finished { number, .. } => {
                let Some(call) = scene.history.calls.get(number) else { return Ok(()) };
                let Some(places) = self.places.get_mut(&call.client) else { return Ok(()) };
                if call.outcome == Some(Outcome::Timeout) {
                    // One timeout more, from when it expired.
                    let until = call.made + call.timeout * 2;
                    places.entry(*number).and_modify(|place| *place = Some(until));
                } else {
                    places.remove(number);
                }
            }
            // Whether what was under way there has become an entry is not known.
            Fact::Closed { node, lane: Lane::Command }
            | Fact::Lost { node, lane: Lane::Command } => {
                if let Some(places) = self.places.get_mut(node) {
                    places.retain(|_, until| until.is_none());
                }
            }
            Fact::Replied { node, command, reply, .. } => {
                let Some(places) = self.places.get_mut(node) else { return Ok(()) };
                for number in freed(scene, command, reply) {
                    places.remove(&number);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The calls of which a client learns, by this answer, that no reply to come is theirs.
fn freed(scene: &Scene<'_>, command: &Command, reply: &Result<Reply, Refusal>) -> Vec<u64> {
    let history = scene.history;
    match (command, reply) {
        // What Redis refused has no reply, also when its caller had given up before.
        (Command::XAdd { fields, max_len: None, .. }, Err(_)) => {
            number_in(fields).into_iter().collect()
        }
        // What is gone has none, unless a worker was given it before.
        (Command::XDel { key, ids }, Ok(Reply::Integer(1..))) => {
            let Some(service) = history.service_of(key) else { return Vec::new() };
            let gone = history.calls.iter().filter(|(_, call)| {
                call.service == service
                    && call.withdrawn != Some(Given::ToWorker)
                    && call.entries.last().is_some_and(|entry| ids.contains(entry))
            });
            gone.map(|(number, _)| *number).collect()
        }
        (Command::XRead { .. }, Ok(Reply::Entries(entries))) => {
            let ids = entries.iter().filter_map(|entry| id_in(entry.fields.as_ref()?));
            ids.filter_map(|id| history.number_by_id(&id)).collect()
        }
        _ => Vec::new(),
    }
}

/// A client knows no more calls than those that may still end (5.2, 5.3).
#[derive(Debug, Default)]
pub(super) struct Forgets {
    made: BTreeMap<NodeId, alloc::collections::VecDeque<Instant>>,
}

impl Invariant for Forgets {
    fn title(&self) -> (&'static str, &'static str) {
        ("a-call-that-ended-is-forgotten", "5.3")
    }

    fn about(&self) -> &'static [Kind] {
        &[Kind::Called, Kind::Idle]
    }

    fn observe(&mut self, scene: &Scene<'_>, fact: &Fact<'_>) -> Result<(), String> {
        // A clock that jumps starts what is left of a place's time anew.
        if scene.plan.allows(Fault::ClientFrozen) || scene.plan.allows(Fault::ClientClockAhead) {
            return Ok(());
        }
        if let Fact::Called { number } = fact
            && let Some(call) = scene.history.calls.get(number)
        {
            // Its place may be kept for one timeout more, from its expiry or its cancellation.
            let until = call.made + call.timeout * 3 + Duration::from_secs(1);
            self.made.entry(call.client).or_default().push_back(until);
        }
        if let Fact::Idle { node, local, held, .. } = fact
            && scene.history.kind_of(*node) == Some(NodeKind::Client)
        {
            let made = self.made.entry(*node).or_default();
            made.retain(|until| until > local);
            if *held > made.len() {
                return Err(format!("{node} knows {held} calls, of {} that may end", made.len()));
            }
        }
        Ok(())
    }
}
