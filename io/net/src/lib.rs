//! Sockets, TLS and HTTP; the only crate that opens connections.
//!
//! Every node has one Ed25519 key. Whoever serves shows it in a self-signed certificate
//! ([`Identity`]), whoever dials pins it ([`Endpoint`]), so a connection is to that key or it is
//! not made. Over it runs HTTP/1.1: [`Listener`] serves a router, [`Dialer`] sends a [`Call`] and
//! hands back a [`Reply`], [`Dialer::channel`] opens a WebSocket.
//!
//! What must never happen here: TLS below 1.3, plain HTTP beyond loopback, a wait without a
//! limit, a buffer that grows on a stranger's word.

mod call;
mod channel;
mod connect;
mod door;
mod endpoint;
mod identity;
mod inbound;
mod json;
mod meter;
mod payload;
mod pin;
mod pool;
mod sent;
mod serve;
mod tls;

pub use axum::Router;
pub use axum::extract::ConnectInfo;
pub use call::{Call, CallError, Reply, Step};
pub use channel::{Channel, ChannelError, ChannelReader, ChannelWriter};
pub use connect::ConnectError;
pub use endpoint::{BridgeUrl, BridgeUrlError, Endpoint};
pub use identity::{Identity, IdentityError};
pub use inbound::BODY_DRAIN_BYTES_MAX;
pub use meter::TooSlow;
pub use payload::Payload;
pub use pool::{Dialer, DialerLimits};
pub use serve::{BindError, Listener, Security, ServeLimits};
