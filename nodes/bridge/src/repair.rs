//! Repair: which segments lack shards, in which order they are made whole, and by whom.

pub mod judge;
