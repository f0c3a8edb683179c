//! What a Bridge asks for that takes a while: done beside the channel, so that neither heartbeats
//! nor orders wait for a disk or for another Host. Each kind takes turns, and so many wait for
//! theirs; all of it ends with the channel.

use std::sync::Arc;

use model::units::BridgeId;
use model::wire::Signed;
use model::wire::audit::Challenge;
use model::wire::control::FromHost;
use model::wire::repair::RepairOrder;
use model::wire::upkeep::Inventory;
use net::Dialer;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::with_causes;
use crate::host::Node;
use crate::limits::{
    ANSWERS_QUEUED_MAX, AUDITS_WAITING_MAX, INVENTORIES_WAITING_MAX, REPAIRS_WAITING_MAX,
    RETAINS_WAITING_MAX,
};
use crate::retain::{Retain, RetainError};
use crate::{audit, inventory, repair};

/// The tasks of one channel.
pub(super) struct Work {
    node: Arc<Node>,
    dialer: Dialer,
    bridge: BridgeId,
    tasks: JoinSet<()>,
    answers: mpsc::Sender<FromHost>,
    audits: Lane,
    inventories: Lane,
    repairs: Lane,
    retains: Lane,
}

/// One at a time, and a bounded number that wait.
struct Lane {
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Lane {
    fn new(waiting_max: usize, at_once_max: usize) -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(waiting_max + at_once_max)),
            turn: Arc::new(Semaphore::new(at_once_max)),
        }
    }
}

impl Work {
    /// None yet; what comes of it is heard from the receiver.
    pub(super) fn new(
        node: &Arc<Node>,
        dialer: &Dialer,
        bridge: BridgeId,
    ) -> (Self, mpsc::Receiver<FromHost>) {
        let (answers, answered) = mpsc::channel(ANSWERS_QUEUED_MAX);
        let work = Self {
            node: Arc::clone(node),
            dialer: dialer.clone(),
            bridge,
            tasks: JoinSet::new(),
            answers,
            audits: Lane::new(AUDITS_WAITING_MAX, 1),
            inventories: Lane::new(INVENTORIES_WAITING_MAX, 1),
            // Turns are taken of the whole Host.
            repairs: Lane::new(0, REPAIRS_WAITING_MAX),
            retains: Lane::new(RETAINS_WAITING_MAX, 1),
        };
        (work, answered)
    }

    /// For whom.
    pub(super) const fn bridge(&self) -> BridgeId {
        self.bridge
    }

    /// Waits for a task to end; for good while there is none.
    pub(super) async fn reap(&mut self) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "a task of the control channel failed"),
        }
    }

    pub(super) fn audit(&mut self, challenge: Signed<Challenge>) {
        let (node, bridge) = (Arc::clone(&self.node), self.bridge);
        let task = async move {
            match audit::of_bridge(&node, bridge, &challenge).await {
                Ok(proof) => Some(FromHost::Proof { proof }),
                Err(error) => {
                    tracing::warn!(error = with_causes(&error), "audit not answered");
                    None
                }
            }
        };
        if !begin(&mut self.tasks, &self.audits, &self.answers, task) {
            tracing::warn!("the bridge asks for more audits than one at a time; not answered");
        }
    }

    pub(super) fn take_inventory(&mut self, inventory: Inventory) {
        let (node, bridge) = (Arc::clone(&self.node), self.bridge);
        let task = async move {
            let holdings = inventory::holdings(&node, bridge, inventory).await;
            holdings.map(|holdings| FromHost::Holdings { holdings })
        };
        if !begin(&mut self.tasks, &self.inventories, &self.answers, task) {
            tracing::warn!("the bridge asks for too many inventories at a time; not answered");
        }
    }

    /// `false` where others are under way and wait.
    pub(super) fn retain(&mut self, retain: Retain) -> bool {
        let node = Arc::clone(&self.node);
        let task = async move { Some(retained(retain.carry_out(&node).await)) };
        begin(&mut self.tasks, &self.retains, &self.answers, task)
    }

    pub(super) fn repair(&mut self, order: Signed<RepairOrder>) {
        let (node, dialer, bridge) = (Arc::clone(&self.node), self.dialer.clone(), self.bridge);
        let task = async move {
            match repair::carry_out(&node, &dialer, bridge, &order).await {
                Ok(repaired) => Some(FromHost::Repaired { repaired }),
                Err(error) => {
                    tracing::warn!(error = with_causes(&error), "repair order not heard");
                    None
                }
            }
        };
        if !begin(&mut self.tasks, &self.repairs, &self.answers, task) {
            tracing::warn!("the bridge gives too many repair orders at a time; not answered");
        }
    }
}

/// What a Bridge is told of its retain set.
pub(super) fn retained(done: Result<u64, RetainError>) -> FromHost {
    match done {
        Ok(trashed) => FromHost::Retained {
            trashed,
            refused: None,
        },
        Err(error) => {
            let refused = with_causes(&error);
            tracing::warn!(reason = refused, "retain set not taken");
            FromHost::Retained {
                trashed: 0,
                refused: Some(refused),
            }
        }
    }
}

/// Sets `task` going once it is its turn; `false` where too many of its kind wait already.
fn begin(
    tasks: &mut JoinSet<()>,
    lane: &Lane,
    answers: &mpsc::Sender<FromHost>,
    task: impl Future<Output = Option<FromHost>> + Send + 'static,
) -> bool {
    let Ok(place) = Arc::clone(&lane.waiting).try_acquire_owned() else {
        return false;
    };
    let (turn, answers) = (Arc::clone(&lane.turn), answers.clone());
    tasks.spawn(async move {
        let _place = place;
        let Ok(_turn) = turn.acquire_owned().await else {
            return;
        };
        if let Some(answer) = task.await {
            // Nobody hears it where the channel has ended.
            answers.send(answer).await.ok();
        }
    });
    true
}
