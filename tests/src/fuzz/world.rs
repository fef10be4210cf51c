//! [`World`]: what a Redis might tell a server, made up by a script, and what of it was told.
//!
//! Not a model of Redis: what is told is plausible for its command and need not fit what was told
//! before, since entries, groups and streams may change under a server in any way. An entry keeps
//! its fields, though, as long as its id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use clamator_engine::{
    ClaimAs, Command, Entry, Fields, GroupInfo, PendingEntry, Reply, StreamId, StreamInfo,
};

use super::material;
use super::script::Script;

/// What kind of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything.
    Odd,
    Notification,
    Request,
}

/// One command stream.
#[derive(Default)]
pub(crate) struct World {
    /// The service's name: part of every request id on its stream.
    pub(crate) service: &'static str,
    pub(crate) entries: BTreeMap<StreamId, (Kind, Fields)>,
    /// What the server was given, or told to be pending.
    pub(crate) given: BTreeSet<StreamId>,
    /// What it was told to be gone.
    pub(crate) gone: BTreeSet<StreamId>,
    /// Whether the server may take the stream for another one: ids may then mean other entries.
    pub(crate) renewed: bool,
    /// Whether another group was listed beside the server's own.
    pub(crate) foreign: bool,
    last: StreamId,
}

impl World {
    pub(crate) fn new(service: &'static str) -> Self {
        Self { service, ..Self::default() }
    }

    pub(crate) fn reply(&mut self, script: &mut Script<'_>, command: &Command) -> Reply {
        match command {
            Command::XReadGroup { count, .. } => Reply::Entries(self.new_entries(script, *count)),
            Command::XAutoClaim { count, .. } => self.claimed(script, size(*count)),
            Command::XPendingRange { start, end, count, .. } => {
                // An earlier process of the server's name may have been given what it was not.
                for _ in 0..if *end == StreamId::MAX { script.roll(3) } else { 0 } {
                    self.give_new(script);
                }
                let mut rows = Vec::new();
                if start <= end {
                    let ids: Vec<StreamId> =
                        self.entries.range(*start..=*end).map(|(id, _)| *id).collect();
                    let keep = script.roll(8);
                    for id in ids.into_iter().take(size(*count)).skip(keep.saturating_sub(4)) {
                        self.given.insert(id);
                        let idle = if script.once_in(2) { 0 } else { script.number() };
                        let deliveries = 1 + script.number() % 4;
                        let consumer = Bytes::from_static(b"c");
                        rows.push(PendingEntry::new(id, consumer, idle, deliveries));
                    }
                }
                Reply::PendingRange(rows)
            }
            Command::XRange { start, .. } => {
                if script.once_in(2) {
                    let fields = self.entries.get(start).map(|(_, fields)| fields.clone());
                    return Reply::Entries(vec![Entry::new(*start, fields)]);
                }
                self.gone.insert(*start);
                Reply::Entries(Vec::new())
            }
            Command::XInfoStream { .. } => {
                self.renewed = true;
                let last = if script.once_in(2) { self.last } else { StreamId::new(0, 1) };
                Reply::Stream(StreamInfo::new(last))
            }
            Command::XInfoGroups { .. } => {
                let mut groups = vec![GroupInfo::new(self.service.into(), self.last)];
                if script.once_in(8) {
                    groups.push(GroupInfo::new(Bytes::from_static(b"foreign"), self.last));
                }
                self.foreign = groups.len() > 1;
                Reply::Groups(groups)
            }
            Command::XPending { .. } => {
                let first = self.entries.keys().next().copied();
                let first = first.filter(|_| script.once_in(2));
                Reply::Pending { count: u64::from(first.is_some()), first }
            }
            Command::XAdd { .. } => Reply::Added(Some(StreamId::new(1, 1))),
            Command::Time => Reply::Time(Duration::from_millis(script.number())),
            Command::XGroupCreate { .. } => Reply::Ok,
            Command::XClaim { ids, claim_as: ClaimAs::Delivered, .. } => {
                let ids: Vec<StreamId> =
                    ids.iter().copied().filter(|_| !script.once_in(8)).collect();
                let entries = ids.into_iter().map(|id| self.give_again(script, id));
                Reply::Entries(entries.filter(|entry| entry.fields.is_some()).collect())
            }
            Command::XClaim { ids, .. } => {
                Reply::Ids(ids.iter().copied().filter(|_| !script.once_in(8)).collect())
            }
            Command::XAck { ids, .. } => Reply::Integer(i64::try_from(ids.len()).unwrap_or(0)),
            _ => Reply::Integer(i64::from(script.once_in(8))),
        }
    }

