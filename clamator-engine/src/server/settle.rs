//! Replies and acknowledgements: what happens to an entry once its handler has ended.
//!
//! Section 4, first paragraph: an entry is acknowledged only after its reply was *answered*, with
//! an id or with a refusal that can never heal. While Redis cannot take replies (OOM, a lost lane)
//! they are kept and sent again, reading stops, and nothing runs again. A reply whose answer got
//! lost may so be written twice; clients drop the second.
//!
//! <https://redis.io/docs/latest/commands/xack/>

use alloc::vec::Vec;
use core::time::Duration;

use clamator_proto::{RpcError, encode};

use super::event::{Answer, JobId, Notice};
use super::held::{Key, Run, State};
use super::outbound::{Outbound, Write};
use super::request::ReplyTo;
use super::{Aim, Server, Stage};

use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire;

/// Most entries of one XACK.
const ACK_MAX: usize = 1000;
/// Pause after a refused XACK.
const ACK_PAUSE: Duration = Duration::from_secs(1);
/// First pause after a refused reply; doubled for each further one.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Replies that Redis could not take are tried again.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) at: Instant,
    pause: Duration,
}

/// Lanes that may end with a reply under way, the last ones with it alone, before it is given up.
pub(super) const LOSSES_MAX: u32 = 8;

impl Server {
    /// The handler of a job has ended. A second answer to one job changes nothing.
    pub fn answer(&mut self, now: Instant, job: JobId, answer: Answer) {
        self.now = now;
        let oldest =
            self.jobs.keys().next().filter(|_| self.config.seeded.is(Bug::AnswerOfAnotherJob));
        let job = oldest.copied().unwrap_or(job);
        let Some((index, key)) = self.jobs.remove(&job) else {
            return;
        };
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let Some(run) = service.held.take_running(key) else {
            return;
        };
        service.pace.observe(now.since(run.started));
        self.dirty.insert(index);
        if run.lost && !self.config.seeded.is(Bug::LostOutcomeWritten) {
            return self.start_behind(index, key, run);
        }
        match &run.reply {
            Some(reply) => self.reply(index, key, reply, &answer),
            None => self.settle(index, key),
        }
    }

    /// The handler of an entry whose lease was lost has ended. If the entry was given to this
    /// server again meanwhile, it is its turn.
    fn start_behind(&mut self, index: usize, key: Key, run: Run) {
        let Some(service) = self.services.get_mut(index) else { return };
        match run.again {
            Some(fields) if key.epoch == service.epoch => {
                service.held.insert_uncounted(key, fields)
            }
            Some(_) | None => service.held.give_up(key, run.deliveries),
        }
    }

    /// The handler of a job was dropped before it ended. At a stop its entry is handed back. Else
    /// it is left as it is: another worker takes it over once it is idle for `claim_idle`.
    pub fn abandoned(&mut self, now: Instant, job: JobId) {
        self.now = now;
        let Some((index, key)) = self.jobs.remove(&job) else {
            return;
        };
        self.dirty.insert(index);
        let Some(service) = self.services.get_mut(index) else { return };
        let Some(run) = service.held.take_running(key) else { return };
        if run.again.is_some() {
            return self.start_behind(index, key, run);
        }
        if self.config.seeded.is(Bug::AbandonedIsSettled) {
            return self.settle(index, key);
        }
        if matches!(self.stage, Stage::Draining(_)) && !run.lost {
            return service.held.insert_abandoned(key, run.deliveries);
        }
        service.held.give_up(key, run.deliveries);
        self.count_left(1);
    }

    /// Encodes a reply and sends it; what cannot be sent because of its size becomes an error.
    pub(super) fn reply(&mut self, index: usize, key: Key, reply: &ReplyTo, answer: &Answer) {
        let mut envelope = encoded(reply, answer);
        if !wire::fits(envelope.len()) {
            let message = "larger than Redis takes in one value";
            let error = RpcError::invalid_result("TooLarge", message);
            envelope = encoded(reply, &Answer::Error(error));
        }
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let (stream, id) = (reply.key.clone(), reply.id.clone());
        let fields = wire::fields(envelope.into(), None);
        let outbound = Outbound::new(stream, fields, Write::Reply(id));
        service.held.insert_replying(key, outbound);
        let seeded = self.config.seeded;
        if seeded.is(Bug::AckBeforeReply) || seeded.is(Bug::AckWithReply) {
            service.acks.push(key.id);
        }
        if seeded.is(Bug::AckBeforeReply) {
            self.acknowledge(index);
        }
        self.send_replies(index);
    }

    /// Sends the replies that wait, unless Redis is known not to take any.
    pub(super) fn send_replies(&mut self, index: usize) {
        if self.retry.is_none() {
            self.send_all_replies(index);
        }
    }

    fn send_all_replies(&mut self, index: usize) {
        while self.send_oldest_reply(index) {}
    }

