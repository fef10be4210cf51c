//! When a server has something to do by itself.
//!
//! Not what it does then: that is the rule's whose timer it is.

use super::service::{Counting, ReadKind, Service};
use super::{Server, Stage};
use crate::engine::{Deadline, Lane, Timer};

impl Server {
    /// When the server has something to do by itself, whatever comes in.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        let tick = match &self.stage {
            Stage::Draining(drain) => {
                let grace = Some(Deadline::new(drain.deadline(), Timer::Grace));
                let tick = Deadline::new(self.tick_at, Timer::Reclaim);
                let limited = self.config.handler_timeout.is_some();
                let waits = |it: &Service| {
                    it.reclaim.counting == Counting::Refused || limited && it.held.running() > 0
                };
                let waits = self.services.iter().any(waits);
                Deadline::earlier(grace, Some(tick).filter(|_| waits))
            }
            Stage::Running | Stage::Starting => {
                let trim = Deadline::new(self.trim_at, Timer::Trim);
                Deadline::earlier(Some(Deadline::new(self.tick_at, Timer::Reclaim)), Some(trim))
            }
            Stage::Stopped => return None,
        };
        let retry = self.retry.as_ref().map(|retry| Deadline::new(retry.at, Timer::RetryReplies));
        let of_service = |service: &Service| {
            let acks = service.acks_paused_until;
            let acks = acks.map(|at| Deadline::new(at, Timer::RetryReplies));
            let renewal = service.held.leases.due().filter(|_| service.is_ready());
            let renewal = renewal.map(|at| Deadline::new(at, Timer::Renew));
            let may_renew = self.lanes.is_open(Lane::Command) && !self.replies.renewal_waits();
            let renewal = renewal.filter(|_| may_renew);
            [self.group_deadline(service), reader_deadline(service), acks, renewal]
        };
        [self.lanes.deadline(), retry]
            .into_iter()
            .chain(self.services.iter().flat_map(of_service))
            .fold(tick, Deadline::earlier)
    }
}

fn reader_deadline(service: &Service) -> Option<Deadline> {
    let free = service.reader.under_way != Some(ReadKind::Own);
    let again = service.reader.look_again.filter(|_| free);
    let again = again.map(|at| Deadline::new(at, Timer::LookBack));
    let paused = service.reader.paused_until.map(|at| Deadline::new(at, Timer::Heal));
    Deadline::earlier(again, paused)
}
