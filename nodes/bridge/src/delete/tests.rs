//! What goes, when, and that every Host is told.

use std::collections::BTreeSet;

use metastore::HostAlias;
use model::formats::root::SignedRoot;
use model::units::{HostId, SHARD_BYTES_MAX, Serial, UnixMs};
use model::wire::api::{Purge, PurgeAnswer};
use model::wire::control::{DeleteReason, OrderKind};
use model::wire::{ProblemCode, Signed};

use super::purge::{PurgeError, purge};
use super::retention::{end_expired, expired, remove_retired, sweep_nodes};
use super::sparse::after;
use crate::refusal::Refusal;
use crate::testing::{World, blob, commit_of, node, request};
use crate::upload::plan::PlannedUpload;

const DAY_MS: u64 = 24 * 3_600_000;

/// Ends everything that is to end now; returns the number of steps.
fn run_expiry(world: &World) -> u32 {
    for steps in 0..10_000 {
        let context = world.context.clone();
        let rows = world.read(move |tx| expired(tx, &context));
        let Some(row) = rows.into_iter().next() else {
            return steps;
        };
        let context = world.context.clone();
        world
            .write(move |tx| end_expired(tx, &context, &row))
            .unwrap();
    }
    panic!("never ends");
}

/// Serials that each Host is ordered to delete, and the reasons.
fn told(world: &World, host: HostAlias) -> (BTreeSet<Serial>, Vec<DeleteReason>) {
    let mut all = (BTreeSet::new(), Vec::new());
    for OrderKind::Delete { serials, reason } in world.orders(host) {
        assert!(!serials.is_empty() && serials.len() <= 1_024);
        all.0.extend(serials);
        all.1.push(reason);
    }
    all
}

/// Serials that a Host was given by the first page of a plan.
fn given(world: &World, planned: &PlannedUpload, host: HostAlias) -> BTreeSet<Serial> {
    let id = HostId(world.hosts[&host].public());
    let slots = planned.page.segments.iter().flat_map(|segment| {
        (0..)
            .zip(&segment.hosts)
            .map(move |(index, at)| (segment, index, *at))
    });
    let serials = &world.context.keys.serials;
    slots
        .filter(|(.., at)| *at == host)
        .map(|(segment, index, _)| serials.serial(&segment.blob, segment.segment, index, &id))
        .collect()
}

fn stored(world: &mut World, lengths: &[u64]) -> (PlannedUpload, SignedRoot) {
    let planned = world.plan(request("coded:4/8", lengths)).unwrap();
    let root = world.root(None);
    let changes: Vec<_> = (1..)
        .zip(lengths)
        .map(|(number, _)| (number, 1, 1))
        .collect();
    let mut commit = commit_of(&root, &changes);
    commit.receipts = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    commit.nodes = vec![node("old page")];
    world.commit(&[planned.upload], commit).unwrap();
    (planned, root)
}

/// Removes the only entry of blob 1 and the page that named it.
fn remove(world: &World, root: &SignedRoot) {
    let mut commit = commit_of(&world.root(Some(root)), &[(1, -1, -1)]);
    commit.retired = vec![node("old page").hash];
    world.commit(&[], commit).unwrap();
}

#[test]
fn an_expired_upload_leaves_nothing_and_every_host_is_told() {
    let mut world = World::new(8);
    // More groups than one step erases.
    let length = 2_000 * 4 * u64::from(SHARD_BYTES_MAX);
    world.context.policy.quota_bytes = u64::MAX;
    let mut planned = world.plan(request("coded:4/8", &[length, 5])).unwrap();
    while let Some(cursor) = planned.page.next {
        let page = world.page(planned.upload, cursor).unwrap();
        planned.page.segments.extend(page.segments);
        planned.page.next = page.next;
    }
    assert_eq!(run_expiry(&world), 0);

    world.context.now.0 += DAY_MS;
    assert!(run_expiry(&world) > 2);

    let account = world.account();
    assert_eq!(world.read(move |tx| tx.blob(&account, &blob(1))), None);
    assert!(world.read(move |tx| tx.scan_groups(None, 1)).is_empty());
    assert_eq!(world.read(move |tx| tx.usage(&account)), Default::default());
    let upload = planned.upload;
    assert_eq!(world.read(move |tx| tx.upload(&account, &upload)), None);
    for host in world.hosts.keys() {
        let (serials, reasons) = told(&world, *host);
        assert_eq!(serials, given(&world, &planned, *host));
        assert!(
            reasons
                .iter()
                .all(|reason| *reason == DeleteReason::NotCommitted)
        );
    }
}

