//! [`ServerStats`]: what a server has seen and holds, in numbers.
//!
//! Not what it says to its operator: those are notices. Each service has its own, so that whoever
//! passes them on can say whose they are; what is no service's is the server's.

use clamator_proto::ServiceName;

use super::Server;
use super::service::Service;
use crate::stats::stats;

stats! {
    /// What a server has seen since it started, and what it holds now.
    ServerStats
    counters {
        /// How often Redis's clock, by two looks at it, has gone otherwise than this server's.
        clock_jumps,
        /// How often Redis refused to remove consumers: the next look is ten times as far away.
        consumer_looks_refused,
        /// Consumers that held nothing, were idle for long, and that this server removed. Before Redis
        /// 7.2 those of live workers are among them that were given nothing for so long: they come back
        /// with their next request.
        consumers_removed,
        /// Entries that were given out too often and put aside.
        dead_letters,
        /// Entries that were given to this server although they are no longer in the stream.
        entries_deleted,
        /// Entries that a connection was given that had ended, and that were found by looking back.
        entries_found,
        /// Entries that were handed back at the stop, for another worker.
        entries_handed_back,
        /// Entries that an earlier process of this name was given, taken back at the start.
        entries_taken_back,
        /// Entries that others had acknowledged and left behind, and that this server deleted.
        entries_trimmed,
        /// Entries that did not arrive, each connection having ended on which one was asked for.
        entries_unreadable,
        /// Requests that were not started, or not again, as their callers had given up.
        expired,
        /// Consumer groups that were gone and were created again.
        groups_restored,
        /// Handlers that ran for longer than `handler_timeout` and were dropped.
        handlers_overdue,
        /// Jobs among the started ones whose entry had been given to a worker before.
        jobs_redelivered,
        /// Jobs that were started.
        jobs_started,
        /// Entries that another worker may have been given while they were held here.
        leases_lost,
        /// Entries that are no request.
        poison,
        /// Connections that were made again after they had ended.
        reconnects,
        /// Renewals of leases that Redis refused, and will not take either if they are repeated.
        renewals_refused,
        /// Replies that Redis will never accept, as when the key of the reply stream holds
        /// something else.
        replies_refused,
        /// Replies that were written.
        replies_written,
        /// Requests whose reply was asked for outside this deployment.
        reply_to_refused,
    }
    gauges {
        /// Consumer groups of others that read the streams of the services, as of the last look.
        foreign_groups,
        /// Entries that this server was given and has not settled.
        held,
        /// Handlers that run.
        running,
    }
}

impl Server {
    /// What the server has seen so far, and holds now.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.stats_by_service().fold(ServerStats::default(), |sum, (_, stats)| sum.plus(stats))
    }

    /// The same for each service, and what is no service's.
    pub fn stats_by_service(&self) -> impl Iterator<Item = (Option<&ServiceName>, ServerStats)> {
        let own = ServerStats { reconnects: self.lanes.reopened(), ..self.stats };
        let of_services = self.services.iter().map(|it| (Some(it.contract.service()), it.stats()));
        core::iter::once((None, own)).chain(of_services)
    }

    /// Where what happens to a service is counted.
    pub(super) fn stats_of(&mut self, index: usize) -> &mut ServerStats {
        match self.services.get_mut(index) {
            Some(service) => &mut service.stats,
            None => &mut self.stats,
        }
    }
}

impl Service {
    fn stats(&self) -> ServerStats {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        ServerStats {
            foreign_groups: self.group.foreign,
            held: wide(self.held.len()),
            running: wide(self.held.running()),
            ..self.stats
        }
    }
}
