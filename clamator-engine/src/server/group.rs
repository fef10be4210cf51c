//! The consumer group of a service: creating it, and creating it again when it is gone (rule 4.1).
//!
//! Not the reading of it. A group that is gone (FLUSHALL, DEL, a failover without its data) starts
//! again at its low-water mark, up to which everything was given out and settled: so nothing that
//! was pending is lost and no history is replayed. A stream whose last id lies below the mark is
//! another stream, of which everything is read.
//!
//! Mark: <https://redis.io/docs/latest/commands/xinfo-groups/>,
//! <https://redis.io/docs/latest/commands/xpending/>

use core::time::Duration;

use super::config::StartFrom;
use super::event::Notice;
use super::intake::wide;
use super::look_back::GivenUp;
use super::service::{GroupState, Reclaim, Service};
use super::{Aim, Server, Stage};
use crate::command::{Command, GroupStart};
use crate::engine::{Deadline, Lane, Timer};
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;

/// Least time between two creations of one group, and after a refused one.
const CREATE_PAUSE: Duration = Duration::from_secs(1);
/// An idle group's mark is read on every tick of this number only.
pub(super) const IDLE_TICKS: u64 = 5;

impl Server {
    /// Creates the group if it is absent and it is time.
    pub(super) fn ensure_group(&mut self, index: usize) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let due = matches!(service.group.state, GroupState::Absent(at) if at <= self.now);
        if !self.is_serving() || !due || !self.lanes.is_open(Lane::Command) {
            return;
        }
        if service.group.lost {
            let command = Command::XInfoStream { key: service.stream.clone() };
            self.send(index, command, Aim::InspectStream);
        } else {
            let at_end = self.config.seeded.is(Bug::GroupFirstAtEnd);
            let start = if at_end { GroupStart::New } else { first_start(service.start_from) };
            self.create_group(index, start, None);
        }
        self.set_group(index, GroupState::Creating);
    }

    /// Whether requests are read and groups created: until the stop begins.
    pub(super) const fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Starting)
    }

    /// A command was refused because the group, or its stream, is not there.
    pub(super) fn lose_group(&mut self, index: usize) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if self.config.seeded.is(Bug::GroupNotRestored) {
            return;
        }
        if service.group.state == GroupState::Ready {
            let at = match service.group.created_at {
                Some(created) => self.now.max(created + CREATE_PAUSE),
                None => self.now,
            };
            let late = self.config.seeded.is(Bug::GroupRestoredLate);
            let at = if late { at + 10 * CREATE_PAUSE } else { at };
            service.group.state = GroupState::Absent(at);
            service.group.lost = true;
            service.trim.give_up();
        }
    }

    pub(super) fn handle_inspected(&mut self, index: usize, reply: &Result<Reply, Refusal>) {
        let retry_at = self.now + CREATE_PAUSE;
        let Some(service) = self.services.get_mut(index) else { return };
        let last = match reply {
            Ok(Reply::Stream(stream)) => Some(stream.last_generated),
            Err(refusal) if refusal.is_no_such_key() => None,
            // Nobody may look: taken for the same stream, as all others would be read twice.
            Err(refusal) if refusal.kind() == RefusalKind::Final => Some(StreamId::MAX),
            Ok(_) | Err(_) => return self.set_group(index, GroupState::Absent(retry_at)),
        };
        let unnoticed = self.config.seeded.is(Bug::OtherStreamUnnoticed);
        let other = last.is_none_or(|last| service.group.mark.is_some_and(|mark| last < mark));
        if other && !unnoticed {
            service.start_epoch();
        }
        let start = match service.group.mark {
            _ if self.config.seeded.is(Bug::GroupAtEnd) => GroupStart::New,
            _ if self.config.seeded.is(Bug::GroupFromZero) => GroupStart::After(StreamId::ZERO),
            Some(mark) => GroupStart::After(mark),
            None => first_start(service.start_from),
        };
        let after = match start {
            GroupStart::After(id) => id,
            GroupStart::New => last.unwrap_or_default(),
        };
        self.create_group(index, start, Some(after));
    }

    fn create_group(&mut self, index: usize, start: GroupStart, restore: Option<StreamId>) {
        let Some(service) = self.services.get(index) else {
            return;
        };
        let (key, group) = (service.stream.clone(), service.group_name.clone());
        let command = Command::XGroupCreate { key, group, start };
        if !self.send(index, command, Aim::CreateGroup { restore }) {
            self.void_creation(index);
        }
    }

    pub(super) fn handle_created(
        &mut self,
        index: usize,
        restore: Option<StreamId>,
        reply: Result<Reply, Refusal>,
    ) {
        let now = self.now;
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let existed = match reply {
            Ok(_) => false,
            Err(refusal) if refusal.kind() == RefusalKind::GroupExists => true,
            Err(refusal) => {
                let hot = self.config.seeded.is(Bug::GroupWithoutPause);
                let at = if hot { now } else { now + CREATE_PAUSE };
                service.group.state = GroupState::Absent(at);
                let notice = Notice::GroupRefused { service: service.name(), refusal };
                return self.notice(notice);
            }
        };
        service.group.state = GroupState::Ready;
        service.group.lost = false;
        service.group.created_at = Some(now);
        service.take_back.group_is_there(now, existed && !self.config.instance_is_fresh);
        service.held.leases.void(now);
        service.held.given_up = GivenUp::default();
        service.held.leases.hurry(now);
        let kept = self.config.seeded.is(Bug::CursorKept);
        let cursor = if kept { service.reclaim.cursor } else { StreamId::ZERO };
        let Reclaim { counting, page, .. } = service.reclaim;
        service.reclaim = Reclaim { counting, cursor, page, ..Reclaim::new() };
        if let Some(after) = restore.filter(|_| !existed) {
            service.stats.groups_restored += 1;
            let service = service.name();
            self.notice(Notice::GroupRestored { service, after });
        }
        self.read_mark(index);
    }

    /// The lane ended before the group was known to be there.
    pub(super) fn void_creation(&mut self, index: usize) {
        let now = self.now;
        self.set_group(index, GroupState::Absent(now));
    }

    fn set_group(&mut self, index: usize, state: GroupState) {
        if let Some(service) = self.services.get_mut(index) {
            service.group.state = state;
        }
    }

    /// Reads the marks again of groups that have moved, and of all from time to time.
    pub(super) fn tick_marks(&mut self) {
        for index in 0..self.services.len() {
            let all = self.ticks.is_multiple_of(IDLE_TICKS);
            if self.services.get(index).is_some_and(|service| all || service.group.moved) {
                self.read_mark(index);
            }
        }
    }

    /// Reads the low-water mark: first the groups, *then* what is pending. In the other order an
    /// entry given out in between would be above neither.
    pub(super) fn read_mark(&mut self, index: usize) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if !service.is_ready() {
            return;
        }
        service.group.moved = false;
        service.group.last_delivered = None;
        let (key, group) = (service.stream.clone(), service.group_name.clone());
        let reversed = self.config.seeded.is(Bug::MarkReadReversed);
        if !reversed {
            self.send(index, Command::XInfoGroups { key: key.clone() }, Aim::ListGroups);
        }
        self.send(index, Command::XPending { key: key.clone(), group }, Aim::ListPending);
        if reversed {
            self.send(index, Command::XInfoGroups { key }, Aim::ListGroups);
        }
    }

    pub(super) fn handle_groups(&mut self, index: usize, reply: Result<Reply, Refusal>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let groups = match reply {
            Ok(Reply::Groups(groups)) => groups,
            // What was seen before may have changed: the next tick looks again.
            Err(refusal) if refusal.kind() == RefusalKind::Heals => {
                service.group.sole = None;
                service.group.moved = true;
                return;
            }
            // Whoever may not look deletes nothing.
            Ok(_) | Err(_) => {
                service.group.sole = Some(false);
                return;
            }
        };
        if !service.is_ready() {
            return;
        }
        let ours = groups.iter().find(|group| group.name == service.group_name);
        let others = groups.iter().filter(|group| group.name != service.group_name);
        service.group.foreign = wide(others.count());
        service.group.sole = Some(service.group.foreign == 0);
        let last_delivered = ours.map(|group| group.last_delivered);
        service.trim.note_others(groups, &service.group_name);
        let pending = core::mem::replace(&mut service.group.last_delivered, last_delivered);
        if self.config.seeded.is(Bug::MarkReadReversed) {
            service.group.mark = last_delivered.map(|last| last.min(pending.unwrap_or(last)));
        }
        if last_delivered.is_none() {
            self.lose_group(index);
        }
    }

    /// The command lane is another one: what was known of the groups died with the old one.
    pub(super) fn forget_groups(&mut self) {
        for index in 0..self.services.len() {
            if let Some(service) = self.services.get_mut(index) {
                service.group.sole = None;
                service.trim.forget();
            }
            self.read_mark(index);
        }
    }

    pub(super) fn handle_pending(&mut self, index: usize, reply: &Result<Reply, Refusal>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let Ok(Reply::Pending { first, .. }) = reply else {
            return;
        };
        let seeded = self.config.seeded;
        if seeded.is(Bug::MarkReadReversed) {
            service.group.last_delivered = first.map(StreamId::previous);
            return;
        }
        let Some(last_delivered) = service.group.last_delivered.take() else {
            return;
        };
        if !service.is_ready() {
            return;
        }
        let first = if seeded.is(Bug::MarkIgnoresPending) { &None } else { first };
        let threshold = first.map_or(last_delivered.next(), |id| id.min(last_delivered.next()));
        service.group.mark = Some(threshold.previous());
        let ignores = seeded.is(Bug::TrimIgnoresPending);
        self.trim_below(index, if ignores { last_delivered.next() } else { threshold });
    }

    pub(super) fn group_deadline(&self, service: &Service) -> Option<Deadline> {
        match service.group.state {
            GroupState::Absent(at) if self.is_serving() && self.lanes.is_open(Lane::Command) => {
                Some(Deadline::new(at, Timer::Heal))
            }
            GroupState::Absent(_) | GroupState::Creating | GroupState::Ready => None,
        }
    }
}

impl Service {
    /// The stream is another one, to be read from its start: what is held of the old one is served
    /// but not acknowledged.
    fn start_epoch(&mut self) {
        self.count_by_guess();
        self.epoch += 1;
        self.acks.clear();
        self.held.drop_settling();
        self.held.leases.clear();
        self.group.mark = Some(StreamId::ZERO);
        self.reader.settled.clear();
        // A second look stays due: what a lost read may yet be given is of this stream.
        self.reader.look = None;
    }
}

const fn first_start(start_from: StartFrom) -> GroupStart {
    match start_from {
        StartFrom::New => GroupStart::New,
        StartFrom::Oldest => GroupStart::After(StreamId::ZERO),
    }
}
