//! [`Point`]: situations that the simulator must really reach, by name, and how often it did.
//!
//! Not promises, which are the invariants': a point says that something was tried, not that it
//! went well. A point that is never met means that the rule it cites is not tested. They are
//! recognised from outside, by the facts that invariants see; no engine knows of them.

mod calling;
mod lanes;
mod settling;
mod taking;
mod watch;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

pub(super) use self::watch::Watch;

macro_rules! points {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A situation that must be met. Each cites its rule of the design.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Point {
            $($(#[doc = $doc])* $name,)*
        }

        impl Point {
            /// All points.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

points! {
    /// An acknowledgement of entries that another worker had taken over meanwhile (4.5).
    AckAfterTakeover,
    /// One acknowledgement of several entries (4).
    AckOfMany,
    /// An acknowledgement of entries of which Redis knows nothing any more (4.1).
    AckOfNothing,
    /// An acknowledgement was carried out, its answer was lost, and it was sent again (4).
    AckRepeatedAfterExecution,
    /// An acknowledgement never arrived, and was sent again (4).
    AckRepeatedAfterLoss,
    /// An acknowledgement was refused (4).
    AckRefused,
    /// A settled entry was given out again, after the data was restored (4.1).
    AcknowledgedGivenAgain,
    /// A reply to a caller that had given up (5.2).
    AnswerToCancelledCall,
    /// A reply to a call that had timed out (5.2).
    AnswerToExpiredCall,
    /// A reply to a client that had gone (4.11).
    AnswerToGoneClient,
    /// A lane was opened again after the longest pause (3).
    BackoffAtItsLongest,
    /// A server ran handlers of two services at once (4.2).
    BothServicesBusy,
    /// A call's outcome was not known, and it was on its stream (5.4).
    CallOutcomeUnknownAndWritten,
    /// A call's outcome was not known, and it never arrived (5.4).
    CallOutcomeUnknownAndNotWritten,
    /// A call failed because no lane was open (5.4).
    CallNotSent,
    /// A call was refused by Redis (5.4).
    CallRefused,
    /// A call was answered with an error (5.4).
    CallRpcError,
    /// A call ended because its client stopped (5.7).
    CallStopped,
    /// A call timed out and its handler never ran to its end (5.2).
    CallTimedOutUnserved,
    /// A call timed out although a handler had ended for it (5.2).
    CallTimedOutServed,
    /// A call waited until its connection was made (5.4).
    CallWaitedForLane,
    /// A call waited for a place in the reply stream (5.3).
    CallWaitedForPlace,
    /// A handler started for a call whose caller had given up (5.2).
    CancelledCallRan,
    /// A scan went on where it had stopped (4.5).
    ClaimContinued,
    /// A claim came back with as many entries as it asked for (4.5).
    ClaimCameBackFull,
    /// A claim named entries that are not in the stream any more (4.5).
    ClaimFoundDeleted,
    /// A claim on Redis 6.2 found entries that are gone without naming them (4.5).
    ClaimFoundNameless,
    /// A claim found nothing (4.5).
    ClaimFoundNothing,
    /// A claim took entries over, and its answer was lost (4.5).
    ClaimLostWithEntries,
    /// A claim never arrived (4.5).
    ClaimLostUnexecuted,
    /// A claim was refused for want of permission (4.5).
    ClaimRefused,
    /// A claim gave entries that a process that had crashed left (4.5).
    ClaimTookFromCrashed,
    /// A claim gave an entry that its claimer is running (4.5).
    ClaimTookOwnRunning,
    /// A claim gave an entry that another worker is running (4.4).
    ClaimTookRunning,
    /// A claim of a worker of ours gave entries (4.5).
    ClaimTookSomething,
    /// Two looks at Redis's clock disagreed (4.9).
    ClockJumped,
    /// A process that is stopped connected again (4.10).
    ConnectedWhileStopping,
    /// A connection was given up while it was made (3).
    ConnectGivenUp,
    /// A connection could not be made (3).
    ConnectRefused,
    /// A consumer was removed at the stop (4.10).
    ConsumerRemoved,
    /// Consumers of those who are gone were removed (4.11).
    ConsumersRemoved,
    /// A server stopped and left its consumer, as something was pending or may yet be (4.10).
    ConsumerStays,
    /// An entry that was started too often was put aside (4.8).
    DeadLetter,
    /// A dead letter could not be written, and never will be (4.8).
    DeadLetterRefused,
    /// A handler started for an entry that was delivered at least three times (4.8).
    DeliveredThrice,
    /// A reply that a client had had before was dropped (5.1).
    DuplicateReplyDropped,
    /// A command was carried out after its lane was given up (3).
    ExecutedAfterLaneEnded,
    /// A handler started for a call that had timed out (4.9).
    ExpiredCallRan,
    /// A request was settled unstarted, as its caller had given up (4.9).
    ExpiredSkipped,
    /// A reply stream could not be told how long it lives (4.11).
    ExpiryRefused,
    /// An entry was found to be gone after a claim that named none (4.5).
    GhostFound,
    /// An entry was given out as new a second time (4.1).
    GivenAsNewTwice,
    /// A group was found to be there by the server that wanted to create it first (4.1).
    GroupFoundAtStart,
    /// A group was gone while a handler of it ran (4.1).
    GroupGoneWhileRunning,
    /// A group could not be created (4.1).
    GroupRefused,
    /// A group was created again at its mark (4.1).
    GroupRestoredAtMark,
    /// A group was created again at the start of another stream (4.1).
    GroupRestoredAtStart,
    /// A group that was gone had been created again by a sibling (4.1).
    GroupRestoredBySibling,
    /// A handler was dropped at the end of the grace (4.10).
    HandlerDropped,
    /// A handler ended after another worker had taken its entry over (4.4).
    HandlerEndedAfterTakeover,
    /// A handler ended after another worker had settled its entry (4.4).
    HandlerEndedAfterSettled,
    /// A handler ended within the grace of a stop (4.10).
    HandlerEndedInGrace,
    /// A frozen worker went on and ended a handler whose entry was taken over meanwhile (4.4).
    HandlerThawedAfterTakeover,
    /// What waited at a stop was handed back (4.10).
    HandedBack,
    /// What a handler had been started for was handed back when that was dropped (4.10).
    HandedBackStarted,
    /// What was to be handed back was left out (4.10).
    HandBackLeftOut,
    /// A handler took longer than `claim_idle` (4.4).
    HandlerOutlastedClaimIdle,
    /// A service ran as many handlers as it may (4.2).
    HandlersAtLimit,
    /// An entry got an id that is ahead of Redis's clock (3).
    IdAheadOfClock,
    /// A lane was given up because an answer was overdue (3).
    LaneOverdue,
    /// All lanes of a process were lost at once (3).
    LanesLostAtOnce,
    /// A lane was given up because it led to a server that cannot serve (3).
    LaneUnfit,
    /// A renewal left out an entry, which was still the worker's, or not any more (4.4).
    LeaseLeftOut,
    /// A renewal was answered with all that it asked for (4.4).
    LeaseRenewed,
    /// A look found nothing pending (4.5).
    LookEmpty,
    /// A look found an entry that its process had not seen (4.5).
    LookFound,
    /// A look found an entry that is not in the stream any more (4.5).
    LookFoundDeleted,
    /// A server was not allowed to look (4.5).
    LookRefused,
    /// What a lost read had been given was found by its own worker (4.5).
    LostReadFound,
    /// A request for a method that is not served was answered (4.7).
    MethodNotFoundAnswered,
    /// A notification for a method that is not served was dropped (4.7).
    MethodNotFoundDropped,
    /// The group was gone when a claim arrived (4.1).
    NoGroupOnClaim,
    /// The group was gone when pending entries were asked for (4.1).
    NoGroupOnPending,
    /// The group was gone when a read arrived (4.1).
    NoGroupOnRead,
    /// A notification was on its stream (5.6).
    NotificationWritten,
    /// Entries were settled whose envelope is none (4.8).
    PoisonEnvelope,
    /// An entry was settled that has no envelope (4.8).
    PoisonNoEnvelope,
    /// An entry was settled that is a response (4.8).
    PoisonResponse,
    /// A stream was read while a handler of it ran (4.3).
    ReadBehindHandler,
    /// A read gave several entries at once (4.3).
    ReadGaveMany,
    /// A read gave entries, and its answer was lost (4.5).
    ReadLostWithEntries,
    /// A read was refused (4.12).
    ReadRefused,
    /// A renewal was refused for want of permission (4.4).
    RenewalRefused,
    /// A reply never arrived, and was sent again (4).
    ReplyRepeatedAfterLoss,
    /// A reply was written, its answer was lost, and it was written again (4).
    ReplyRepeatedAfterExecution,
    /// A reply was refused for ever (4.6).
    ReplyRefusedForEver,
    /// A reply was refused for a while, and accepted later (4.12).
    ReplyRefusedThenAccepted,
    /// A reply stream that was there for an earlier reply was gone (4.11).
    ReplyStreamGone,
    /// A reply was found when the reply lane was opened again (5.1).
    ReplyFoundAfterReconnect,
    /// A reply was found only by reading the reply stream again (5.1).
    ReplyFoundByRereading,
    /// A reply came under a lower id than one before: its stream is another one (5.1).
    ReplyUnderLowerId,
    /// A reply was asked for outside the deployment (4.7).
    ReplyToRefused,
    /// A reply stream was trimmed while its client had not read all that was dropped (4.11).
    RepliesTrimmedUnread,
    /// A reply stream was read again from its start after a silence (5.1).
    RereadAfterSilence,
    /// A scan came to the end of the pending entries, and starts again (4.5).
    ScanWrapped,
    /// What a lost read had been given was found with the second look (4.5).
    SecondLookFound,
    /// A Python worker ran an entry (1).
    PythonServed,
    /// A Python worker took over what a worker of ours held (1).
    PythonTookOurs,
    /// A worker of ours took over what a Python worker held (1).
    PythonsTaken,
    /// A Python worker took over what it held itself (1).
    PythonTookItsOwn,
    /// A process was stopped before all its lanes were open (4.10).
    StoppedWithLaneDown,
    /// A server was stopped before it had begun to read (4.10).
    StoppedBeforeReading,
    /// A server stopped and left entries (4.10).
    StoppedWithEntriesLeft,
    /// What an earlier process of this name had was taken back at a start (4.5).
    TakenBack,
    /// A server trimmed what peers had left (4.11).
    StreamTrimmed,
    /// A stopped server's read was ended by UNBLOCK (4.10).
    StopUnblocked,
    /// A stopped server's read ran out (4.10).
    StopWaitedForBlock,
    /// A client saw the reply to a call of its twin, which it dropped (5.1).
    TwinReplyDropped,
    /// Two workers ran one entry at once (4.4).
    TwoWorkersRan,
    /// A waiting read was told that its group or server is not what it was (4.1).
    Unblocked,
    /// A client was refused to look or to delete (5.2).
    WithdrawalRefused,
    /// A request that no worker was given was taken back, and its caller told so (5.2).
    Withdrawn,
    /// The request of a call that was cancelled was taken back (5.2).
    WithdrawnOfCancelled,
    /// A request was deleted that a worker was given meanwhile (5.2).
    WithdrawnTooLate,
    /// Nothing was deleted behind an acknowledgement, as somebody else reads the stream (4.11).
    WithheldDelete,
    /// What is no reply to anybody was dropped by a client (5.1).
    WrongReplyDropped,
}

/// How many points there are.
const POINTS: usize = Point::ALL.len();

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How often each point was met, and in how many runs.
#[derive(Clone, PartialEq, Eq)]
pub struct PointCounts(Vec<(u64, u64)>);

impl Default for PointCounts {
    fn default() -> Self {
        Self(vec![(0, 0); POINTS])
    }
}

impl fmt::Debug for PointCounts {
    /// How often each point was met that was met at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = Point::ALL.iter().filter(|point| self.of(**point) > 0);
        f.debug_map().entries(met.map(|point| (point, self.of(*point)))).finish()
    }
}

impl PointCounts {
    /// How often a point was met.
    #[must_use]
    pub fn of(&self, point: Point) -> u64 {
        self.0.get(point as usize).map_or(0, |(hits, _)| *hits)
    }

    /// In how many runs a point was met.
    #[must_use]
    pub fn seeds_with(&self, point: Point) -> u64 {
        self.0.get(point as usize).map_or(0, |(_, seeds)| *seeds)
    }

    /// Adds what others have counted.
    pub fn merge(&mut self, others: &Self) {
        for (own, other) in self.0.iter_mut().zip(&others.0) {
            own.0 += other.0;
            own.1 += other.1;
        }
    }
}

/// The points that one run has met.
#[derive(Debug)]
struct Hits([u32; POINTS]);

impl Hits {
    const fn new() -> Self {
        Self([0; POINTS])
    }

    fn hit(&mut self, point: Point) {
        if let Some(hits) = self.0.get_mut(point as usize) {
            *hits += 1;
        }
    }

    /// Counts the point if this is so.
    fn hit_if(&mut self, is_so: bool, point: Point) {
        if is_so {
            self.hit(point);
        }
    }

    fn counts(&self) -> PointCounts {
        PointCounts(self.0.iter().map(|hits| (u64::from(*hits), u64::from(*hits > 0))).collect())
    }
}
