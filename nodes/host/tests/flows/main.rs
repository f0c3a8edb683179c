//! A Host over real sockets between a Bridge and a client: every flow, and every refusal.

mod audit;
mod join;
mod orders;
mod parts;
mod repair;
mod rig;
mod transfer;
