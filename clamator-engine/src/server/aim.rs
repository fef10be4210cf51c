//! [`Purpose`]: what a command of a server was sent for, which comes back with its answer.
//!
//! Not what becomes of the answer: that is with the rule whose command it is.

use alloc::vec::Vec;

use bytes::Bytes;

use super::held::Key;
use super::look_back::Unseen;
use super::missing::Missing;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// What a command was sent for.
#[derive(Debug)]
pub(super) struct Purpose {
    pub(super) service: usize,
    pub(super) aim: Aim,
}

/// The question that it asks, or the step that it takes, and what has to be known of that when it is
/// answered.
#[derive(Debug)]
pub(super) enum Aim {
    Acknowledge { epoch: u32, ids: Vec<StreamId> },
    CheckConsumer,
    CheckGhost(StreamId),
    CheckLeases { keys: Vec<Key>, given_out: bool, sent: Instant },
    Claim { start: StreamId, count: usize, sent: Instant },
    Count { first: StreamId, last: StreamId },
    CreateGroup { restore: Option<StreamId> },
    Delete,
    Expire(Bytes),
    Fetch { epoch: u32, unseen: Unseen },
    FindGhosts,
    FindOwn { sent: Instant },
    HandBack { keys: Vec<Key> },
    InspectStream,
    ListGroups,
    ListOwn { epoch: u32, sent: Instant },
    ListPending,
    Read { epoch: u32, sent: Instant },
    RemoveConsumer,
    RemoveIdleConsumers,
    Renew { keys: Vec<Key>, sent: Instant },
    Reply { key: Key, bytes: usize },
    SeekEntry { missing: Missing, given_out: bool, sent: Instant },
    SeekGroup { missing: Vec<Missing>, sent: Instant },
    TakeBack { ids: Vec<StreamId>, sent: Instant },
    Time { sent: Instant },
    Trim,
    TrimPending { round: u32 },
    Unblock,
}
