//! Consumers of workers that are gone: their names are removed from the group (rule 4.11).
//!
//! Not what they hold: that is taken over first, see `reclaim`; nor the own consumer, which goes
//! with the stop. Each worker that is killed leaves a consumer behind, and Redis keeps it for ever.
//! Redis looks and deletes in one step, by a script: between two commands an entry might be given to
//! the consumer, and be deleted with it. A worker whose consumer is removed while it lives loses
//! nothing: with its next read Redis makes it anew.
//!
//! <https://redis.io/docs/latest/commands/xgroup-delconsumer/>

use core::time::Duration;

use super::{Aim, Server};
use crate::command::Command;
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::time::Instant;

/// The longest time between two looks: each makes Redis go through all consumers.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// So many looks are taken in the time for which a consumer must be idle.
const LOOKS: u32 = 4;

/// When consumers are looked at next, and whether they may be.
#[derive(Debug)]
pub(super) struct Consumers {
    at: Instant,
    /// Whether Redis has refused the script on this lane: it would again.
    refused: bool,
}

impl Consumers {
    pub(super) const fn new(now: Instant) -> Self {
        Self { at: now, refused: false }
    }

    /// The command lane is another one, and so may be the rights on it.
    pub(super) fn allow(&mut self) {
        self.refused = false;
    }
}

impl Server {
    /// Removes consumers that hold nothing and have been idle for long, when it is time.
    pub(super) fn tick_consumers(&mut self) {
        let idle_min = self.config.consumer_idle_max;
        let wanted = idle_min != Duration::MAX && !self.config.seeded.is(Bug::ConsumersLiveOn);
        if !wanted || self.consumers.refused || self.now < self.consumers.at {
            return;
        }
        if !self.is_serving() || !self.lanes.is_open(Lane::Command) {
            return;
        }
        self.consumers.at = self.now + self.jitter.spread(LOOK_MAX.min(idle_min / LOOKS));
        for index in 0..self.services.len() {
            let Some(service) = self.services.get(index).filter(|it| it.is_ready()) else {
                continue;
            };
            let (key, group) = (service.stream.clone(), service.group_name.clone());
            let keep = service.consumer.clone();
            let command = Command::DelIdleConsumers { key, group, idle_min, keep };
            self.send(index, command, Aim::RemoveIdleConsumers);
        }
    }

    pub(super) fn handle_idle_consumers_removed(
        &mut self,
        index: usize,
        reply: &Result<Reply, Refusal>,
    ) {
        match reply {
            Ok(Reply::Integer(removed)) => {
                let removed = u64::try_from(*removed).unwrap_or(0);
                self.stats_of(index).consumers_removed += removed;
            }
            Err(refusal) if refusal.kind() == RefusalKind::Final && !refusal.is_no_such_key() => {
                self.consumers.refused = true;
                self.stats.consumer_looks_refused += 1;
            }
            Ok(_) | Err(_) => {}
        }
    }
}
