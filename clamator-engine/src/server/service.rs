//! [`Service`]: what a server knows about one of its services.
//!
//! Only the state; the rules that move it are in `group`, `intake`, `settle` and `stop`. Services
//! share nothing but the command lane: each has its own consumer group, blocking lane and queue, so
//! that none waits for another (rule 4.2).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;
use clamator_proto::{Contract, Keys, ServiceName};

use super::config::{Concurrency, ServerConfig, ServiceConfig, StartFrom};
use super::held::{Held, Key};
use super::intake::{PAGE, READ_MAX};
use super::look_back::{Look, Suspect};
use super::pace::Pace;
use super::stats::ServerStats;
use super::take_back::TakeBack;
use super::trim::Trim;
use crate::engine::Lane;
use crate::page::Page;
use crate::stream_id::StreamId;
use crate::time::Instant;

/// One service of a server.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) contract: Contract,
    pub(super) concurrency: Concurrency,
    /// Whether anything may be held behind a handler that runs.
    pub(super) prefetch: bool,
    pub(super) start_from: StartFrom,
    /// Key of its command stream.
    pub(super) stream: Bytes,
    pub(super) group_name: Bytes,
    pub(super) consumer: Bytes,
    /// When those of workers that are gone are looked at next.
    pub(super) consumers_at: Instant,
    /// Where what is given up is put aside.
    pub(super) dead: Bytes,
    /// Whose what is handed back becomes.
    pub(super) released: Bytes,
    pub(super) lane: Lane,
    /// Counts the streams of this name: rises when another stream takes the old one's place.
    pub(super) epoch: u32,
    pub(super) group: Group,
    pub(super) reader: Reader,
    pub(super) reclaim: Reclaim,
    pub(super) take_back: TakeBack,
    pub(super) trim: Trim,
    pub(super) held: Held,
    pub(super) pace: Pace,
    pub(super) stats: ServerStats,
    /// What is to be acknowledged with the next XACK.
    pub(super) acks: Vec<StreamId>,
    /// No XACK before this time.
    pub(super) acks_paused_until: Option<Instant>,
}

/// The consumer group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) state: GroupState,
    /// Whether it was there and is gone.
    pub(super) lost: bool,
    /// The low-water mark: everything up to it was given out and settled.
    pub(super) mark: Option<StreamId>,
    /// Last entry given out, while the mark is being read.
    pub(super) last_delivered: Option<StreamId>,
    /// Whether no other group reads the stream, so that what is settled can be deleted. `None`
    /// until Redis has told, or has refused to.
    pub(super) sole: Option<bool>,
    /// How many other groups there were at the last look.
    pub(super) foreign: u64,
    /// When it was last created.
    pub(super) created_at: Option<Instant>,
    /// Whether something was given out since the mark was last read.
    pub(super) moved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupState {
    /// To be created, not before this time.
    Absent(Instant),
    Creating,
    Ready,
}

/// Reading on the blocking lane.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) under_way: Option<ReadKind>,
    /// How many entries the read under way asks for.
    pub(super) asked: usize,
    pub(super) page: Page,
    /// The look that is to be taken before anything new is read.
    pub(super) look: Option<Look>,
    /// When another is due: a lost read may be given something until its BLOCK ends.
    pub(super) look_again: Option<Instant>,
    /// How many commands of the look are not answered.
    pub(super) looking: usize,
    /// Whether it was told that looks are refused.
    pub(super) refusal_told: bool,
    /// What may be why lanes end on which it is asked for.
    pub(super) suspect: Option<Suspect>,
    /// Since when no read has been answered.
    pub(super) unanswered: Option<Instant>,
    /// No read before this time.
    pub(super) paused_until: Option<Instant>,
    /// What was settled while the read under way may still name it.
    pub(super) settled: BTreeSet<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadKind {
    /// Entries that nobody was given yet.
    New,
    /// Own pending entries.
    Own,
}

/// Taking over what dead workers left.
#[derive(Debug)]
pub(super) struct Reclaim {
    /// Where the next scan starts.
    pub(super) cursor: StreamId,
    pub(super) under_way: bool,
    pub(super) page: Page,
    /// Whether there is more to scan in this tick.
    pub(super) more: bool,
    /// Scans of this tick that found nothing.
    pub(super) empty_scans: u32,
    pub(super) counting: Counting,
}

/// Asking how often entries were given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Counting {
    #[default]
    Idle,
    /// Not again before the next tick.
    Refused,
    UnderWay,
}

impl Reader {
    const fn new() -> Self {
        Self {
            under_way: None,
            asked: 0,
            page: Page::new(READ_MAX),
            look: None,
            look_again: None,
            looking: 0,
            refusal_told: false,
            suspect: None,
            unanswered: None,
            paused_until: None,
            settled: BTreeSet::new(),
        }
    }
}

impl Reclaim {
    pub(super) const fn new() -> Self {
        Self {
            cursor: StreamId::ZERO,
            under_way: false,
            page: Page::new(PAGE),
            more: false,
            empty_scans: 0,
            counting: Counting::Idle,
        }
    }
}

impl Service {
    pub(super) fn new(
        now: Instant,
        number: u16,
        config: ServiceConfig,
        keys: &Keys,
        server: &ServerConfig,
    ) -> Self {
        let name = config.contract.service();
        Self {
            stream: keys.commands(name).into(),
            group_name: Bytes::copy_from_slice(keys.group(name).as_bytes()),
            consumer: keys.consumer(name, &server.instance).into(),
            consumers_at: now,
            dead: keys.dead(name).into(),
            released: keys.consumer(name, Keys::RELEASED).into(),
            lane: Lane::Blocking(number),
            epoch: 0,
            group: Group {
                state: GroupState::Absent(now),
                lost: false,
                mark: None,
                last_delivered: None,
                sole: None,
                foreign: 0,
                created_at: None,
                moved: false,
            },
            reader: Reader::new(),
            reclaim: Reclaim::new(),
            take_back: TakeBack::default(),
            trim: Trim::default(),
            held: Held::new(server.seeded),
            pace: Pace::default(),
            stats: ServerStats::default(),
            acks: Vec::new(),
            acks_paused_until: None,
            contract: config.contract,
            concurrency: config.concurrency,
            prefetch: config.prefetch,
            start_from: config.start_from,
        }
    }

    pub(super) fn name(&self) -> ServiceName {
        self.contract.service().clone()
    }

    /// Names an entry of the stream as it is now.
    pub(super) const fn entry(&self, id: StreamId) -> Key {
        Key { epoch: self.epoch, id }
    }

    /// Whether there is no group, and none is being created.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.group.state, GroupState::Absent(_))
    }

    /// Whether the service may ask for entries. One that holds nothing behind a running handler
    /// asks while a handler is free, and has one question under way at a time: of two, the one that
    /// is answered last might bring what has to wait.
    pub(super) fn may_ask(&self) -> bool {
        let idle = self.reader.under_way.is_none() && !self.reclaim.under_way;
        self.prefetch || (idle && self.held.running() < self.concurrency.limit())
    }

    /// Whether there may be something that others have left, to be looked for now.
    pub(super) const fn has_overdue(&self) -> bool {
        self.reclaim.more || self.take_back.is_due()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.group.state == GroupState::Ready
    }
}
