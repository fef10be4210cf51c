//! The manual's page on knowing how clients and servers are: their numbers, the same as metrics,
//! and their health.
//!
//! Not what the log says, which is in the [manual](super) itself, and not the meaning of each number
//! in full: that stands with the fields of [`ServerStats`] and [`ClientStats`].
//!
//! 1. [Numbers](#numbers)
//! 2. [Metrics](#metrics)
//! 3. [Health](#health)
//!
//! # Numbers
//!
//! [`Server::stats`] and [`Client::stats`] tell what has happened since the start, and how much is
//! under way now:
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! let echo = Service::new("echo").request("echo", async |word: String, _: Context| Ok(word));
//! let server = Server::builder("app").service(echo).start(&target).await?;
//! let client = Client::connect("app", &target).await?;
//! let word: String = client.call("echo.echo", "hello").await?;
//!
//! let (served, called) = (server.stats().await, client.stats().await);
//! assert_eq!((served.jobs_started, served.jobs_redelivered, served.running), (1, 0, 0));
//! assert_eq!((called.calls, called.replies, called.timeouts), (1, 1, 0));
//! # drop(word);
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! With the feature `metrics` of the adapter, the same numbers go through the facade
//! [`metrics`](https://docs.rs/metrics) to the recorder that the program has installed, which must
//! be there before its clients and servers start. Those of several clients, and of several servers of
//! one service, in one process add up. What has changed is passed on once for each turn of a client's
//! or server's task, however many calls that turn was about; nothing is passed on by a program
//! without the feature.
//!
//! Of a server, with the label `service`, but for the last two, which are of the whole server:
//!
//! | counter | what is counted |
//! |---|---|
//! | `clamator_server_jobs_started_total` | handlers that were started |
//! | `clamator_server_jobs_redelivered_total` | those among them whose request had been given to a worker before |
//! | `clamator_server_replies_written_total` | replies that were written |
//! | `clamator_server_replies_refused_total` | replies that Redis will never accept, as when the reply stream's key holds something else |
//! | `clamator_server_reply_to_refused_total` | requests whose reply was asked for outside the deployment |
//! | `clamator_server_poison_total` | entries that are no request |
//! | `clamator_server_expired_total` | requests that were not started, or not again, as their callers had given up |
//! | `clamator_server_dead_letters_total` | entries that were given out too often and put aside |
//! | `clamator_server_leases_lost_total` | entries that another worker may have been given while they were held |
//! | `clamator_server_renewals_refused_total` | renewals that Redis does not allow |
//! | `clamator_server_handlers_overdue_total` | handlers that were dropped after `handler_timeout` |
//! | `clamator_server_entries_deleted_total` | entries that were given out although they are gone |
//! | `clamator_server_entries_unreadable_total` | entries that did not arrive, each connection having ended on which one was asked for |
//! | `clamator_server_entries_found_total` | entries that a connection was given that had ended, found by looking back |
//! | `clamator_server_entries_trimmed_total` | entries that others had acknowledged and left, and that were deleted |
//! | `clamator_server_entries_handed_back_total` | entries that were handed back at the stop |
//! | `clamator_server_entries_taken_back_total` | entries that an earlier process of this name was given, taken back at the start |
//! | `clamator_server_groups_restored_total` | consumer groups that were gone and were made again |
//! | `clamator_server_consumers_removed_total` | consumers that held nothing and were idle for long, which were removed; before Redis 7.2 also those of live workers without requests |
//! | `clamator_server_consumer_looks_refused_total` | how often Redis refused to remove consumers |
//! | `clamator_server_clock_jumps_total` | how often Redis's clock has gone otherwise than the server's |
//! | `clamator_server_reconnects_total` | connections that were made again |
//!
//! | gauge | what it shows |
//! |---|---|
//! | `clamator_server_held` | requests that were given to the server and are not settled |
//! | `clamator_server_running` | handlers that run |
//! | `clamator_server_foreign_groups` | consumer groups of others on the service's stream: with one, nothing is deleted from it but by trimming |
//!
//! Of a client, without labels:
//!
//! | counter | what is counted |
//! |---|---|
//! | `clamator_client_calls_total` | calls that were made |
//! | `clamator_client_notifications_total` | notifications that were made |
//! | `clamator_client_replies_total` | replies that ended a call |
//! | `clamator_client_replies_unmatched_total` | replies to no call that is under way: late, duplicate or foreign |
//! | `clamator_client_replies_unparsable_total` | entries of the reply stream that are no response |
//! | `clamator_client_timeouts_total` | calls and notifications that ended with [`CallError::Timeout`] |
//! | `clamator_client_not_sent_total` | … with [`CallError::NotSent`] |
//! | `clamator_client_no_workers_total` | … with [`CallError::NoWorkers`] |
//! | `clamator_client_refused_total` | … with [`CallError::Refused`] |
//! | `clamator_client_outcomes_unknown_total` | … with [`CallError::OutcomeUnknown`] |
//! | `clamator_client_withdrawn_total` | requests that were taken back before any worker was given them |
//! | `clamator_client_reconnects_total` | connections that were made again |
//!
//! | gauge | what it shows |
//! |---|---|
//! | `clamator_client_in_flight` | places taken of `in_flight_max` |
//!
//! # Health
//!
//! [`Server::health`] and [`Client::health`] answer an orchestrator's probe. They say
//! [`Health::Unhealthy`], and why, when
//!
//! - a connection cannot be made. One that has just ended, and is being made again, is no reason;
//! - no blocking read was answered for twice [`read_block`][ServerBuilder::read_block] and 1 s, as
//!   when Redis hangs or the network swallows everything;
//! - Redis refuses a command that is needed: since it is full (`OOM`), cannot write to its disk
//!   (`MISCONF`), is a replica (`READONLY`), or the user may not read or acknowledge (`NOPERM`). Of a
//!   client, a refused request counts for as long as an unanswered read may: it sends none by itself;
//! - it was stopped.
//!
//! A client or server that is unhealthy goes on trying, and needs no restart: let a probe take it out
//! of a rotation rather than kill it. What is not needed is not asked of Redis: a server whose only
//! handler works for minutes learns of most refusals when it renews its lease or writes its reply.
//! Faults of single requests and replies are no matter of health.
//!
//! ```
//! # use clamator_tokio::{Ailment, Client, Health, Target};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Nothing listens there.
//! let client = Client::connect_lazy("app", Target::url("redis://127.0.0.1:1")?);
//! # tokio::time::sleep(std::time::Duration::from_millis(300)).await;
//! let health = client.health().await;
//! let Health::Unhealthy { reasons } = &health else { panic!("{health}") };
//! assert!(matches!(reasons[..], [Ailment::Disconnected(_)]));
//! assert!(health.to_string().contains("127.0.0.1:1"));
//! # client.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`CallError::NoWorkers`]: crate::CallError::NoWorkers
//! [`CallError::NotSent`]: crate::CallError::NotSent
//! [`CallError::OutcomeUnknown`]: crate::CallError::OutcomeUnknown
//! [`CallError::Refused`]: crate::CallError::Refused
//! [`CallError::Timeout`]: crate::CallError::Timeout
//! [`Client::health`]: crate::Client::health
//! [`Client::stats`]: crate::Client::stats
//! [`ClientStats`]: crate::ClientStats
//! [`Health::Unhealthy`]: crate::Health::Unhealthy
//! [`Server::health`]: crate::Server::health
//! [`Server::stats`]: crate::Server::stats
//! [`ServerStats`]: crate::ServerStats
//! [ServerBuilder::read_block]: crate::ServerBuilder::read_block
