//! Reading the reply stream: what a reply ends, and when the stream is read from its start.
//!
//! Rule 5.1. Not the calls (`calls`) nor their sending. Replies are matched by id: an id of this
//! start of this client names a call, any other is counted and dropped. What is no response is
//! dropped with an event, unless it is under the id of a call, which then ends with an error.

use core::time::Duration;

use clamator_proto::entry::ReplyFields;
use clamator_proto::{Envelope, InvalidEnvelope, Json};

use super::event::ClientEvent;
use super::{Client, Purpose, Stage, Unfit};
use crate::call::{CallError, CallId, ProtocolFault};
use crate::command::Command;
use crate::engine::{Lane, Loss};
use crate::page::Page;
use crate::reply::{Entry, Refusal};
use crate::seeded::Bug;
use crate::stream_id::StreamId;
use crate::time::Instant;
use crate::wire::READ_SLACK;

/// The lane that reads the reply stream.
pub(super) const REPLIES: Lane = Lane::Blocking(0);
/// Most replies taken in one read.
const READ_COUNT: usize = 256;

/// How long replies may be missing before the reply stream is read again from its start.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The same, after it was read so several times in vain: each wait is twice as long as the last.
const SILENCE_CAP: Duration = Duration::from_secs(60);

/// How far the reply stream has been read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) after: StreamId,
    /// The last entry that was news: reading again from the start brings none.
    newest: StreamId,
    pub(super) under_way: bool,
    /// Since when no read has been answered.
    pub(super) unanswered: Option<Instant>,
    pub(super) page: Page,
    /// No read before this time.
    pub(super) paused_until: Option<Instant>,
    /// When the stream is read from its start, if replies are still missing.
    pub(super) rereads_at: Instant,
    /// How long after that it is read from its start once more.
    silence: Duration,
}

impl Reader {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            after: StreamId::ZERO,
            newest: StreamId::ZERO,
            under_way: false,
            unanswered: None,
            page: Page::new(READ_COUNT),
            paused_until: None,
            rereads_at: now + SILENCE_MAX,
            silence: SILENCE_MAX * 2,
        }
    }

    /// The stream is alive: something came that had not been seen.
    pub(super) fn heard(&mut self, now: Instant, newest: StreamId) {
        self.newest = newest;
        self.listen(now);
    }

    /// Replies are missing from now on, not since earlier.
    pub(super) fn listen(&mut self, now: Instant) {
        self.rereads_at = now + SILENCE_MAX;
        self.silence = SILENCE_MAX * 2;
    }

    /// The stream is read from its start. Says whether that was in vain before.
    fn reread(&mut self, now: Instant) -> bool {
        self.after = StreamId::ZERO;
        self.rereads_at = now + self.silence;
        let again = self.silence > SILENCE_MAX * 2;
        self.silence = (self.silence * 2).min(SILENCE_CAP);
        again
    }
}

impl Client {
    /// Reads, if nothing is being read.
    pub(super) fn read(&mut self, now: Instant) {
        if self.reader.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.reader.paused_until = None;
        if self.stage != Stage::Running || self.reader.under_way || self.unfit.is_some() {
            return;
        }
        let block = self.config.read_block;
        let command = Command::XRead {
            key: self.replies.clone(),
            after: self.reader.after,
            count: u64::try_from(self.reader.page.limit()).unwrap_or(u64::MAX),
            block: Some(block),
        };
        let sent = self.lanes.send(now, REPLIES, command, block + READ_SLACK, Purpose::Read);
        if sent.is_ok() {
            self.reader.under_way = true;
            self.reader.unanswered.get_or_insert(now);
        }
    }

    /// Replies are missing: reads the stream from its start, which may be another one now. If that
    /// was in vain before, it does so on a new lane: a master that was demoted goes on answering
    /// reads, and says what it has become to those who connect (rule 5.1).
    pub(super) fn end_silence(&mut self, now: Instant) {
        let after = self.reader.after;
        let again = self.reader.reread(now);
        if self.config.seeded.is(Bug::ReadPositionKept) {
            self.reader.after = after;
        }
        if again && let Some(ended) = self.lanes.renew(now, REPLIES) {
            self.handle_ended(now, ended.voided);
        }
    }

