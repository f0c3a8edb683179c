//! A Host's side: joins a Bridge, stores shards and serves them.
//!
//! [`Host::open`] brings the volumes back and reads what is known of the Bridges; [`Host::run`]
//! serves the data plane and keeps the control channels until it is told to stop. The flows are
//! one file each: join, upload, download, delete; `upkeep` scrubs, compacts and looks for volumes.
//!
//! What is absent: no byte of a body is read and none of a shard is sent without a Bridge's
//! ticket; no receipt is signed before the store said durable; no order is acknowledged before
//! it is done and durable; nothing is deleted without an order.

mod about;
mod audit;
mod bandwidth;
mod bridge_pin;
mod bridges;
mod buffers;
mod config;
mod counts;
mod delete;
mod download;
mod environment;
mod events;
mod host;
mod identity;
mod inventory;
mod join;
mod leave;
mod limits;
mod metered;
mod proof;
mod refusal;
mod repair;
mod retain;
mod speak;
mod status;
mod storing;
mod ticket;
mod trash;
mod upkeep;
mod upload;
mod verify;
mod volumes;
mod wishes;

pub use about::About;
pub use bridge_pin::{BridgePin, PinError};
pub use bridges::Behind;
pub use config::{BridgeSettings, HostConfig, HostConfigError, Settings, VolumeSettings};
pub use environment::{Environment, SystemEnvironment};
pub use events::{EVENTS_FILE, EventsError, EventsFound, events};
pub use host::{Host, HostError};
pub use identity::{HostIdentityError, identity};
pub use status::{BridgeShown, JoinState, STATUS_FILE, Status, StatusError, VolumeShown};
pub use trash::TrashError;
pub use verify::{RottenShard, Verification, VerifiedVolume, VerifyHostError, verify};
pub use volumes::{VolumeFound, forget_volume, volumes};
pub use wishes::{AskedBy, GivenBack, LeaveAsked, Pause, Wishes, WishesError};
