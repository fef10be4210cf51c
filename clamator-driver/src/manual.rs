//! The manual: how clients and servers behave, subject by subject.
//!
//! Not a reference: limits, defaults and errors stand with each item. The examples are for tokio; on another runtime only the crate's
//! name and how a program starts are different. All of them run over streams in this process, a
//! [`MemoryBus`], so that they need no Redis; [`Target::url`] leads to a Redis instead.
//!
//! 1. [Lifecycle and signals](#lifecycle-and-signals)
//! 2. [Client lifetime and many backends](#client-lifetime-and-many-backends)
//! 3. [Worker pools and at-least-once](#worker-pools-and-at-least-once)
//! 4. [Ordering, and partitioning by prefix](#ordering-and-partitioning-by-prefix)
//! 5. [Re-entrancy](#re-entrancy)
//! 6. [Authorisation](#authorisation)
//! 7. [Keys that are ours](#keys-that-are-ours)
//! 8. [Dead letters](#dead-letters)
//! 9. [Fire and forget](#fire-and-forget)
//! 10. [When in memory, when Redis](#when-in-memory-when-redis)
//! 11. [Testing under faults](#testing-under-faults)
//! 12. [TLS, Unix sockets, users](#tls-unix-sockets-users)
//! 13. [When Redis is in trouble](#when-redis-is-in-trouble)
//! 14. [What the log says](#what-the-log-says)
//! 15. [What differs from the Python and TypeScript peers][peers]
//!
//! On pages of their own:
//!
//! 1. [Deadlines](deadlines)
//! 2. [Numbers, metrics and health](knowing)
//! 3. [Rights in Redis](rights)
//! 4. [Traces](traces)
//!
//! # Lifecycle and signals
//!
//! A server is described by its builder, which [`start`][ServerBuilder::start] consumes: it cannot
//! be started twice, and no service can be added too late. `start` resolves when every service is
//! being served, or with the first thing that went wrong. [`stop`][Server::stop] takes no more
//! requests and starts none, lets what runs finish within a grace, sends the replies and closes the
//! connections. What waits here is handed back at once: another server of the pool, of any language,
//! takes it over with its next look. So is what a handler was dropped for when the grace was over,
//! which then runs again, perhaps beside tasks that the dropped handler has spawned. Stopping twice is
//! harmless. A server that is dropped stops by itself, in the background. No signal is handled for
//! you: wait for the one your platform sends, then stop.
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! use std::time::Duration;
//! use tokio::signal::unix::{SignalKind, signal};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! // Before the server starts: a signal that nobody waits for ends the process.
//! let mut terminate = signal(SignalKind::terminate())?;
//! let report = Service::new("report").request("make", async |(): (), _: Context| {
//!     tokio::time::sleep(Duration::from_millis(100)).await;
//!     Ok("the report")
//! });
//! let server = Server::builder("app").service(report).start(&target).await?;
//! # let client = Client::connect("app", &target).await?;
//! # let call = tokio::spawn(client.call::<String>("report.make", ()));
//! # tokio::time::sleep(Duration::from_millis(30)).await;
//! # std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status()?;
//!
//! terminate.recv().await;
//! let stopped = server.stop(Duration::from_secs(5)).await;
//! assert_eq!(stopped.left, 0); // requests that are left to the other workers of the pool
//! # assert_eq!(call.await??, "the report");
//! # client.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Client lifetime and many backends
//!
//! A [`Client`] is a handle: clone it, share it among tasks and threads, and keep it as long as
//! the program runs. It holds two connections and one stream of replies, whatever the number of
//! services it calls, and reconnects by itself. It stops, and its stream is deleted, when
//! [`stop`][Client::stop] is called or the last handle and the last call are gone.
//!
//! Backends that must not meet have key prefixes of their own, and a client each, which may share
//! one [`Target`]:
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! # let serve = async |prefix: &'static str| {
//! #     let tell = move |(): (), _: Context| async move { Ok(prefix) };
//! #     let tell = Service::new("whoami").request("tell", tell);
//! #     Server::builder(prefix).service(tell).start(&target).await
//! # };
//! # let (_shop, _bank) = (serve("shop").await?, serve("bank").await?);
//! let shop = Client::connect("shop", &target).await?;
//! let bank = Client::connect("bank", &target).await?;
//! assert_eq!(shop.call::<String>("whoami.tell", ()).await?, "shop");
//! assert_eq!(bank.call::<String>("whoami.tell", ()).await?, "bank");
//! # Ok(())
//! # }
//! ```
//!
//! # Worker pools and at-least-once
//!
//! Servers with the same prefix and service are a pool: Redis gives each request to one of them. A
//! request is acknowledged only after its reply has been written, so the requests of a worker that
//! dies are taken over by the others once they have been idle for
//! [`claim_idle`][ServerBuilder::claim_idle], which should be the same in the whole pool. Then the
//! handler runs again, unless the caller [has given up](deadlines) by then: make it idempotent where
//! that matters. The id of a request's
//! [entry][Context::entry] is the same in every delivery. A worker that comes back under the name
//! ([`instance`][ServerBuilder::instance]) that it had takes back what it held a third of `claim_idle`
//! sooner.
//!
//! A live worker renews what it holds at a third of `claim_idle`, so handlers may take as long as
//! they like, unless a [`handler_timeout`][ServerBuilder::handler_timeout] is set. Peers in Python
//! and TypeScript renew nothing, and take over what has been idle for their own
//! `consumer_claim_idle_ms`: if that is shorter, say so with
//! [`peer_claim_idle`][ServerBuilder::peer_claim_idle]. A worker that was frozen, or could not reach
//! Redis, for longer than `claim_idle` has lost what it held if another one has taken it over. It
//! learns that before it answers: no second reply is sent, and the handler is told, so that it can
//! end before it does harm. Time in which the whole host is suspended does not count for it, as the
//! monotonic clock of most systems stands still meanwhile: up to a third of `claim_idle` may pass
//! after the resumption before it learns.
//!
//! ```
//! # use clamator_tokio::{Context, HandlerError, RpcError};
//! # async fn charge() {}
//! # async fn look_up() {}
//! async fn pay((): (), context: Context) -> Result<(), HandlerError> {
//!     tokio::select! {
//!         () = look_up() => {}
//!         () = context.cancelled() => return Err(RpcError::new(-32000, "cancelled").into()),
//!     }
//!     if !context.is_lease_lost() {
//!         charge().await;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service, StreamId};
//! # use std::collections::BTreeSet;
//! # use std::sync::{Arc, Mutex};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! // In real life this is a table in the database that the charge goes to.
//! let charged: Arc<Mutex<BTreeSet<StreamId>>> = Arc::default();
//! let charge = move |cents: u64, context: Context| {
//!     // Only the entry tells. A count of 1 does not prove that it never ran: the count is the
//!     // group's, and is lost with it.
//!     let new = charged.lock().is_ok_and(|mut charged| charged.insert(context.entry()));
//!     async move { Ok(if new { cents } else { 0 }) }
//! };
//! let service = Service::new("billing").request("charge", charge);
//! let server = Server::builder("app").service(service).start(&target).await?;
//! # let client = Client::connect("app", &target).await?;
//! # assert_eq!(client.call::<u64>("billing.charge", 5).await?, 5);
//! # client.stop().await;
//! # server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! What a caller may conclude from an error stands with each [`CallError`]; the one that means
//! "perhaps" is [`CallError::OutcomeUnknown`], and a [`CallError::Timeout`] is no better. What no
//! worker was given in time is taken back, and is safe to call again: [`CallError::NoWorkers`].
//!
//! # Ordering, and partitioning by prefix
//!
//! One server runs one handler of a service at a time, in the order of the stream, unless
//! [`Concurrency::Limit`] lets several run at once. So with one server per service, a request sees
//! the full effect of the one before it. In a pool no order is promised. To have both, order where
//! it matters and many workers, divide the work: a prefix for each part, one server for each
//! prefix, and what belongs together always to the same part.
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! # use std::sync::{Arc, Mutex};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! let log: Arc<Mutex<Vec<String>>> = Arc::default();
//! let (mut servers, mut parts) = (Vec::new(), Vec::new());
//! for part in 0..4 {
//!     let log = Arc::clone(&log);
//!     let orders = Service::new("orders").request("update", move |line: String, _: Context| {
//!         let written = log.lock().map(|mut log| log.push(line)).is_ok();
//!         async move { Ok(written) }
//!     });
//!     let prefix = format!("shop-{part}");
//!     servers.push(Server::builder(&prefix).service(orders).start(&target).await?);
//!     parts.push(Client::connect(&prefix, &target).await?);
//! }
//!
//! // Everything about one customer goes to one part, in order.
//! let client = |customer: usize| &parts[customer % parts.len()];
//! for line in ["open", "pay", "ship"] {
//!     let written: bool = client(7).call("orders.update", line).await?;
//!     assert!(written);
//! }
//! assert_eq!(*log.lock().unwrap(), ["open", "pay", "ship"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Re-entrancy
//!
//! A handler may call other services, also those of its own server: none is served behind another. A handler of a serial service that calls its own service would wait for itself. Such a call
//! fails at once with [`CallError::Reentrant`], if it is made from within the handler: one that is
//! made by a task which the handler spawned is not noticed, and waits until its timeout; so does one
//! that goes to the same Redis under another name. Where another server of the pool is there to take
//! the call, [`allow_reentrant`][Service::allow_reentrant] lets it pass. With [`Concurrency::Limit`] a
//! service may call itself while a place is free. Handlers that call each other in a circle, through
//! other services, are not noticed, and wait until their timeouts.
//!
//! ```
//! # use clamator_tokio::{CallError, Client, Context, MemoryBus, Server, Service};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! # let caller = Client::connect("app", &target).await?;
//! let client = Client::connect("app", &target).await?;
//! let countdown = move |left: u64, _: Context| {
//!     let client = client.clone();
//!     async move {
//!         if left == 0 {
//!             return Ok("done".to_owned());
//!         }
//!         match client.call::<String>("count.down", left - 1).await {
//!             Err(CallError::Reentrant) => Ok("would wait for itself".to_owned()),
//!             next => Ok(next?),
//!         }
//!     }
//! };
//! let service = || Service::new("count").request("down", countdown.clone());
//! let alone = Server::builder("app").service(service()).start(&target).await?;
//! assert_eq!(caller.call::<String>("count.down", 1).await?, "would wait for itself");
//! alone.shutdown().await;
//!
//! // Two servers: one that calls, and one that is called.
//! let server = || Server::builder("app").service(service().allow_reentrant());
//! let _pool = (server().start(&target).await?, server().start(&target).await?);
//! assert_eq!(caller.call::<String>("count.down", 1).await?, "done");
//! # Ok(())
//! # }
//! ```
//!
//! # Authorisation
//!
//! There is none of our own: whoever may write a service's stream may call it, and whoever may
//! read a reply stream sees the replies. Redis decides who that is. Which rights clients, servers
//! and operators need, which they may be given, and what those expose, stands on a page of its own:
//! [`rights`].
//!
//! # Keys that are ours
//!
//! | key | what | when it goes |
//! |---|---|---|
//! | `<prefix>:cmds:<service>` | stream of requests and notifications, with the group `<service>` and a consumer `<service>:<instance>` for each server | the stream never; what is acknowledged is deleted from it, and what peers have acknowledged is [trimmed][ServerBuilder::trim_tick], but for about a hundred entries; a consumer when its server stops, or [an hour][ServerBuilder::consumer_idle_max] after it was killed and what it held was taken over |
//! | `<prefix>:replies:<instance>` | stream of a client's replies, of about [1024][ServerBuilder::reply_stream_max_len] entries | when the client stops; what a client that was killed leaves, or a reply that comes later, after [1 h][ServerBuilder::reply_stream_ttl] |
//! | `<prefix>:dead:<service>` | stream of a service's [dead letters](#dead-letters), of about [10,000][ServerBuilder::dead_letters_max] entries | when an operator removes them |
//!
//! Other keys under the prefix are not touched. A prefix may contain anything; with a `{tag}` in
//! it, all keys of a deployment are in one slot of a cluster.
//!
//! # Dead letters
//!
//! A request that kills whoever runs it would be taken over by one worker after the other, for ever.
//! So an entry that would be given out for the 11th time
//! ([`deliveries_max`][ServerBuilder::deliveries_max]) is put aside instead, with all its fields, on
//! the stream `<prefix>:dead:<service>`; its caller is answered `Internal error`. Redis counts how
//! often an entry was given out, so crashes count, and the starts of Python and TypeScript workers; a
//! stop does not. An [`Operator`] lists dead letters, puts them back, and removes them.
//!
//! # Fire and forget
//!
//! [`notify`][Client::notify] resolves when the notification is on its stream. From then on it is
//! treated as a request is, at least once and in order; but nobody answers, and whether its handler
//! failed, or whether there is such a method at all, stands in the server's log only.
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! # let (sender, mut handled) = tokio::sync::mpsc::unbounded_channel();
//! let audit = Service::new("audit").notification("log", move |line: String, _: Context| {
//!     let sent = sender.send(line);
//!     async move { Ok(sent?) }
//! });
//! let server = Server::builder("app").service(audit).start(&target).await?;
//! let client = Client::connect("app", &target).await?;
//! client.notify("audit.log", "somebody logged in").await?;
//! assert_eq!(handled.recv().await.as_deref(), Some("somebody logged in"));
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! # When in memory, when Redis
//!
//! A [`MemoryBus`] is for tests, for a first look, and for programs whose parts may one day be
//! processes: the same clients and servers, over the model of Redis's streams that the engine is
//! tested with, consumer groups and takeover included. It ends with the process, and nobody else
//! sees it; so a service that nobody has ever served on it is known not to be there:
//!
//! ```
//! # use clamator_tokio::{CallError, Client, MemoryBus};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("app", &MemoryBus::new()).await?;
//! let outcome = client.call::<u64>("nobody.home", ()).await;
//! assert_eq!(outcome, Err(CallError::NoWorkers));
//! # Ok(())
//! # }
//! ```
//!
//! Over Redis the request waits in its stream for the first server, and the call for its timeout;
//! then it is taken back, if no worker was given it and there is time for two round trips to Redis,
//! and the call ends with [`CallError::NoWorkers`] as well. On Redis before 7.0, and for a client that does not
//! [withdraw][ClientBuilder::withdraw], it stays, and a server that comes later [skips](deadlines)
//! it. What says no deadline runs however late: notifications, calls without an end, and what Python
//! and TypeScript clients send.
//! Use Redis for everything that has to outlive a process or to reach another one. What Redis
//! keeps of it depends on its
//! [persistence](https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/); give
//! it `maxmemory-policy noeviction`, since any other lets it drop streams when it is full.
//!
//! # Testing under faults
//!
//! At least once means that a handler may run again whenever a worker or its connection fails at
//! the wrong moment, which tests on a healthy Redis never see. With the feature `sim`, the module
//! `sim` runs a program's own handlers and clients in virtual time, on one thread, against a
//! simulated Redis, while workers crash, freeze and are replaced, connections break, and Redis
//! restarts and refuses. A run takes milliseconds and is decided by a seed: a test runs thousands,
//! and the one that fails says how to repeat it. The example `simulation` catches a handler that is
//! not idempotent.
//!
//! # TLS, Unix sockets, users
//!
//! The [target][Target::url]'s URL says it all, but for certificates. TLS needs the feature `tls`,
//! and no server is trusted without a certificate for its name; own authorities and a client's
//! certificate are given as PEM text with `Target::tls`. A certificate is one of X.509 version 3 with
//! the host in its subjectAltName: the common name is not read. A target prints without its password.
//!
//! ```
//! # use clamator_tokio::{InvalidTarget, Target};
//! # fn main() -> Result<(), InvalidTarget> {
//! let tcp = Target::url("redis://alice:secret@redis.internal:6380/2")?;
//! let socket = Target::url("unix:///run/redis.sock?db=2&user=alice&pass=secret")?;
//! assert_eq!(tcp.to_string(), "redis://alice@redis.internal:6380/2");
//! assert!(matches!(Target::url("redis://host?database=2"), Err(InvalidTarget::UnknownKey { .. })));
//! # drop(socket);
//! # Ok(())
//! # }
//! ```
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[cfg(feature = "tls")]
//! # {
//! # use clamator_tokio::Target;
//! use clamator_tokio::Tls;
//!
//! let target = Target::url("rediss://redis.internal")?;
//! let target = match std::fs::read("/etc/app/authority.pem") {
//!     Ok(authority) => target.tls(Tls::trusting(&authority)?)?,
//!     Err(_) => target, // trusts the operating system's authorities
//! };
//! # drop(target);
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! After a start that succeeded, whatever ends the connections is met with retries, from 100 ms to
//! a second apart, 30 s after refused credentials. The log has one warning when the connection is
//! gone, one for each further kind of reason why it does not come back, and one line when it has.
//!
//! # When Redis is in trouble
//!
//! A Redis may be there and not do what it is asked to. Nothing has to be restarted for that: service
//! resumes by itself, within two seconds of the end of the trouble, and no handler runs again because
//! its reply could not be written.
//!
//! | Redis | new calls fail at once with | finished replies |
//! |---|---|---|
//! | is full (`OOM`), cannot save (`MISCONF`), has too few replicas (`NOREPLICAS`), or is a cluster that is down (`CLUSTERDOWN`) | [`CallError::Refused`] | are kept, and written when it is well |
//! | is a replica, as a master that was demoted is (`READONLY`), or reads its data in (`LOADING`) | `Refused`, those on their way whose own refusals do not come in with the first one [`CallError::OutcomeUnknown`], and [`CallError::NotSent`] while there is no connection | are kept, and written when it is a master, or there is one |
//! | takes a right away (`NOPERM`) | `Refused`, without the right to write | are lost, without the right to write replies: this is taken to be meant, and the callers' calls time out |
//!
//! No connection is held to a replica: the host of the target is looked up anew for each, until it
//! leads to a master, so that clients and servers follow a name that is moved. What a demoted master
//! had taken and not passed on is lost with it; its callers are told so when their calls time out.
//! A replica that takes writes, which Redis can be set to, is not served either: what is written there
//! is lost.
//!
//! # What the log says
//!
//! Clients and servers write [`tracing`](https://docs.rs/tracing) events under the target
//! `clamator`; a program without a subscriber sees none. Each has the `instance` that speaks, and
//! where it is about one, `service`, `method`, `id`, `entry` and `error`.
//!
//! | level | message | what it is about |
//! |---|---|---|
//! | error | `RPC handler raised` | a handler failed, or panicked |
//! | error | `RPC result validation failed` | a handler's result cannot be written |
//! | error | `RPC dead letter` | an entry that was given out too often was put aside |
//! | error | `redis dead letter refused` | one that could not be, and is gone |
//! | error | `redis entry unreadable` | an entry that no connection could bring: it is `settled`, and gone, or left to other workers |
//! | warn | `RPC params validation failed` | parameters that do not fit the handler |
//! | warn | `RPC notification failed`, `RPC method not found` | a notification that came to nothing |
//! | warn | `redis disconnected` | no connection, and why; once for each kind of reason |
//! | warn | `redis poison envelope`, `reply-to refused`, `redis reply refused` | one entry of a stream |
//! | warn | `redis read refused`, `redis ack refused`, `redis group refused`, `redis renewal refused`, `redis expiry refused` | Redis refuses; it is tried again |
//! | warn | `redis look refused` | what a connection was given that has ended cannot be looked for, and waits for `claim_idle` |
//! | warn | `RPC lease lost`, `RPC handler overdue` | a handler that is not going to be heard |
//! | warn | `RPC request expired` | a request that was not run, as its caller had given up |
//! | warn | `redis clock jumped` | Redis's clock, or this host's, was set; [deadlines] of what was sent before are not looked at |
//! | warn | `redis group restored`, `redis consumer not removed` | what became of a server's group |
//! | warn | `redis reply parse failed` | an entry of a client's reply stream |
//! | info | `redis connected` | all connections are there, again |
//!
//! # What differs from the Python and TypeScript peers
//!
//! The wire is the same, and pools may be mixed. What is different is so on purpose:
//!
//! | subject | the peers | here | why |
//! |---|---|---|---|
//! | requests sent before the first server ever started | lost | served, unless [`StartFrom::New`] | a deployment may start in any order |
//! | a request whose caller has given up | runs | is skipped, if its client says how long it waits, as those here do | nobody hears of it |
//! | a group or stream that is gone | an error ten times a second, for ever | made again, without running its history twice | Redis is restarted and emptied |
//! | a handler that takes longer than `claim_idle` | started again, by its own server too | runs once, as what is held is renewed | order, and effects that happen once |
//! | requests taken in before they can run | 16 | as many as the handlers are about to need | a slow worker does not sit on work |
//! | a reply that cannot be written, a bad `reply-to` | holds up what comes behind it | is settled on its own | one entry never harms another |
//! | a `reply-to` of any key | is written to, and trimmed | only `<prefix>:replies:…` is | who may call may not write everywhere |
//! | a service that nobody serves, in memory | `Method not found` | [`CallError::NoWorkers`] | nobody answered |
//! | a request that is malformed | is never answered | `Invalid Request`, when its id and reply stream can be read | the caller need not wait for a timeout |
//! | a method of another service | runs | `Method not found` | a typing error does not run |
//! | a request that is started again and again and never ends | is, for ever | is put aside after ten times, its caller told | it would harm one worker after the other |
//! | what is acknowledged | stays in the stream | is deleted | memory |
//! | a stop | reads on, may answer without acknowledging, and leaves what is not finished to be found once it has been idle for long enough | starts nothing more, acknowledges what it answered, and hands back the rest | a restart makes nobody wait |
//! | a call that times out, or is cancelled, before a worker was given it | its request runs some time | the request is taken back, on Redis 7.0 or newer; the call ends with [`CallError::NoWorkers`] | what nobody waits for need not run, and the caller may safely try again |
//! | a call while Redis is down | is queued and may run later (TypeScript) | [`CallError::NotSent`] | the caller decides |
//! | the outcome of a call that Redis did not confirm | an error like any other | [`CallError::OutcomeUnknown`] | only the caller knows whether it may be repeated |
//! | integers in JSON | Python writes `5.0`, TypeScript rounds beyond 2^53 | read as they come; [`integer`] takes `5.0` too | no digit is lost on the way |
//! | deeply nested JSON | no limit of their own | 128 levels, the envelope's included: deeper values are refused where they are made, and answered `Invalid Request` where they come in | what is sent can be read |
//! | optional values | Python sends `null` | absent or `null` is read as the type says; write them with `skip_serializing_if` | TypeScript refuses `null` |
//!
//! [`CallError`]: crate::CallError
//! [`Client`]: crate::Client
//! [`Concurrency::Limit`]: crate::Concurrency::Limit
//! [`MemoryBus`]: crate::MemoryBus
//! [`StartFrom::New`]: crate::StartFrom::New
//! [`Target`]: crate::Target
//! [`integer`]: crate::integer
//! [`CallError::Reentrant`]: crate::CallError::Reentrant
//! [`CallError::OutcomeUnknown`]: crate::CallError::OutcomeUnknown
//! [`CallError::Timeout`]: crate::CallError::Timeout
//! [`CallError::NoWorkers`]: crate::CallError::NoWorkers
//! [`CallError::NotSent`]: crate::CallError::NotSent
//! [`CallError::Refused`]: crate::CallError::Refused
//! [`Target::url`]: crate::Target::url
//! [Client::notify]: crate::Client::notify
//! [ClientBuilder::withdraw]: crate::ClientBuilder::withdraw
//! [Client::stop]: crate::Client::stop
//! [Context::entry]: crate::Context::entry
//! [Server::stop]: crate::Server::stop
//! [Service::allow_reentrant]: crate::Service::allow_reentrant
//! [ServerBuilder::claim_idle]: crate::ServerBuilder::claim_idle
//! [ServerBuilder::consumer_idle_max]: crate::ServerBuilder::consumer_idle_max
//! [`Operator`]: crate::Operator
//! [ServerBuilder::dead_letters_max]: crate::ServerBuilder::dead_letters_max
//! [ServerBuilder::deliveries_max]: crate::ServerBuilder::deliveries_max
//! [ServerBuilder::handler_timeout]: crate::ServerBuilder::handler_timeout
//! [ServerBuilder::instance]: crate::ServerBuilder::instance
//! [ServerBuilder::peer_claim_idle]: crate::ServerBuilder::peer_claim_idle
//! [ServerBuilder::reply_stream_max_len]: crate::ServerBuilder::reply_stream_max_len
//! [ServerBuilder::reply_stream_ttl]: crate::ServerBuilder::reply_stream_ttl
//! [ServerBuilder::trim_tick]: crate::ServerBuilder::trim_tick
//! [ServerBuilder::start]: crate::ServerBuilder::start
//! [Target::url]: crate::Target::url
//! [peers]: #what-differs-from-the-python-and-typescript-peers

pub mod deadlines;
pub mod knowing;
pub mod rights;
pub mod traces;
