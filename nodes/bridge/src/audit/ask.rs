//! One challenge: which leaf of which shard, and what is known of it.

use metastore::{HostAlias, StoreError, Tx};
use model::units::{HostId, Serial, ShardSize};
use model::wire::Signed;
use model::wire::audit::Challenge;
use rand_core::CryptoRng;

use crate::context::Context;
use crate::place::Place;

/// Shards smaller than one in so many of the largest are asked for as if they were that large:
/// who holds small ones only is audited as well.
const SMALL_SHARE: u32 = 16;

/// A question that was put to a Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked for.
    pub place: Place,
    /// The record.
    pub serial: Serial,
    /// The challenge, signed.
    pub challenge: Signed<Challenge>,
}

/// What is to be asked of `alias` at `place`; `None` where it does not keep that any more.
///
/// # Errors
/// [`StoreError`].
pub fn subject(
    tx: &dyn Tx,
    alias: HostAlias,
    place: &Place,
) -> Result<Option<(model::units::ShardId, ShardSize)>, StoreError> {
    let Some(row) = place.segment.read(tx)? else {
        return Ok(None);
    };
    let its = row.host(place.slot) == Some(alias);
    let shard = row.shard(place.slot).filter(|_| its);
    Ok(shard.map(|shard| (shard, row.shard_size)))
}

/// Whether a shard drawn among all is asked for, so that every byte is as likely as any other.
pub fn is_chosen(rng: &mut dyn CryptoRng, size: ShardSize) -> bool {
    let largest = ShardSize::MAX.bytes();
    let weight = size.bytes().max(largest / SMALL_SHARE);
    rng.next_u32() % largest < weight
}

/// Draws a leaf and signs the challenge.
pub fn question(
    context: &Context,
    rng: &mut dyn CryptoRng,
    (place, host): (Place, HostId),
    (shard, size): (model::units::ShardId, ShardSize),
) -> Question {
    let leaves = size.as_usize().div_ceil(model::units::LEAF_BYTES);
    let leaves = u32::try_from(leaves).unwrap_or(1).max(1);
    let leaf = rng.next_u32() % leaves;
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    let serial = place.serial(&context.keys, &host);
    let challenge = Challenge {
        bridge: context.keys.id,
        host,
        serial: Some(serial),
        shard,
        shard_bytes: size.bytes(),
        leaf,
        nonce: data_encoding::HEXLOWER.encode(&nonce),
        at: context.now,
    };
    Question {
        place,
        serial,
        challenge: Signed::new(&context.keys.signing, &challenge),
    }
}