    /// Sends the oldest reply that waits. Tells whether there was one, and a lane to send it on.
    fn send_oldest_reply(&mut self, index: usize) -> bool {
        let turn = self.turn();
        let Some(service) = self.services.get_mut(index) else { return false };
        let Some(key) = service.held.next_unsent(turn) else { return false };
        if !self.is_ours(index, key) {
            return false;
        }
        let Some(service) = self.services.get_mut(index) else { return false };
        let Some(outbound) = service.held.send_reply(key) else { return true };
        let bytes = outbound.bytes();
        self.replies.sent(self.now, bytes, outbound.is_suspect());
        let Outbound { key: stream, fields, write, .. } = outbound;
        let dead = matches!(write, Write::DeadLetter { .. });
        // Dead letters stay, and whatever else a relaxed server writes to is not its own to delete.
        let own = self.keys.is_replies(&stream);
        let creates = !own || !self.reply_streams.is_limited(&stream, self.now);
        service.held.note_creation(key, creates);
        let max_len =
            if dead { self.config.dead_letters_max } else { self.config.reply_stream_max_len };
        let command = Command::XAdd {
            key: stream.clone(),
            create: creates || self.config.seeded.is(Bug::ReplyStreamMadeAnew),
            max_len: Some(max_len).filter(|_| !self.config.seeded.is(Bug::ReplyUnbounded)),
            fields,
        };
        self.send(index, command, Aim::Reply { key, bytes });
        if creates && own {
            self.limit_reply_stream(index, stream);
        }
        true
    }

    pub(super) fn handle_replied(&mut self, index: usize, key: Key, reply: Result<Reply, Refusal>) {
        let Err(refusal) = reply else {
            if self.retry.take().is_some() {
                self.dirty.extend(0..self.services.len());
            }
            return match reply {
                Ok(Reply::Added(None)) => self.write_anew(index, key),
                _ => self.written(index, key, None),
            };
        };
        let seeded = self.config.seeded;
        let blocks = seeded.is(Bug::ReplyRefusedBlocks) && refusal.kind() == RefusalKind::Final;
        match if blocks { RefusalKind::Heals } else { refusal.kind() } {
            RefusalKind::Heals if seeded.is(Bug::OomRunsAgain) => {
                if let Some(service) = self.services.get_mut(index) {
                    service.held.remove(key);
                }
                self.look_back(index);
            }
            RefusalKind::Heals if seeded.is(Bug::ReplyWithoutPause) => self.void_reply(index, key),
            RefusalKind::Heals => {
                if let Some(service) = self.services.get_mut(index) {
                    service.held.clear_reply(key);
                }
                self.void_reply(index, key);
                let at = self.now + self.jitter.spread(RETRY_MIN);
                self.retry.get_or_insert(Retry { at, pause: RETRY_MIN });
            }
            RefusalKind::WrongServer => self.void_reply(index, key),
            RefusalKind::Final | RefusalKind::GroupExists | RefusalKind::NoGroup => {
                self.written(index, key, Some(refusal));
            }
        }
    }

    /// What had to be written before the entry is acknowledged is, or can never be.
    fn written(&mut self, index: usize, key: Key, refusal: Option<Refusal>) {
        let Some(service) = self.services.get_mut(index) else { return };
        if let Some(State::Replying(Outbound {
            write: Write::DeadLetter { deliveries, reply },
            lost,
            ..
        })) = service.held.state(key)
        {
            let (deliveries, reply) = (*deliveries, reply.clone());
            if *lost {
                service.held.remove(key);
                return;
            }
            return self.buried(index, key, deliveries, reply, refusal);
        }
        match refusal {
            None => service.stats.replies_written += 1,
            Some(refusal) => {
                service.stats.replies_refused += 1;
                let service = service.name();
                self.notice(Notice::ReplyRefused { service, entry: key.id, refusal });
            }
        }
        self.settle(index, key);
    }

    /// The stream that was there for an earlier reply is gone: this one creates it.
    fn write_anew(&mut self, index: usize, key: Key) {
        let Some(service) = self.services.get_mut(index) else { return };
        match service.held.missing_stream(key) {
            Some(stream) => {
                self.reply_streams.forget(&stream);
                self.void_reply(index, key);
            }
            None => self.settle(index, key),
        }
    }

    /// A lane has ended with a reply under way. It is sent again, unless it is the reply that
    /// ends lanes, as one does that is larger than Redis is set to take: then an error is sent.
    pub(super) fn lose_reply(&mut self, index: usize, key: Key, suspected: bool) {
        let patient = self.config.seeded.is(Bug::ReplyEndsLanes);
        let Some(service) = self.services.get_mut(index) else { return };
        let lost = if suspected && !patient { service.held.lose_reply(key) } else { None };
        if let Some(outbound) = lost.filter(|it| it.losses >= LOSSES_MAX)
            && let Write::Reply(id) = &outbound.write
        {
            let reply = ReplyTo { key: outbound.key.clone(), id: id.clone() };
            let message = "each connection ended on which the result was written";
            let error = RpcError::invalid_result("Undeliverable", message);
            self.stats_of(index).replies_refused += 1;
            return self.reply(index, key, &reply, &Answer::Error(error));
        }
        self.void_reply(index, key);
    }

