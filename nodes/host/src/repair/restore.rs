//! A shard from any k others of its segment: fetched side by side, each checked against its own
//! id, and what they make against the known one. Decoded off the async threads.

use std::collections::VecDeque;

use bytes::Bytes;
use erasure::hash_shard;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use model::units::ShardId;
use model::wire::ProblemCode;
use model::wire::repair::RepairSource;
use tasks::spawn_blocking;

use super::Repair;
use crate::buffers::Buffer;
use crate::refusal::Refusal;

/// What came of it.
pub(super) enum Restored {
    /// The shard.
    Shard(Bytes),
    /// Too few sources delivered.
    TooFew,
    /// All that delivered were what they should be, and they make this shard instead.
    Another(ShardId),
}

/// Verified shards by their places.
type Shards = Vec<(u16, Buffer)>;

impl Repair<'_> {
    pub(super) async fn restore(
        &self,
        mut sources: VecDeque<&RepairSource>,
    ) -> Result<Restored, Refusal> {
        let k = usize::from(self.code.k());
        sources.retain(|source| source.index != self.order.index || k == 1);
        let mut shards = self.gather(&mut sources, k).await;
        if shards.len() < k {
            return Ok(Restored::TooFew);
        }
        let (found, bytes) = self.decode(&mut shards).await?;
        if found == self.order.shard {
            return Ok(Restored::Shard(bytes));
        }
        drop(bytes);
        if !self.exchange(&mut shards, sources).await {
            return Ok(Restored::Another(found));
        }
        let (again, bytes) = self.decode(&mut shards).await?;
        Ok(if again == self.order.shard {
            Restored::Shard(bytes)
        } else {
            Restored::Another(found)
        })
    }

    /// Shards of `wanted` different places, as many as there are; a source that fails is replaced
    /// by the next one.
    async fn gather(&self, sources: &mut VecDeque<&RepairSource>, wanted: usize) -> Shards {
        let (mut shards, mut under_way) = (Shards::new(), Vec::new());
        let mut fetching = FuturesUnordered::new();
        loop {
            while under_way.len() + shards.len() < wanted {
                let Some(source) = next_place(sources, &under_way, &shards) else {
                    break;
                };
                under_way.push(source.index);
                fetching.push(self.fetch_from(source));
            }
            let Some((index, fetched)) = fetching.next().await else {
                return shards;
            };
            under_way.retain(|under_way| *under_way != index);
            shards.extend(fetched.map(|bytes| (index, bytes)));
        }
    }

    async fn fetch_from(&self, source: &RepairSource) -> (u16, Option<Buffer>) {
        (source.index, self.fetch(source).await)
    }

    /// Replaces as many of `shards` as other sources deliver, one after the other, so that no more
    /// are in memory. Returns whether it is another set now.
    async fn exchange(&self, shards: &mut Shards, mut sources: VecDeque<&RepairSource>) -> bool {
        let mut exchanged = 0;
        while let Some(source) = sources.pop_front() {
            if shards.iter().any(|(index, _)| *index == source.index) {
                continue;
            }
            let Some(old) = shards.get(exchanged).map(|(index, _)| *index) else {
                break;
            };
            if let Some(bytes) = self.fetch(source).await {
                // The old place does not come back with another source.
                sources.retain(|source| source.index != old);
                if let Some(shard) = shards.get_mut(exchanged) {
                    *shard = (source.index, bytes);
                }
                exchanged += 1;
            }
        }
        exchanged > 0
    }

    /// What `shards` make in the wanted place, and its id.
    async fn decode(&self, shards: &mut Shards) -> Result<(ShardId, Bytes), Refusal> {
        let (code, wanted, size) = (self.code, self.order.index, self.size.as_usize());
        let (present, mut out) = (std::mem::take(shards), self.node.body_buffers.take(None));
        let decoded = spawn_blocking(move || {
            let restored = {
                let views: Vec<(u16, &[u8])> = present
                    .iter()
                    .map(|(index, bytes)| (*index, bytes.as_ref()))
                    .collect();
                code.restore(&views, wanted, out.fill(size))
            };
            restored.map(|()| (present, hash_shard(out.as_ref()), out.into_bytes()))
        });
        let decoded = decoded
            .await
            .map_err(|_| Refusal::new(ProblemCode::Unavailable, "this host is stopping"))?;
        let (present, found, bytes) =
            decoded.map_err(|error| Refusal::new(ProblemCode::Internal, error.to_string()))?;
        *shards = present;
        Ok((found, bytes))
    }
}

/// The next source of a place that is neither here nor under way.
fn next_place<'a>(
    sources: &mut VecDeque<&'a RepairSource>,
    under_way: &[u16],
    shards: &Shards,
) -> Option<&'a RepairSource> {
    let is_new = |source: &&RepairSource| {
        let index = source.index;
        !under_way.contains(&index) && shards.iter().all(|(here, _)| *here != index)
    };
    let at = sources.iter().position(is_new)?;
    sources.remove(at)
}
