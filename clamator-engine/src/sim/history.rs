//! [`History`]: what is known of a run so far, for all who judge it.
//!
//! Not a judge. It is written by the world alone, from what happened at Redis and at the nodes; a
//! fact is in the history before anybody is told of it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use clamator_proto::entry::DEAD_ENTRY;

use super::by_node::ByNode;
use super::fault::{Fault, FaultSet};
use super::network::NodeId;
use super::plan::PREFIX;
use crate::call::CallId;
use crate::memory::Streams;
use crate::reply::{Fields, Refusal, RefusalKind, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// How long every server that runs may take to read its marks anew.
const MARK_AGE: Duration = Duration::from_secs(10);

/// What is known of a run.
#[derive(Debug)]
pub(super) struct History {
    /// Calls and notifications, by number.
    pub(super) calls: BTreeMap<u64, Call>,
    /// Numbers of calls, by the id of their request; `None` where several have the same.
    requests: BTreeMap<Bytes, Option<u64>>,
    /// What each entry of a command stream is, by service and id.
    pub(super) entries: BTreeMap<(usize, StreamId), Written>,
    pub(super) nodes: ByNode<NodeInfo>,
    /// The services of the run.
    pub(super) services: Vec<Names>,
    /// The greatest id that each service's stream ever had.
    highest: BTreeMap<usize, StreamId>,
    /// What has struck, in order.
    pub(super) strikes: Vec<(Instant, Fault)>,
}

/// A call or notification.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) client: NodeId,
    pub(super) id: CallId,
    pub(super) service: usize,
    /// When it was made, by its client's clock and by the world's.
    pub(super) made: Instant,
    pub(super) made_at: Instant,
    pub(super) timeout: Duration,
    pub(super) notification: bool,
    /// Whether it was made when everything had settled.
    pub(super) fresh: bool,
    /// Whether nobody waits for its end.
    pub(super) cancelled: bool,
    /// The entries it became.
    pub(super) entries: Vec<StreamId>,
    /// How many handlers started and ended for it.
    pub(super) starts: u32,
    pub(super) ends: u32,
    /// Whether its entry was put aside as a dead letter, or never can be.
    pub(super) aside: bool,
    /// Whether its client has deleted its entry, given to somebody or not.
    pub(super) withdrawn: Option<Given>,
    /// Whether a worker has settled it unstarted, as its caller had given up.
    pub(super) skipped: bool,
    /// How many outcomes were told.
    pub(super) outcomes: u32,
    pub(super) outcome: Option<Outcome>,
    /// Whether its entry has a smaller id than one before it: Redis's clock was set back, and the
    /// stream is another one.
    pub(super) past: bool,
    /// What took its entry away before it was handled.
    pub(super) lost: Option<Fault>,
}

/// How far an entry had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    ToNobody,
    ToWorker,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    NoWorkers,
    NotSent,
    Other,
    Protocol,
    Refused,
    Rpc,
    Stopped,
    Timeout,
    Unknown,
}

/// What an entry of a command stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Different things in different histories.
    Again,
    /// A call of this number.
    Call(u64),
    /// Something that is no call of this run.
    Garbage,
}

/// A process.
#[derive(Debug)]
pub(super) struct NodeInfo {
    pub(super) kind: NodeKind,
    pub(super) name: String,
    pub(super) born: Instant,
    pub(super) state: NodeState,
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Client,
    Python,
    Server,
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    Running,
    Stopping,
    Gone,
}

/// What a service is called at Redis.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) service: &'static str,
    pub(super) stream: Bytes,
    pub(super) group: Bytes,
}

impl Call {
    /// Whether nothing more has to become of it.
    pub(super) const fn is_handled(&self) -> bool {
        self.ends > 0 || self.aside || self.skipped || self.withdrawn.is_some()
    }
}

/// Whether this is the key of a stream of dead letters.
pub(super) fn is_dead(key: &[u8]) -> bool {
    key.strip_prefix(PREFIX.as_bytes()).is_some_and(|rest| rest.starts_with(b":dead:"))
}

/// Whether Redis has taken a reply, or never will.
pub(super) fn is_answer(reply: &Result<Reply, Refusal>) -> bool {
    match reply {
        Ok(_) => true,
        Err(refusal) => match refusal.kind() {
            RefusalKind::Final | RefusalKind::GroupExists | RefusalKind::NoGroup => true,
            RefusalKind::Heals | RefusalKind::WrongServer => false,
        },
    }
}

/// Which entry these fields were that are put aside.
pub(super) fn dead_entry(fields: &Fields) -> Option<StreamId> {
    let (_, id) = fields.iter().find(|(name, _)| name == DEAD_ENTRY)?;
    StreamId::parse(id)
}

