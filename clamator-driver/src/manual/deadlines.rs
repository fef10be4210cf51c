//! The manual's page on deadlines: what is not run since nobody waits for it.
//!
//! Not the timeout of a call, which stands with [`Call::timeout`](crate::Call::timeout), nor what is
//! taken back from a stream before any worker was given it: see [`CallError::NoWorkers`].
//!
//! A call says for how long its caller is going to wait. A request whose caller has given up is not
//! run: it is acknowledged, counted, and has a line in the log. So a service that was down, or is
//! behind, does not spend its time on what nobody hears of. Redis's clock decides, and a caller has to
//! be gone for a [second][ServerBuilder::deadline_slack] more: to run a request in vain does no harm,
//! to skip one that somebody waits for would. While that clock is being set, or not known, nothing is
//! skipped; that it was set forward before a server first looked at it, the server cannot know.
//! Notifications have no deadline, nor have calls without an end, and requests of Python and TypeScript
//! clients do not tell theirs; they run however late.
//!
//! A request of a worker that was killed is taken over once it has been idle for
//! [`claim_idle`][ServerBuilder::claim_idle], a minute by default, and the timeout of a call is half of
//! that: then its caller has given up, and it is not started again. Work that has to be finished
//! whoever waits for it is a notification, or has a timeout that is longer than `claim_idle`.
//!
//! A handler can ask [how long][Context::remaining] it is still waited for, and give the calls that it
//! makes [no more time][Call::within] than that:
//!
//! ```
//! # use clamator_tokio::{Client, Context, MemoryBus, Server, Service};
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let target = MemoryBus::new();
//! # let client = Client::connect("app", &target).await?;
//! # let price = Service::new("price").request("of", async |_: String, _: Context| Ok(5));
//! # let prices = Server::builder("app").service(price).start(&target).await?;
//! # let caller = client.clone();
//! let total = move |items: Vec<String>, context: Context| {
//!     let client = caller.clone();
//!     async move {
//!         let mut total = 0;
//!         for item in items {
//!             total += client.call::<u64>("price.of", item).within(&context).await?;
//!         }
//!         Ok(total)
//!     }
//! };
//! let shop = Service::new("shop").request("total", total);
//! let server = Server::builder("app").service(shop).start(&target).await?;
//! let call = client.call::<u64>("shop.total", ["tea", "milk"]).timeout(Duration::from_secs(2));
//! assert_eq!(call.await?, 10);
//! # drop((server, prices));
//! # Ok(())
//! # }
//! ```
//!
//! [`CallError::NoWorkers`]: crate::CallError::NoWorkers
//! [Call::within]: crate::Call::within
//! [Context::remaining]: crate::Context::remaining
//! [ServerBuilder::claim_idle]: crate::ServerBuilder::claim_idle
//! [ServerBuilder::deadline_slack]: crate::ServerBuilder::deadline_slack
