//! The simulator: whole deployments under every fault, each run decided by one seed.
//!
//! Not a mock: clients and servers are the engines that run in production, the Redis between them
//! is the model that is compared with real servers ([`memory`](crate::memory)), and only the time,
//! the chance and the wires are made up. Pure like everything here: a run is a function of its
//! seed.

mod agenda;
mod by_node;
mod dice;
mod fact;
mod fault;
mod garbage;
mod given;
mod history;
mod injector;
mod invariants;
mod network;
mod node;
mod plan;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a point is about few of many facts and commands"
)]
mod points;
mod python;
mod report;
mod trace;
mod verb;
mod world;

pub use self::dice::Dice;
pub use self::fault::{Fault, FaultCounts};
pub use self::injector::Injector;
pub use self::network::{Cut, Executed, Network, NetworkEvent, NodeId, Revival, Trouble};
pub use self::points::{Point, PointCounts};
pub use self::report::{Failure, Report, run, run_with_canary, trace};
#[cfg(seeded_bugs)]
pub use self::report::{run_with, trace_with};
