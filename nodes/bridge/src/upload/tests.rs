//! The way of an upload through its rules.

use std::collections::BTreeSet;

use metastore::{BlobState, HostAlias};
use model::units::{HostId, SHARD_BYTES_MAX, ShardId};
use model::wire::api::{FailedSlot, MoreRequest, ReceiptPage};
use model::wire::control::{DeleteReason, OrderKind};
use model::wire::{Action, ProblemCode, Ticket, TicketPurpose};

use super::abandon::abandon;
use super::commit::{CommitOutcome, receipts_needed};
use super::more::{Spares, more};
use super::plan::PlannedUpload;
use super::record::SlotKey;
use super::slots::SlotCursor;
use super::tickets;
use crate::download::layout::places;
use crate::refusal::Refusal;
use crate::testing::{World, blob, commit_of, node, request};

const SEGMENT: u64 = 4 * SHARD_BYTES_MAX as u64;

fn spares(world: &mut World, planned: &PlannedUpload, slots: &[(u16, HostAlias)]) -> Spares {
    let (context, account, mut rng) = (world.context.clone(), world.account(), world.rng());
    let failed = |(index, host): &(u16, HostAlias)| FailedSlot {
        blob: blob(1),
        segment: 0,
        index: *index,
        failed: HostId(world.hosts[host].public()),
    };
    let request = MoreRequest {
        slots: slots.iter().map(failed).collect(),
    };
    let upload = planned.upload;
    world
        .write(move |tx| more(tx, &context, &mut rng, (&account, &upload), &request))
        .unwrap()
}

fn reserved(world: &World) -> u64 {
    let account = world.account();
    world.read(move |tx| tx.usage(&account)).reserved_bytes
}

fn code<T, E: Refusal>(refused: Result<T, E>) -> ProblemCode {
    refused.err().expect("it is refused").problem().code
}

#[test]
fn the_class_follows_the_zones_unless_the_owner_chooses() {
    for (hosts, class) in [
        (3, "mirrors:3"),
        (5, "mirrors:4"),
        (8, "coded:4/8"),
        (24, "coded:10/20"),
    ] {
        let planned = World::new(hosts).plan(request("", &[100])).unwrap();
        assert_eq!(planned.open.class.to_string(), class);
    }
    let problem = World::new(2)
        .plan(request("", &[100]))
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, ProblemCode::TooFewHosts);
    assert_eq!(
        World::new(2)
            .plan(request("mirrors:2", &[100]))
            .unwrap()
            .page
            .segments
            .len(),
        1
    );
}

#[test]
fn too_few_hosts_names_who_is_missing_and_keeps_nothing() {
    let mut world = World::new(8);
    world.set_online(|alias| alias.0 <= 5);

    let problem = world
        .plan(request("coded:4/8", &[100]))
        .unwrap_err()
        .problem();

    assert_eq!(problem.code, ProblemCode::TooFewHosts);
    assert_eq!(problem.facts["needed"], 8);
    assert_eq!(problem.facts["available"], 5);
    assert_eq!(
        problem.facts["missing"],
        serde_json::json!(["h7", "h6", "h5"])
    );
    assert_eq!(reserved(&world), 0);
    let account = world.account();
    assert_eq!(world.read(move |tx| tx.blob(&account, &blob(1))), None);
}

#[test]
fn a_repeated_request_gets_the_same_plan_and_another_one_is_refused() {
    let mut world = World::new(12);
    let first = world
        .plan(request("coded:4/8", &[10, SEGMENT * 2]))
        .unwrap();

    let second = world
        .plan(request("coded:4/8", &[10, SEGMENT * 2]))
        .unwrap();

    assert_eq!(second.upload, first.upload);
    assert_eq!(second.page, first.page);
    let other = world.plan(request("coded:4/8", &[11]));
    assert_eq!(code(other), ProblemCode::Conflict);
    let mut twice = request("", &[1, 1, 1, 1, 1]);
    twice.blobs.remove(0);
    twice.blobs[3].blob = twice.blobs[2].blob;
    assert_eq!(code(world.plan(twice)), ProblemCode::Conflict);
}

