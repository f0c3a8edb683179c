//! Leaving: the Host tells its Bridges how much of what it keeps it wants to be rid of, and they
//! have it moved. It keeps serving until that is done; nothing is lost but by force.

use std::collections::BTreeMap;

use model::units::{BridgeId, SHARD_BYTES_MAX, UnixMs};
use model::wire::upkeep::{Leave, LeaveWish};
use shardstore::VolumeState;

use crate::host::Node;
use crate::wishes::{AskedBy, GivenBack, LeaveAsked, Wishes};

/// Volumes may hold so much more than they may before the Host asks that some of it be moved.
const EXCESS_BYTES_MIN: u64 = SHARD_BYTES_MAX as u64;

type Change = Box<dyn FnOnce(&mut Wishes)>;

/// What `bridge` is to be told; `None` where nothing was ever wished, or is not known yet.
pub(crate) fn wish_for(node: &Node, bridge: BridgeId) -> Option<Leave> {
    let wishes = node.wishes.borrow();
    let asked = wishes.leave.as_ref()?;
    let wish = match asked.wish {
        LeaveWish::Stay => LeaveWish::Stay,
        LeaveWish::All => LeaveWish::All,
        LeaveWish::Part { .. } => LeaveWish::Part {
            bytes: *asked.parts.as_ref()?.get(&bridge)?,
        },
    };
    let (host, at) = (node.id, asked.at);
    Some(Leave {
        host,
        bridge,
        wish,
        at,
    })
}

/// What is to change about the wishes by itself: a partial exit is split over the Bridges, what all
/// of them call done is done, and volumes that hold too much ask for one. Blocks.
pub(crate) fn due(node: &Node) -> Option<Change> {
    let wishes = node.wishes.borrow().clone();
    let space_bytes = node.config.settings().space_bytes();
    if let Some(given) = wishes.given_back
        && space_bytes > given.of_bytes
    {
        return Some(Box::new(|wishes| wishes.given_back = None));
    }
    if let Some(asked) = &wishes.leave {
        if let (LeaveWish::Part { bytes }, None) = (asked.wish, &asked.parts) {
            return Some(split(node, asked.at, bytes));
        }
        if !asked.done && is_done(node, asked) {
            return Some(end(asked, space_bytes));
        }
    }
    by_itself(node, &wishes)
}

/// Each Bridge is asked for its share of what is held.
fn split(node: &Node, at: UnixMs, bytes: u64) -> Change {
    let links = node.bridges.all().iter();
    let held: BTreeMap<BridgeId, u64> = links
        .filter_map(|link| link.id())
        .map(|bridge| (bridge, node.volumes.held_by(&bridge).bytes))
        .collect();
    let all = held.values().sum::<u64>().max(1);
    let share = |held: u64| {
        let share = u128::from(bytes) * u128::from(held) / u128::from(all);
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    let parts: BTreeMap<BridgeId, u64> = held
        .into_iter()
        .map(|(bridge, held)| (bridge, share(held)))
        .collect();
    Box::new(move |wishes| {
        if let Some(asked) = wishes.leave.as_mut().filter(|asked| asked.at == at) {
            asked.parts = Some(parts);
        }
    })
}

/// Whether every Bridge that was joined says so.
fn is_done(node: &Node, asked: &LeaveAsked) -> bool {
    if asked.wish == LeaveWish::Stay {
        return false;
    }
    let mut links = node.bridges.all().iter().peekable();
    let says_so = |bridge: BridgeId, wish| {
        let link = node.bridges.of(&bridge);
        let told = link.filter(|link| link.leave_told() == asked.at);
        let progress = told.and_then(|link| link.leaving());
        progress.is_some_and(|progress| progress.done && progress.wish == wish)
    };
    links.peek().is_some()
        && links.all(|link| {
            let Some(bridge) = link.id() else {
                // What was never joined keeps nothing here.
                return true;
            };
            wish_for(node, bridge).is_some_and(|leave| {
                says_so(bridge, leave.wish) || leave.wish == LeaveWish::Part { bytes: 0 }
            })
        })
}

/// A wish that is fulfilled; what an owner gave back is not offered again.
fn end(asked: &LeaveAsked, of_bytes: u64) -> Change {
    let (at, given) = match (asked.wish, asked.by) {
        (LeaveWish::Part { bytes }, AskedBy::Owner) => (asked.at, bytes),
        (LeaveWish::Part { .. }, AskedBy::Space) | (LeaveWish::All | LeaveWish::Stay, _) => {
            (asked.at, 0)
        }
    };
    tracing::info!("leaving is done");
    Box::new(move |wishes| {
        let Some(asked) = wishes.leave.as_mut().filter(|asked| asked.at == at) else {
            return;
        };
        asked.done = true;
        if given > 0 {
            let left_bytes = wishes.space_bytes(of_bytes).saturating_sub(given);
            wishes.given_back = Some(GivenBack {
                bytes: of_bytes.saturating_sub(left_bytes),
                of_bytes,
            });
        }
    })
}

/// Volumes that were shrunk below what they hold: the trash goes first, then the Bridges are asked
/// to move the rest; and that is taken back once it fits.
fn by_itself(node: &Node, wishes: &Wishes) -> Option<Change> {
    let mut excess_bytes = excess_bytes(node);
    if excess_bytes > 0 && node.trash.bytes() > 0 {
        node.trash.shrink_by(&node.volumes, excess_bytes);
        excess_bytes = self::excess_bytes(node);
    }
    let now = node.environment.now();
    let asked = wishes.leave.as_ref();
    let under_way = asked.filter(|asked| asked.wish != LeaveWish::Stay && !asked.done);
    let wish = match under_way.map(|asked| asked.by) {
        Some(AskedBy::Owner) => return None,
        Some(AskedBy::Space) if excess_bytes == 0 => LeaveWish::Stay,
        None if excess_bytes >= EXCESS_BYTES_MIN && !wishes.is_leaving() => LeaveWish::Part {
            bytes: excess_bytes,
        },
        Some(AskedBy::Space) | None => return None,
    };
    match wish {
        LeaveWish::Part { bytes } => tracing::warn!(
            bytes,
            "volumes hold more than they may: the bridges are asked to move so much elsewhere"
        ),
        LeaveWish::Stay | LeaveWish::All => {
            tracing::info!("volumes hold no more than they may; nothing more is to move");
        }
    }
    let before = asked.map(|asked| asked.at);
    Some(Box::new(move |wishes| {
        // What the owner said meanwhile counts for more.
        if wishes.leave.as_ref().map(|asked| asked.at) == before {
            wishes.ask(wish, AskedBy::Space, now);
        }
    }))
}

/// What volumes hold beyond their limits.
fn excess_bytes(node: &Node) -> u64 {
    let volumes = node.volumes.status().into_iter();
    let there = volumes.filter(|volume| !matches!(volume.state, VolumeState::Away { .. }));
    let excess = there.map(|volume| {
        // What is dead goes by itself, at once or when its log is rewritten.
        let usage = volume.usage;
        usage.live_bytes.saturating_sub(usage.space_bytes)
    });
    excess.sum()
}
