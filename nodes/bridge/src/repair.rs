//! Repair: which segments lack shards, in which order they are made whole, and by whom.

pub mod dispatch;
pub mod judge;
pub mod order;
pub mod queue;
pub mod scan;
pub mod settle;

#[cfg(test)]
mod tests;
