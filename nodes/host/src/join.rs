//! Join: the control channel to a Bridge, dialled by the Host and kept open; one for each Bridge.
//! Heartbeats go one way, orders come the other. While a Bridge is away the Host keeps serving.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use model::units::BridgeId;
use model::wire::control::{FromBridge, FromHost, Hello};
use model::wire::{Problem, Program, ProtocolVersions, Signed, VersionRefused};
use net::{Channel, ChannelError, ChannelReader, ChannelWriter, Dialer, Endpoint};
use runtime::Backoff;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::about::agent;
use crate::bridge_pin::{BridgePin, PinError};
use crate::bridges::BridgeLink;
use crate::delete::{self, OrderError};
use crate::host::Node;
use crate::limits::{
    GREETING_WITHIN, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, REDIAL_AFTER_MAX, REDIAL_AFTER_MIN,
    SCHEDULE_LOOK,
};
use crate::status::JoinState;

/// Path of the control channel at the Bridge.
pub(crate) const CONTROL_PATH: &str = "/v1/hosts/control";
/// A Bridge has nothing to say for as long as it has no orders.
const ORDERS_WITHIN: Duration = Duration::from_secs(86_400);

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
        let mut session = Session {
            node: &node,
            link: &link,
            dialer: &dialer,
            pin: &mut pin,
            joined: false,
        };
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ended = session.run() => ended,
        };
        if session.joined {
            pause.reset();
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
        | JoinError::Order(_) => JoinState::Away { reason },
    };
    link.change(|now| *now = state);
}

fn with_causes(error: &JoinError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// One channel, from dialling to its end.
struct Session<'a> {
    node: &'a Arc<Node>,
    link: &'a BridgeLink,
    dialer: &'a Dialer,
    pin: &'a mut BridgePin,
    joined: bool,
}

struct Welcome {
    bridge: BridgeId,
    heartbeat: Duration,
}

