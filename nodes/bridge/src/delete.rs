//! How shards go: what makes a blob go (retention, purge), and the steps in which it goes.
//!
//! A blob's row goes first, in one transaction, and leaves a list of what is to be erased. Its
//! places and receipts follow in bounded steps, each with the orders that delete at the Hosts, so
//! that neither a crash nor a huge blob leaves a shard that nobody would name again.

pub mod erase;
pub mod purge;
pub mod retention;
pub mod sparse;

#[cfg(test)]
mod tests;