#[test]
fn pages_cover_every_segment_once_and_answer_the_same_again() {
    let mut world = World::new(9);
    // 3 of 5 puts 6 segments in a group: 64 is no multiple of it.
    let planned = world
        .plan(request("coded:3/5", &[1, 150 * 3 * 1_966_080, 7]))
        .unwrap();
    let mut seen = Vec::new();
    let mut at = Some(SlotCursor::default());
    while let Some(cursor) = at {
        let answer = world.page(planned.upload, cursor).unwrap();
        assert_eq!(world.page(planned.upload, cursor).unwrap(), answer);
        assert!(answer.segments.len() <= 64);
        seen.extend(
            answer
                .segments
                .iter()
                .map(|segment| (segment.blob, segment.segment)),
        );
        for segment in &answer.segments {
            assert_eq!(segment.hosts.iter().collect::<BTreeSet<_>>().len(), 5);
        }
        at = answer.next;
    }
    let expected: Vec<_> = [(blob(1), 0)]
        .into_iter()
        .chain((0..150).map(|segment| (blob(2), segment)))
        .chain([(blob(3), 0)])
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn tickets_are_for_one_slot_at_one_host() {
    let mut world = World::new(8);
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();

    let page = tickets::slot_page(&world.context, &planned.open, &planned.page);

    assert_eq!(page.hosts.len(), 8);
    let bridge = world.context.keys.id;
    for slot in &page.segments[0].slots {
        let host = page.hosts[usize::from(slot.host)].host;
        let valid = Ticket::check(
            &slot.ticket.0,
            world.context.now,
            &host,
            |id| *id == bridge,
            TicketPurpose::Store,
        );
        let valid = valid.unwrap();
        assert_eq!(valid.ticket().bytes_max, 256);
        assert!(matches!(valid.ticket().action, Action::Put { .. }));
    }
}

#[test]
fn an_upload_is_committed_once_and_its_blobs_have_places() {
    let mut world = World::new(8);
    let planned = world
        .plan(request("coded:4/8", &[SEGMENT + 1, 300]))
        .unwrap();
    let page = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    world.receipts(planned.upload, page.clone()).unwrap();
    world.receipts(planned.upload, page).unwrap();
    let root = world.root(None);
    let mut request = commit_of(&root, &[(1, 1, 10), (2, 2, 300)]);
    request.nodes = vec![node("top")];
    let target = &[planned.upload];

    let outcome = world
        .commit(target, request.clone())
        .unwrap()
        .into_answer()
        .unwrap();

    assert_eq!((outcome.seq, outcome.hash), (1, root.hash()));
    let again = world
        .commit(target, request)
        .unwrap()
        .into_answer()
        .unwrap();
    assert_eq!(again, outcome);
    let account = world.account();
    let row = world.read(move |tx| tx.blob(&account, &blob(2))).unwrap();
    assert_eq!(
        (row.state, row.references, row.live_bytes),
        (BlobState::Live, 2, 300)
    );
    let usage = world.read(move |tx| tx.usage(&account));
    assert_eq!(usage.reserved_bytes, 0);
    assert_eq!(usage.stored_bytes, planned.open.stored_bytes());
    let places = world.read(move |tx| Ok(places(tx, &account, &blob(1), 0, 64).unwrap()));
    let (context, mut rng) = (world.context.clone(), world.rng());
    let payer = planned.open.payer;
    let layout = crate::download::layout::layout(
        &context,
        &mut rng,
        &places,
        (payer, crate::download::layout::Purpose::Read),
    );
    assert_eq!(layout.segments.len(), 2);
    for (segment, planned) in layout.segments.iter().zip(&planned.page.segments) {
        for (place, host) in segment.shards.iter().zip(&planned.hosts) {
            let at = usize::from(place.host.unwrap());
            assert_eq!(layout.hosts[at].host, HostId(world.hosts[host].public()));
            let bridge = world.context.keys.id;
            let ticket = &place.ticket.as_ref().unwrap().0;
            let host = layout.hosts[at].host;
            let purpose = TicketPurpose::Read(place.id);
            Ticket::check(
                ticket,
                world.context.now,
                &host,
                |id| *id == bridge,
                purpose,
            )
            .unwrap();
        }
    }
    assert!(
        world
            .hosts
            .keys()
            .all(|host| world.orders(*host).is_empty())
    );
}

#[test]
fn receipts_that_do_not_fit_their_slot_are_refused() {
    let mut world = World::new(8);
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();
    let good = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    let refused = |change: &dyn Fn(&mut ReceiptPage)| {
        let mut page = good.clone();
        change(&mut page);
        code(world.receipts(planned.upload, page))
    };

    assert_eq!(
        refused(&|page| page.segments[0].receipts.swap(0, 1)),
        ProblemCode::ReceiptRefused
    );
    assert_eq!(
        refused(&|page| page.segments[0].ids.swap(0, 1)),
        ProblemCode::ReceiptRefused
    );
    let bent = |page: &mut ReceiptPage| page.segments[0].receipts[3].as_mut().unwrap().0[40] ^= 1;
    assert_eq!(refused(&bent), ProblemCode::ReceiptRefused);
    let zero = |page: &mut ReceiptPage| page.segments[0].ids[0] = ShardId::default();
    assert_eq!(refused(&zero), ProblemCode::BadRequest);
    assert_eq!(
        refused(&|page| drop(page.segments[0].receipts.pop())),
        ProblemCode::BadRequest
    );
    assert_eq!(
        refused(&|page| page.segments[0].segment = 1),
        ProblemCode::BadRequest
    );
    assert_eq!(
        refused(&|page| page.segments[0].blob = blob(9)),
        ProblemCode::BadRequest
    );
    let many = |page: &mut ReceiptPage| page.segments = vec![page.segments[0].clone(); 257];
    assert_eq!(refused(&many), ProblemCode::TooLarge);
    let other_ids = |page: &mut ReceiptPage| {
        page.segments[0].receipts = vec![None; 8];
        page.segments[0].ids[7] = ShardId([1; 32]);
    };
    world.receipts(planned.upload, good.clone()).unwrap();
    assert_eq!(refused(&other_ids), ProblemCode::Conflict);
}

#[test]
fn a_degraded_segment_is_taken_and_a_worse_one_names_what_is_missing() {
    assert_eq!(
        [
            receipts_needed(4, 8),
            receipts_needed(1, 3),
            receipts_needed(10, 20)
        ],
        [6, 2, 15]
    );
    let mut world = World::new(8);
    let planned = world.plan(request("coded:4/8", &[10, 1_000])).unwrap();
    let root = world.root(None);
    let target = &[planned.upload];
    let five = world.receipts_of(&planned.page, planned.open.class, |i, host| {
        (i < 5).then_some(host)
    });
    let mut request = commit_of(&root, &[(1, 1, 10), (2, 1, 1_000)]);
    request.receipts = five;

    let problem = world.commit(target, request.clone()).unwrap_err().problem();

    assert_eq!(problem.code, ProblemCode::TooFewReceipts);
    assert_eq!(problem.facts["blob"], serde_json::json!(blob(1)));
    assert_eq!(
        (&problem.facts["have"], &problem.facts["needed"]),
        (&5.into(), &6.into())
    );
    request.receipts = world.receipts_of(&planned.page, planned.open.class, |i, host| {
        (i < 6).then_some(host)
    });
    assert!(matches!(
        world.commit(target, request).unwrap(),
        CommitOutcome::Done { .. }
    ));
    // The two Hosts of each segment whose shards found no way are told so.
    let strays: usize = world
        .hosts
        .keys()
        .map(|host| serials(&world, *host).len())
        .sum();
    assert_eq!(strays, 4);
}

fn serials(world: &World, host: HostAlias) -> Vec<model::units::Serial> {
    let orders = world.orders(host).into_iter();
    orders
        .flat_map(|OrderKind::Delete { serials, reason }| {
            assert_eq!(reason, DeleteReason::NotCommitted);
            serials
        })
        .collect()
}

#[test]
fn spares_avoid_the_segments_zones_and_losers_are_told() {
    let mut world = World::new(11);
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();
    let hosts = planned.page.segments[0].hosts.clone();
    let before = reserved(&world);

    let first = spares(&mut world, &planned, &[(0, hosts[0]), (3, hosts[3])]);
    let again = spares(&mut world, &planned, &[(0, hosts[0])]);

    let spare = |spares: &Spares, at: usize| spares.spares[at].as_ref().unwrap().segment.hosts[0];
    let (a, b) = (spare(&first, 0), spare(&first, 1));
    assert!(!hosts.contains(&a) && !hosts.contains(&b) && a != b);
    assert_eq!(spare(&again, 0), a);
    assert_eq!(reserved(&world) - before, 512);
    let second = spares(&mut world, &planned, &[(0, a)]);
    let c = spare(&second, 0);
    let third = spares(&mut world, &planned, &[(0, c)]);
    assert_eq!(third.spares, [None]);

    // Slot 0 is stored at its second spare; slot 3 at the first Host after all.
    let stored = |index, host| Some(if index == 0 { c } else { host });
    let root = world.root(None);
    let mut request = commit_of(&root, &[(1, 1, 1_000)]);
    request.receipts = world.receipts_of(&planned.page, planned.open.class, stored);
    world.commit(&[planned.upload], request).unwrap();

    assert_eq!(reserved(&world), 0);
    let told = |host: HostAlias| serials(&world, host).len();
    assert_eq!([hosts[0], a, b, c, hosts[3]].map(told), [1, 1, 1, 0, 0]);
    let keys = &world.context.keys;
    let id = HostId(world.hosts[&a].public());
    assert_eq!(
        serials(&world, a),
        [keys.serials.serial(&blob(1), 0, 0, &id)]
    );
}

#[test]
fn no_spare_is_given_where_no_further_zone_is_there() {
    let mut world = World::new(8);
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();
    let host = planned.page.segments[0].hosts[0];
    assert_eq!(spares(&mut world, &planned, &[(0, host)]).spares, [None]);
}

#[test]
fn a_changed_root_conflicts_and_keeps_the_blobs_staged() {
    let mut world = World::new(8);
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();
    let first = world.root(None);
    world.commit(&[], commit_of(&first, &[])).unwrap();
    world.context.now.0 += 1;
    let stale = world.root(None);
    let mut request = commit_of(&stale, &[(1, 1, 1_000)]);
    request.receipts = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    let target = &[planned.upload];

    let problem = world
        .commit(target, request)
        .unwrap()
        .into_answer()
        .unwrap_err();

    assert_eq!(problem.code, ProblemCode::RootConflict);
    assert_eq!(problem.facts["seq"], 1);
    assert_eq!(problem.facts["hash"], serde_json::json!(first.hash()));
    // Receipts came with the first try; the second needs none.
    let rebased = world.root(Some(&first));
    let outcome = world
        .commit(target, commit_of(&rebased, &[(1, 1, 1_000)]))
        .unwrap();
    assert_eq!(outcome.into_answer().unwrap().seq, 2);
}

#[test]
fn references_never_fall_below_zero_and_nothing_of_a_refused_commit_stays() {
    let mut world = World::new(3);
    let planned = world.plan(request("", &[1_000])).unwrap();
    let root = world.root(None);
    let mut request = commit_of(&root, &[(1, -1, 0)]);
    request.receipts = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    request.nodes = vec![node("page")];
    let target = &[planned.upload];

    assert_eq!(
        code(world.commit(target, request.clone())),
        ProblemCode::Conflict
    );

    let account = world.account();
    assert!(
        world
            .read(move |tx| tx.nodes(&account, &[node("page").hash]))
            .is_empty()
    );
    assert_eq!(world.read(move |tx| tx.usage(&account)).stored_bytes, 0);
    request.blobs[0].references = 1;
    request.pending = vec![node("never put").hash];
    assert_eq!(
        code(world.commit(target, request.clone())),
        ProblemCode::NotFound
    );
    request.pending.clear();
    request.nodes[0].body.0.push(0);
    assert_eq!(
        code(world.commit(target, request)),
        ProblemCode::HashMismatch
    );
}

#[test]
fn only_a_device_of_the_account_signs_roots() {
    let mut world = World::new(3);
    world.device = crate::testing::key(2, 99);
    let root = world.root(None);
    let refused = world.commit(&[], commit_of(&root, &[]));
    assert_eq!(code(refused), ProblemCode::Forbidden);
}

#[test]
fn quota_is_reserved_by_plans_and_given_back_by_giving_up() {
    let mut world = World::new(8);
    world.context.policy.quota_bytes = 5_000;
    let planned = world.plan(request("coded:4/8", &[2_000])).unwrap();
    assert_eq!(reserved(&world), 8 * 512);
    let mut more = request("coded:4/8", &[2_000]);
    more.blobs[0].blob = blob(9);
    let problem = world.plan(more).unwrap_err().problem();
    assert_eq!(problem.code, ProblemCode::QuotaExceeded);
    assert_eq!(
        problem.facts,
        serde_json::json!({"needed": 4096, "used": 4096, "quota": 5000})
    );

    let (context, account, upload) = (world.context.clone(), world.account(), planned.upload);
    world
        .write(move |tx| abandon(tx, &context, &account, &upload))
        .unwrap();

    assert_eq!(reserved(&world), 0);
    let context = world.context.clone();
    let again = world.write(move |tx| abandon(tx, &context, &account, &upload));
    assert_eq!(again.unwrap(), []);
    let late = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    assert_eq!(code(world.receipts(upload, late)), ProblemCode::UploadState);
}

#[test]
fn a_slot_that_lost_its_host_is_listed_with_the_last_one() {
    let mut world = World::new(8);
    let planned = world.plan(request("coded:4/8", &[1_000])).unwrap();
    let six = world.receipts_of(&planned.page, planned.open.class, |i, host| {
        (i < 6).then_some(host)
    });
    world.receipts(planned.upload, six).unwrap();

    let again = world.plan(request("coded:4/8", &[1_000])).unwrap();

    assert_eq!(again.page, planned.page);
    let slot = SlotKey {
        blob: 0,
        segment: 0,
        index: 7,
    };
    assert_eq!(again.open.moved[&slot], [planned.page.segments[0].hosts[7]]);
    let full = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
    world.receipts(planned.upload, full).unwrap();
    let root = world.root(None);
    world
        .commit(&[planned.upload], commit_of(&root, &[(1, 1, 1)]))
        .unwrap();
    assert!(
        world
            .hosts
            .keys()
            .all(|host| world.orders(*host).is_empty())
    );
}
