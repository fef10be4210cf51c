//! Entries that this server holds and does not find pending for itself: who has them (rule 4.4).
//!
//! Not the noticing of it (`lease`). Mostly somebody else has taken the entry over, and its lease
//! is lost: that is sure when it is not found after it is known to have been given out. But nobody
//! may have it:
//!
//! - It was deleted from the stream, and Redis has dropped what was pending of it. If nobody else
//!   can have been given it before, nobody will be: it is kept, and needs no lease.
//! - The group was created anew, and has not given it out yet (rule 4.1). It will, to this server
//!   or to another. What waits here is dropped, as it comes again. What runs is looked for again
//!   when it has ended: if it is settled then, nobody runs it twice.
//!
//! <https://redis.io/docs/latest/commands/xinfo-groups/>,
//! <https://redis.io/docs/latest/commands/xrange/>

use alloc::vec::Vec;

use super::held::{Key, State};
use super::{Aim, Server};
use crate::command::Command;
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::stream_id::StreamId;
use crate::time::Instant;

/// An entry that is not pending for this server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) key: Key,
    /// Whether its lease had not run out when that was told.
    pub(super) valid: bool,
}

impl Server {
    /// Finds out who has these entries, which a look that was sent at `sent` did not find.
    pub(super) fn seek_missing(&mut self, index: usize, missing: Vec<Missing>, sent: Instant) {
        let keys: Vec<Key> = missing.iter().map(|it| it.key).collect();
        let Some(service) = self.services.get_mut(index).filter(|_| !missing.is_empty()) else {
            return;
        };
        service.held.leases.ask(&keys, true);
        let command = Command::XInfoGroups { key: service.stream.clone() };
        if !self.send(index, command, Aim::SeekGroup { missing, sent }) {
            self.void_renewal(index, &keys);
        }
    }

    /// How far the group has given entries out.
    pub(super) fn handle_group_sought(
        &mut self,
        index: usize,
        missing: Vec<Missing>,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let keys: Vec<Key> = missing.iter().map(|it| it.key).collect();
        let Some(service) = self.services.get(index) else { return };
        let given_to = match reply {
            Ok(Reply::Groups(groups)) => {
                let ours = groups.iter().find(|group| group.name == service.group_name);
                let Some(ours) = ours else {
                    self.lose_group(index);
                    return self.void_renewal(index, &keys);
                };
                ours.last_delivered
            }
            Err(refusal) if refusal.is_no_such_key() => {
                self.lose_group(index);
                return self.void_renewal(index, &keys);
            }
            // Nobody may look: taken for given out.
            Err(refusal) if refusal.kind() == RefusalKind::Final => StreamId::MAX,
            Ok(_) | Err(_) => return self.void_renewal(index, &keys),
        };
        // What was given out meanwhile may be this server's, as another lane will tell: it is looked
        // for once more.
        let (given_out, undelivered): (Vec<Missing>, Vec<Missing>) =
            missing.into_iter().partition(|it| it.key.id <= given_to);
        self.check_leases(index, given_out.iter().map(|it| it.key).collect(), true);
        for it in undelivered {
            self.seek_entry(index, it, false, sent);
        }
    }

    /// These entries were given out by the group, and are not this server's.
    pub(super) fn seek_given_out(&mut self, index: usize, missing: Vec<Missing>, sent: Instant) {
        for it in missing {
            if it.valid {
                let leases = self.services.get_mut(index).map(|it| &mut it.held.leases);
                leases.into_iter().for_each(|leases| leases.ask(&[it.key], true));
                self.seek_entry(index, it, true, sent);
            } else {
                self.judge_missing(index, it, sent, Whereabouts::Elsewhere);
            }
        }
    }

    /// Whether an entry is in the stream.
    fn seek_entry(&mut self, index: usize, missing: Missing, given_out: bool, sent: Instant) {
        let Some(service) = self.services.get(index) else { return };
        let (key, id) = (service.stream.clone(), missing.key.id);
        let command = Command::XRange { key, start: id, end: id, count: 1 };
        if !self.send(index, command, Aim::SeekEntry { missing, given_out, sent }) {
            self.void_renewal(index, &[missing.key]);
        }
    }

    pub(super) fn handle_entry_sought(
        &mut self,
        index: usize,
        missing: Missing,
        given_out: bool,
        sent: Instant,
        reply: Result<Reply, Refusal>,
    ) {
        let gone = match reply {
            Ok(Reply::Entries(entries)) => entries.is_empty(),
            // Nobody may look: taken for there.
            Err(refusal) if refusal.kind() == RefusalKind::Final => false,
            Ok(_) | Err(_) => return self.void_renewal(index, &[missing.key]),
        };
        let whereabouts = match (gone, given_out) {
            (true, _) if missing.valid => Whereabouts::Nowhere,
            (false, false) => Whereabouts::Undelivered,
            (true | false, _) => Whereabouts::Elsewhere,
        };
        self.judge_missing(index, missing, sent, whereabouts);
    }

    fn judge_missing(
        &mut self,
        index: usize,
        Missing { key, .. }: Missing,
        sent: Instant,
        whereabouts: Whereabouts,
    ) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.held.leases.ask(&[key], false);
        if !service.held.leases.is_untouched(key, sent) {
            // It was given to this server since, or is no longer held.
            return;
        }
        match whereabouts {
            Whereabouts::Nowhere => {
                service.held.leases.remove(key);
                self.confirm(index, &[key]);
            }
            Whereabouts::Undelivered => match service.held.state(key) {
                Some(State::Abandoned(_) | State::Uncounted(_) | State::Waiting(_)) => {
                    service.held.remove(key);
                }
                Some(State::Replying(_) | State::Settling) => {
                    service.held.leases.remove(key);
                    self.confirm(index, &[key]);
                }
                Some(State::Running(_)) | None => {}
            },
            Whereabouts::Elsewhere => self.lose_lease(index, key),
        }
    }
}

/// Who has an entry that is not pending for this server.
#[derive(Clone, Copy, Debug)]
enum Whereabouts {
    /// Another worker, or it had.
    Elsewhere,
    /// Nobody, and nobody will: it is not in the stream.
    Nowhere,
    /// Nobody yet: the group has not given it out.
    Undelivered,
}
