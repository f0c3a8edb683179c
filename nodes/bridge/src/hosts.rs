//! The Hosts: what each offers, who is there now, and the picture that plans are made from.

pub mod breaker;
pub mod directory;
pub mod offer;
pub mod presence;
pub mod record;
pub mod roster;
