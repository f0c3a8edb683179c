//! Inventory: which of a Bridge's records are gone, told from the indexes.

use std::sync::Arc;

use model::units::{BridgeId, Serial};
use model::wire::Base64;
use model::wire::limits::SERIALS_PER_INVENTORY_MAX;
use model::wire::upkeep::{Holdings, Inventory};
use shardstore::Presence;
use tasks::spawn_blocking;

use crate::host::Node;

/// The answer to `inventory`; `None` where it asks for more than it may, or the Host stops. What
/// may lie on a volume that is away is not gone.
pub(crate) async fn holdings(
    node: &Arc<Node>,
    bridge: BridgeId,
    inventory: Inventory,
) -> Option<Holdings> {
    let Inventory { id, serials } = inventory;
    let Some(serials) = serials_of(&serials, SERIALS_PER_INVENTORY_MAX) else {
        let bytes = serials.0.len();
        tracing::warn!(
            bytes,
            "an inventory of no whole serials or too many; not answered"
        );
        return None;
    };
    let looking = Arc::clone(node);
    let looked = spawn_blocking(move || looking.volumes.presence(&bridge, &serials));
    let mut holdings = Holdings {
        id,
        gone: Vec::new(),
        unseen: Vec::new(),
    };
    for (place, presence) in (0..).zip(looked.await.ok()?) {
        match presence {
            Presence::NotHere | Presence::Rotten => holdings.gone.push(place),
            Presence::Unseen => holdings.unseen.push(place),
            Presence::Here => {}
        }
    }
    Some(holdings)
}

/// Serials written one after the other; `None` where they are no whole number or more than `max`.
pub(crate) fn serials_of(bytes: &Base64, max: usize) -> Option<Vec<Serial>> {
    let (serials, rest) = bytes.0.as_chunks::<{ Serial::BYTES }>();
    let fits = rest.is_empty() && serials.len() <= max;
    fits.then(|| serials.iter().copied().map(Serial).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_serials_and_not_too_many_are_read() {
        let bytes = Base64([[1; 16], [2; 16]].concat());
        let both = vec![Serial([1; 16]), Serial([2; 16])];
        assert_eq!(serials_of(&bytes, 2), Some(both));
        assert_eq!(serials_of(&bytes, 1), None);
        assert_eq!(serials_of(&Base64(vec![0; 17]), 2), None);
        assert_eq!(serials_of(&Base64::default(), 0), Some(Vec::new()));
    }
}
