use std::collections::BTreeMap;

use super::*;
use crate::units::SHARD_BYTES_MAX;

const BLOB: BlobId = BlobId([3; 16]);

fn id(segment: u64, shard: u16) -> ShardId {
    ShardId(sha256(
        &[&segment.to_le_bytes()[..], &shard.to_le_bytes()].concat(),
    ))
}

fn ids(shape: Shape, segment: u64) -> Vec<ShardId> {
    (0..shape.class().ids())
        .map(|shard| id(segment, shard))
        .collect()
}

fn secret() -> Secret {
    Secret::new([4; 32])
}

fn build(shape: Shape) -> (NodeHash, BTreeMap<NodeHash, Vec<u8>>) {
    let mut builder = ManifestBuilder::new(shape, BLOB, secret());
    let mut pages = BTreeMap::new();
    for segment in 0..shape.segments() {
        for page in builder.push(&ids(shape, segment)).unwrap() {
            assert!(page.bytes().len() <= SEALED_MANIFEST_PAGE_BYTES_MAX);
            pages.insert(page.hash(), page.into_bytes());
        }
    }
    (builder.finish().unwrap(), pages)
}

/// Reads one segment, fetching what is needed; returns its ids and how many pages that took.
fn read(
    manifest: &mut Manifest,
    pages: &BTreeMap<NodeHash, Vec<u8>>,
    segment: u64,
) -> (Vec<ShardId>, usize) {
    let mut fetched = 0;
    loop {
        let need = match manifest.segment(segment).unwrap() {
            Step::Ready(ids) => return (ids.to_vec(), fetched),
            Step::Need(need) => need,
        };
        for hash in need {
            manifest.accept(&pages[&hash]).unwrap();
            fetched += 1;
        }
    }
}

fn shape_of_segments(class: Class, segments: u64) -> Shape {
    Shape::new(segments * u64::from(class.segment_bytes()) - 5, class).unwrap()
}

#[test]
fn a_small_blob_has_one_page_and_a_terabyte_needs_two_for_any_range() {
    let small = Shape::new(10_000, Class::mirrors(3).unwrap()).unwrap();
    let (top, pages) = build(small);
    assert_eq!(pages.len(), 1);
    let mut manifest = Manifest::new(BLOB, secret(), top);
    assert_eq!(read(&mut manifest, &pages, 0), (ids(small, 0), 1));

    let tera = Shape::new(1_000_000_000_000, Class::coded(4, 8).unwrap()).unwrap();
    let (top, pages) = build(tera);
    for segment in [0, 1_022, 1_023, 1_024, 77_777, tera.segments() - 1] {
        let mut manifest = Manifest::new(BLOB, secret(), top);
        assert_eq!(
            read(&mut manifest, &pages, segment),
            (ids(tera, segment), 2)
        );
        assert_eq!(manifest.shape(), Step::Ready(tera));
    }
}

#[test]
fn every_segment_is_found_around_page_borders() {
    let per_page = IDS_PER_PAGE as u64;
    for (class, segments) in [
        (Class::mirrors(2).unwrap(), per_page),
        (Class::mirrors(2).unwrap(), per_page + 1),
        (Class::mirrors(2).unwrap(), 3 * per_page),
        (Class::coded(40, 64).unwrap(), per_page / 64),
        (Class::coded(40, 64).unwrap(), per_page / 64 + 1),
        (Class::coded(2, 3).unwrap(), per_page),
    ] {
        let shape = shape_of_segments(class, segments);
        assert_eq!(shape.segments(), segments);
        let (top, pages) = build(shape);
        let mut manifest = Manifest::new(BLOB, secret(), top);
        let mut fetched = 0;
        for segment in 0..segments {
            let (found, now) = read(&mut manifest, &pages, segment);
            assert_eq!(
                found,
                ids(shape, segment),
                "{class} segment {segment} of {segments}"
            );
            fetched += now;
        }
        assert_eq!(fetched, pages.len(), "in order, every page is fetched once");
        assert!(manifest.segment(segments).is_err());
    }
}