#[test]
fn retired_blobs_and_pages_stay_for_the_retention_and_then_go() {
    let mut world = World::new(8);
    let (planned, root) = stored(&mut world, &[1_000, 2_000]);
    remove(&world, &root);
    let sweep = |world: &World| {
        let context = world.context.clone();
        let removed = world.write(move |tx| {
            sweep_nodes(tx, &context)?;
            remove_retired(tx, &context)
        });
        run_expiry(world);
        removed.unwrap()
    };
    let account = world.account();
    let pages = |world: &World| {
        world
            .read(move |tx| tx.nodes(&account, &[node("old page").hash]))
            .len()
    };

    world.context.now.0 += 29 * DAY_MS;
    assert_eq!((sweep(&world), pages(&world)), (0, 1));
    world.context.now.0 += 2 * DAY_MS;
    assert_eq!((sweep(&world), pages(&world)), (1, 0));

    assert_eq!(sweep(&world), 0);
    assert_eq!(world.read(move |tx| tx.blob(&account, &blob(1))), None);
    assert!(world.read(move |tx| tx.blob(&account, &blob(2))).is_some());
    let usage = world.read(move |tx| tx.usage(&account));
    assert_eq!(usage.stored_bytes, 8 * 512);
    for host in world.hosts.keys() {
        let (serials, reasons) = told(&world, *host);
        assert_eq!(reasons, [DeleteReason::Retired]);
        assert_eq!(serials.len(), 1);
        assert!(serials.is_subset(&given(&world, &planned, *host)));
    }
}

#[test]
fn what_is_less_than_half_alive_is_listed_until_it_is_retired() {
    let mut world = World::new(8);
    // Each has one live byte.
    let (_, root) = stored(&mut world, &[1_000, 1, 2_000]);
    let account = world.account();
    let listed = |world: &World, last: Option<u8>| {
        let last = last.map(blob);
        let listed = world.read(move |tx| after(tx, &account, last.as_ref(), 10_000));
        listed
            .blobs
            .iter()
            .map(|sparse| sparse.blob)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&world, None), [blob(1), blob(3)]);
    assert_eq!(listed(&world, Some(1)), [blob(3)]);
    remove(&world, &root);
    assert_eq!(listed(&world, None), [blob(3)]);
}

fn ask_purge(
    world: &World,
    signer: &model::crypto::SigningKey,
    at: UnixMs,
) -> Result<PurgeAnswer, PurgeError> {
    let (context, account) = (world.context.clone(), world.account());
    let body = Purge {
        account,
        bridge: context.keys.id,
        at,
        blobs: vec![blob(1), blob(2), blob(7)],
        nodes: vec![node("old page").hash, node("unknown").hash],
    };
    let signed = Signed::new(signer, &body);
    world.write(move |tx| purge(tx, &context, &account, &signed))
}

#[test]
fn a_purge_destroys_what_nothing_refers_to_at_once() {
    let mut world = World::new(8);
    let (_, root) = stored(&mut world, &[1_000, 2_000]);
    let now = world.context.now;
    let identity = world.owner.identity.clone();
    let in_use = ask_purge(&world, &identity, now).unwrap();
    assert_eq!(
        in_use,
        PurgeAnswer {
            blobs: 0,
            blobs_in_use: 2,
            nodes: 0
        }
    );
    remove(&world, &root);

    let by_device = ask_purge(&world, &world.device, now).unwrap_err();
    let too_old = ask_purge(&world, &identity, UnixMs(now.0 - DAY_MS)).unwrap_err();
    let answer = ask_purge(&world, &identity, now).unwrap();

    assert_eq!(by_device.problem().code, ProblemCode::Forbidden);
    assert_eq!(too_old.problem().code, ProblemCode::Forbidden);
    assert_eq!(
        answer,
        PurgeAnswer {
            blobs: 1,
            blobs_in_use: 1,
            nodes: 1
        }
    );
    run_expiry(&world);
    for host in world.hosts.keys() {
        assert_eq!(told(&world, *host).1, [DeleteReason::Purged]);
    }
    let again = ask_purge(&world, &identity, now).unwrap();
    assert_eq!(
        again,
        PurgeAnswer {
            blobs: 0,
            blobs_in_use: 1,
            nodes: 0
        }
    );
}

#[test]
fn orders_wait_until_they_are_done_and_numbers_go_on() {
    let mut world = World::new(3);
    let planned = world.plan(request("mirrors:3", &[10])).unwrap();
    let host = planned.page.segments[0].hosts[0];
    let (context, account, upload) = (world.context.clone(), world.account(), planned.upload);
    world
        .write(move |tx| crate::upload::abandon::abandon(tx, &context, &account, &upload))
        .unwrap();
    run_expiry(&world);
    assert_eq!(world.orders(host).len(), 1);

    // A word on an order that was never sent counts for nothing.
    world
        .write(move |tx| crate::orders::acknowledge(tx, host, 9, 0))
        .unwrap();
    assert_eq!(world.orders(host).len(), 1);
    world
        .write(move |tx| crate::orders::acknowledge(tx, host, 1, 1))
        .unwrap();

    assert!(world.orders(host).is_empty());
    assert_eq!(world.read(move |tx| crate::orders::done(tx, host)), 1);
}
