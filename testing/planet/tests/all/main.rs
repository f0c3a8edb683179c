//! A real network of processes that has to keep its promises: what is in comes out, whoever dies,
//! lies, crawls or pries.
//!
//! Runs the programs in the target folder's `release`, or in the folder `PLANET_PROGRAMS`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests may panic, also in what they share"
)]

mod compare;
mod stage;
mod tree;
