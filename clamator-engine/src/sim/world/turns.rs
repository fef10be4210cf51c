//! A node's turn: what has come is taken in, then what is due, then what it says is done.
//!
//! Not what its application does: see `work`. The order is the one that the porting contract asks
//! of every driver: replies before the tick, all with one time, then the drain.

use super::super::fact::Fact;
use super::super::history::{NodeState, is_dead};
use super::super::network::NodeId;
use super::super::node::{Arrival, Said, Step};
use super::World;
use crate::command::Command;
use crate::engine::{Deadline, Input, Lane, Output, Token};
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::time::Instant;

impl World {
    /// Gives a node its turn.
    pub(super) fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.touched = false;
        node.unfit.clear();
        if node.frozen_until.is_some_and(|until| until > now) {
            return;
        }
        node.frozen_until = None;
        for arrival in core::mem::take(&mut node.inbox) {
            if self.arrive(id, arrival) {
                return;
            }
        }
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.due.is_some_and(|due| due.at <= node.local(now)) {
            node.handle_input(now, Input::Tick);
        }
        self.drain(id);
        if self.history.nodes.get(id).is_none_or(|info| info.state == NodeState::Gone) {
            self.remove(id);
        }
    }

    /// Takes one thing in. Tells whether the process is gone.
    fn arrive(&mut self, id: NodeId, arrival: Arrival) -> bool {
        let now = self.now;
        match arrival {
            Arrival::Input(input) => {
                match &input {
                    Input::LaneOpen(lane, _) => self.tell(&Fact::Opened { node: id, lane: *lane }),
                    Input::LaneLost(lane, _) => {
                        self.void(id, *lane);
                        self.tell(&Fact::Lost { node: id, lane: *lane });
                    }
                    Input::Progress { .. } | Input::Reply(..) | Input::Tick => {}
                }
                if let Some(node) = self.nodes.get_mut(id) {
                    node.handle_input(now, input);
                }
                false
            }
            Arrival::Reply(number, reply) => self.arrive_reply(id, number, reply),
        }
    }

    fn arrive_reply(&mut self, id: NodeId, number: u64, reply: Result<Reply, Refusal>) -> bool {
        let now = self.now;
        let sent = self.nodes.get_mut(id).and_then(|node| node.answered(number));
        let Some((token, command)) = sent else { return false };
        let given = matches!(&reply, Ok(Reply::Entries(entries)) if !entries.is_empty())
            && matches!(command, Command::XReadGroup { .. });
        if given && self.crash_at(id, Step::Given) {
            return true;
        }
        let (lane, ticket) = (token.lane(), number);
        let unfit = self.nodes.get(id).is_some_and(|node| node.unfit.contains(&lane));
        if !unfit {
            self.tell(&Fact::Replied { node: id, lane, command: &command, ticket, reply: &reply });
        }
        if let Some(node) = self.nodes.get_mut(id) {
            let unfit = matches!(&reply, Err(it) if it.kind() == RefusalKind::WrongServer);
            if unfit && node.leaves_the_unfit() {
                node.unfit.push(lane);
            }
            node.handle_input(now, Input::Reply(token, reply));
        }
        false
    }

    /// Does all that a node says.
    pub(super) fn drain(&mut self, id: NodeId) {
        while let Some(output) = self.nodes.get_mut(id).map(|node| node.poll_output()) {
            match output {
                Output::Close(lane) => {
                    self.void(id, lane);
                    self.network.close(self.now, id, lane);
                    self.tell(&Fact::Closed { node: id, lane });
                }
                Output::Command { lane, token, command, deadline } => {
                    if self.send(id, lane, token, command, deadline) {
                        return;
                    }
                }
                Output::Event(said) => self.hear_said(id, said),
                Output::Idle(due) => return self.idle(id, due),
                Output::Open(lane) => {
                    self.tell(&Fact::Opening { node: id, lane });
                    self.network.open(self.now, id, lane);
                }
            }
        }
    }

    /// Sends a command. Tells whether the process is gone.
    fn send(
        &mut self,
        id: NodeId,
        lane: Lane,
        token: Token,
        command: Command,
        deadline: Instant,
    ) -> bool {
        let Some(node) = self.nodes.get(id) else { return true };
        let (local, ticket) = (node.local(self.now), token.number());
        self.tell(&Fact::Sent { node: id, lane, command: &command, ticket, local, deadline });
        self.network.send(self.now, id, lane, ticket, command.clone());
        let step = step_of(&command);
        if let Some(node) = self.nodes.get_mut(id) {
            node.note(token, command);
        }
        step.is_some_and(|step| self.crash_at(id, step))
    }

    fn idle(&mut self, id: NodeId, due: Option<Deadline>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.due = due;
        let (local, held) = (node.local(now), node.held());
        self.tell(&Fact::Idle { node: id, local, due, held });
    }

    fn hear_said(&mut self, id: NodeId, said: Said) {
        match said {
            Said::Client(event) => self.hear_client(id, event),
            Said::Python(job) => self.start_python(id, job),
            Said::Server(event) => self.hear_server(id, event),
        }
    }

    fn void(&mut self, id: NodeId, lane: Lane) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.void(lane);
        }
    }

    /// A process has ended as it was asked to.
    pub(super) fn stopped(&mut self, id: NodeId, left: usize) {
        if let Some(info) = self.history.nodes.get_mut(id) {
            info.state = NodeState::Gone;
        }
        self.tell(&Fact::Stopped { node: id, left });
    }
}

/// The step that is done once this command was sent.
fn step_of(command: &Command) -> Option<Step> {
    match command {
        Command::XAck { .. } => Some(Step::Acknowledged),
        Command::XAdd { key, max_len: Some(_), .. } if !is_dead(key) => Some(Step::Replied),
        Command::ClientUnblock { .. }
        | Command::Del { .. }
        | Command::DelIdleConsumers { .. }
        | Command::PExpire { .. }
        | Command::Time
        | Command::XAdd { .. }
        | Command::XAutoClaim { .. }
        | Command::XClaim { .. }
        | Command::XDel { .. }
        | Command::XGroupCreate { .. }
        | Command::XGroupDelConsumer { .. }
        | Command::XInfoGroups { .. }
        | Command::XInfoStream { .. }
        | Command::XPending { .. }
        | Command::XPendingRange { .. }
        | Command::XRange { .. }
        | Command::XRead { .. }
        | Command::XReadGroup { .. }
        | Command::XTrim { .. } => None,
    }
}
