//! A whole network of real processes on loopback: one Bridge, many Hosts, owners' clients.
//!
//! For the disaster tests and for `cargo xtask planet`. Every process has a log file, can be
//! killed, frozen and started again on the same data and port, and dies with whoever started it,
//! however that ends. Nothing here knows what the programs say to each other.

mod ask;
mod dice;
pub mod disasters;
mod keeper;
mod layout;
mod left;
mod link;
mod network;
mod node;
mod owner;
mod programs;
mod shards;
mod survey;

pub use ask::ask;
pub use dice::{Dice, noise};
pub use keeper::Keeper;
pub use layout::{HostPlace, Layout, free_ports};
pub use left::stop_left;
pub use link::{Fault, Link};
pub use network::{Patience, Planet, PlanetConfig};
pub use node::Node;
pub use owner::Owner;
pub use programs::Programs;
pub use shards::{Stored, flip, log_files, stored_shards};
pub use survey::{Event, HostStatus, Placed, Proofs, Segment};