    /// A reply's outcome is unknown: it is sent again.
    pub(super) fn void_reply(&mut self, index: usize, key: Key) {
        if self.config.seeded.is(Bug::ReplyForgotten) {
            return;
        }
        let Some(service) = self.services.get_mut(index) else { return };
        service.held.unsend_reply(key);
        if !service.held.suspects().is_empty() {
            self.replies.suspect_waits(self.now);
        }
    }

    /// Tries again whether Redis takes replies, with one of each service: all others follow the
    /// first that is taken.
    pub(super) fn tick_retry(&mut self) {
        let Some(retry) = &mut self.retry else { return };
        if retry.at > self.now {
            return;
        }
        retry.pause = RETRY_MAX.min(retry.pause.saturating_mul(2));
        retry.at = self.now + self.jitter.spread(retry.pause);
        if !self.services.iter().any(|service| service.held.has_replies()) {
            self.retry = None;
        }
        for index in 0..self.services.len() {
            self.send_oldest_reply(index);
        }
    }

    /// Nothing is left to do for the entry but to acknowledge it.
    pub(super) fn settle(&mut self, index: usize, key: Key) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        let (replied, lost) = match service.held.state(key) {
            Some(State::Replying(outbound)) => (true, outbound.lost),
            _ => (false, false),
        };
        if key.epoch != service.epoch || lost {
            service.held.remove(key);
            return;
        }
        self.dirty.insert(index);
        let sure = replied || self.is_ours(index, key);
        let Some(service) = self.services.get_mut(index) else { return };
        if sure {
            service.held.insert_settling(key);
            service.acks.push(key.id);
        } else {
            service.held.insert_doubtful(key);
        }
    }

    /// Acknowledges what this turn has settled, and deletes it while no other group reads it.
    pub(super) fn acknowledge(&mut self, index: usize) {
        if !self.lanes.is_open(Lane::Command) {
            return;
        }
        let is_serving = self.is_serving();
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        // A group that is gone is waited for, but not by a server that stops: it creates none.
        if service.acks.is_empty()
            || service.acks_paused_until.is_some()
            || (!service.is_ready() && is_serving)
        {
            return;
        }
        // What is acknowledged before it is known whether it may be deleted would stay for ever.
        let Some(sole) = service.group.sole.or_else(|| (!is_serving).then_some(false)) else {
            return;
        };
        let rest = service.acks.split_off(service.acks.len().min(ACK_MAX));
        let ids = core::mem::replace(&mut service.acks, rest);
        let (key, group) = (service.stream.clone(), service.group_name.clone());
        let epoch = service.epoch;
        let seeded = self.config.seeded;
        let sole = sole || seeded.is(Bug::DeletedForOthers);
        let sole = sole && !seeded.is(Bug::SettledKept);
        let more = !service.acks.is_empty();
        let acknowledge = Command::XAck { key: key.clone(), group, ids: ids.clone() };
        let mut delete = sole.then(|| Command::XDel { key, ids: ids.clone() });
        if let Some(delete) = delete.take_if(|_| seeded.is(Bug::DeletedBeforeAck)) {
            self.send(index, delete, Aim::Delete);
        }
        self.send(index, acknowledge, Aim::Acknowledge { epoch, ids });
        if let Some(delete) = delete {
            self.send(index, delete, Aim::Delete);
        }
        if more {
            self.dirty.insert(index);
        }
    }

    pub(super) fn handle_acknowledged(
        &mut self,
        index: usize,
        epoch: u32,
        ids: Vec<StreamId>,
        reply: &Result<Reply, Refusal>,
    ) {
        if let Err(refusal) = reply {
            let hot = self.config.seeded.is(Bug::AckWithoutPause);
            let until = (!hot).then(|| self.now + ACK_PAUSE);
            let Some(service) = self.services.get_mut(index) else { return };
            service.acks_paused_until = until;
            let notice = Notice::AckRefused { service: service.name(), refusal: refusal.clone() };
            self.notice(notice);
            return self.unacknowledge(index, epoch, ids);
        }
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        for id in ids {
            let key = Key { epoch, id };
            service.held.remove_settled(key);
            if service.reader.may_name_settled() {
                service.reader.settled.insert(key);
            }
        }
    }

    /// An acknowledgement's outcome is unknown: it is sent again. Until it is answered its entries
    /// are held as settled, as an older copy of the data may give them out once more.
    pub(super) fn unacknowledge(&mut self, index: usize, epoch: u32, ids: Vec<StreamId>) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if service.epoch != epoch || self.config.seeded.is(Bug::AckForgotten) {
            return;
        }
        for id in ids {
            if service.held.keep_settled(Key { epoch, id }) {
                service.acks.push(id);
            }
        }
    }
}

fn encoded(reply: &ReplyTo, answer: &Answer) -> Vec<u8> {
    let mut envelope = Vec::new();
    match answer {
        Answer::Error(error) => encode::failure(&mut envelope, Some(&reply.id), error),
        Answer::Result(result) => encode::success(&mut envelope, &reply.id, result),
    }
    envelope
}
