//! A Host over real sockets between a Bridge and a client: every flow, and every refusal.

mod audit;
mod events;
mod join;
mod leave;
mod orders;
mod parts;
mod repair;
mod retain;
mod rig;
mod transfer;
mod trash;
