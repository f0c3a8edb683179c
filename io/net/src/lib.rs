//! Sockets, TLS and HTTP; the only crate that opens connections.
//!
//! Every node has one Ed25519 key. Whoever serves shows it in a self-signed certificate
//! ([`Identity`]), whoever dials pins it ([`Endpoint`]), so a connection is to that key or it is
//! not made. Over it runs HTTP/1.1: [`Listener`] serves a router, [`Dialer`] sends a [`Call`] and
//! hands back a [`Reply`], [`Dialer::channel`] opens a WebSocket.
//!
//! All of that is in `sockets`. A browser has none: there only the client's words exist, and the
//! app says by a [`Carrier`] how a request travels.
//!
//! What must never happen here: TLS below 1.3, plain HTTP beyond loopback, a wait without a
//! limit, a buffer that grows on a stranger's word.

mod call;
mod carrier;
mod dialer;
mod endpoint;
mod error;
mod json;
mod payload;
mod reply;
mod sent;
#[cfg(not(target_family = "wasm"))]
mod sockets;
mod turns;

pub use call::Call;
pub use carrier::{CarriedBody, Carrier, CarryError, Taken};
pub use dialer::{Dialer, DialerLimits};
pub use endpoint::{BridgeUrl, BridgeUrlError, Endpoint};
pub use error::{CallError, Cause, ConnectError, Step};
pub use payload::Payload;
pub use reply::Reply;
#[cfg(not(target_family = "wasm"))]
pub use sockets::{
    Accept, BODY_DRAIN_BYTES_MAX, BindError, Channel, ChannelError, ChannelReader, ChannelWriter,
    ConnectInfo, Identity, IdentityError, Listener, Network, Router, Security, ServeLimits,
    SimulatedListener, SimulatedNetwork, SimulatedStream, Stream, TooSlow,
};
