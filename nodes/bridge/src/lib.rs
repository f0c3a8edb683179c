//! Connects owners and Hosts; can read nothing.
//!
//! Every decision is a rule: a plain function over a transaction of the store, with time,
//! randomness and the picture of the Hosts as arguments ([`upload`], [`download`], [`delete`],
//! [`account`], [`join::hello`]). Endpoints ([`http`]) and workers only call them, so rules are
//! tested without async, network or clock.
//!
//! What is never here: an owner's key, a name, a byte of content; an answer before its change is
//! durable; a Host that counts without having proved its key and been reached.

pub mod account;
pub mod audit;
pub mod bridge;
pub mod context;
mod corrupt;
pub mod delete;
pub mod download;
pub mod environment;
pub mod events;
pub mod healing;
pub mod hosts;
pub mod http;
pub mod join;
pub mod keys;
pub mod leave;
pub mod memory;
pub mod operator;
pub mod orders;
pub mod place;
pub mod random;
pub mod refusal;
pub mod repair;
pub mod report;
pub mod retain;
pub mod server;
pub mod survey;
mod throttle;
pub mod timing;
pub mod upload;
pub mod workers;

#[cfg(test)]
mod testing;
