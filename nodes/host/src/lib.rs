//! A Host's side: joins a Bridge, stores shards and serves them.
//!
//! [`Host::open`] brings the shard store back and reads what is known of the Bridge;
//! [`Host::run`] serves the data plane and keeps the control channel until it is told to stop.
//! The flows are one file each: join, upload, download, delete.
//!
//! What is absent: no byte of a body is read and none of a shard is sent without a Bridge's
//! ticket; no receipt is signed before the store said durable; no order is acknowledged before
//! it is done and durable; nothing is deleted without an order.

mod about;
mod bandwidth;
mod bridge_pin;
mod buffers;
mod config;
mod delete;
mod download;
mod environment;
mod host;
mod identity;
mod join;
mod limits;
mod refusal;
mod status;
mod ticket;
mod upload;

pub use about::About;
pub use bridge_pin::{BridgePin, PinError};
pub use config::{HostConfig, HostConfigError, Settings};
pub use environment::{Environment, SystemEnvironment};
pub use host::{Host, HostError};
pub use identity::{HostIdentityError, identity};
pub use status::{JoinState, STATUS_FILE, Status, StatusError};
