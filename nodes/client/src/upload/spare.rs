//! Spare Hosts for slots whose Host failed or is late; requests of one moment share a call.

use std::sync::Arc;
use std::time::Duration;

use model::units::UploadId;
use model::wire::api::{FailedSlot, MoreRequest};
use model::wire::limits::MORE_SLOTS_MAX;
use tasks::AbortOnDropHandle;
use tasks::time::timeout;
use tokio::sync::{mpsc, oneshot};

use super::plan::{Place, dialable, place};
use crate::transfer::Transfer;

/// Requests that wait; whoever finds the queue full waits as well.
const QUEUE_MAX: usize = MORE_SLOTS_MAX;
/// A moment in which requests come together.
const GATHER: Duration = Duration::from_millis(5);
/// The Bridge names spares within this, or there are none.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// Asks the Bridge for spares. A clone asks through the same queue.
#[derive(Clone, Debug)]
pub(super) struct SpareDesk {
    queue: mpsc::Sender<Wish>,
    _clerk: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Wish {
    slot: FailedSlot,
    answer: oneshot::Sender<Option<Place>>,
}

impl SpareDesk {
    pub(super) fn new(transfer: Transfer, upload: UploadId) -> Self {
        let (queue, wishes) = mpsc::channel(QUEUE_MAX);
        let clerk = tasks::spawn(serve(transfer, upload, wishes));
        Self {
            queue,
            _clerk: Arc::new(AbortOnDropHandle::new(clerk)),
        }
    }

    /// A spare for `slot`, or `None` where there is none, or the Bridge does not answer.
    pub(super) async fn spare(&self, slot: FailedSlot) -> Option<Place> {
        let (answer, place) = oneshot::channel();
        let asking = async {
            self.queue.send(Wish { slot, answer }).await.ok()?;
            place.await.ok().flatten()
        };
        timeout(ANSWER_WITHIN, asking).await.ok().flatten()
    }
}

async fn serve(transfer: Transfer, upload: UploadId, mut wishes: mpsc::Receiver<Wish>) {
    let mut batch = Vec::new();
    while let Some(first) = wishes.recv().await {
        batch.push(first);
        tasks::time::sleep(GATHER).await;
        while batch.len() < MORE_SLOTS_MAX
            && let Ok(wish) = wishes.try_recv()
        {
            batch.push(wish);
        }
        answer(&transfer, &upload, std::mem::take(&mut batch)).await;
    }
}

async fn answer(transfer: &Transfer, upload: &UploadId, batch: Vec<Wish>) {
    // Who was overtaken meanwhile does not listen any more.
    let batch: Vec<Wish> = batch
        .into_iter()
        .filter(|wish| !wish.answer.is_closed())
        .collect();
    if batch.is_empty() {
        return;
    }
    let slots = batch.iter().map(|wish| wish.slot.clone()).collect();
    let more = match transfer.api().more(upload, &MoreRequest { slots }).await {
        Ok(more) if more.slots.len() == batch.len() => more,
        Ok(more) => {
            tracing::warn!(
                asked = batch.len(),
                given = more.slots.len(),
                "wrong number of spares"
            );
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "no spares from the bridge");
            return;
        }
    };
    let (hosts, now) = (dialable(&more.hosts), transfer.environment().now());
    for (wish, slot) in batch.into_iter().zip(more.slots) {
        let spare = slot
            .map(|slot| place(&hosts, &slot, transfer.api().bridge(), now))
            .transpose();
        let spare = spare.unwrap_or_else(|error| {
            tracing::warn!(%error, "a spare is refused");
            None
        });
        // Nobody listens where the slot was filled meanwhile.
        let _unheard = wish.answer.send(spare);
    }
}
