//! [`ServerEvent`] and [`Job`]: what a server tells its application, and [`Answer`], what it is
//! told back.
//!
//! Not the rules of when a job starts or an entry is settled. A job is one delivery of one entry:
//! the application runs its handler once and ends it once, with `answer` or `abandoned`.

use core::time::Duration;

use clamator_proto::{
    InvalidEnvelope, Json, MethodName, RequestId, RpcError, ServiceName, Traceparent,
};

use crate::engine::Loss;
use crate::reply::Refusal;
use crate::stream_id::StreamId;

/// What a server tells its application.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Drop this job's handler: the grace of the stop is over. Then say `abandoned`.
    Abandon(JobId),
    /// Every lane is open, for the first time or again.
    Connected,
    /// A lane that was open is not, or could not be opened. Said once until all are open again,
    /// and once more for each further kind of reason: out of reach, TLS, credentials, ….
    Disconnected(Loss),
    /// Another worker may have been given this job's entry: what its handler comes to is not going
    /// to be heard. It may be dropped at once, or end in its own time; say so as of any other.
    LeaseLost(JobId),
    /// Something an operator may want to know.
    Notice(Notice),
    /// Run the handler of this job.
    Start(Job),
    /// Every service is being served. Said once.
    Started,
    /// Stopped; every lane is closed. Said once, the last event.
    Stopped {
        /// How many entries this server had been given and did not settle.
        left: usize,
    },
}

/// Names one job of one [`Server`](crate::Server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u64);

/// One delivery of one request or notification.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Job {
    /// How often the entry was given to a worker, this time included. At least 1.
    pub deliveries: u64,
    /// Id of its stream entry.
    pub entry: StreamId,
    /// Names the job towards the server.
    pub id: JobId,
    /// Which method is called.
    pub method: MethodName,
    /// Its parameters, as they came; `None` when there are none.
    pub params: Option<Json>,
    /// Id of the request; `None` for a notification.
    pub request: Option<RequestId>,
    /// Which service is called.
    pub service: ServiceName,
    /// The trace it belongs to; `None` when the entry does not say, as those of peers do not.
    pub traceparent: Option<Traceparent>,
    /// For how long the caller still waits, at most, from the moment at which the job is started;
    /// zero when it has just given up. `None` when the entry does not say, as those of peers and of
    /// notifications do not.
    pub remaining: Option<Duration>,
}

/// How a handler ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// With an error. Not sent for a notification.
    Error(RpcError),
    /// With a result; `null` when it has none to give. Not sent for a notification.
    Result(Json),
}

/// Something an operator may want to know. Nothing needs to be done about it by the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Entries could not be acknowledged. It is tried again; until then nothing new may be read.
    AckRefused {
        /// Whose entries.
        service: ServiceName,
        /// What Redis said.
        refusal: Refusal,
    },
    /// Redis's clock went otherwise than this server's: one of them was set, or another Redis took
    /// over. No deadline of what was written before is taken to be past. Told once until two looks
    /// at the clock agree again.
    ClockJumped,
    /// An entry was given out once too often. It was put aside as a dead letter, unstarted this time,
    /// and its caller told.
    DeadLetter {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
        /// How often it had been given out before.
        deliveries: u64,
    },
    /// A dead letter could not be written, and never will be. Its entry was acknowledged: it is gone.
    DeadLetterRefused {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
        /// What Redis said.
        refusal: Refusal,
    },
    /// The caller of a request has given up before it could be started. It was acknowledged, and did
    /// not run.
    Expired {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
    },
    /// A reply stream could not be told how long it lives. Told once; it is tried again.
    ExpiryRefused {
        /// What Redis said.
        refusal: Refusal,
    },
    /// A consumer group could not be created. It is tried again.
    GroupRefused {
        /// Whose group.
        service: ServiceName,
        /// What Redis said.
        refusal: Refusal,
    },
    /// A consumer group was gone and was created again. What it delivers may have run before.
    GroupRestored {
        /// Whose group.
        service: ServiceName,
        /// Behind which id it starts.
        after: StreamId,
    },
    /// The server's own consumer was not removed at its stop.
    ConsumerLeft {
        /// In whose group.
        service: ServiceName,
        /// How many pending entries Redis destroyed with the consumer; 0 when it is still there.
        destroyed: u64,
    },
    /// What a connection that ended was given cannot be looked for: it waits until it is claimed, for
    /// `claim_idle` at the least. Allow XPENDING and XRANGE. Said once until one is found.
    LookRefused {
        /// Whose entries.
        service: ServiceName,
        /// What Redis said.
        refusal: Refusal,
    },
    /// An entry names a method that is not served, and nobody waits for an answer. It was
    /// acknowledged.
    NotFound {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
    },
    /// An entry is no request. It was acknowledged.
    Poison {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
        /// What is wrong with it.
        fault: PoisonFault,
    },
    /// A stream could not be read. It is tried again.
    ReadRefused {
        /// Whose stream.
        service: ServiceName,
        /// What Redis said.
        refusal: Refusal,
    },
    /// A handler has run for longer than `handler_timeout` and is dropped. Another worker takes its
    /// entry over.
    HandlerOverdue {
        /// Whose handler.
        service: ServiceName,
        /// Of which entry.
        entry: StreamId,
    },
    /// Entries that are held cannot be renewed, so that another worker may be given them while this
    /// one is at work. Allow XCLAIM. Said once until they can.
    RenewalRefused {
        /// Whose entries.
        service: ServiceName,
        /// What Redis said.
        refusal: Refusal,
    },
    /// A reply will never be accepted by Redis. The entry was acknowledged without it.
    ReplyRefused {
        /// Whose reply.
        service: ServiceName,
        /// To which entry.
        entry: StreamId,
        /// What Redis said.
        refusal: Refusal,
    },
    /// A request asks for its reply outside this deployment. It runs and gets none.
    ReplyToRefused {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
    },
    /// An entry does not arrive: each of many connections ended on which nothing else was asked for, as
    /// when it is larger than `client-output-buffer-limit` or a proxy allows. It did not run.
    Unreadable {
        /// On whose stream.
        service: ServiceName,
        /// Which entry.
        entry: StreamId,
        /// Whether each of them was closed from the other side. Then the entry was acknowledged: it is
        /// gone. Else it took too long, or could not be read, and is left to other workers.
        settled: bool,
    },
}

/// Why an entry is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoisonFault {
    /// Its envelope is not a valid JSON-RPC envelope.
    #[error("{} {_0}", _0.code())]
    Envelope(InvalidEnvelope),
    /// It has no envelope, or an empty one.
    #[error("no envelope")]
    NoEnvelope,
    /// Its envelope is a response.
    #[error("a response is not a request")]
    Response,
}