    fn new_entries(&mut self, script: &mut Script<'_>, count: u64) -> Vec<Entry> {
        let wanted = size(count).min(script.roll(7));
        (0..wanted)
            .map(|_| match self.any_known(script).filter(|_| script.once_in(12)) {
                Some(id) => self.give_again(script, id),
                None => self.give_new(script),
            })
            .collect()
    }

    fn claimed(&mut self, script: &mut Script<'_>, count: usize) -> Reply {
        let mut entries = Vec::new();
        for _ in 0..count.min(script.roll(4)) {
            entries.push(match self.any_known(script).filter(|_| script.once_in(2)) {
                Some(id) => self.give_again(script, id),
                None => self.give_new(script),
            });
        }
        entries.retain(|entry| entry.fields.is_some());
        let places = count.saturating_sub(entries.len());
        let nameless = if script.once_in(2) { script.roll(3).min(places) } else { 0 };
        let deleted = self.any_known(script).filter(|_| script.once_in(8) && places > nameless);
        let next = if script.once_in(4) { self.last } else { StreamId::ZERO };
        Reply::Claimed { next, entries, deleted: deleted.into_iter().collect(), nameless }
    }

    fn any_known(&self, script: &mut Script<'_>) -> Option<StreamId> {
        let ids: Vec<StreamId> = self.entries.keys().copied().collect();
        (!ids.is_empty()).then(|| script.pick(&ids))
    }

    fn give_again(&mut self, script: &mut Script<'_>, id: StreamId) -> Entry {
        self.given.insert(id);
        let fields = self.entries.get(&id).map(|(_, fields)| fields.clone());
        let fields = fields.filter(|_| !script.once_in(8));
        if fields.is_none() {
            self.gone.insert(id);
        }
        Entry::new(id, fields)
    }

    fn give_new(&mut self, script: &mut Script<'_>) -> Entry {
        self.last = StreamId::new(self.last.ms + 1 + script.number() % 3, 0);
        let id = self.last;
        let (kind, envelope) = self.envelope(script, id);
        let key = Bytes::from_static(b"app:replies:one");
        let pair = |name: &'static [u8], value| (Bytes::from_static(name), value);
        let fields = match kind {
            Kind::Odd => material::fields(script, envelope, Some(key)),
            Kind::Notification => vec![pair(b"envelope", envelope)],
            Kind::Request => vec![pair(b"envelope", envelope), pair(b"reply-to", key)],
        };
        self.entries.insert(id, (kind, fields.clone()));
        self.given.insert(id);
        Entry::new(id, Some(fields))
    }

    fn envelope(&self, script: &mut Script<'_>, id: StreamId) -> (Kind, Bytes) {
        let service = self.service;
        match script.roll(8) {
            0 => (Kind::Odd, material::envelope(script, &["5".to_owned(), "null".to_owned()])),
            1 | 2 => {
                let head = r#"{"jsonrpc":"2.0","method":""#;
                let text = format!(r#"{head}{service}.note","params":"{service}/{id}"}}"#);
                (Kind::Notification, text.into())
            }
            _ => {
                let head = r#"{"jsonrpc":"2.0","method":""#;
                let params = format!(r#""params":"{service}/{id}","id":"{service}/{id}""#);
                (Kind::Request, format!(r#"{head}{service}.echo",{params}}}"#).into())
            }
        }
    }
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
