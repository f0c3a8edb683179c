//! Runs are repeatable, go well, and notice what is broken on purpose.

use sim::{Plan, Sabotage, run, run_seed};

/// Seeds that are run with every test run; `cargo xtask sim` runs as many as one likes.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=16;

#[test]
fn everything_holds() {
    let half = |odd: u64| {
        let seeds = SEEDS.filter(move |seed| seed % 2 == odd);
        seeds.map(run_seed).collect::<Vec<_>>()
    };
    let (mut reports, others) = std::thread::scope(|scope| {
        let others = scope.spawn(|| half(1));
        (half(0), others.join().unwrap())
    });
    reports.extend(others);
    let shards: u64 = reports.iter().map(|report| report.shards).sum();
    assert!(shards > 500, "{shards} shards: no host takes any");
    let failed = reports.into_iter().filter(|report| !report.is_good());
    let failed: Vec<_> = failed
        .map(|report| (report.seed, report.violations))
        .collect();
    assert!(failed.is_empty(), "cargo xtask sim --seed …: {failed:#?}");
}

#[test]
fn a_seed_is_one_run_and_another_seed_another() {
    let (first, second, other) = (run_seed(3), run_seed(3), run_seed(5));
    assert_eq!(first.trace, second.trace);
    assert_eq!(first.hash, second.hash);
    assert_ne!(first.hash, other.hash);
}

#[test]
fn disks_that_lie_are_noticed() {
    let report = run(&Plan::of(2).sabotaged(Sabotage::DisksLie));
    let lost = report.violations.iter();
    // Of a store that was never synced not even the head may be left.
    let is_lost = |text: &str| text.contains("is not there") || text.contains("does not open");
    let lost = lost.filter(|violation| is_lost(violation));
    assert!(lost.count() > 0, "{:?}", report.violations);
}

#[test]
fn a_bridge_that_forgot_is_noticed() {
    let report = run(&Plan::of(2).sabotaged(Sabotage::OldBackup));
    let forked = |violation: &String| violation.contains("does not descend from root");
    assert!(
        report.violations.iter().any(forked),
        "{:?}",
        report.violations
    );
}

#[test]
fn files_that_cannot_be_had_are_noticed() {
    let report = run(&Plan::of(2).sabotaged(Sabotage::TooManyGone));
    let fails = |violation: &String| violation.contains("fails in the end: Unavailable");
    assert!(
        report.violations.iter().any(fails),
        "{:?}",
        report.violations
    );
}
