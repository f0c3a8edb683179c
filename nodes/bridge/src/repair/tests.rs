//! Tests of repair's rules against a store: what is ordered, and what a receipt changes.

use metastore::HostAlias;
use model::units::{HostId, Serial, ShardSize, UnixMs};
use model::wire::repair::RepairOrder;
use model::wire::{Action, StoreReceipt, Ticket, TicketPurpose};

use super::judge::{Belief, Cause, Need};
use super::order::{Work, sign, work};
use super::scan::Scan;
use super::settle::{Repair, SettleError, Settled, check, freeze, settle, vacate};
use crate::healing::{Running, State};
use crate::place::SegmentKey;
use crate::testing::{World, key};

fn work_of(world: &World, key: SegmentKey, of: impl Fn(HostAlias) -> Belief) -> Option<Work> {
    let beliefs = world.beliefs(of);
    world.read(move |tx| work(tx, &beliefs, key))
}

/// Hosts that are gone, all others being there.
fn gone(hosts: &[HostAlias]) -> impl Fn(HostAlias) -> Belief + use<'_> {
    move |alias| {
        if hosts.contains(&alias) {
            Belief::Gone
        } else {
            Belief::Here
        }
    }
}

fn keepers(world: &World, key: SegmentKey) -> Vec<HostAlias> {
    world.keepers(key).into_iter().flatten().collect()
}

#[test]
fn what_is_gone_is_wanted_and_all_others_are_sources() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let key = world.segment(1, 0);
    let kept = keepers(&world, key);
    assert_eq!(
        work_of(&world, key, |_| Belief::Here).map(|work| work.n),
        None
    );

    let lost = [kept[2], kept[5]];
    let work = work_of(&world, key, gone(&lost)).unwrap();
    let wanted: Vec<_> = work.wanted.iter().map(|it| (it.slot, it.old)).collect();
    assert_eq!(wanted, [(2, Some(kept[2])), (5, Some(kept[5]))]);
    assert_eq!((work.sources.len(), work.beside.len()), (6, 6));
    assert!(work.restores(&work.wanted[0]));
    let few = work_of(&world, key, gone(&kept[..5])).unwrap();
    assert!(!few.restores(&few.wanted[0]), "three of four sources");
}

#[test]
fn absent_hosts_are_waited_for_until_few_shards_are_left() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let key = world.segment(1, 0);
    let kept = keepers(&world, key);
    let away = |hosts: usize| {
        let away = kept[..hosts].to_vec();
        work_of(&world, key, move |alias| {
            if away.contains(&alias) {
                Belief::Away
            } else {
                Belief::Here
            }
        })
    };
    assert!(away(1).is_none());
    assert_eq!(away(2).unwrap().wanted.len(), 2);
}

#[test]
fn leaving_hosts_give_their_own_shards_and_mirrors_any() {
    let mut world = World::new(6);
    world.stored("mirrors:3", &[1_000]);
    let key = world.segment(1, 0);
    let kept = keepers(&world, key);
    let leaving = kept[1];
    let work = work_of(&world, key, |alias| {
        if alias == leaving {
            Belief::Leaving
        } else {
            Belief::Here
        }
    })
    .unwrap();
    assert_eq!(work.wanted.len(), 1);
    assert_eq!(
        (work.wanted[0].slot, work.wanted[0].cause),
        (1, Cause::Leaving)
    );
    // Nobody else in its zone, and not itself again.
    assert!(work.beside.contains(&leaving));
    let host = HostId([7; 32]);
    let (context, mut rng) = (world.context.clone(), world.rng());
    let ordered = sign(&context, &mut rng, (&work, &work.wanted[0]), host);
    let bridge = context.keys.id;
    let order: RepairOrder = ordered.order.open(&bridge.0).unwrap();
    assert_eq!((order.host, order.k, order.sources.len()), (host, 1, 3));
    let source = &order.sources[0];
    let ticket = Ticket::check(
        &source.ticket.0,
        context.now,
        &source.host,
        |known| *known == bridge,
        TicketPurpose::Read(order.shard),
    );
    let ticket = ticket.unwrap();
    assert!(matches!(ticket.ticket().action, Action::RepairGet { .. }));
}

fn repair(world: &World, key: SegmentKey, (slot, new): (u16, HostAlias)) -> Repair {
    let kept = world.keepers(key);
    let lost = kept[usize::from(slot)];
    let work = work_of(world, key, gone(&lost.into_iter().collect::<Vec<_>>())).unwrap();
    let host = HostId(world.hosts[&new].public());
    let place = key.slot(slot);
    Repair {
        place,
        shard: work.wanted[0].shard,
        size: work.shard_size,
        old: lost,
        old_remains: true,
        new,
        host,
        serial: place.serial(&world.context.keys, &host),
    }
}

/// A Host that gave back 1 MB lost all it had: every move set out before the first one counted.
#[test]
fn what_is_on_its_way_from_a_leaving_host_is_counted() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let key = world.segment(1, 0);
    let mut repair = repair(&world, key, (0, outsider(&world, key)));
    let from = repair.old.unwrap();
    let mut state = State::default();
    let mut begin = |number: u8, repair, cause| {
        let need = Need {
            cause,
            spare: 4,
            nines_tenths: 0,
            critical: false,
        };
        let running = Running {
            repair,
            need,
            cause,
            until: UnixMs(1),
        };
        state.running.insert(Serial([number; 16]), running);
        state.moving_bytes(from)
    };
    let bytes = u64::from(repair.size.bytes());
    assert_eq!(begin(1, repair, Cause::Leaving), bytes);
    assert_eq!(begin(2, repair, Cause::Leaving), 2 * bytes);
    assert_eq!(begin(3, repair, Cause::Missing), 2 * bytes);
    repair.old = None;
    assert_eq!(begin(4, repair, Cause::Leaving), 2 * bytes);
}

