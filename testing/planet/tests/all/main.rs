//! A real network of processes that has to keep its promises: what is in comes out, whoever dies,
//! lies, crawls or pries.
//!
//! Runs the programs in the target folder's `release`, or in the folder `PLANET_PROGRAMS`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic and tell, also in what they share"
)]

mod abuse;
mod canary;
mod chaos;
mod compare;
mod faults;
mod flips;
mod heals;
mod kills;
mod leaves;
mod life;
mod lines;
mod logs;
mod parts;
mod restored;
mod resume;
mod rots;
mod sockets;
mod stage;
mod tree;
mod writers;
