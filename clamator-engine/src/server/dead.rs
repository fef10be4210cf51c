//! Dead letters: an entry that is given out once too often is put aside, with all that it is, on the
//! stream `<prefix>:dead:<service>`; its caller is told (rule 4.8).
//!
//! Not what is no request at all, which is acknowledged with a notice: see `request`. An entry is
//! acknowledged when its dead letter was answered, and not before; what is written twice because an
//! answer was lost names the same entry.
//!
//! <https://redis.io/docs/latest/commands/xadd/>

use bytes::Bytes;

use clamator_proto::{RpcError, entry};

use super::Server;
use super::event::{Answer, Notice};
use super::held::{Key, Unstarted};
use super::outbound::{Outbound, Write};
use super::request::ReplyTo;
use crate::reply::Refusal;
use crate::seeded::Bug;

/// Why every dead letter is one, until there are more reasons.
const TOO_OFTEN: &str = "delivered too often";

impl Server {
    /// Whether an entry would start once too often, as Redis counts, and not by a guess.
    pub(super) fn is_spent(&self, unstarted: &Unstarted) -> bool {
        unstarted.counted
            && unstarted.deliveries > self.config.deliveries_max
            && !self.config.seeded.is(Bug::DeliveriesUnlimited)
    }

    /// Puts an entry aside that has been given out too often.
    pub(super) fn bury(
        &mut self,
        index: usize,
        key: Key,
        unstarted: Unstarted,
        reply: Option<ReplyTo>,
    ) {
        let Some(service) = self.services.get_mut(index) else { return };
        let Unstarted { mut fields, deliveries, .. } = unstarted;
        // This time does not count, as nothing is started.
        let deliveries = deliveries.saturating_sub(1);
        let pair = |name: &'static str, value: Bytes| (Bytes::from_static(name.as_bytes()), value);
        fields.extend([
            pair(entry::DEAD_ENTRY, alloc::format!("{}", key.id).into()),
            pair(entry::DEAD_REASON, Bytes::from_static(TOO_OFTEN.as_bytes())),
            pair(entry::DEAD_DELIVERIES, alloc::format!("{deliveries}").into()),
        ]);
        let write = Write::DeadLetter { deliveries, reply };
        service.held.insert_replying(key, Outbound::new(service.dead.clone(), fields, write));
        self.send_replies(index);
    }

    /// A dead letter is on its stream, or can never be: its entry is answered and settled.
    pub(super) fn buried(
        &mut self,
        index: usize,
        key: Key,
        deliveries: u64,
        reply: Option<ReplyTo>,
        refusal: Option<Refusal>,
    ) {
        let Some(service) = self.services.get(index) else { return };
        let (service, entry, refused) = (service.name(), key.id, refusal.is_some());
        self.stats_of(index).dead_letters += u64::from(!refused);
        self.notice(match refusal {
            None => Notice::DeadLetter { service, entry, deliveries },
            Some(refusal) => Notice::DeadLetterRefused { service, entry, refusal },
        });
        match reply {
            Some(reply) => {
                let name = if refused { "DeadLetterRefused" } else { "DeadLetter" };
                let message = alloc::format!("given out {deliveries} times and never answered");
                let error = RpcError::internal(name, message);
                self.reply(index, key, &reply, &Answer::Error(error));
            }
            None => self.settle(index, key),
        }
    }
}
