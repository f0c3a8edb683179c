//! Join: the control channel to a Bridge, dialled by the Host and kept open; one for each Bridge.
//! Heartbeats and answers go one way, orders and questions come the other. While a Bridge is away
//! the Host keeps serving.

mod hear;
mod session;
mod work;

use std::sync::Arc;
use std::time::Duration;

use model::wire::{Problem, VersionRefused};
use net::{ChannelError, Dialer};
use runtime::Backoff;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bridge_pin::{BridgePin, PinError};
use crate::bridges::BridgeLink;
use crate::delete::OrderError;
use crate::events::EventsError;
use crate::host::Node;
use crate::limits::{REDIAL_AFTER_MAX, REDIAL_AFTER_MIN};
use crate::status::JoinState;
use session::Session;

/// A control channel that was not opened or did not last.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// The connection failed.
    #[error("no channel to the bridge")]
    Channel(#[from] ChannelError),
    /// The Bridge closed it.
    #[error("the bridge closed the channel")]
    Closed,
    /// The Bridge sent something that is no message.
    #[error("the bridge sent something that is no message")]
    Malformed(#[from] serde_json::Error),
    /// The Bridge did not greet as it should.
    #[error("the bridge did not send its {expected}")]
    OutOfOrder {
        /// What should have come.
        expected: &'static str,
    },
    /// No protocol version is common to both.
    #[error("{0}")]
    Version(VersionRefused),
    /// It is not the Bridge it was, or cannot be remembered.
    #[error("this bridge is not accepted")]
    Pin(#[from] PinError),
    /// The Bridge does not take this Host.
    #[error("the bridge refuses this host: {0}")]
    Refused(Problem),
    /// An order that cannot be carried out; the Bridge sends it again.
    #[error("an order cannot be carried out")]
    Order(#[from] OrderError),
    /// Nothing was heard of the Bridge for longer than it is ever silent.
    #[error("the bridge is silent")]
    Silent,
    /// What is offered has changed: the Bridge is greeted anew.
    #[error("what this host offers has changed")]
    OtherOffer,
    /// An event that is not kept; the Bridge sends it again.
    #[error("an event cannot be kept")]
    Event(#[from] EventsError),
}

/// Keeps the Host joined to the Bridge of `link` until `stop` is cancelled.
pub(crate) async fn keep_joined(
    node: Arc<Node>,
    link: Arc<BridgeLink>,
    dialer: Dialer,
    mut pin: BridgePin,
    stop: CancellationToken,
) {
    let mut pause = Backoff::new(REDIAL_AFTER_MIN, REDIAL_AFTER_MAX, node.environment.draw());
    loop {
        let mut session = Session::new(&node, &link, &dialer, &mut pin);
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ended = session.run() => ended,
        };
        if session.was_joined() {
            pause.reset();
        }
        if matches!(ended, JoinError::OtherOffer) {
            tracing::info!(bridge = %link.url, "what is offered has changed; joining anew");
            link.change(|now| *now = JoinState::Joining);
            continue;
        }
        let after = pause.wait();
        report(&link, &ended, after);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(after) => {}
        }
    }
}

fn report(link: &BridgeLink, ended: &JoinError, after: Duration) {
    let reason = with_causes(ended);
    let retry_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(bridge = %link.url, %reason, retry_ms, "not joined; trying again");
    let state = match ended {
        JoinError::Refused(_) | JoinError::Pin(_) | JoinError::Version(_) => {
            JoinState::Refused { reason }
        }
        JoinError::Channel(_)
        | JoinError::Closed
        | JoinError::Malformed(_)
        | JoinError::OutOfOrder { .. }
        | JoinError::Silent
        | JoinError::OtherOffer
        | JoinError::Order(_)
        | JoinError::Event(_) => JoinState::Away { reason },
    };
    link.change(|now| *now = state);
}

/// An error and what led to it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
