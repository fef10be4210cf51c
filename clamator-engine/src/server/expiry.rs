//! Reply streams live for a limited time: what a client that was killed leaves behind, or a reply
//! that comes after its client has stopped, is gone some time later (rule 4.11).
//!
//! Not how long they are: see `settle`. A stream is told its time behind the reply that creates it,
//! and behind one reply in each quarter of that time. All others are written only if the stream is
//! still there: one that was deleted meanwhile would be created by them without an end.
//!
//! <https://redis.io/docs/latest/commands/pexpire/>

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::event::Notice;
use super::{Aim, Server};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::time::Instant;

/// Most reply streams that are remembered. Any more are told their time behind each reply.
const REMEMBERED_MAX: usize = 4096;

/// What is known of the reply streams that were written to.
#[derive(Debug, Default)]
pub(super) struct ReplyStreams {
    /// Those that live for a limited time, and until when they are not told again.
    limited: BTreeMap<Bytes, Instant>,
    /// Those for which it is not known whether they were told.
    doubtful: BTreeSet<Bytes>,
    /// Whether an operator was told that Redis refuses.
    complained: bool,
}

impl ReplyStreams {
    /// Whether this stream needs nothing but the reply.
    pub(super) fn is_limited(&self, stream: &[u8], now: Instant) -> bool {
        self.limited.get(stream).is_some_and(|until| now < *until)
    }

    /// The stream is not there any more, or may live on.
    pub(super) fn forget(&mut self, stream: &[u8]) {
        self.limited.remove(stream);
    }
}

impl Server {
    /// Tells a reply stream how long it lives.
    pub(super) fn limit_reply_stream(&mut self, index: usize, stream: Bytes) {
        let ttl = self.config.reply_stream_ttl;
        let streams = &mut self.reply_streams;
        streams.doubtful.remove(&stream);
        if streams.limited.len() < REMEMBERED_MAX {
            streams.limited.insert(stream.clone(), self.now + ttl / 4);
        }
        if self.config.seeded.is(Bug::ReplyStreamsLiveOn) {
            return;
        }
        self.send(index, Command::PExpire { key: stream.clone(), ttl }, Aim::Expire(stream));
    }

    pub(super) fn handle_expiry(&mut self, stream: Bytes, reply: Result<Reply, Refusal>) {
        match reply {
            // There is no such stream: Redis refused the reply ahead.
            Ok(Reply::Integer(0)) => self.reply_streams.forget(&stream),
            Ok(_) => {}
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                if !core::mem::replace(&mut self.reply_streams.complained, true) {
                    self.notice(Notice::ExpiryRefused { refusal });
                }
            }
            Err(_) => self.doubt_expiry(stream),
        }
    }

    /// It is not known whether the stream was told.
    pub(super) fn doubt_expiry(&mut self, stream: Bytes) {
        self.reply_streams.forget(&stream);
        if self.reply_streams.doubtful.len() < REMEMBERED_MAX {
            self.reply_streams.doubtful.insert(stream);
        }
    }

    /// Tells those again that may not have been told, and forgets those whose turn comes anyway.
    pub(super) fn tick_expiry(&mut self) {
        let now = self.now;
        self.reply_streams.limited.retain(|_, until| now < *until);
        self.tell_doubtful();
    }

    /// Tells those again that may not have been told.
    pub(super) fn tell_doubtful(&mut self) {
        if self.lanes.is_open(Lane::Command) {
            let doubtful: Vec<Bytes> =
                core::mem::take(&mut self.reply_streams.doubtful).into_iter().collect();
            for stream in doubtful {
                self.limit_reply_stream(0, stream);
            }
        }
    }
}
