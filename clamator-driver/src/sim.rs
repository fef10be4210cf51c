//! Simulations: a program's own handlers and clients under every fault, repeatable by a seed.
//!
//! Not for production, and not a mock: clients and servers are the ones that programs use, with
//! their engines; the Redis is the model that is compared with real servers. Time is virtual and
//! everything runs on one thread, so a run takes milliseconds. What breaks repeatability is code of
//! the test's own that takes time, chance or an order from elsewhere.
//!
//! A [`Simulation`] runs an async function, the test, with a [`Sim`]: it starts workers, makes
//! clients, and asserts. Clients and servers of any runtime run in the simulation when their
//! [`Target`](crate::Target) is of it. Meanwhile workers crash, freeze and are replaced, connections
//! break, and Redis restarts and refuses; after the [span](Simulation::span) all of it ends.
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use clamator_tokio::sim::Simulation;
//! use clamator_tokio::{Client, Context, Server, Service};
//!
//! // In real life in a test, which is named by the line that repeats a run that failed.
//! Simulation::new().span(Duration::from_secs(3)).seeds(0, 100, async |sim| {
//!     // Plays the database: it outlives the workers, which crash.
//!     let charged: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
//!     for name in ["worker-1", "worker-2"] {
//!         let charged = Arc::clone(&charged);
//!         let worker = sim.worker(name, move |process| {
//!             let charged = Arc::clone(&charged);
//!             let charge = move |order: u32, _: Context| {
//!                 // Once, however often it is delivered. A counter would soon be caught.
//!                 charged.lock().unwrap().insert(order);
//!                 async { Ok(()) }
//!             };
//!             let billing = Service::new("billing").request("charge", charge);
//!             let server = Server::builder("shop").claim_idle(Duration::from_secs(1));
//!             server.service(billing).start(process)
//!         });
//!         drop(worker); // a handle, with which a test crashes or freezes its worker
//!     }
//!     let client = Client::connect_lazy("shop", &sim);
//!     while client.call::<()>("billing.charge", 7).await.is_err() {
//!         sim.sleep(Duration::from_millis(100)).await;
//!     }
//!     sim.healed().await;
//!     assert_eq!(charged.lock().unwrap().len(), 1);
//! });
//! ```
//!
//! # What a test must know
//!
//! - Waits are [`Sim::sleep`] and [`Process::sleep`], tasks are [`Process::spawn`]ed. What waits
//!   for a timer or a socket of a real runtime never wakes up, or panics without that runtime;
//!   channels and locks of any crate work. A handler that waits takes its wait as a parameter:
//!   `tokio::time::sleep` in the program, [`Process::sleep`] here.
//! - A crash drops a process's futures where they are. What a handler did to values that it shares
//!   with the test stays done, as in a database; what it has in itself is gone.
//! - A panic in a handler is the caller's error, as ever: assert in the test. A panic anywhere else
//!   fails the run.
//! - A worker that cannot start is started again and again, as in a deployment. Assert that what was
//!   asked for was done: that nothing was done twice is true where nothing is done.
//! - [`ServerBuilder::claim_idle`](crate::ServerBuilder::claim_idle) is 60 s unless a worker says
//!   otherwise, and a takeover takes as long: a short one makes short runs, which find more.

mod chaos;
mod executor;
mod handle;
mod life;
mod process;
mod ready;
mod report;
mod simulation;
mod timers;
mod trace;
mod world;

pub use clamator_engine::sim::{Cut, Dice, Fault, FaultCounts, Network, NodeId, Revival, Trouble};

pub use self::handle::{Sim, Worker};
pub use self::process::{Process, ProcessTimer, Sleep};
pub use self::simulation::Simulation;
