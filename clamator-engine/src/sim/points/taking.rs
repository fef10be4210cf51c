//! Points of how workers come to entries: groups, reads, looks, claims.
//!
//! Not of what becomes of the entries then. Who has an entry is known from what Redis carried out;
//! whether its owner knows, from what it was answered.

use super::super::history::NodeKind;
use super::super::invariants::Scene;
use super::super::network::NodeId;
use super::Point;
use super::watch::{Seen, Watch};
use crate::command::{ClaimAs, Command};
use crate::reply::{Entry, Refusal, Reply};
use crate::stream_id::StreamId;

impl Watch {
    /// Redis has given new entries to a worker.
    pub(super) fn given_new(&mut self, node: NodeId, service: usize, entries: &[Entry]) {
        for entry in entries {
            let seen = Seen { owner: node, heard: false, settled: None };
            if let Some(before) = self.entries.insert((service, entry.id), seen) {
                self.hits.hit(Point::GivenAsNewTwice);
                self.hits.hit_if(before.settled.is_some(), Point::AcknowledgedGivenAgain);
            }
        }
    }

    /// Redis has given a worker what another one, or itself, had been given before.
    pub(super) fn given_again(&mut self, node: NodeId, service: usize, entries: &[Entry]) {
        let ours = !self.is(node, NodeKind::Python);
        for entry in entries {
            let key = (service, entry.id);
            let seen = Seen { owner: node, heard: false, settled: None };
            let Some(before) = self.entries.insert(key, seen) else { continue };
            let (own, owner) = (before.owner == node, before.owner);
            let owned_by_python = self.is(owner, NodeKind::Python);
            let crashed = self.eye(owner).is_some_and(|eye| eye.crashed);
            let hits = &mut self.hits;
            if ours {
                let runs = self.running.iter().filter(|it| (it.service, it.entry) == key);
                for runner in runs {
                    let own = runner.node == node;
                    let taken =
                        if own { Point::ClaimTookOwnRunning } else { Point::ClaimTookRunning };
                    hits.hit(taken);
                }
                hits.hit_if(crashed, Point::ClaimTookFromCrashed);
                hits.hit_if(owned_by_python, Point::PythonsTaken);
            } else {
                hits.hit_if(own, Point::PythonTookItsOwn);
                hits.hit_if(!own && !owned_by_python, Point::PythonTookOurs);
            }
        }
    }

    /// A server is answered a command by which it comes to entries, or learns about them.
    pub(super) fn answered_taking(
        &mut self,
        scene: &Scene<'_>,
        node: NodeId,
        command: &Command,
        reply: &Result<Reply, Refusal>,
    ) {
        let service = |key: &[u8]| scene.history.service_of(key);
        match (command, reply) {
            (Command::XReadGroup { key, .. }, Ok(Reply::Entries(entries))) => {
                let Some(service) = service(key) else { return };
                self.read_answered(node, service, entries);
            }
            (Command::XReadGroup { key, .. }, Err(refusal)) => {
                self.hits.hit_if(refusal.code == "UNBLOCKED", Point::Unblocked);
                self.missing(node, service(key), refusal, Point::NoGroupOnRead);
            }
            (Command::XAutoClaim { key, start, count, .. }, Ok(Reply::Claimed { .. })) => {
                if let Some(service) = service(key) {
                    self.claim_answered(service, *start, *count, reply);
                }
            }
            (Command::XAutoClaim { key, .. }, Err(refusal)) => {
                self.hits.hit_if(refusal.code == "NOPERM", Point::ClaimRefused);
                self.missing(node, service(key), refusal, Point::NoGroupOnClaim);
            }
            (Command::XPending { key, .. } | Command::XPendingRange { key, .. }, Err(refusal)) => {
                self.missing(node, service(key), refusal, Point::NoGroupOnPending)
            }
            (Command::XClaim { .. }, Ok(Reply::Entries(entries))) => {
                self.hits.hit_if(!entries.is_empty(), Point::TakenBack);
            }
            (Command::XClaim { ids, claim_as, .. }, Ok(Reply::Ids(claimed))) => {
                let all = claimed.len() == ids.len();
                self.hits.hit(match claim_as {
                    ClaimAs::HandedBack { .. } if !all => Point::HandBackLeftOut,
                    ClaimAs::HandedBack { deliveries: 0 } => Point::HandedBack,
                    ClaimAs::HandedBack { .. } => Point::HandedBackStarted,
                    _ if all => Point::LeaseRenewed,
                    _ => Point::LeaseLeftOut,
                });
            }
            (Command::XGroupCreate { key, .. }, reply) => {
                if let Some(service) = service(key) {
                    self.group_answered(node, service, reply);
                }
            }
            (Command::XRange { .. }, Ok(Reply::Entries(entries))) => {
                self.hits.hit_if(entries.is_empty(), Point::GhostFound);
            }
            _ => {}
        }
    }

