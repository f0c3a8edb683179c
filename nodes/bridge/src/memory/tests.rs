//! Tests of a Bridge that comes back from an older backup.

use metastore::HostAlias;
use model::crypto::SigningKey;
use model::units::Serial;
use model::wire::control::DeleteReason;

use super::*;
use crate::delete::retention;
use crate::orders::Deletions;
use crate::testing::{World, blob, commit_of, key, request};

fn mark(signer: &SigningKey, bridge: BridgeId, mark: u64) -> Signed<Mark> {
    let at = UnixMs(1);
    Signed::new(signer, &Mark { bridge, mark, at })
}

fn show(world: &World, signed: Signed<Mark>) -> bool {
    let (bridge, now) = (world.context.keys.id, world.context.now);
    let shown = world.write(move |tx| shown(tx, &bridge, &signed, now));
    shown.unwrap()
}

fn grown(world: &World) -> Memory {
    let now = world.context.now;
    world.write(move |tx| grow(tx, now)).unwrap()
}

#[test]
fn only_a_higher_mark_of_our_own_shows_that_memory_is_lost() {
    let world = World::new(3);
    assert_eq!((grown(&world).mark, grown(&world).mark), (1, 2));
    let ours = world.context.keys.signing.clone();
    let bridge = world.context.keys.id;
    assert!(!show(&world, mark(&ours, bridge, 2)));
    assert!(!show(&world, mark(&key(9, 0), bridge, 700)), "forged");
    assert!(
        !show(&world, mark(&ours, BridgeId([1; 32]), 700)),
        "of another"
    );
    assert!(show(&world, mark(&ours, bridge, 700)));
    let memory = world.read(|tx| read(tx));
    assert!(memory.mark > 700 && memory.unsettled);
    let (from, to) = memory.lost[0];
    assert_eq!(to, world.context.now);
    assert_eq!(world.context.now.since_ms(from), PLANNED_MS);
    assert!(!show(&world, mark(&ours, bridge, 700)), "once");
}

#[test]
fn nothing_that_was_open_or_retired_is_deleted_after_a_loss() {
    let mut world = World::new(8);
    // One blob is stored and retired, one is being uploaded, an order waits.
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();
    let root = world.root(None);
    let mut commit = commit_of(&root, &[(1, 1, 1)]);
    commit.receipts = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    world.commit(&[planned.upload], commit).unwrap();
    let next = world.root(Some(&root));
    world.commit(&[], commit_of(&next, &[(1, -1, -1)])).unwrap();
    let mut open = request("coded:4/8", &[0, 2_000]);
    open.blobs.remove(0);
    world.plan(open).unwrap();
    let context = world.context.clone();
    let waiting = world.write(move |tx| {
        let mut deletions = Deletions::default();
        deletions.add(&*tx, &context.keys, (&blob(9), 0, 0), HostAlias(1))?;
        deletions.queue(tx, DeleteReason::Retired, context.now)
    });
    assert_eq!(waiting.unwrap(), [HostAlias(1)]);
    world.context.now.0 += 29 * 24 * 3_600_000;

    let ours = world.context.keys.signing.clone();
    assert!(show(&world, mark(&ours, world.context.keys.id, 9)));
    let now = world.context.now;
    while !world.write(move |tx| settle(tx, now)).unwrap() {}

    assert!(world.orders(HostAlias(1)).is_empty());
    // Retention begins anew, and the upload leaves no trace.
    world.context.now.0 += 2 * 24 * 3_600_000;
    let context = world.context.clone();
    let removed = world.write(move |tx| retention::remove_retired(tx, &context));
    assert_eq!(removed.unwrap(), 0);
    let context = world.context.clone();
    assert!(
        world
            .read(move |tx| retention::expired(tx, &context))
            .is_empty()
    );
    let account = world.account();
    let usage = world.read(move |tx| tx.usage(&account));
    assert_eq!((usage.reserved_bytes, usage.stored_bytes), (0, 8 * 256));
    assert!(world.read(move |tx| tx.blob(&account, &blob(2))).is_none());
    assert_eq!(Serial::BYTES, 16);
}
