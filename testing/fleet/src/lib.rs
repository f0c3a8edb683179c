//! How long data lives in a fleet of home computers: years of a hundred thousand to a million
//! Hosts in minutes, by events.
//!
//! What decides is the Bridge's own code, called and never copied: who is believed to be there
//! ([`bridge::hosts::presence`]), when an outage pauses repair ([`bridge::hosts::breaker`]), which
//! segment is repaired and in which order ([`bridge::repair::judge`]), where shards go
//! ([`model::placement`]). What is simulated is the world around it: people who switch computers
//! off ([`habits`]), leave, lose disks, and storms that hit many at once ([`storms`]). The figures
//! are in [`Model`], with their sources in `docs/durability.md`.
//!
//! The same seed gives the same outcome. What is absent: bytes, sockets, and any rule of repair.

mod belief;
mod calendar;
mod draw;
mod habits;
mod hosts;
mod minutes;
mod model_figures;
mod outcome;
pub mod picture;
mod queue;
mod repair;
mod samples;
mod segments;
mod simulation;
pub mod statistics;
mod storms;

pub use model_figures::{Habits, Hazards, Model, QueueRule};
pub use outcome::{Causes, Outcome};
pub use simulation::simulate;
