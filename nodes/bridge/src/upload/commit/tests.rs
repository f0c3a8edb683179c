//! One root that ends several uploads.

use metastore::BlobState;
use model::units::{UploadId, VolumeId};
use model::wire::ProblemCode;
use model::wire::limits::UPLOADS_PER_COMMIT_MAX;

use super::CommitOutcome;
use crate::refusal::Refusal;
use crate::testing::{World, blob, commit_of, request};
use crate::upload::plan::PlannedUpload;

fn reserved(world: &World) -> u64 {
    let account = world.account();
    world.read(move |tx| tx.usage(&account)).reserved_bytes
}

fn code<T: std::fmt::Debug>(refused: Result<T, impl Refusal>) -> ProblemCode {
    refused.unwrap_err().problem().code
}

/// Plans an upload of one blob of 1,000 bytes.
fn planned_blob(world: &mut World, number: u8) -> PlannedUpload {
    let mut wanted = request("coded:4/8", &[1_000]);
    wanted.blobs[0].blob = blob(number);
    world.plan(wanted).unwrap()
}

#[test]
fn one_root_ends_several_uploads_or_none() {
    let mut world = World::new(8);
    let planned = [1, 2, 3].map(|number| planned_blob(&mut world, number));
    let ended = [0, 1, 2].map(|at| planned[at].upload);
    let root = world.root(None);
    let changes = [(1, 1, 1_000), (2, 1, 1_000), (3, 1, 1_000)];
    let receipts = |world: &World, at: usize, count: u16| {
        let some = |index, host| (index < count).then_some(host);
        world.receipts_of(&planned[at].page, planned[at].open.class, some)
    };
    let mut short = commit_of(&root, &changes);
    for (at, count) in [(0, 8), (1, 8), (2, 5)] {
        let more = receipts(&world, at, count).segments;
        short.receipts.segments.extend(more);
    }

    let problem = world.commit(&ended, short.clone()).unwrap_err().problem();

    assert_eq!(problem.code, ProblemCode::TooFewReceipts);
    assert_eq!(problem.facts["blob"], serde_json::json!(blob(3)));
    let (account, bytes) = (world.account(), planned[0].open.stored_bytes());
    assert_eq!(reserved(&world), 3 * bytes);
    assert_eq!(world.read(move |tx| tx.usage(&account)).stored_bytes, 0);

    let mut whole = short.clone();
    let last = whole.receipts.segments.len() - 1;
    whole.receipts.segments.truncate(last);
    whole
        .receipts
        .segments
        .extend(receipts(&world, 2, 8).segments);
    let done = world.commit(&ended, whole).unwrap().into_answer().unwrap();
    assert_eq!((done.seq, reserved(&world)), (1, 0));
    for number in 1..=3 {
        let row = world.read(move |tx| tx.blob(&account, &blob(number)));
        assert_eq!(row.unwrap().state, BlobState::Live);
    }
    let stored = world.read(move |tx| tx.usage(&account)).stored_bytes;
    assert_eq!(stored, 3 * bytes);
}

#[test]
fn a_changed_root_keeps_the_receipts_of_every_upload() {
    let mut world = World::new(8);
    let planned = [1, 2].map(|number| planned_blob(&mut world, number));
    let ended = [planned[0].upload, planned[1].upload];
    let first = world.root(None);
    world.commit(&[], commit_of(&first, &[])).unwrap();
    world.context.now.0 += 1;
    let mut stale = commit_of(&world.root(None), &[(1, 1, 1), (2, 1, 1)]);
    for planned in &planned {
        let page = world.receipts_of(&planned.page, planned.open.class, |_, host| Some(host));
        stale.receipts.segments.extend(page.segments);
    }
    let lost = world.commit(&ended, stale).unwrap();
    assert!(matches!(lost, CommitOutcome::RootConflict { .. }));

    let rebased = commit_of(&world.root(Some(&first)), &[(1, 1, 1), (2, 1, 1)]);
    let done = world.commit(&ended, rebased).unwrap();

    assert_eq!(done.into_answer().unwrap().seq, 2);
}

#[test]
fn what_a_commit_ends_is_bounded_open_and_of_its_volume() {
    let mut world = World::new(8);
    let planned = planned_blob(&mut world, 1);
    let root = world.root(None);
    let refused = |ended: &[UploadId]| code(world.commit(ended, commit_of(&root, &[])));

    let many: Vec<_> = (0..=u8::try_from(UPLOADS_PER_COMMIT_MAX).unwrap())
        .map(|number| UploadId([number; 16]))
        .collect();
    assert_eq!(refused(&many), ProblemCode::TooLarge);
    let twice = [planned.upload, planned.upload];
    assert_eq!(refused(&twice), ProblemCode::BadRequest);
    let unknown = [planned.upload, UploadId([9; 16])];
    assert_eq!(refused(&unknown), ProblemCode::UploadState);

    let mut elsewhere = request("coded:4/8", &[1_000]);
    (elsewhere.blobs[0].blob, elsewhere.volume) = (blob(2), VolumeId([1; 16]));
    let elsewhere = world.plan(elsewhere).unwrap().upload;
    let refused = code(world.commit(&[elsewhere], commit_of(&root, &[])));
    assert_eq!(refused, ProblemCode::BadRequest);
}
