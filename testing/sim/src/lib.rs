//! A whole network in one thread: the production Bridge, Hosts and owners, over simulated sockets,
//! disks and clocks. One seed is one run, and every run of a seed is the same.
//!
//! A [`Plan`] says what a seed means: how many nodes, what owners do, what goes wrong when. [`run`]
//! plays it and compares what owners see with a reference that knows what was acknowledged. What
//! happens is written down, and the hash of that is the run's [trace hash](Report::hash).
//!
//! What is absent: threads, sockets, files, the system's clock and its randomness where they could
//! be seen in a run; a fault beyond what the redundancy of the data is to survive.

mod audit;
mod device;
pub mod disk;
mod ending;
mod environment;
mod faults;
mod model;
mod network;
mod nodes;
mod ops;
mod plan;
mod platter;
mod shared;
mod trace;
mod world;

pub use plan::{Fault, Node, Plan, Planned, Sabotage};
pub use world::{Report, run};

/// Runs the plan of `seed`.
#[must_use]
pub fn run_seed(seed: u64) -> Report {
    run(&Plan::of(seed))
}
