//! How Hosts join and stay: the proof of their key, the control channel, the reachability check.

pub mod channel;
pub mod hello;
pub mod reach;
