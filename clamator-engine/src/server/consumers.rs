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

use super::service::Service;
use super::{Aim, Server};
use crate::command::{Command, IDLE_CONSUMERS_MAX};
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;

/// The longest time between two looks: each makes Redis go through all consumers.
const LOOK_MAX: Duration = Duration::from_secs(60);
/// So many looks are taken in the time for which a consumer must be idle.
const LOOKS: u32 = 4;

/// So many times as long it takes until the next look at a service where Redis refuses the script.
const REFUSED_PAUSE: u32 = 10;

impl Server {
    /// Removes consumers that hold nothing and have been idle for long, of each service when it is
    /// its time.
    pub(super) fn tick_consumers(&mut self) {
        let idle_min = self.config.consumer_idle_max;
        let wanted = idle_min != Duration::MAX && !self.config.seeded.is(Bug::ConsumersLiveOn);
        if !wanted || !self.is_serving() || !self.lanes.is_open(Lane::Command) {
            return;
        }
        for index in 0..self.services.len() {
            let due = |it: &&mut Service| it.is_ready() && it.consumers_at <= self.now;
            let Some(service) = self.services.get_mut(index).filter(due) else { continue };
            service.consumers_at = self.now + self.jitter.spread(LOOK_MAX.min(idle_min / LOOKS));
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
        let now = self.now;
        let Some(service) = self.services.get_mut(index) else { return };
        match reply {
            Ok(Reply::Integer(removed)) => {
                service.stats.consumers_removed += u64::try_from(*removed).unwrap_or(0);
                // There are likely to be more.
                if *removed >= IDLE_CONSUMERS_MAX.into() {
                    service.consumers_at = now;
                }
            }
            Err(refusal) if refusal.kind() == RefusalKind::Final && !refusal.is_no_such_key() => {
                let pause = service.consumers_at.since(now);
                service.consumers_at = now + pause.saturating_mul(REFUSED_PAUSE);
                service.stats.consumer_looks_refused += 1;
            }
            Ok(_) | Err(_) => {}
        }
    }
}
