//! [`Network`]: a Redis server at the other end of connections that can fail in every way.
//!
//! Not the deciding when something fails: whoever owns the network calls for it. Each connection
//! keeps the order of what it carries, in both directions, and takes its time; across connections
//! nothing is promised. What becomes of commands on a connection that ends is the caller's choice,
//! as in life: they never arrive, or they are carried out and nobody hears of it. The one thing a
//! caller could break: `now` must never go back.

mod endings;
mod event;
#[cfg(test)]
pub(super) mod stage;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

pub use self::event::{Cut, Executed, NetworkEvent, NodeId, Revival};
pub use self::trouble::Trouble;
use self::wire::{Flight, Wire};
use super::agenda::Agenda;
use super::dice::Dice;
use crate::command::Command;
use crate::engine::{Hello, Lane, Loss, Version};
use crate::memory::{ConnectionId, Options, Progress, Streams};
use crate::reply::{Refusal, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// A Redis server and the connections to it.
#[derive(Debug)]
pub struct Network {
    agenda: Agenda<Parcel>,
    dice: Dice,
    /// Nobody can connect before this time.
    down_until: Instant,
    executed: Option<VecDeque<Executed>>,
    hangs_until: Instant,
    /// The usual time from end to end.
    latency: Duration,
    /// The longest value that Redis takes.
    value_max: usize,
    outbox: VecDeque<NetworkEvent>,
    owners: BTreeMap<ConnectionId, u64>,
    streams: Streams,
    trouble: Option<(Instant, Trouble)>,
    version: Version,
    wire_number: u64,
    wires: BTreeMap<u64, Wire>,
    by_lane: BTreeMap<(NodeId, Lane), u64>,
}

/// What is on its way.
#[derive(Debug)]
enum Parcel {
    /// To Redis.
    Command { wire: u64, ticket: u64, command: Command },
    /// Redis, or nobody, takes the connection.
    Connect { wire: u64 },
    /// To Redis: the end of a connection.
    End { connection: ConnectionId },
    /// To a node: the end of a connection.
    Lost { wire: u64, loss: Loss },
    /// To a node.
    Reply { wire: u64, ticket: u64, reply: Result<Reply, Refusal> },
    /// To a node: it is connected.
    Welcome { wire: u64 },
}

/// The most parts of one answer.
const PARTS_MAX: u32 = 8;

impl Network {
    /// Starts a Redis server of this version without any keys. `latency` is what a command or a
    /// reply usually takes on its way.
    #[must_use]
    pub fn new(seed: u64, version: Version, latency: Duration) -> Self {
        let options = Options { version, ..Options::default() };
        Self {
            agenda: Agenda::new(),
            dice: Dice::new(seed),
            down_until: Instant::ZERO,
            executed: None,
            hangs_until: Instant::ZERO,
            latency,
            value_max: usize::MAX,
            outbox: VecDeque::new(),
            owners: BTreeMap::new(),
            streams: Streams::new(options),
            trouble: None,
            version,
            wire_number: 0,
            wires: BTreeMap::new(),
            by_lane: BTreeMap::new(),
        }
    }

    /// Keeps what Redis executes from now on, for [`Self::take_executed`].
    pub fn observe(&mut self) {
        self.executed.get_or_insert_default();
    }

    /// Redis ends connections on which an entry comes with a value longer than this.
    ///
    /// <https://redis.io/docs/latest/develop/reference/clients/#query-buffer-hard-limit>
    pub const fn limit_values(&mut self, bytes: usize) {
        self.value_max = bytes;
    }

    /// Takes the oldest command that was executed and not taken.
    pub fn take_executed(&mut self) -> Option<Executed> {
        self.executed.as_mut()?.pop_front()
    }

    /// Redis itself, to look at.
    #[must_use]
    pub const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Redis itself, to meddle with. Let [`Self::poll`] follow.
    pub const fn streams_mut(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Starts to connect a lane, which is not connected.
    pub fn open(&mut self, now: Instant, node: NodeId, lane: Lane) {
        self.wire_number += 1;
        let wire = self.wire_number;
        self.wires.insert(wire, Wire::new(node, lane));
        self.by_lane.insert((node, lane), wire);
        let takes = self.travel() * 3;
        self.plan(now + takes, Parcel::Connect { wire });
    }

    /// Sends a command on a lane. `ticket` comes back with its reply.
    pub fn send(&mut self, now: Instant, node: NodeId, lane: Lane, ticket: u64, command: Command) {
        let takes = self.travel();
        let Some(number) = self.by_lane.get(&(node, lane)).copied() else { return };
        let Some(wire) = self.wires.get_mut(&number) else { return };
        if wire.dead || wire.silent {
            return;
        }
        let at = wire.arrival(now + takes);
        self.plan(at, Parcel::Command { wire: number, ticket, command });
    }

    /// Ends a lane from the node's side. What was sent arrives.
    pub fn close(&mut self, now: Instant, node: NodeId, lane: Lane) {
        if let Some(number) = self.by_lane.get(&(node, lane)).copied() {
            self.detach(now, number, Cut::BeforeReply);
        }
    }

    /// A connection carries what it is given from now on later by this much.
    pub fn slow(&mut self, now: Instant, node: NodeId, lane: Lane, by: Duration) -> bool {
        let number = self.by_lane.get(&(node, lane)).copied();
        let Some(wire) = number.and_then(|number| self.wires.get_mut(&number)) else {
            return false;
        };
        wire.delay(now + by);
        true
    }

    /// The lanes of a node that are connected, or being connected.
    #[must_use]
    pub fn lanes(&self, node: NodeId) -> Vec<Lane> {
        let all = (node, Lane::Command)..=(node, Lane::Blocking(u16::MAX));
        self.by_lane.range(all).map(|((_, lane), _)| *lane).collect()
    }

    /// The nodes that have lanes, in the order of their numbers.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.by_lane.keys().map(|(node, _)| *node).collect();
        nodes.dedup();
        nodes
    }

    /// Connecting fails at once until then.
    pub fn refuse_until(&mut self, until: Instant) {
        self.down_until = self.down_until.max(until);
    }

    /// Connecting takes longer than anybody waits, until then.
    pub fn hang_until(&mut self, until: Instant) {
        self.hangs_until = self.hangs_until.max(until);
    }

    /// Redis answers commands in this way, until then.
    pub fn trouble_until(&mut self, until: Instant, trouble: Trouble) {
        self.trouble = Some((until, trouble));
    }

    /// Ends every trouble: from now on everything works. Connections that carry nothing stay so.
    pub fn heal(&mut self) {
        self.down_until = Instant::ZERO;
        self.hangs_until = Instant::ZERO;
        self.trouble = None;
        for wire in self.wires.values_mut() {
            wire.demoted = false;
        }
    }

    /// Says the next thing that happened. Call until [`NetworkEvent::Idle`].
    pub fn poll(&mut self, now: Instant) -> NetworkEvent {
        self.hear(now);
        loop {
            if let Some(event) = self.outbox.pop_front() {
                return event;
            }
            let Some((at, parcel)) = self.agenda.take(now) else {
                return NetworkEvent::Idle(self.due());
            };
            self.deliver(at, now, parcel);
        }
    }

    /// When [`Self::poll`] has something to say; long ago when it has now.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if !self.outbox.is_empty() {
            return Some(Instant::ZERO);
        }
        self.agenda.due().into_iter().chain(self.streams.due()).min()
    }

    /// What a command or a reply takes this time.
    fn travel(&mut self) -> Duration {
        let usual = self.latency;
        match self.dice.roll(200) {
            0 => usual * 30,
            1..=10 => usual * 4,
            roll => usual / 2 + usual * u32::try_from(roll).unwrap_or(0) / 200,
        }
    }

    fn plan(&mut self, at: Instant, parcel: Parcel) {
        self.agenda.plan(at, parcel);
    }

    fn deliver(&mut self, at: Instant, now: Instant, parcel: Parcel) {
        match parcel {
            Parcel::Command { wire, command, .. } if self.is_too_long(&command) => {
                if let Some(Wire { node, lane, dead: false, .. }) = self.wires.get(&wire) {
                    let (node, lane) = (*node, *lane);
                    self.cut(now, node, lane, Cut::BeforeWrite);
                }
            }
            Parcel::Command { wire, ticket, command } => self.take(now, wire, ticket, command),
            Parcel::Connect { wire } => self.connect(at, now, wire),
            Parcel::End { connection } => {
                self.streams.disconnect(now, connection);
                self.hear(now);
                if let Some(wire) = self.owners.remove(&connection) {
                    self.wires.remove(&wire);
                }
            }
            Parcel::Lost { wire, loss } => {
                if let Some(Wire { node, lane, dead: false, .. }) = self.wires.get(&wire) {
                    let (node, lane) = (*node, *lane);
                    self.detach(now, wire, Cut::BeforeReply);
                    self.outbox.push_back(NetworkEvent::Lost { node, lane, loss });
                }
            }
            Parcel::Reply { wire, ticket, reply } => {
                if let Some(Wire { node, lane, dead: false, .. }) = self.wires.get(&wire) {
                    let (node, lane) = (*node, *lane);
                    self.outbox.push_back(NetworkEvent::Replied { node, lane, ticket, reply });
                }
            }
            Parcel::Welcome { wire } => self.welcome(now, wire),
        }
    }

    fn is_too_long(&self, command: &Command) -> bool {
        let Command::XAdd { fields, .. } = command else { return false };
        fields.iter().any(|(_, value)| value.len() > self.value_max)
    }

    fn connect(&mut self, at: Instant, now: Instant, number: u64) {
        let takes = self.travel() * 2;
        let Some(wire) = self.wires.get_mut(&number).filter(|wire| !wire.dead) else { return };
        if at < self.down_until {
            let address = "127.0.0.1:6379".to_string();
            let detail = "connection refused".to_string();
            let loss = Loss::Unreachable { address, detail };
            return self.plan(now + takes, Parcel::Lost { wire: number, loss });
        }
        if at < self.hangs_until {
            return;
        }
        let connection = self.streams.connect();
        wire.connection = Some(connection);
        self.owners.insert(connection, number);
        let at = wire.told(now + takes);
        self.plan(at, Parcel::Welcome { wire: number });
    }

    fn welcome(&mut self, now: Instant, number: u64) {
        let Some(wire) = self.wires.get(&number).filter(|wire| !wire.dead) else { return };
        let mut hello = Hello::new(self.version);
        hello.client_id = wire.connection.map(ConnectionId::number);
        hello.time = Some(self.streams.time(now));
        let (node, lane) = (wire.node, wire.lane);
        self.outbox.push_back(NetworkEvent::Opened { node, lane, hello });
    }

    /// Redis takes a command in, and refuses it if there is trouble.
    fn take(&mut self, now: Instant, number: u64, ticket: u64, command: Command) {
        let trouble = self.trouble.filter(|(until, _)| now < *until).map(|(_, trouble)| trouble);
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let Some(connection) = wire.connection else { return };
        let demoted = wire.demoted.then_some(Trouble::ReadOnly);
        let asked = if wire.demoted { behind_everything(&command) } else { command.clone() };
        let refusal = trouble.into_iter().chain(demoted).find_map(|it| it.refusal(&command));
        let refused = refusal.is_some();
        wire.flights.push_back(Flight { ticket, command, refusal });
        if refused {
            self.answer_refused(now, number);
        } else {
            self.streams.handle(now, connection, ticket, asked);
        }
        self.hear(now);
    }

    /// Takes what Redis says.
    fn hear(&mut self, now: Instant) {
        while let Progress::Replied { connection, ticket, reply } = self.streams.poll(now) {
            let Some(number) = self.owners.get(&connection).copied() else { continue };
            self.answer(now, number, ticket, reply);
            self.answer_refused(now, number);
        }
    }

    /// Answers the refused commands that are next in their connection's order.
    fn answer_refused(&mut self, now: Instant, number: u64) {
        while let Some(Flight { ticket, refusal: Some(refusal), .. }) =
            self.wires.get(&number).and_then(|wire| wire.flights.front())
        {
            let (ticket, refusal) = (*ticket, refusal.clone());
            self.answer(now, number, ticket, Err(refusal));
        }
    }

    fn answer(&mut self, now: Instant, number: u64, ticket: u64, reply: Result<Reply, Refusal>) {
        let takes = self.travel() * parts(&reply);
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let Some(flight) = wire.flights.pop_front() else { return };
        assert_eq!(flight.ticket, ticket, "a connection's replies come in order");
        if let Some(executed) = &mut self.executed {
            let (node, command, reply) = (wire.node, flight.command, reply.clone());
            executed.push_back(Executed { at: now, node, ticket, command, reply });
        }
        if !wire.dead && !wire.silent {
            let at = wire.told(now + takes);
            self.plan(at, Parcel::Reply { wire: number, ticket, reply });
        }
    }
}

/// The same command, of which a server knows nothing new that was cut off from all others.
fn behind_everything(command: &Command) -> Command {
    let mut command = command.clone();
    if let Command::XRead { after, .. } = &mut command {
        *after = StreamId::MAX;
    }
    command
}

/// Into how many parts an answer is taken apart on its way: each entry is one.
fn parts(reply: &Result<Reply, Refusal>) -> u32 {
    let (Ok(Reply::Entries(entries)) | Ok(Reply::Claimed { entries, .. })) = reply else {
        return 1;
    };
    u32::try_from(entries.len()).unwrap_or(PARTS_MAX).clamp(1, PARTS_MAX)
}