fn receipt(world: &World, repair: &Repair) -> Vec<u8> {
    let receipt = StoreReceipt {
        serial: repair.serial,
        bridge: world.context.keys.id,
        host: repair.host,
        shard: repair.shard,
        size: repair.size,
        stored: world.context.now,
    };
    receipt.sign(&world.hosts[&repair.new])
}

fn settled(world: &World, repair: Repair) -> Settled {
    let (context, signed) = (world.context.clone(), receipt(world, &repair));
    check(&context, &repair, &signed).unwrap();
    world
        .write(move |tx| settle(tx, &context, &repair, &signed))
        .unwrap()
}

/// A Host that keeps nothing of the segment.
fn outsider(world: &World, key: SegmentKey) -> HostAlias {
    let kept = keepers(world, key);
    let free = world.hosts.keys().find(|alias| !kept.contains(alias));
    *free.unwrap()
}

#[test]
fn a_repaired_shard_takes_its_place_once() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let key = world.segment(1, 0);
    let new = outsider(&world, key);
    let repair = repair(&world, key, (3, new));
    let old = repair.old.unwrap();

    assert_eq!(settled(&world, repair), Settled::Placed(vec![old]));
    assert_eq!(world.keepers(key)[3], Some(new));
    assert_eq!(world.orders(old).len(), 1, "the one before is to delete it");
    assert!(world.orders(new).is_empty());

    // The answer to a second order for the same slot comes too late.
    let kept = keepers(&world, key);
    let free = |alias: &&HostAlias| !kept.contains(alias) && **alias != old;
    let other = *world.hosts.keys().find(free).unwrap();
    let late = Repair {
        new: other,
        host: HostId(world.hosts[&other].public()),
        ..repair
    };
    let late = Repair {
        serial: late.place.serial(&world.context.keys, &late.host),
        ..late
    };
    assert_eq!(settled(&world, late), Settled::Late(vec![other]));
    assert_eq!(world.keepers(key)[3], Some(new));
    assert_eq!(world.orders(other).len(), 1);
}

#[test]
fn only_the_hosts_own_receipt_for_that_shard_counts() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let key_ = world.segment(1, 0);
    let new = outsider(&world, key_);
    let repair = repair(&world, key_, (3, new));
    let context = world.context.clone();
    let good = receipt(&world, &repair);
    assert!(check(&context, &repair, &good).is_ok());
    let other = Repair {
        size: ShardSize::new(64).unwrap(),
        ..repair
    };
    assert!(matches!(
        check(&context, &other, &good),
        Err(SettleError::Other)
    ));
    let cut = &good[..good.len() - 1];
    assert!(matches!(
        check(&context, &repair, cut),
        Err(SettleError::Receipt(_))
    ));
    let forged = StoreReceipt::open(&good).unwrap().sign(&key(8, 1));
    assert!(matches!(
        check(&context, &repair, &forged),
        Err(SettleError::Receipt(_))
    ));
}

#[test]
fn an_emptied_slot_is_made_anew_and_others_stay() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let key = world.segment(1, 0);
    let kept = keepers(&world, key);
    let (host, places) = (
        kept[1],
        [key.slot(1), key.slot(2), world.segment(9, 0).slot(0)],
    );
    let emptied = world.write(move |tx| vacate(tx, host, &places)).unwrap();
    assert_eq!(emptied, [key.slot(1)]);
    assert_eq!(world.keepers(key)[1], None);
    let work = work_of(&world, key, |_| Belief::Here).unwrap();
    assert_eq!((work.wanted[0].slot, work.wanted[0].old), (1, None));
    assert_eq!(work.sources.len(), 7);
}

#[test]
fn a_scan_finds_what_is_needed_and_draws_from_every_host() {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000; 40]);
    let lost = HostAlias(1);
    let close = HostAlias(2);
    let scan = |world: &World| {
        let beliefs = world.beliefs(gone(&[lost]));
        world.read(move |tx| {
            let mut scan = Scan::new(beliefs, std::iter::once(close));
            let mut rng = crate::random::fresh().unwrap();
            while scan.page(tx, &mut rng)? {}
            Ok(scan.finish())
        })
    };
    let found = scan(&world);
    assert_eq!((found.segments, found.shards), (40, 320));
    let holding = |alias: HostAlias| {
        let keys = (1..=40).map(|number| world.segment(number, 0));
        keys.filter(|key| keepers(&world, *key).contains(&alias))
            .count()
    };
    assert_eq!(found.needs.len(), holding(lost));
    assert_eq!(found.census[&close].len(), holding(close));
    for (alias, sample) in &found.samples {
        assert_eq!(sample.shards, holding(*alias) as u64);
        assert!(!sample.drawn.is_empty());
    }

    // What cannot be repaired is not tried again.
    let frozen = *found.needs.keys().next().unwrap();
    let place = frozen.slot(0);
    assert!(
        world
            .write(move |tx| freeze(tx, &place, UnixMs(1)))
            .unwrap()
    );
    let after = scan(&world);
    assert_eq!(after.needs.len() + 1, found.needs.len());
    assert!(!after.needs.contains_key(&frozen));
}
