//! Proof of availability: who is asked for which leaf, and what the answers come to.

pub mod reputation;
