//! [`Seeded`]: the one bug, if any, that is built into an engine to see whether the simulator
//! notices.
//!
//! Not a feature: bugs exist only where `cfg(seeded_bugs)` is set, which `tests/seeded-bugs.sh`
//! does for its own build and nothing else. Without it every switch is `false` at compile time and
//! vanishes. Each bug was a real one, of a peer, of a comparable project, or of a rule that has no
//! other witness. No switch asserts anything: what a bug breaks must be seen from outside.

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident = $source:literal,)*) => {
        /// A bug that can be built into an engine.
        #[cfg(seeded_bugs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Bug {
            $($(#[doc = $doc])* #[doc = concat!(" From ", $source, ".")] $name,)*
        }

        #[cfg(seeded_bugs)]
        impl Bug {
            /// All bugs, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Where it comes from: what is wrong with a peer, a report, or the rule it breaks.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self {
                    $(Self::$name => $source,)*
                }
            }
        }

        /// A bug that could be built into an engine.
        #[cfg(not(seeded_bugs))]
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Bug {
            $($name,)*
        }
    };
}

bugs! {
    /// An entry whose handler was dropped when the grace was over is acknowledged, unhandled.
    AbandonedIsSettled = "coffee#563, I8",
    /// An entry is acknowledged ahead of its reply, in one pipeline.
    AckBeforeReply = "I7",
    /// An acknowledgement whose answer got lost is never sent again: the entry is held for ever.
    AckForgotten = "I14",
    /// An entry is acknowledged when its handler starts.
    AckOnStart = "I8",
    /// An entry is acknowledged behind its reply, in one pipeline: Redis under OOM refuses the
    /// reply and takes the acknowledgement.
    AckWithReply = "I7, design section 4",
    /// A refused acknowledgement is sent again at once.
    AckWithoutPause = "jac#7452, I16",
    /// A request whose outcome is unknown is sent again.
    AmbiguousIsRetried = "rule 5.5, redis#12953",
    /// A call that may have run fails as one that was not sent, which is safe to retry.
    AmbiguousIsSafe = "rule 5.4, redis#12953",
    /// The end of one handler settles the oldest one that runs.
    AnswerOfAnotherJob = "redisrpc#24, I2",
    /// A blocking read waits for ever, and nobody watches it.
    BlockForEver = "bullmq#4479",
    /// What waits behind an entry that ends process after process is given out along with it.
    BystandersCounted = "rule 4.8, found in a review",
    /// What waits to be started is not renewed; what runs is.
    BufferedNotRenewed = "rule 4.4, heartbeat forgets buffered entries",
    /// A cancelled call is known, and keeps its place, until its reply comes.
    CancelLeaks = "peers.md 3, the Python peer's pending map",
    /// One refused claim ends all taking over.
    ClaimRefusedForGood = "taskiq-redis#131",
    /// Nothing is taken over before every service has its group.
    ClaimWaitsForAll = "rule 4.2, found in a review",
    /// What was written before Redis's clock jumped is judged by what it shows since.
    ClockJumpTrusted = "rule 4.9, section 3",
    /// A client's refused read is sent again at once.
    ClientReadWithoutPause = "jac#7452, I16",
    /// Handlers run without a limit.
    ConcurrencyUnbounded = "rule 4.2, I6",
    /// The consumers of those who are gone stay in their group.
    ConsumersLiveOn = "hyperswitch#13811, caracal#430",
    /// The own consumer is deleted without a look at what is pending, or may yet be.
    ConsumerRemovedUnchecked = "redis#9745, watermill-redisstream#24",
    /// The own consumer is deleted while its read is outstanding.
    ConsumerRemovedUnderRead = "parabol#10873",
    /// Every scan of the pending list starts at its beginning.
    CursorDropped = "P3, comet-ml/opik#8137",
    /// The cursor of the scan is kept when the group is created again.
    CursorKept = "the review of comet-ml/opik#8137",
    /// Redis's clock is asked once; from then on a deadline is compared with the server's own.
    DeadlineByOwnClock = "rule 4.9, deadline compared with local time",
    /// What is settled is deleted before it is acknowledged.
    DeletedBeforeAck = "rule 4.11, I10",
    /// What is settled is deleted although somebody else's group may not have read it.
    DeletedForOthers = "rule 4.11, trim past another group",
    /// Whatever was given out again is taken to have been given out once.
    DeliveriesAssumed = "pipeshub#2992",
    /// An entry is started however often it was.
    DeliveriesUnlimited = "pipeshub#2992, rule 4.8",
    /// A client whose server takes no writes any more goes on reading from it.
    DemotedStillRead = "rule 5.1, lettuce#2366",
    /// A request is run however long ago its caller gave up.
    ExpiredRuns = "peers.md 4.2, I3",
    /// A request is taken to be expired while Redis's time is not known.
    ExpiredUnsampled = "rule 4.9",
    /// Methods of other services are run.
    ForeignMethodRun = "rule 4.7",
    /// What a look finds is not asked for.
    FoundForgotten = "rule 4.5",
    /// Running handlers are dropped when the stop begins.
    GraceIgnored = "rule 4.10, knative#4",
    /// The group is created again at the end of the stream.
    GroupAtEnd = "the review of jac#7489",
    /// The group is created at the end of the stream: what was queued before is never served.
    GroupFirstAtEnd = "P5",
    /// The group is created again at the start of a stream that was served.
    GroupFromZero = "the review of flightctl#2227",
    /// The group is never created again.
    GroupNotRestored = "P6, opik#5525",
    /// A group that is gone is made again only after ten seconds.
    GroupRestoredLate = "rule 4.1",
    /// A group that cannot be created is tried again at once.
    GroupWithoutPause = "P6, jac#7452",
    /// What waits at a stop is handed back with this delivery counted: each stop uses one up.
    HandBackCounted = "rule 4.10, I9",
    /// What is not finished at a stop stays pending for the server that stops.
    HandBackMissing = "P11, redis#13602",
    /// What runs at a stop is handed back while it runs.
    HandBackRunning = "rule 4.10, coffee#563",
    /// Request ids are made of the configured instance name.
    IdsWithoutNonce = "rule 5.1, redisrpc#8",
    /// Any number of calls is under way.
    InFlightUnbounded = "rule 5.3",
    /// A command that is overdue is given up, its connection is not, and replies are matched in
    /// the order of the commands.
    LaneRepliesByOrder = "sixb#406",
    /// An entry whose answer was long on its way is claimed without a look whose it is by now.
    LateAnswerTrusted = "rule 4.4",
    /// Looking for what a lost read was given counts as a delivery.
    LookCounted = "rule 4.8, I9",
    /// What a lost read was given is not looked for.
    LookMissing = "rule 4.5",
    /// A look for what a lost read was given is not made again when it is refused.
    LookRefusedForGood = "rule 4.5",
    /// What a handler comes to is written although another worker was given its entry.
    LostOutcomeWritten = "asynq#1089, rule 4.4",
    /// The low-water mark is the last entry given out, whatever is pending below.
    MarkIgnoresPending = "rule 4.1",
    /// The low-water mark is read in the wrong order: what is pending first, then the groups.
    MarkReadReversed = "rules 4.1 and 4.11",
    /// The newest entry is started first.
    NewestFirst = "rule 4.2, I5",
    /// An entry without a body is neither started nor settled.
    NilBodyKept = "lettuce#1622",
    /// A notification whose outcome is unknown is said to be on its stream.
    NotifiedAnyway = "rule 5.6, redis#12953",
    /// A handler whose reply Redis cannot take is run again.
    OomRunsAgain = "P2, rule 4.12",
    /// Another stream of the same name is taken for the old one.
    OtherStreamUnnoticed = "rule 4.1",
    /// A command whose answer is overdue is waited for without end.
    OverdueUnnoticed = "bullmq#4138",
    /// The place of an expired call is given away at once.
    PlaceFreedAtOnce = "rule 5.3",
    /// A service may take every place that there is for calls, also where others are called too.
    PlacesHogged = "rule 5.3",
    /// What is no request is dropped and not acknowledged.
    PoisonKept = "P8",
    /// What waits unstarted takes no place.
    PrefetchEndless = "rule 4.3, found in a review",
    /// A read asks for 16 entries whatever the free places.
    PrefetchFixed = "P1, P11",
    /// A blocking read whose lane ended is waited for.
    ReadLostWithLane = "bullmq#3088",
    /// The reply stream's position is kept although the stream may be another one.
    ReadPositionKept = "rule 5.1",
    /// A refused read is sent again at once.
    ReadWithoutPause = "jac#7452, I16",
    /// `READONLY` is retried on the connection that said so.
    ReadonlyKept = "redis-py#460",
    /// Entries are taken over from workers that are alive.
    ReclaimAtOnce = "rule 4.5, I4",
    /// Nothing is taken over.
    ReclaimMissing = "taskiq-redis#130",
    /// Only every tenth tick takes over.
    ReclaimSeldom = "rule 4.5",
    /// A lost connection is made again without a pause.
    ReconnectWithoutPause = "I16",
    /// What is held is renewed when `claim_idle` is over, not at a third of it.
    RenewedLate = "taskiq-redis#101, P1",
    /// Replies are matched to calls in the order in which those were made.
    RepliesByOrder = "redisrpc#24",
    /// The reply stream is left behind when the client stops.
    RepliesLeft = "P7",
    /// A reply whose outcome is unknown is not sent again.
    ReplyForgotten = "P9, rule 4",
    /// A reply that Redis will never take is tried for ever.
    ReplyRefusedBlocks = "P2",
    /// A reply with which every lane ends is sent again for ever, along with all others.
    ReplyEndsLanes = "rule 4.6, found in a review",
    /// A reply creates its stream again, though the stream is not told how long it lives.
    ReplyStreamMadeAnew = "P7, rule 4.11",
    /// Reply streams are not told how long they live.
    ReplyStreamsLiveOn = "P7, rule 4.11",
    /// A reply that Redis could not take is sent again at once.
    ReplyWithoutPause = "I16",
    /// A reply is written to whatever key the request names.
    ReplyToAnyKey = "rule 4.7",
    /// Reply streams grow for ever.
    ReplyUnbounded = "pymq#1, rule 4.11",
    /// A worker that was frozen goes on with what it held as if no time had passed.
    RunOutTrusted = "bull#308, rule 4.4",
    /// What a lost read is given after the first look is not looked for.
    SecondLookMissing = "rule 4.5",
    /// Entries that are already held are dispatched again.
    SelfReclaim = "P1, mastra#23648",
    /// What was settled while a read that names it was under way is run again.
    SettledForgotten = "rule 4.5",
    /// What is settled stays in the stream.
    SettledKept = "P4, redis#6941",
    /// A renewal takes back what another worker has taken over meanwhile.
    StealsBack = "rule 4.4, heartbeat without owner check",
    /// What waits is started after a stop has begun.
    StopStartsOn = "P11, rule 4.10",
    /// A server that stops goes on reading and taking over.
    StopReadsOn = "P11",
    /// A stop waits for Redis as long as it takes.
    StopUnbounded = "rule 4.10",
    /// The tick is the same in every server.
    TickUnjittered = "docket PR#463",
    /// A stream is trimmed without regard to other groups.
    TrimForgetsOthers = "rule 4.11, trim past another group's PEL",
    /// A stream is trimmed up to what was given out last, whatever is pending.
    TrimIgnoresPending = "jac#7696, rule 4.11",
    /// Nothing is trimmed.
    TrimMissing = "P4, rule 4.11",
    /// An expired call is known, and keeps its place, until its reply comes.
    TimeoutLeaks = "redisrpc#24",
    /// What a live process of the same name has is taken back at a start.
    TwinRobbed = "rule 4.5, duplicate instance ids",
    /// A waiting read is not ended when the stop begins.
    UnblockMissing = "rule 4.10",
    /// `UNBLOCKED` ends all reading.
    UnblockedFatal = "bullmq#648",
    /// Entries that turned out to be another consumer's before they started keep their places.
    UncountedKept = "rule 4.5",
    /// Nothing is withdrawn.
    WithdrawMissing = "P9, rule 5.2",
    /// A request is withdrawn without a look whether a worker has been given it.
    WithdrawnBlindly = "rule 5.2",
    /// A request is withdrawn while its caller has much time left.
    WithdrawnEarly = "rule 5.2, found in a review",
    /// A request is withdrawn although somebody else's group reads the stream.
    WithdrawnForOthers = "rule 5.2, trim past another group",
    /// A request is withdrawn on Redis 6.2.
    WithdrawnOnOldRedis = "rule 5.2, design section 5",
    /// A request is withdrawn by an id that another connection told.
    WithdrawnOnNewLane = "rule 5.2",
    /// Who may not withdraw tries again for each call.
    WithdrawnWithoutRight = "rule 5.2, I16",
    /// What was deleted is said to have been given to no worker, without a look behind it.
    WithdrawnUnseen = "rules 5.2 and 5.4",
}

/// The bug of an engine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seeded {
    #[cfg(seeded_bugs)]
    bug: Option<Bug>,
}

#[cfg(seeded_bugs)]
impl Seeded {
    /// This bug.
    pub(crate) const fn with(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether it is this bug.
    pub(crate) fn is(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

#[cfg(not(seeded_bugs))]
impl Seeded {
    /// No engine has a bug that was built into it.
    pub(crate) const fn is(self, _: Bug) -> bool {
        false
    }
}