    fn read_answered(&mut self, node: NodeId, service: usize, entries: &[Entry]) {
        if entries.is_empty() {
            let Some(eye) = self.eye(node).filter(|eye| eye.stopping) else { return };
            let ran_out = eye.unblocked == 0;
            eye.unblocked = eye.unblocked.saturating_sub(1);
            return self.hits.hit_if(ran_out, Point::StopWaitedForBlock);
        }
        let busy = self.running.iter().any(|it| (it.node, it.service) == (node, service));
        self.hits.hit_if(busy, Point::ReadBehindHandler);
        self.hits.hit_if(entries.len() > 1, Point::ReadGaveMany);
        self.heard(node, service, entries);
    }

    /// A server is answered when it looks back.
    pub(super) fn look_answered(
        &mut self,
        scene: &Scene<'_>,
        node: NodeId,
        command: &Command,
        reply: &Result<Reply, Refusal>,
    ) {
        let Some(service) = command.key().and_then(|key| scene.history.service_of(key)) else {
            return;
        };
        let entries = match reply {
            Ok(Reply::PendingRange(rows)) => {
                return self.hits.hit_if(rows.is_empty(), Point::LookEmpty);
            }
            Ok(Reply::Entries(entries)) => entries,
            Err(refusal) => {
                return self.missing(node, Some(service), refusal, Point::NoGroupOnPending);
            }
            Ok(_) => return,
        };
        let found = if entries.is_empty() { Point::LookFoundDeleted } else { Point::LookFound };
        self.hits.hit(found);
        let looks = self.eye(node).and_then(|eye| eye.looks.get(service).copied()).unwrap_or(0);
        if self.heard(node, service, entries) {
            self.hits.hit(Point::LostReadFound);
            self.hits.hit_if(looks > 1, Point::SecondLookFound);
        }
    }

    fn claim_answered(
        &mut self,
        service: usize,
        start: StreamId,
        count: u64,
        reply: &Result<Reply, Refusal>,
    ) {
        let Ok(Reply::Claimed { next, entries, deleted, nameless }) = reply else { return };
        let taken = entries.len() + deleted.len() + nameless;
        let full = u64::try_from(taken).unwrap_or(u64::MAX) >= count;
        let hits = &mut self.hits;
        hits.hit_if(!entries.is_empty(), Point::ClaimTookSomething);
        hits.hit_if(taken == 0, Point::ClaimFoundNothing);
        hits.hit_if(full, Point::ClaimCameBackFull);
        hits.hit_if(!deleted.is_empty(), Point::ClaimFoundDeleted);
        hits.hit_if(*nameless > 0, Point::ClaimFoundNameless);
        hits.hit_if(start != StreamId::ZERO && *next == StreamId::ZERO, Point::ScanWrapped);
        for entry in entries {
            if let Some(seen) = self.entries.get_mut(&(service, entry.id)) {
                seen.heard = true;
            }
        }
    }

    fn group_answered(&mut self, node: NodeId, service: usize, reply: &Result<Reply, Refusal>) {
        let existed = matches!(reply, Err(refusal) if refusal.code == "BUSYGROUP");
        let Some(had) = self.eye(node).and_then(|eye| eye.groups.get_mut(service)) else { return };
        let had_before = *had;
        *had |= existed || reply.is_ok();
        self.hits.hit_if(existed && had_before, Point::GroupRestoredBySibling);
        self.hits.hit_if(existed && !had_before, Point::GroupFoundAtStart);
    }

    /// A worker is told that a group is not there.
    fn missing(&mut self, node: NodeId, service: Option<usize>, refusal: &Refusal, point: Point) {
        if refusal.code == "NOGROUP" {
            self.hits.hit(point);
            let of = |it: &super::watch::Running| it.node == node && Some(it.service) == service;
            self.hits.hit_if(self.running.iter().any(of), Point::GroupGoneWhileRunning);
        }
    }

    /// A worker knows entries that it was given. Tells whether one of them is news to it although
    /// it was given before.
    fn heard(&mut self, node: NodeId, service: usize, entries: &[Entry]) -> bool {
        let mut news = false;
        for entry in entries {
            if let Some(seen) = self.entries.get_mut(&(service, entry.id)) {
                news |= seen.owner == node && !seen.heard;
                seen.heard = true;
            }
        }
        news
    }
}
