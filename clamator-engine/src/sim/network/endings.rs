//! How connections end: one by one, with their process, or all with the server.
//!
//! Not the carrying of what is under way on those that do not. A connection has two ends: its
//! node's is gone at once, Redis's when what was sent has arrived, or its keepalive runs out.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Cut, NetworkEvent, NodeId, Revival};
use super::wire::Flight;
use super::{Network, Parcel};
use crate::command::Command;
use crate::engine::{Lane, Loss};
use crate::memory::Snapshot;
use crate::reply::Refusal;
use crate::time::Instant;

/// How long Redis takes to notice that a connection without an end is gone.
const KEEPALIVE: Duration = Duration::from_secs(8);

impl Network {
    /// A connection ends, and the node is told, unless it is half-open. Tells whether there was
    /// one.
    pub fn cut(&mut self, now: Instant, node: NodeId, lane: Lane, cut: Cut) -> bool {
        let Some(number) = self.by_lane.get(&(node, lane)).copied() else { return false };
        if cut == Cut::HalfOpen {
            return self.silence(now, number);
        }
        let loss = Loss::Closed { detail: "connection reset".to_string() };
        self.detach(now, number, cut);
        self.outbox.push_back(NetworkEvent::Lost { node, lane, loss });
        true
    }

    /// The process of a node is gone, and with it its connections, of which Redis hears at once.
    pub fn kill(&mut self, now: Instant, node: NodeId) {
        for lane in self.lanes(node) {
            let cut = if self.dice.chance(50) { Cut::BeforeWrite } else { Cut::BeforeReply };
            if let Some(number) = self.by_lane.get(&(node, lane)).copied() {
                self.detach(now, number, cut);
            }
        }
        self.outbox.retain(|event| event.node() != Some(node));
    }

    /// Redis ends and comes up again at `up`, with this data.
    pub fn restart(&mut self, now: Instant, up: Instant, revival: Revival) {
        self.cut_all(now, |_| true);
        match revival {
            Revival::Empty => self.streams.flush_all(now),
            Revival::Kept => {}
            Revival::Old(snapshot) => self.streams.restore(now, snapshot),
        }
        self.refuse_until(up);
    }

    /// Another server, with this data, takes over. Some connections end; the others now lead to a
    /// server that takes no writes and hears of none, and blocked reads are ended there.
    ///
    /// <https://redis.io/docs/latest/operate/oss_and_stack/management/replication/>
    pub fn fail_over(&mut self, now: Instant, snapshot: Snapshot) {
        let mut dice = self.dice.split();
        self.cut_all(now, |_| dice.chance(50));
        self.streams.restore(now, snapshot);
        let stay: Vec<u64> = self.by_lane.values().copied().collect();
        for number in stay {
            self.demote(now, number);
        }
    }

    /// Ends a connection at its node's side.
    pub(super) fn detach(&mut self, now: Instant, number: u64, cut: Cut) {
        let takes = self.travel();
        let Some(wire) = self.wires.get_mut(&number) else { return };
        wire.dead = true;
        self.by_lane.remove(&(wire.node, wire.lane));
        let silent = wire.silent;
        let Some(connection) = wire.connection else {
            self.wires.remove(&number);
            return;
        };
        let end = if silent { now + KEEPALIVE } else { wire.arrival(now + takes) };
        if cut == Cut::BeforeWrite {
            self.drop_commands(number);
        }
        self.plan(end, Parcel::End { connection });
    }

    /// From now on a connection carries nothing.
    fn silence(&mut self, now: Instant, number: u64) -> bool {
        let Some(wire) = self.wires.get_mut(&number) else { return false };
        if wire.silent || wire.connection.is_none() {
            return false;
        }
        wire.silent = true;
        self.drop_commands(number);
        let of_wire = |parcel: &Parcel| matches!(parcel, Parcel::Reply { wire, .. } | Parcel::Welcome { wire } if *wire == number);
        self.agenda.retain(|parcel| !of_wire(parcel));
        let loss = Loss::Closed { detail: "connection timed out".to_string() };
        self.plan(now + KEEPALIVE, Parcel::Lost { wire: number, loss });
        true
    }

    fn drop_commands(&mut self, number: u64) {
        self.agenda
            .retain(|parcel| !matches!(*parcel, Parcel::Command { wire, .. } if wire == number));
    }

    fn cut_all(&mut self, now: Instant, mut which: impl FnMut(Lane) -> bool) {
        let lanes: Vec<(NodeId, Lane)> = self.by_lane.keys().copied().collect();
        for (node, lane) in lanes {
            if which(lane) {
                let cut = if self.dice.chance(50) { Cut::BeforeWrite } else { Cut::BeforeReply };
                self.cut(now, node, lane, cut);
            }
        }
        // What is written to a server that is gone reaches nobody, and nobody hears from it.
        let gone: Vec<u64> =
            self.wires.iter().filter(|(_, wire)| wire.dead).map(|(number, _)| *number).collect();
        for number in gone {
            self.drop_commands(number);
            if let Some(connection) = self.wires.remove(&number).and_then(|wire| wire.connection) {
                self.owners.remove(&connection);
                self.streams.disconnect(now, connection);
            }
        }
    }

    /// A connection now leads to a server that takes no writes.
    fn demote(&mut self, now: Instant, number: u64) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        wire.demoted = true;
        let Some(connection) = wire.connection else { return };
        let blocked = |flight: &Flight| {
            matches!(flight.command, Command::XRead { .. } | Command::XReadGroup { .. })
        };
        if !wire.flights.iter().any(blocked) {
            return;
        }
        // The connection stays; only its wait ends, and with it what was queued behind it.
        let fresh = self.streams.connect();
        wire.connection = Some(fresh);
        for flight in &mut wire.flights {
            let text = "force unblock from blocking operation, instance state changed \
                        (master -> replica?)";
            flight.refusal = Some(Refusal::new("UNBLOCKED", text));
        }
        self.owners.remove(&connection);
        self.owners.insert(fresh, number);
        self.streams.disconnect(now, connection);
        self.answer_refused(now, number);
    }
}
