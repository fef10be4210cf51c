//! Simulations: a program's own handlers and clients under every fault, repeatable by a seed.
//!
//! Not for production, and not a mock: clients and servers are the ones that programs use, with
//! their engines; the Redis is the model that is compared with real servers. Time is virtual and
//! everything runs on one thread, so a run takes milliseconds. What could break repeatability is
//! code of the test's own that takes time, chance or an order from elsewhere.
//!
//! A [`Simulation`] runs an async function, the test, with a [`Sim`]. Clients and servers of any
//! runtime run in the simulation when their [`Target`](crate::Target) is of it.

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
