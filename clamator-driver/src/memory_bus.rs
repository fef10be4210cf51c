//! [`MemoryBus`]: Redis Streams inside this process, for programs and tests without a server.
//!
//! Not a simplification: it is the same model of Redis that the engine is tested against, with
//! consumer groups, reclaim and blocked reads. Not shared between processes and not durable. All
//! clients and servers on one bus must use clones of one runtime, whose clock is the bus's clock.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clamator_engine::memory::{ConnectionId, Options, Progress, Streams};
use clamator_engine::{Command, Hello, Instant, Refusal, Reply, Version};
use futures_util::task::AtomicWaker;

/// Redis Streams in this process's memory. A clone is another handle to the same streams, which
/// live as long as the last handle.
///
/// A request to a service that no server has ever served on the bus fails at once with
/// `NoWorkers`, since nobody else could come to serve it.
#[derive(Clone)]
pub struct MemoryBus(Arc<Mutex<Hub>>);

struct Hub {
    streams: Streams,
    /// The latest time that any user of the bus has told; the streams' clock never goes back.
    now: Instant,
    /// When a blocked read ends, whosever it is.
    deadline: Option<Instant>,
    mailboxes: BTreeMap<ConnectionId, Arc<Mailbox>>,
}

/// Replies on their way to one link.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    replies: Mutex<VecDeque<Delivery>>,
    owner: AtomicWaker,
}

/// A reply, for which connection and which of its commands.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) connection: ConnectionId,
    pub(crate) ticket: u64,
    pub(crate) reply: Result<Reply, Refusal>,
}

impl MemoryBus {
    /// Makes empty streams.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Hub {
            streams: Streams::new(Options::default()),
            now: Instant::ZERO,
            deadline: None,
            mailboxes: BTreeMap::new(),
        })))
    }

    /// Whether the streams here are those there.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Opens a connection whose replies go to `mailbox`.
    pub(crate) fn connect(&self, now: Instant, mailbox: &Arc<Mailbox>) -> (ConnectionId, Hello) {
        let mut hub = self.lock();
        let now = hub.advance(now);
        let connection = hub.streams.connect();
        hub.mailboxes.insert(connection, Arc::clone(mailbox));
        let mut hello = Hello::new(Version::new(7, 0, 0));
        hello.client_id = Some(connection.number());
        hello.embedded = true;
        hello.time = Some(hub.streams.time(now));
        (connection, hello)
    }

    /// Ends a connection; nothing more comes from it.
    pub(crate) fn disconnect(&self, now: Instant, connection: ConnectionId) {
        self.work(now, |hub, now| {
            hub.mailboxes.remove(&connection);
            hub.streams.disconnect(now, connection);
        });
    }

    /// Hands in a connection's commands, in order, each with its ticket.
    pub(crate) fn handle(
        &self,
        now: Instant,
        connection: ConnectionId,
        commands: impl IntoIterator<Item = (u64, Command)>,
    ) {
        self.work(now, |hub, now| {
            for (ticket, command) in commands {
                hub.streams.handle(now, connection, ticket, command);
            }
        });
    }

    /// Lets time pass, which ends reads that were blocked long enough.
    pub(crate) fn advance(&self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.work(now, |_, _| {});
        }
    }

    /// When the next blocked read ends, whosever it is. Every link waits for it, so that it is
    /// seen whichever of them goes away.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lock().deadline
    }

    /// Works on the streams, puts all replies into their mailboxes and wakes the owners.
    fn work(&self, now: Instant, work: impl FnOnce(&mut Hub, Instant)) {
        let mut hub = self.lock();
        let now = hub.advance(now);
        work(&mut hub, now);
        let woken = hub.deliver(now);
        drop(hub);
        // Not under the lock: waking may run anything.
        for mailbox in woken {
            mailbox.owner.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hub> {
        // A panic inside the streams would be a bug of theirs; other users go on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").finish_non_exhaustive()
    }
}

impl Hub {
    /// Users read the runtime's clock before they get the lock, so one may come a little late.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Distributes replies. Returns the mailboxes that were empty.
    fn deliver(&mut self, now: Instant) -> Vec<Arc<Mailbox>> {
        let mut woken = Vec::new();
        loop {
            match self.streams.poll(now) {
                Progress::Replied { connection, ticket, reply } => {
                    let Some(mailbox) = self.mailboxes.get(&connection) else { continue };
                    if mailbox.push(Delivery { connection, ticket, reply }) {
                        woken.push(Arc::clone(mailbox));
                    }
                }
                Progress::Idle(deadline) => {
                    self.deadline = deadline;
                    return woken;
                }
                _ => {}
            }
        }
    }
}

impl Mailbox {
    /// Has the task of `waker` woken by the next delivery to an empty mailbox.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.owner.register(waker);
    }

    pub(crate) fn pop(&self) -> Option<Delivery> {
        self.lock().pop_front()
    }

    /// Adds a delivery. Tells whether it is the only one.
    fn push(&self, delivery: Delivery) -> bool {
        let mut replies = self.lock();
        replies.push_back(delivery);
        replies.len() == 1
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
