//! What a Bridge says on a channel that stands, message by message.

use std::sync::Arc;

use model::units::BridgeId;
use model::wire::control::{FromBridge, FromHost, Order};
use model::wire::upkeep::{HostEvent, Mark};
use model::wire::{HEALS, Signed};
use net::ChannelWriter;
use tasks::spawn_blocking;

use super::JoinError;
use super::session::{Session, say};
use super::work::{Work, retained};
use crate::bridges::Behind;
use crate::delete::{self, OrderError};
use crate::limits::ORDERS_HELD_MAX;
use crate::retain::{Retain, RetainError};
use crate::status::JoinState;

impl Session<'_> {
    pub(super) async fn hear(
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
            FromBridge::Leaving { progress } => self.link.set_leaving(progress),
            FromBridge::Challenge { .. } | FromBridge::Welcome { .. } => {
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
