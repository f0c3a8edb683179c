//! What two parties must agree on; pure: no socket, disk, clock, thread or ambient randomness.
//!
//! Time, randomness and configuration come in as arguments, so that a simulated network and a
//! real one run the same code, and the crate builds for the browser.

pub mod codec;
pub mod crypto;
pub mod formats;
pub mod placement;
pub mod units;
pub mod wire;
