//! Whether a server can serve: see [`Health`].
//!
//! Not what it does about it, which is each rule's own affair. A refusal counts for as long as what
//! was refused is needed and has not been done since.

use super::{Aim, Server, Stage};
use crate::engine::Lane;
use crate::health::{Ailment, Health, Need};
use crate::reply::{Refusal, Reply};
use crate::time::Instant;

impl Server {
    /// Whether the server can do its work, as far as it knows: every connection can be made, the
    /// blocking reads are answered, and Redis refuses nothing that is needed.
    #[must_use]
    pub fn health(&self, now: Instant) -> Health {
        if matches!(self.stage, Stage::Stopped) {
            return Ailment::Stopped.into();
        }
        let mut reasons = Ailment::losses(self.lanes.unusable());
        let block = self.config.read_block;
        let longest = self.services.iter().filter_map(|service| {
            let reader = &service.reader;
            let reads = reader.under_way.is_some() || !self.lanes.is_open(service.lane);
            reader.unanswered.filter(|_| reads)
        });
        reasons.extend(Ailment::silence(now, longest.min(), block));
        for (index, need, _, refusal) in self.refusals.iter() {
            if self.needs(index, need) {
                let service = self.services.get(index).map(|service| service.name());
                let (command, refusal) = (need.command(), refusal.clone());
                reasons.push(Ailment::Refused { command, refusal, service });
            }
        }
        Health::of(reasons)
    }

    /// Whether it is of any concern what Redis said last when it was asked for this.
    fn needs(&self, index: usize, need: Need) -> bool {
        let Some(service) = self.services.get(index) else { return false };
        match need {
            Need::Acknowledge | Need::Renew => service.held.len() > 0,
            Need::Claim | Need::Read => self.is_serving(),
            Need::CreateGroup => self.is_serving() && !service.is_ready(),
            Need::Listen => false,
            Need::Write => service.held.has_replies(),
        }
    }

    /// Keeps in mind what Redis refuses.
    pub(super) fn note_answer(&mut self, index: usize, aim: &Aim, reply: &Result<Reply, Refusal>) {
        if let Some(need) = aim.need() {
            self.refusals.note(self.now, index, need, reply);
        }
    }

    /// Bytes have moved, enough for what is on its way to get its whole time again.
    pub(super) fn note_progress(&mut self, lane: Lane) {
        let service = self.services.iter_mut().find(|service| service.lane == lane);
        if let Some(service) = service {
            service.reader.unanswered = service.reader.unanswered.map(|_| self.now);
        }
    }
}

impl Aim {
    /// What the server needs it for, if it cannot do without.
    const fn need(&self) -> Option<Need> {
        Some(match self {
            Self::Acknowledge { .. } => Need::Acknowledge,
            Self::Claim { .. } => Need::Claim,
            Self::CreateGroup { .. } => Need::CreateGroup,
            Self::Read { .. } => Need::Read,
            Self::Renew { .. } => Need::Renew,
            Self::Reply { .. } => Need::Write,
            Self::CheckConsumer
            | Self::CheckGhost(_)
            | Self::CheckLeases { .. }
            | Self::Count { .. }
            | Self::Delete
            | Self::Expire(_)
            | Self::Fetch { .. }
            | Self::FindGhosts
            | Self::FindOwn { .. }
            | Self::HandBack { .. }
            | Self::InspectStream
            | Self::ListGroups
            | Self::ListOwn { .. }
            | Self::ListPending
            | Self::RemoveConsumer
            | Self::RemoveIdleConsumers
            | Self::SeekEntry { .. }
            | Self::SeekGroup { .. }
            | Self::TakeBack { .. }
            | Self::Time { .. }
            | Self::Trim
            | Self::TrimPending { .. }
            | Self::Unblock => return None,
        })
    }
}