impl Session<'_> {
    /// Runs until the channel ends, which it only does by failing.
    async fn run(&mut self) -> JoinError {
        let endpoint = Endpoint::from(self.link.url.clone());
        let channel = self
            .dialer
            .channel(&endpoint, CONTROL_PATH, &HeaderMap::new())
            .await;
        let Channel {
            mut reader,
            mut writer,
        } = match channel {
            Ok(channel) => channel,
            Err(error) => return error.into(),
        };
        let ended = match self.greet(&mut reader, &mut writer).await {
            Ok(welcome) => self.attend(&mut reader, &mut writer, &welcome).await,
            Err(error) => Err(error),
        };
        writer.close().await.ok();
        match ended {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn greet(
        &mut self,
        reader: &mut ChannelReader,
        writer: &mut ChannelWriter,
    ) -> Result<Welcome, JoinError> {
        let challenge = next(reader, GREETING_WITHIN).await?;
        let FromBridge::Challenge {
            bridge,
            nonce,
            protocol,
        } = challenge
        else {
            return Err(unexpected(challenge, "challenge"));
        };
        ProtocolVersions::OURS
            .agree(Program::Host, (Program::Bridge, protocol))
            .map_err(JoinError::Version)?;
        if let Some(known) = self.pin.bridge().filter(|known| *known != bridge) {
            return Err(PinError::OtherBridge {
                known,
                found: bridge,
            }
            .into());
        }
        let hello = Hello {
            host: self.node.id,
            bridge,
            nonce,
            protocol: ProtocolVersions::OURS,
            agent: agent(),
            offer: self
                .node
                .config
                .offer(self.node.bound, self.link.quota_bytes),
            state: self.node.state_for(self.link),
        };
        let hello = Signed::new(&self.node.key, &hello);
        say(writer, &FromHost::Hello { hello }).await?;
        let welcome = next(reader, GREETING_WITHIN).await?;
        let FromBridge::Welcome {
            heartbeat_ms,
            zone,
            orders_done,
        } = welcome
        else {
            return Err(unexpected(welcome, "welcome"));
        };
        if !self.node.bridges.claim(self.link, bridge) {
            return Err(PinError::Twice { found: bridge }.into());
        }
        self.pin.accept(bridge)?;
        self.joined = true;
        self.catch_up(bridge, orders_done)?;
        tracing::info!(bridge = bridge.short(), zone, "joined");
        self.link.change(|state| {
            *state = JoinState::Joined {
                zone,
                unreachable: None,
            };
        });
        let heartbeat_ms = heartbeat_ms.clamp(HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX);
        Ok(Welcome {
            bridge,
            heartbeat: Duration::from_millis(heartbeat_ms),
        })
    }

    /// Compares how far both sides think the orders have come.
    fn catch_up(&mut self, bridge: BridgeId, orders_done: u64) -> Result<(), JoinError> {
        let done = self.pin.orders_done();
        if orders_done > done {
            // This Host acknowledged them and has forgotten, with a restored disk say.
            tracing::warn!(
                done,
                orders_done,
                "the bridge knows of more orders done than we do"
            );
            self.pin.done(bridge, orders_done)?;
        }
        Ok(())
    }

    async fn attend(
        &mut self,
        reader: &mut ChannelReader,
        writer: &mut ChannelWriter,
        welcome: &Welcome,
    ) -> Result<std::convert::Infallible, JoinError> {
        let mut paused = self.node.is_paused();
        let mut heartbeat_at = self.heartbeat_after(welcome);
        loop {
            let look_at = Instant::now() + SCHEDULE_LOOK;
            tokio::select! {
                // Orders that come without end must not keep the Host from being heard.
                biased;
                () = sleep_until(heartbeat_at) => {
                    heartbeat_at = self.heartbeat_after(welcome);
                    self.beat(writer).await?;
                }
                () = sleep_until(look_at) => {
                    if self.node.is_paused() != paused {
                        paused = !paused;
                        self.beat(writer).await?;
                    }
                }
                message = next(reader, ORDERS_WITHIN) => {
                    self.hear(message?, welcome.bridge, writer).await?;
                }
            }
        }
    }

    fn heartbeat_after(&self, welcome: &Welcome) -> Instant {
        // From half an interval to a whole one: never late, and Hosts do not beat together.
        Instant::now() + self.node.environment.around(welcome.heartbeat * 3 / 4)
    }

    async fn beat(&self, writer: &mut ChannelWriter) -> Result<(), JoinError> {
        say(
            writer,
            &FromHost::Heartbeat {
                state: self.node.state_for(self.link),
            },
        )
        .await
    }

    async fn hear(
        &mut self,
        message: FromBridge,
        bridge: BridgeId,
        writer: &mut ChannelWriter,
    ) -> Result<(), JoinError> {
        match message {
            FromBridge::Order { order } => {
                let seq = delete::carry_out(self.node, bridge, &order, self.pin).await?;
                say(writer, &FromHost::OrdersDone { seq }).await
            }
            FromBridge::Reachability { reachable, detail } => {
                if !reachable {
                    tracing::warn!(detail, "the bridge cannot reach this host");
                }
                self.link.change(|state| {
                    if let JoinState::Joined { unreachable, .. } = state {
                        *unreachable = (!reachable).then_some(detail);
                    }
                });
                Ok(())
            }
            FromBridge::Refused { problem } => Err(JoinError::Refused(problem)),
            FromBridge::Challenge { .. } | FromBridge::Welcome { .. } => {
                Err(JoinError::OutOfOrder { expected: "orders" })
            }
        }
    }
}

async fn next(reader: &mut ChannelReader, within: Duration) -> Result<FromBridge, JoinError> {
    let text = reader.next(within).await?.ok_or(JoinError::Closed)?;
    Ok(serde_json::from_str(&text)?)
}

async fn say(writer: &mut ChannelWriter, message: &FromHost) -> Result<(), JoinError> {
    Ok(writer.send(serde_json::to_string(message)?).await?)
}

fn unexpected(message: FromBridge, expected: &'static str) -> JoinError {
    match message {
        FromBridge::Refused { problem } => JoinError::Refused(problem),
        FromBridge::Challenge { .. }
        | FromBridge::Welcome { .. }
        | FromBridge::Reachability { .. }
        | FromBridge::Order { .. } => JoinError::OutOfOrder { expected },
    }
}