impl History {
    pub(super) fn new(services: &[&'static str]) -> Self {
        let services = services.iter().map(|service| Names {
            service,
            stream: alloc::format!("{PREFIX}:cmds:{service}").into(),
            group: Bytes::from_static(service.as_bytes()),
        });
        Self {
            calls: BTreeMap::new(),
            requests: BTreeMap::new(),
            entries: BTreeMap::new(),
            nodes: ByNode::default(),
            services: services.collect(),
            highest: BTreeMap::new(),
            strikes: Vec::new(),
        }
    }

    /// The number and the names of the service whose command stream this is.
    pub(super) fn find_service(&self, stream: &[u8]) -> Option<(usize, &Names)> {
        self.services.iter().enumerate().find(|(_, names)| names.stream == stream)
    }

    /// The number of the service whose command stream this is.
    pub(super) fn service_of(&self, stream: &[u8]) -> Option<usize> {
        self.find_service(stream).map(|(service, _)| service)
    }

    /// The number of the call that an entry is.
    pub(super) fn number_of(&self, service: usize, entry: StreamId) -> Option<u64> {
        match self.entries.get(&(service, entry)) {
            Some(Written::Call(number)) => Some(*number),
            Some(Written::Again | Written::Garbage) | None => None,
        }
    }

    /// The number of the call whose request has this id.
    pub(super) fn number_by_id(&self, id: &Bytes) -> Option<u64> {
        self.requests.get(id).copied().flatten()
    }

    /// What the process is; `None` when it is nobody.
    pub(super) fn kind_of(&self, node: NodeId) -> Option<NodeKind> {
        self.nodes.get(node).map(|node| node.kind)
    }

    /// The number of the service of this name.
    pub(super) fn service_named(&self, name: &str) -> Option<usize> {
        self.services.iter().position(|names| names.service == name)
    }

    /// A worker has settled an entry unstarted, as its caller had given up.
    pub(super) fn skipped(&mut self, service: &str, entry: StreamId) {
        let service = self.service_named(service);
        let number = service.and_then(|service| self.number_of(service, entry));
        if let Some(call) = number.and_then(|number| self.calls.get_mut(&number)) {
            call.skipped = true;
        }
    }

    /// Whether a process has the name of another one that is gone: what Redis still has to do for
    /// that, it does for this one.
    pub(super) fn succeeds(&self, node: NodeId, earlier: NodeId) -> bool {
        let (own, other) = (self.nodes.get(node), self.nodes.get(earlier));
        own.zip(other)
            .filter(|(own, other)| own.name == other.name && other.born < own.born)
            .is_some_and(|(_, other)| other.state == NodeState::Gone)
    }

    /// Whether this has struck since then.
    pub(super) fn struck_since(&self, since: Instant, faults: FaultSet) -> bool {
        let recent = self.strikes.iter().rev().take_while(|(at, _)| *at >= since);
        recent.map(|(_, fault)| *fault).any(|fault| faults.contains(fault))
    }

    /// Whether this has struck so short a time ago.
    pub(super) fn struck_within(&self, now: Instant, age: Duration, faults: FaultSet) -> bool {
        self.struck_since(Instant::from_start(now.since_start().saturating_sub(age)), faults)
    }

    /// An entry is on a command stream; `passed` says that its group will never be given it.
    pub(super) fn written(
        &mut self,
        service: usize,
        entry: StreamId,
        fields: &Fields,
        passed: bool,
    ) {
        let number = number_in(fields).filter(|number| self.calls.contains_key(number));
        let mut written = number.map_or(Written::Garbage, Written::Call);
        let before = self.entries.get(&(service, entry));
        let again = before.is_some_and(|before| *before != written);
        let highest = self.highest.entry(service).or_default();
        let past = entry < *highest;
        *highest = entry.max(*highest);
        if let Some(call) = number.and_then(|number| self.calls.get_mut(&number)) {
            call.past = past;
            call.entries.push(entry);
            // Who has been given the entry that had this id will settle this one with it: nothing
            // tells them apart.
            call.lost = again
                .then_some(Fault::Failover)
                .or_else(|| passed.then_some(Fault::RedisClockBack));
        }
        if again {
            written = Written::Again;
        }
        if let (Some(number), Some(id)) = (number, id_in(fields)) {
            let known = self.requests.entry(id).or_insert(Some(number));
            *known = known.filter(|known| *known == number);
        }
        self.entries.insert((service, entry), written);
    }

    /// A group was created behind this id in a stream that goes on behind it. Its creator cannot
    /// tell the stream from an earlier one whose ids were greater.
    /// Nor can one who may not look.
    pub(super) fn created(
        &mut self,
        now: Instant,
        service: usize,
        after: StreamId,
        last: Option<StreamId>,
    ) {
        let blind = self.struck_within(now, MARK_AGE, FaultSet::of(&[Fault::NoPermission]));
        if !blind && last.is_none_or(|last| last < after) {
            return;
        }
        let skipped = self
            .calls
            .values_mut()
            .filter(|call| call.service == service && call.past && !call.is_handled());
        for call in skipped {
            if call.entries.last().is_some_and(|entry| *entry <= after) {
                call.lost = Some(Fault::RedisClockBack);
            }
        }
    }

    /// A stream was trimmed below this id. Whoever does it cannot tell the stream from an earlier one
    /// whose ids were greater, if it was deleted and the clock set back since the threshold was read.
    pub(super) fn trimmed(&mut self, service: usize, min_id: StreamId) {
        let past = |call: &&mut Call| call.service == service && call.past && !call.is_handled();
        for call in self.calls.values_mut().filter(past) {
            if call.entries.last().is_some_and(|entry| *entry < min_id) {
                call.lost = Some(Fault::RedisClockBack);
            }
        }
    }

    /// After something has struck: finds what the entries of the command streams are now. Ids may
    /// have been given again, in another history.
    pub(super) fn find_entries(&mut self, streams: &Streams) {
        for (service, names) in self.services.iter().enumerate() {
            for id in streams.ids(&names.stream) {
                let number = streams.find(&names.stream, id).and_then(number_in);
                let number = number.filter(|number| self.calls.contains_key(number));
                let written = number.map_or(Written::Garbage, Written::Call);
                let known = self.entries.entry((service, id)).or_insert(written);
                if *known != written {
                    *known = Written::Again;
                }
                let highest = self.highest.entry(service).or_default();
                *highest = id.max(*highest);
            }
        }
    }

    /// The entries that are there and will be given to somebody, by service.
    pub(super) fn kept(&self, now: Instant, streams: &Streams) -> BTreeSet<(usize, StreamId)> {
        let mut kept: BTreeSet<(usize, StreamId)> = BTreeSet::new();
        for (service, names) in self.services.iter().enumerate() {
            let pending: BTreeSet<StreamId> =
                streams.pending(now, &names.stream, &names.group).iter().map(|p| p.id).collect();
            let delivered = streams.last_delivered(&names.stream, &names.group);
            let there = streams.ids(&names.stream);
            kept.extend(
                there
                    .filter(|id| pending.contains(id) || delivered.is_none_or(|last| *id > last))
                    .map(|id| (service, id)),
            );
        }
        kept
    }

    /// After something has struck: notes the calls whose entries it took away, of those that were
    /// kept before. Nothing else may lose one.
    pub(super) fn find_lost(
        &mut self,
        before: &BTreeSet<(usize, StreamId)>,
        now: Instant,
        streams: &Streams,
        fault: Fault,
    ) {
        // Marks are read once a tick. Until then they are of the history before an older copy.
        let rewinds = FaultSet::of(&[Fault::Failover, Fault::RestartTruncated]);
        let rewound = self.struck_within(now, MARK_AGE, rewinds);
        let unmarked = |names: &Names| {
            rewound && streams.last_delivered(&names.stream, &names.group).is_none()
        };
        let unmarked: Vec<bool> = self.services.iter().map(unmarked).collect();
        let mut after = self.kept(now, streams);
        after.retain(|entry| {
            let again = matches!(self.entries.get(entry), Some(Written::Again));
            !again && unmarked.get(entry.0) == Some(&false)
        });
        for call in self.calls.values_mut() {
            let Some(entry) = call.entries.last() else { continue };
            let entry = (call.service, *entry);
            // What was gone once may have been settled as such before an older copy of the data
            // brings it back.
            if before.contains(&entry) && !after.contains(&entry) && !call.is_handled() {
                call.lost = call.lost.or(Some(fault));
            }
        }
    }
}

/// The id of the request or the reply that these fields are, if it is text.
pub(super) fn id_in(fields: &Fields) -> Option<Bytes> {
    let (_, envelope) = fields.iter().find(|(name, _)| &name[..] == b"envelope")?;
    let start = b"\"id\":\"";
    let place = envelope.windows(start.len()).position(|window| window == start)? + start.len();
    let length = envelope.get(place..)?.iter().position(|byte| *byte == b'"')?;
    Some(envelope.slice(place..place + length))
}

/// The number of the call whose request these fields are, from its parameters: `[number]`.
pub(super) fn number_in(fields: &Fields) -> Option<u64> {
    let (_, envelope) = fields.iter().find(|(name, _)| &name[..] == b"envelope")?;
    let start = b"\"params\":[";
    let place = envelope.windows(start.len()).position(|window| window == start)?;
    number_of(envelope.get(place + start.len()..)?)
}

/// The number that these bytes begin with; numbers of calls begin at 1.
pub(super) fn number_of(text: &[u8]) -> Option<u64> {
    // No call of a run has a number of more digits than these.
    let digits = text.iter().take(18).take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    (number > 0).then_some(number)
}
