//! One control channel, from dialling to its end.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use model::units::BridgeId;
use model::wire::api::CONTROL;
use model::wire::control::{FromBridge, FromHost, Hello, Offer, Order};
use model::wire::upkeep::Leave;
use model::wire::{HEALS, Program, ProtocolVersions, Signed};
use net::{Channel, ChannelReader, ChannelWriter, Dialer, Endpoint};
use tokio::time::{Instant, sleep_until};

use super::JoinError;
use super::work::Work;
use crate::about::agent;
use crate::bridge_pin::{BridgePin, PinError};
use crate::bridges::BridgeLink;
use crate::host::Node;
use crate::leave;
use crate::limits::{GREETING_WITHIN, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, SCHEDULE_LOOK};
use crate::status::JoinState;

/// A Bridge of an older version has nothing to say for as long as it has no orders.
const ORDERS_WITHIN: Duration = Duration::from_secs(86_400);
/// Others say how far their memory reaches, about as often as Hosts are heard. Where so many of
/// those times pass without a word, the channel is dead, whatever the sockets say,
const BEATS_MISSED_MAX: u32 = 4;
/// but a Bridge that is busy for a while is not left.
const SILENCE_MIN: Duration = Duration::from_secs(60);

/// One channel, from dialling to its end.
pub(super) struct Session<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) link: &'a BridgeLink,
    dialer: &'a Dialer,
    pub(super) pin: &'a mut BridgePin,
    joined: bool,
    /// The version that both speak.
    pub(super) spoken: u16,
    /// Whether the Bridge said how far its memory reaches.
    pub(super) marked: bool,
    /// Orders that wait until it did.
    pub(super) held: Vec<Signed<Order>>,
    /// What the Bridge was offered.
    offered: Option<Offer>,
    /// What it was told of leaving.
    leave: Option<Leave>,
}

struct Welcome {
    bridge: BridgeId,
    heartbeat: Duration,
}

impl<'a> Session<'a> {
    pub(super) const fn new(
        node: &'a Arc<Node>,
        link: &'a BridgeLink,
        dialer: &'a Dialer,
        pin: &'a mut BridgePin,
    ) -> Self {
        Self {
            node,
            link,
            dialer,
            pin,
            joined: false,
            spoken: ProtocolVersions::FIRST.version,
            marked: false,
            held: Vec::new(),
            offered: None,
            leave: None,
        }
    }

    /// Whether the Bridge took this Host.
    pub(super) const fn was_joined(&self) -> bool {
        self.joined
    }

    /// Runs until the channel ends, which it only does by failing.
    pub(super) async fn run(&mut self) -> JoinError {
        let endpoint = Endpoint::from(self.link.url.clone());
        let channel = self
            .dialer
            .channel(&endpoint, CONTROL, &HeaderMap::new())
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
        self.spoken = ProtocolVersions::OURS
            .agree(Program::Host, (Program::Bridge, protocol))
            .map_err(JoinError::Version)?;
        if let Some(known) = self.pin.bridge().filter(|known| *known != bridge) {
            return Err(PinError::OtherBridge {
                known,
                found: bridge,
            }
            .into());
        }
        let offer = self.node.offer(self.link);
        self.offered = Some(offer.clone());
        let hello = Hello {
            host: self.node.id,
            bridge,
            nonce,
            protocol: ProtocolVersions::OURS,
            agent: agent(),
            offer,
            state: self.node.state_for(self.link),
            events_seen: self.node.events.seen(&bridge),
            mark: self.pin.shown(),
            orders_done: self.pin.orders_done(),
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
        let (mut work, mut answers) = Work::new(self.node, self.dialer, welcome.bridge);
        let mut heartbeat_at = self.heartbeat_after(welcome);
        let mut wishes = self.node.wishes.subscribe();
        self.tell_leave(welcome.bridge, writer).await?;
        let silence_max = self.silence_max(welcome);
        let mut silent_at = Instant::now() + silence_max;
        loop {
            let look_at = Instant::now() + SCHEDULE_LOOK;
            let is_beat_due = tokio::select! {
                // What comes without end stands last: it must not keep the Host from being heard.
                biased;
                () = sleep_until(heartbeat_at) => true,
                Ok(()) = wishes.changed() => {
                    self.tell_leave(welcome.bridge, writer).await?;
                    true
                }
                () = sleep_until(look_at) => false,
                Some(answer) = answers.recv() => {
                    say(writer, &answer).await?;
                    false
                }
                () = work.reap() => false,
                message = next(reader, ORDERS_WITHIN) => {
                    silent_at = Instant::now() + silence_max;
                    self.hear(message?, &mut work, writer).await?;
                    false
                }
                () = sleep_until(silent_at) => return Err(JoinError::Silent),
            };
            if is_beat_due || self.node.is_paused() != paused {
                paused = self.node.is_paused();
                heartbeat_at = self.heartbeat_after(welcome);
                self.beat(writer).await?;
            }
            if self.offered.as_ref() != Some(&self.node.offer(self.link)) {
                return Err(JoinError::OtherOffer);
            }
        }
    }

    fn silence_max(&self, welcome: &Welcome) -> Duration {
        if self.spoken < HEALS {
            return ORDERS_WITHIN;
        }
        (welcome.heartbeat * BEATS_MISSED_MAX).max(SILENCE_MIN)
    }

    /// Tells the Bridge what is wished of leaving, where that is new to it.
    async fn tell_leave(
        &mut self,
        bridge: BridgeId,
        writer: &mut ChannelWriter,
    ) -> Result<(), JoinError> {
        let wish = leave::wish_for(self.node, bridge).filter(|_| self.spoken >= HEALS);
        if let Some(leave) = wish.filter(|wish| self.leave != Some(*wish)) {
            let signed = Signed::new(&self.node.key, &leave);
            say(writer, &FromHost::Leave { leave: signed }).await?;
            self.leave = Some(leave);
            self.link.told_leave(leave.at);
        }
        Ok(())
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
}

async fn next(reader: &mut ChannelReader, within: Duration) -> Result<FromBridge, JoinError> {
    let text = reader.next(within).await?.ok_or(JoinError::Closed)?;
    Ok(serde_json::from_str(&text)?)
}

pub(super) async fn say(writer: &mut ChannelWriter, message: &FromHost) -> Result<(), JoinError> {
    Ok(writer.send(serde_json::to_string(message)?).await?)
}

fn unexpected(message: FromBridge, expected: &'static str) -> JoinError {
    match message {
        FromBridge::Refused { problem } => JoinError::Refused(problem),
        FromBridge::Challenge { .. }
        | FromBridge::Welcome { .. }
        | FromBridge::Reachability { .. }
        | FromBridge::Order { .. }
        | FromBridge::Audit { .. }
        | FromBridge::Repair { .. }
        | FromBridge::Inventory { .. }
        | FromBridge::Retain { .. }
        | FromBridge::Event { .. }
        | FromBridge::Mark { .. }
        | FromBridge::Leaving { .. } => JoinError::OutOfOrder { expected },
    }
}
