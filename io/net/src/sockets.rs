//! What opens sockets: the transport under a [`Dialer`](crate::Dialer) and everything that
//! serves. Not in a browser, which has none.

mod channel;
mod connect;
mod door;
mod exchange;
mod identity;
mod inbound;
mod meter;
mod network;
mod pin;
mod pool;
mod serve;
mod socket;
mod tls;

pub use axum::Router;
pub use axum::extract::ConnectInfo;
pub use channel::{Channel, ChannelError, ChannelReader, ChannelWriter};
pub(crate) use exchange::{Incoming, send};
pub use identity::{Identity, IdentityError};
pub use inbound::BODY_DRAIN_BYTES_MAX;
pub use meter::TooSlow;
pub use network::{Accept, Network, SimulatedListener, SimulatedNetwork, SimulatedStream, Stream};
pub(crate) use pool::Pool;
pub use serve::{BindError, Listener, Security, ServeLimits};