    /// Keeps in mind, up to the end of the turn, that the server is not the one to talk to. That the
    /// writing is refused says more than that the reading is.
    pub(super) fn note_unfit(&mut self, now: Instant, lane: Lane, refusal: &Refusal) {
        if self.unfit.is_none() || lane == Lane::Command {
            self.unfit = Some(Unfit { at: now, lane, refusal: refusal.clone() });
        }
    }

    /// The server is not the one to talk to. It says so to whoever writes, and not to whoever reads:
    /// the reading goes where the writing goes.
    pub(super) fn leave_server(&mut self, Unfit { at, lane, refusal }: Unfit) {
        self.give_up(at, lane, Loss::Unfit(refusal.clone()));
        if !self.config.seeded.is(Bug::DemotedStillRead) {
            self.give_up(at, REPLIES, Loss::Unfit(refusal));
        }
    }

    pub(super) fn handle_entry(&mut self, now: Instant, entry: Entry) {
        self.reader.after = entry.id;
        // Whoever reads from the start meets what was seen before: it is counted once. So is what
        // a stream that was created anew holds, as long as its ids are lower.
        let news = entry.id > self.reader.newest;
        if news {
            self.reader.heard(now, entry.id);
        }
        let fields = entry.fields.unwrap_or_default();
        let Ok(reply) = ReplyFields::read(&fields) else {
            return self.unparsable(entry.id, None, news);
        };
        let outcome = match Envelope::parse(reply.envelope) {
            Ok(Envelope::Success(success)) => {
                let result = Json::slice_of(reply.envelope, success.result);
                (self.call_of(&success.id.text()), Ok(result))
            }
            Ok(Envelope::Failure(failure)) => {
                let id = failure.id.and_then(|id| self.call_of(&id.text()));
                (id, Err(CallError::Rpc(failure.error)))
            }
            Ok(Envelope::Request(request)) => {
                let fault = ProtocolFault::Kind { kind: "request" };
                (self.call_of(&request.id.text()), Err(CallError::Protocol(fault)))
            }
            Ok(Envelope::Notification(_)) => {
                let fault = ProtocolFault::Kind { kind: "notification" };
                (None, Err(CallError::Protocol(fault)))
            }
            Err(fault) => {
                let id = fault.id.as_ref().and_then(|id| self.call_of(&id.text()));
                if id.is_none() {
                    return self.unparsable(entry.id, Some(fault), news);
                }
                (id, Err(CallError::Protocol(ProtocolFault::Envelope(fault))))
            }
        };
        match outcome {
            (Some(id), outcome) => self.settle(now, id, outcome, news),
            (None, _) => self.stats.replies_unmatched += u64::from(news),
        }
    }

    /// The call that a reply's id names, letter by letter. Ids of another start have another nonce.
    fn call_of(&self, id: &str) -> Option<u64> {
        if self.config.seeded.is(Bug::RepliesByOrder) {
            return self.calls.oldest();
        }
        let number = id.strip_prefix(self.id_prefix.as_str())?;
        // `parse` also takes a sign and zeros in front, which no id of ours has.
        let is_ours = number.starts_with(|first: char| matches!(first, '1'..='9'));
        is_ours.then(|| number.parse().ok())?
    }

    fn settle(&mut self, now: Instant, id: u64, outcome: Result<Json, CallError>, news: bool) {
        if self.calls.finish(id).is_some() {
            self.stats.replies += 1;
            // Also when its id is low: then the stream is another one.
            self.reader.heard(now, self.reader.after);
            self.events.push_back(ClientEvent::Finished(CallId(id), outcome));
        } else {
            self.stats.replies_unmatched += u64::from(news);
        }
    }

    fn unparsable(&mut self, entry: StreamId, fault: Option<InvalidEnvelope>, news: bool) {
        if !news {
            return;
        }
        self.stats.replies_unparsable += 1;
        self.events.push_back(ClientEvent::Unparsable { entry, fault });
    }

    /// When the reply stream is read again from its start: it may have been re-created with lower
    /// ids than the last one seen (rule 5.1).
    pub(super) fn silence_ends(&self) -> Option<Instant> {
        self.calls.expects_replies().then_some(self.reader.rereads_at)
    }
}
