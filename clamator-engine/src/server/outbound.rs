//! [`Outbound`]: what is written for an entry before it is acknowledged, its reply or its dead letter.
//!
//! Only the data; when it is sent, and what its answer means, is in `settle` and `dead`.

use bytes::Bytes;
use clamator_proto::RequestId;

use super::request::ReplyTo;
use crate::reply::Fields;

/// How many lanes may end with a reply under way before it is suspected.
pub(super) const LOSSES_IN_COMPANY: u32 = 3;

/// What is written before an entry is acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    /// On which stream.
    pub(super) key: Bytes,
    pub(super) fields: Fields,
    pub(super) write: Write,
    /// Whether it creates its stream if that is missing.
    pub(super) creates: bool,
    /// How many lanes have ended with it under way.
    pub(super) losses: u32,
    /// Whether its lease was lost while it was under way: its entry is not acknowledged.
    pub(super) lost: bool,
}

/// What it is that is written.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// The entry itself, which was started so often; who is to be told of it.
    DeadLetter { deliveries: u64, reply: Option<ReplyTo> },
    /// The reply to this request.
    Reply(RequestId),
}

impl Outbound {
    pub(super) const fn new(key: Bytes, fields: Fields, write: Write) -> Self {
        Self { key, fields, write, creates: true, losses: 0, lost: false }
    }

    /// How large it is, about.
    pub(super) fn bytes(&self) -> usize {
        self.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Whether it may be why they ended.
    pub(super) const fn is_suspect(&self) -> bool {
        self.losses >= LOSSES_IN_COMPANY
    }
}
