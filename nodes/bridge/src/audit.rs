//! Proof of availability: who is asked for which leaf, and what the answers come to.

pub mod ask;
pub mod reputation;
pub mod rounds;
pub mod verdict;

#[cfg(test)]
mod tests;
