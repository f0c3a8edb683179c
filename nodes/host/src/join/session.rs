//! One control channel, from dialling to its end.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use model::units::BridgeId;
use model::wire::api::CONTROL;
use model::wire::control::{FromBridge, FromHost, Hello, Order};
use model::wire::upkeep::{HostEvent, Mark};
use model::wire::{HEALS, Program, ProtocolVersions, Signed};
use net::{Channel, ChannelReader, ChannelWriter, Dialer, Endpoint};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::JoinError;
use super::work::{Work, retained};
use crate::about::agent;
use crate::bridge_pin::{BridgePin, PinError};
use crate::bridges::{Behind, BridgeLink};
use crate::delete::{self, OrderError};
use crate::host::Node;
use crate::limits::{
    GREETING_WITHIN, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, ORDERS_HELD_MAX, SCHEDULE_LOOK,
};
use crate::retain::{Retain, RetainError};
use crate::status::JoinState;

/// A Bridge has nothing to say for as long as it has no orders.
const ORDERS_WITHIN: Duration = Duration::from_secs(86_400);

/// One channel, from dialling to its end.
pub(super) struct Session<'a> {
    node: &'a Arc<Node>,
    link: &'a BridgeLink,
    dialer: &'a Dialer,
    pin: &'a mut BridgePin,
    joined: bool,
    /// The version that both speak.
    spoken: u16,
    /// Whether the Bridge said how far its memory reaches.
    marked: bool,
    /// Orders that wait until it did.
    held: Vec<Signed<Order>>,
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
        loop {
            let look_at = Instant::now() + SCHEDULE_LOOK;
            tokio::select! {
                message = next(reader, ORDERS_WITHIN) => {
                    self.hear(message?, &mut work, writer).await?;
                }
                Some(answer) = answers.recv() => say(writer, &answer).await?,
                () = work.reap() => {}
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
        work: &mut Work,
        writer: &mut ChannelWriter,
    ) -> Result<(), JoinError> {
        match message {
            FromBridge::Order { order } => self.take(order, work, writer).await?,
            FromBridge::Audit { challenge } => work.audit(challenge),
            FromBridge::Repair { order } => work.repair(order),
            FromBridge::Inventory { inventory } => work.take_inventory(inventory),
            FromBridge::Retain { set } => {
                let whose = (self.link, work.bridge());
                let taken = Retain::new(self.node, whose, &set, self.pin)
                    .and_then(|retain| work.retain(retain).then_some(()).ok_or(RetainError::Busy));
                if let Err(error) = taken {
                    say(writer, &retained(Err(error))).await?;
                }
            }
            FromBridge::Event { event } => self.keep(event, work.bridge()).await?,
            FromBridge::Mark { mark } => self.reach(&mark, work, writer).await?,
            FromBridge::Reachability { reachable, detail } => self.be_told(reachable, detail),
            FromBridge::Refused { problem } => return Err(JoinError::Refused(problem)),
            FromBridge::Challenge { .. }
            | FromBridge::Welcome { .. }
            | FromBridge::Leaving { .. } => {
                return Err(JoinError::OutOfOrder { expected: "orders" });
            }
        }
        Ok(())
    }

    fn be_told(&self, reachable: bool, detail: String) {
        if !reachable {
            tracing::warn!(detail, "the bridge cannot reach this host");
        }
        self.link.change(|state| {
            if let JoinState::Joined { unreachable, .. } = state {
                *unreachable = (!reachable).then_some(detail);
            }
        });
    }

    /// Carries out an order. Where it is known how far the Bridge's memory reached, orders wait
    /// until it has said how far it reaches now: one restored from a backup removes nothing.
    async fn take(
        &mut self,
        order: Signed<Order>,
        work: &Work,
        writer: &mut ChannelWriter,
    ) -> Result<(), JoinError> {
        let waits = self.spoken >= HEALS && self.pin.mark() > 0 && !self.marked;
        if !waits {
            let whose = (self.link, work.bridge());
            let seq = delete::carry_out(self.node, whose, &order, self.pin).await?;
            return say(writer, &FromHost::OrdersDone { seq }).await;
        }
        if self.held.len() >= ORDERS_HELD_MAX {
            return Err(JoinError::OutOfOrder { expected: "mark" });
        }
        self.held.push(order);
        Ok(())
    }

    /// The Bridge says how far its memory reaches.
    async fn reach(
        &mut self,
        mark: &Signed<Mark>,
        work: &Work,
        writer: &mut ChannelWriter,
    ) -> Result<(), JoinError> {
        let bridge = work.bridge();
        let signed = mark;
        let Mark {
            bridge: by, mark, ..
        } = signed.open(&bridge.0).map_err(OrderError::Signed)?;
        if by != bridge {
            return Err(OrderError::NotForUs.into());
        }
        let before = self.pin.mark();
        let is_highest = self.pin.reached(bridge, (mark, signed))?;
        let behind = (!is_highest).then_some(Behind { mark, before });
        if self.link.set_behind(behind) {
            match behind {
                Some(Behind { mark, before }) => tracing::error!(
                    bridge = bridge.short(),
                    mark,
                    before,
                    "the bridge's memory went back: nothing is deleted on its word until it has caught up"
                ),
                None => tracing::warn!(
                    bridge = bridge.short(),
                    mark,
                    "the bridge's memory has caught up"
                ),
            }
        }
        self.marked = true;
        for order in std::mem::take(&mut self.held) {
            self.take(order, work, writer).await?;
        }
        Ok(())
    }

    /// Keeps a decision of the Bridge about this Host.
    async fn keep(&self, event: Signed<HostEvent>, bridge: BridgeId) -> Result<(), JoinError> {
        let (keeping, whose) = (Arc::clone(self.node), (bridge, self.node.id));
        let kept = spawn_blocking(move || keeping.events.keep(whose, &event)).await;
        // Where the Host stops, it comes again.
        if let Some(event) = kept.unwrap_or(Ok(None))? {
            let (kind, reason) = (event.kind, event.reason);
            tracing::info!(
                bridge = bridge.short(),
                seq = event.seq,
                ?kind,
                reason,
                "event"
            );
        }
        Ok(())
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
