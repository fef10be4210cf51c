//! Trimming: what peers have acknowledged and left in a command stream is deleted (rule 4.11).
//!
//! Not the deleting of what this server settles itself: see `settle`. A stream is trimmed when its
//! group's mark has just been read, up to there: see `group` for the order of that. Where other
//! groups read the stream as well, each of them is asked behind it what it has pending. What was
//! read dies with its lane, and with the group: it says nothing of what is there then.
//!
//! <https://redis.io/docs/latest/commands/xtrim/>

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Aim, Server};
use crate::command::Command;
use crate::reply::{GroupInfo, Refusal, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;

/// So many entries at once, and there are likely to be more: Redis deletes at most about 10,000.
const MORE: i64 = 5000;

/// Trimming of one stream.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// Whether the stream is to be trimmed when the mark is read.
    due: bool,
    /// Below which id it was trimmed last: there is nothing more there.
    done: Option<StreamId>,
    /// The other groups of the stream, and how far they have been given it.
    others: Vec<(Bytes, StreamId)>,
    /// Counts the thresholds.
    round: u32,
    /// The one that is being made.
    threshold: Option<Threshold>,
}

#[derive(Debug)]
struct Threshold {
    /// Smallest id that is to be kept, as far as is known.
    min_id: StreamId,
    /// Groups that have yet to tell what is pending.
    asked: usize,
}

impl Trim {
    /// Everything that was read is void.
    pub(super) fn give_up(&mut self) {
        self.threshold = None;
        self.others.clear();
    }

    /// The data may be another: it is not known either up to where it is trimmed.
    pub(super) fn forget(&mut self) {
        self.give_up();
        self.done = None;
    }

    /// Which groups beside its own read the stream.
    pub(super) fn note_others(&mut self, groups: Vec<GroupInfo>, own: &[u8]) {
        let others = groups.into_iter().filter(|group| group.name != own);
        self.others = others.map(|group| (group.name, group.last_delivered)).collect();
    }

    fn threshold(&mut self, round: u32) -> Option<&mut Threshold> {
        self.threshold.as_mut().filter(|_| self.round == round)
    }
}

impl Server {
    /// Streams are trimmed as soon as their marks are read.
    pub(super) fn tick_trim(&mut self) {
        let even = self.config.seeded.is(Bug::TickUnjittered);
        let tick = self.config.trim_tick;
        self.trim_at = self.now + if even { tick } else { self.jitter.spread(tick) };
        for service in &mut self.services {
            service.trim.due = true;
        }
    }

    /// The group's mark was read: whatever is below `min_id` is settled, as far as this group goes.
    pub(super) fn trim_below(&mut self, index: usize, min_id: StreamId) {
        let seeded = self.config.seeded;
        let serves = self.is_serving() && !seeded.is(Bug::TrimMissing);
        let Some(service) = self.services.get_mut(index).filter(|it| it.trim.due && serves) else {
            return;
        };
        let key = service.stream.clone();
        let trim = &mut service.trim;
        trim.due = false;
        trim.round = trim.round.wrapping_add(1);
        let round = trim.round;
        let mut others = core::mem::take(&mut trim.others);
        if seeded.is(Bug::TrimForgetsOthers) {
            others.clear();
        }
        let least = others.iter().map(|(_, last_delivered)| last_delivered.next()).min();
        let min_id = least.map_or(min_id, |least| least.min(min_id));
        trim.threshold = Some(Threshold { min_id, asked: others.len() });
        for (group, _) in others {
            let command = Command::XPending { key: key.clone(), group };
            self.send(index, command, Aim::TrimPending { round });
        }
        self.trim_if_told(index, round);
    }

    pub(super) fn handle_trim_pending(
        &mut self,
        index: usize,
        round: u32,
        reply: &Result<Reply, Refusal>,
    ) {
        let Some(service) = self.services.get_mut(index) else { return };
        let Some(threshold) = service.trim.threshold(round) else { return };
        let Ok(Reply::Pending { first, .. }) = reply else { return service.trim.give_up() };
        threshold.min_id = first.map_or(threshold.min_id, |first| threshold.min_id.min(first));
        threshold.asked = threshold.asked.saturating_sub(1);
        self.trim_if_told(index, round);
    }

    /// Trims the stream once every group has told what is pending.
    fn trim_if_told(&mut self, index: usize, round: u32) {
        let Some(service) = self.services.get_mut(index) else { return };
        let key = service.stream.clone();
        let Some(threshold) = service.trim.threshold(round).filter(|it| it.asked == 0) else {
            return;
        };
        let min_id = threshold.min_id;
        service.trim.give_up();
        if service.trim.done.replace(min_id) != Some(min_id) {
            self.send(index, Command::XTrim { key, min_id }, Aim::Trim);
        }
    }

    pub(super) fn handle_trimmed(&mut self, index: usize, reply: &Result<Reply, Refusal>) {
        let Ok(Reply::Integer(trimmed)) = reply else { return self.void_trim(index) };
        self.stats_of(index).entries_trimmed += u64::try_from(*trimmed).unwrap_or(0);
        // How many Redis deletes at once depends on its settings: there is no more after none.
        if *trimmed > 0 {
            self.void_trim(index);
        }
        if *trimmed >= MORE {
            if let Some(service) = self.services.get_mut(index) {
                service.trim.due = true;
            }
            self.read_mark(index);
        }
    }

    /// There may be more to trim: it is the next time, moved on or not.
    pub(super) fn void_trim(&mut self, index: usize) {
        if let Some(service) = self.services.get_mut(index) {
            service.trim.forget();
        }
    }
}
