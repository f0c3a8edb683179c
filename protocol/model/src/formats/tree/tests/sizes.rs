//! How many pages a tree has, and how many a change touches.

use proptest::prelude::*;

use super::*;

/// Pages that the entries of the top folder would fill to the brim.
fn optimal_pages(bench: &mut Bench) -> usize {
    let bytes: usize = bench
        .walk()
        .iter()
        .map(|found| json::entry_text(&found.entry).len() + 1)
        .sum();
    bytes.div_ceil(PAGE_BYTES_MAX - 60).max(1)
}

fn numbered(numbers: impl Iterator<Item = u32>) -> Vec<Change> {
    numbers
        .map(|number| file(&format!("/file-{number:08}.txt"), slice(1, 5)))
        .collect()
}

#[test]
fn a_batch_of_20_000_writes_every_page_once_and_full() {
    let mut bench = Bench::new();
    let changes = numbered((0..20_000).map(|number| number * 7_919 % 20_000));
    let commit = bench.change(&changes).unwrap();
    assert_eq!(commit.added.len(), bench.reachable().len());
    let optimal = optimal_pages(&mut bench);
    assert!(
        commit.added.len() <= optimal + optimal / 6 + 3,
        "{} of {optimal}",
        commit.added.len()
    );

    // The same entries again, in place: again every page once.
    let again = bench.change(&changes).unwrap();
    assert!(again.added.len() <= commit.added.len());
    assert_eq!(again.blobs, BTreeMap::new());
}

#[test]
fn one_more_entry_touches_only_the_pages_above_it() {
    let mut bench = Bench::new();
    bench
        .change(&numbered((0..60_000).map(|number| number * 2)))
        .unwrap();
    let optimal = optimal_pages(&mut bench);
    for number in [1, 59_999, 119_999, 120_001] {
        bench.forget();
        let commit = bench.change(&numbered(std::iter::once(number))).unwrap();
        let written: usize = commit.added.iter().map(|page| page.bytes().len()).sum();
        assert!(written <= 65_536, "{written} bytes for {number}");
        assert!(bench.fetched <= 4, "{} pages read", bench.fetched);
        assert!(commit.added.len() <= 7 && commit.retired.len() <= 4);
    }
    assert!(
        bench.pages.len() <= 5 * optimal / 4,
        "{} of {optimal}",
        bench.pages.len()
    );
}

#[test]
fn names_that_come_in_order_one_by_one_leave_full_pages() {
    let mut bench = Bench::new();
    for number in 0..600 {
        bench.change(&numbered(std::iter::once(number))).unwrap();
    }
    let optimal = optimal_pages(&mut bench);
    assert!(
        bench.pages.len() <= optimal + 3,
        "{} of {optimal}",
        bench.pages.len()
    );
}

#[test]
fn a_folder_that_empties_gives_its_pages_back() {
    let mut bench = Bench::new();
    bench.change(&numbered(0..20_000)).unwrap();
    let removals: Vec<_> = (0..20_000_u32)
        .map(|number| number * 7_919 % 20_000)
        .map(|number| Change::Remove {
            path: at(&format!("/file-{number:08}.txt")),
        })
        .collect();
    for batch in removals.chunks(1_990) {
        bench.change(batch).unwrap();
        let optimal = optimal_pages(&mut bench);
        assert!(
            bench.pages.len() <= 9 * optimal / 4 + 3,
            "{} of {optimal}",
            bench.pages.len()
        );
        let live = bench.reachable();
        assert!(bench.pages.keys().eq(&live));
    }
    bench
        .change(&removals[19_900..].iter().map(undo).collect::<Vec<_>>())
        .unwrap();
    bench.change(&removals[19_900..]).unwrap();
    assert_eq!(bench.pages.len(), 1);
    assert_eq!(bench.walk(), Vec::new());
}

fn undo(change: &Change) -> Change {
    let path = change.paths().next().unwrap().clone();
    Change::PutFile {
        path,
        meta: Meta::default(),
        file: slice(1, 5),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_stay_well_filled(
        batches in prop::collection::vec(
            (prop::collection::vec(0..4_000_u32, 1..400), 0..=4_096_usize, any::<bool>()),
            1..12,
        ),
    ) {
        let mut bench = Bench::new();
        let mut there = BTreeSet::new();
        for (numbers, bytes, remove) in batches {
            let mut changes = Vec::new();
            for number in numbers {
                let path = format!("/{number}");
                if !remove {
                    changes.push(file(&path, inline(bytes)));
                    there.insert(number);
                } else if there.remove(&number) {
                    changes.push(Change::Remove { path: at(&path) });
                }
            }
            bench.change(&changes).unwrap();
            let optimal = optimal_pages(&mut bench);
            // Entries may be half a page: at worst each page holds just above half of its room.
            prop_assert!(bench.pages.len() <= 5 * optimal / 2 + 4, "{} of {optimal}", bench.pages.len());
        }
    }
}