#[test]
fn the_arithmetic_holds_for_the_largest_blob() {
    for class in [Class::mirrors(1).unwrap(), Class::coded(2, 64).unwrap()] {
        let shape = Shape::new(crate::formats::shape::BLOB_BYTES_MAX, class).unwrap();
        let layout = Layout::new(shape);
        assert!(layout.top_level() <= 4);
        let last = shape.segments() - 1;
        for level in 0..=layout.top_level() {
            assert!(layout.slot(level, last) < IDS_PER_PAGE);
        }
        assert_eq!(layout.ids_in(layout.top_level() + 1, 0), None);
    }
}

#[test]
fn wrong_counts_are_refused() {
    let shape = Shape::new(u64::from(SHARD_BYTES_MAX), Class::coded(4, 8).unwrap()).unwrap();
    let mut builder = ManifestBuilder::new(shape, BLOB, secret());
    assert!(matches!(
        builder.push(&[id(0, 0)]),
        Err(ManifestBuildError::Ids {
            segment: 0,
            expected: 8,
            given: 1
        })
    ));
    assert_eq!(builder.push(&ids(shape, 0)).unwrap().len(), 1);
    assert!(matches!(
        builder.push(&ids(shape, 0)),
        Err(ManifestBuildError::Full { segments: 1 })
    ));
    let unfinished = ManifestBuilder::new(shape, BLOB, secret());
    assert!(matches!(
        unfinished.finish(),
        Err(ManifestBuildError::Incomplete { .. })
    ));
}

#[test]
fn swapped_foreign_and_bent_pages_are_refused() {
    let shape = shape_of_segments(Class::mirrors(2).unwrap(), 3 * IDS_PER_PAGE as u64);
    let (top, pages) = build(shape);
    let mut manifest = Manifest::new(BLOB, secret(), top);
    let leaf = pages.iter().find(|(hash, _)| **hash != top).unwrap();
    assert!(matches!(
        manifest.accept(leaf.1),
        Err(ManifestError::Unwanted { .. })
    ));
    manifest.accept(&pages[&top]).unwrap();

    let mut bent = leaf.1.clone();
    bent[100] ^= 1;
    assert!(matches!(
        manifest.accept(&bent),
        Err(ManifestError::Unwanted { .. })
    ));
    assert!(matches!(
        manifest.accept(&leaf.1[..99]),
        Err(ManifestError::Unwanted { .. })
    ));
    let long = vec![0; SEALED_MANIFEST_PAGE_BYTES_MAX + 1];
    assert!(matches!(
        manifest.accept(&long),
        Err(ManifestError::TooLong { .. })
    ));

    for (blob, key) in [(BlobId([9; 16]), secret()), (BLOB, Secret::new([9; 32]))] {
        let mut foreign = Manifest::new(blob, key, top);
        assert!(matches!(
            foreign.accept(&pages[&top]),
            Err(ManifestError::Open { .. })
        ));
    }
}

#[test]
fn a_page_at_another_place_is_refused_even_where_it_is_linked() {
    let shape = shape_of_segments(Class::mirrors(2).unwrap(), 2 * IDS_PER_PAGE as u64);
    let all: Vec<_> = (0..IDS_PER_PAGE as u64)
        .map(|segment| id(segment, 0).0)
        .collect();
    let sealed = |plain: &[u8]| SealedPage::new(seal(&secret(), &context(&BLOB), plain));
    let misplaced = sealed(&encode(shape, Place { level: 0, index: 1 }, &all));
    let right = sealed(&encode(shape, Place { level: 0, index: 0 }, &all));
    let links = [misplaced.hash().0, right.hash().0];
    let top = sealed(&encode(shape, Place { level: 1, index: 0 }, &links));

    let mut manifest = Manifest::new(BLOB, secret(), top.hash());
    manifest.accept(top.bytes()).unwrap();
    let refused = manifest.accept(misplaced.bytes()).unwrap_err();
    assert!(matches!(
        refused,
        ManifestError::Page {
            source: PageError::Place,
            ..
        }
    ));

    let short = sealed(&encode(shape, Place { level: 1, index: 0 }, &links[..1]));
    let mut manifest = Manifest::new(BLOB, secret(), short.hash());
    assert!(matches!(
        manifest.accept(short.bytes()),
        Err(ManifestError::Page { .. })
    ));
}
