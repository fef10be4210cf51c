//! Handing back, at a stop, what this server was given and is not going to finish (rule 4.10).
//!
//! Not the order of the stop (`stop`). What waits unstarted, and what a handler that was dropped ran
//! for, becomes pending for a consumer that nobody is, and looks as idle as any entry can: the next
//! claim of any worker takes it over. How often it was given out is set to what it was before, unless
//! a handler was started for it. The command has the fence of a renewal (`lease`): nothing is handed
//! back that another worker has.
//!
//! What cannot be handed back, as its stream or group is gone or XCLAIM is not allowed, is served
//! within the grace.
//!
//! <https://redis.io/docs/latest/commands/xclaim/>

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::held::{Key, State};
use super::leases::window;
use super::{Server, Stage};
use crate::engine::Lane;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::stream_id::StreamId;

impl Server {
    /// Whether a handler may be started for this entry.
    pub(super) fn may_start(&self, index: usize, key: Key) -> bool {
        match &self.stage {
            Stage::Draining(_) if self.config.seeded.is(Bug::StopStartsOn) => true,
            Stage::Draining(drain) => {
                drain.is_in_grace(self.now) && self.cannot_hand_back(index, key)
            }
            Stage::Running | Stage::Starting => true,
            Stage::Stopped => false,
        }
    }

    /// Whether it is known that this entry cannot be handed back, and is not being.
    fn cannot_hand_back(&self, index: usize, key: Key) -> bool {
        self.services.get(index).is_some_and(|service| {
            let leases = &service.held.leases;
            (service.is_absent() || !leases.has(key)) && !leases.is_asked(key)
        })
    }

    /// Hands back what can be, at a stop, and lets go of what is not going to be started either.
    pub(super) fn hand_back(&mut self, index: usize) {
        let Stage::Draining(drain) = &self.stage else { return };
        let (in_grace, seeded) = (drain.is_in_grace(self.now), self.config.seeded);
        let uncounted = u64::from(!seeded.is(Bug::HandBackCounted));
        self.ask_no_more(index);
        let Some(service) = self.services.get(index) else { return };
        // By how often they are to be taken to have been given out.
        let mut returned: BTreeMap<u64, Vec<Key>> = BTreeMap::new();
        let mut left = Vec::new();
        for (key, state) in service.held.not_ended() {
            let (given_out, may_run) = match state {
                State::Abandoned(deliveries) => (Some(*deliveries), false),
                State::Running(run) if seeded.is(Bug::HandBackRunning) => {
                    (Some(run.deliveries), true)
                }
                State::Waiting(unstarted) => {
                    (Some(unstarted.deliveries.saturating_sub(uncounted)), in_grace)
                }
                State::Uncounted(_) => (None, in_grace),
                State::Replying(_) | State::Running(_) | State::Settling => continue,
            };
            match given_out {
                Some(_) if seeded.is(Bug::HandBackMissing) => left.push(key),
                _ if self.cannot_hand_back(index, key) => left.extend((!may_run).then_some(key)),
                Some(given_out) => returned.entry(given_out).or_default().push(key),
                None => {}
            }
        }
        self.let_go(index, &left);
        self.give_back(index, returned);
    }

    fn give_back(&mut self, index: usize, returned: BTreeMap<u64, Vec<Key>>) {
        let now = self.now;
        let Some(service) = self.services.get(index) else { return };
        let ready = service.is_ready() && self.lanes.is_open(Lane::Command);
        if !ready || service.held.leases.are_paused(now) || returned.is_empty() {
            return;
        }
        if self.is_behind_much() {
            return;
        }
        let window = window(self.config.peer_claim_idle(), self.config.seeded);
        let mut unsure = Vec::new();
        for (given_out, mut keys) in returned {
            let Some(service) = self.services.get_mut(index) else { return };
            let leases = &mut service.held.leases;
            keys.retain(|key| leases.is_ripe(*key, now));
            let (groups, doubtful) = leases.sort(keys.into_iter(), window);
            unsure.extend(doubtful);
            for group in groups {
                self.send_claim(index, group, Some(given_out));
            }
        }
        self.check_leases(index, unsure, false);
    }

    pub(super) fn handle_handed_back(
        &mut self,
        index: usize,
        keys: Vec<Key>,
        reply: Result<Reply, Refusal>,
    ) {
        let returned: BTreeSet<StreamId> = match reply {
            Ok(Reply::Ids(returned)) => returned.into_iter().collect(),
            Err(refusal) if refusal.kind() == RefusalKind::Final => {
                return self.renewal_refused(index, &keys, refusal);
            }
            Ok(_) | Err(_) => return self.void_renewal(index, &keys),
        };
        let (returned, left_out): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| returned.contains(&key.id));
        let count = u64::try_from(returned.len()).unwrap_or(u64::MAX);
        self.stats_of(index).entries_handed_back += count;
        self.let_go(index, &returned);
        if !left_out.is_empty() {
            // It is another worker's, or was touched when Redis's clock was ahead of what it is now.
            self.void_renewal(index, &left_out);
            self.check_leases(index, left_out, false);
        }
    }

    /// The lane has ended: whether they were handed back is not known.
    pub(super) fn void_hand_back(&mut self, index: usize, keys: &[Key], sent: bool) {
        if let Some(service) = self.services.get_mut(index).filter(|_| sent) {
            service.held.leases.offer(keys);
        }
        self.void_renewal(index, keys);
    }

    /// Without a group there is nobody to ask how often entries were given out, nor whose they are.
    fn ask_no_more(&mut self, index: usize) {
        let Some(service) = self.services.get_mut(index).filter(|it| it.is_absent()) else {
            return;
        };
        if !service.held.uncounted().is_empty() {
            service.count_by_guess();
            self.dirty.insert(index);
        }
        let doubtful = service.held.doubtful();
        if !doubtful.is_empty() {
            self.confirm(index, &doubtful);
        }
    }

    /// Holds these entries no longer, unsettled.
    fn let_go(&mut self, index: usize, keys: &[Key]) {
        let Some(service) = self.services.get_mut(index) else { return };
        let let_go = keys.iter().filter(|key| service.held.remove(**key).is_some()).count();
        self.count_left(let_go);
    }
}
