//! The simulation against what can be worked out without it, and what it shows about the rules.

#![expect(clippy::unwrap_used, reason = "a class that is none fails the test")]

use fleet::{Model, Outcome, QueueRule, simulate};
use model::formats::shape::Class;

fn class(text: &str) -> Class {
    text.parse().unwrap()
}

/// Losses as a share of segments.
fn share(outcome: &Outcome) -> f64 {
    outcome.losses as f64 / f64::from(outcome.segments)
}

/// The chance that more than n − k of n shards are lost, each with chance `p`.
fn binomial(k: u16, n: u16, p: f64) -> f64 {
    let choose =
        |some: u16| (0..some).fold(1.0, |ways, i| ways * f64::from(n - i) / f64::from(i + 1));
    let exactly =
        |lost: u16| choose(lost) * p.powi(i32::from(lost)) * (1.0 - p).powi(i32::from(n - lost));
    (n - k + 1..=n).map(exactly).sum()
}

#[test]
fn where_nothing_breaks_nothing_is_lost_or_repaired() {
    for text in ["mirrors:3", "coded:4/8"] {
        let mut model = Model::calm(class(text), 1_000, 2_000, 5);
        model.days = 60;
        let outcome = simulate(&model);
        assert_eq!(
            (outcome.losses, outcome.repaired, outcome.given_up),
            (0, 0, 0)
        );
        assert!(outcome.unreadable_worst <= 0.0, "{outcome:?}");
        assert!(outcome.online_mean > 0.999, "{outcome:?}");
    }
}

#[test]
fn independent_losses_without_repair_are_binomial() {
    for (text, k, n, rate) in [
        ("mirrors:2", 1, 2, 0.5),
        ("mirrors:3", 1, 3, 0.7),
        ("coded:4/8", 4, 8, 0.5),
        ("coded:10/20", 10, 20, 0.6),
    ] {
        let mut model = Model::calm(class(text), 5_000, 20_000, 11);
        model.hazards.disk = rate;
        model.repairs = false;
        let outcome = simulate(&model);
        // A Host that loses its disk once or more in the year has lost what was stored.
        let p = 1.0 - f64::exp(-rate);
        let (expected, found) = (binomial(k, n, p), share(&outcome));
        // Segments share Hosts: how many of these are hit scatters, and all segments with it.
        let by_hosts = binomial(k, n, p + (p * (1.0 - p) / 5_000.0).sqrt()) - expected;
        let by_segments = (expected * (1.0 - expected) / 20_000.0).sqrt();
        assert!(
            (found - expected).abs() < 3.0 * by_hosts.hypot(by_segments),
            "{text}: {found} instead of {expected}"
        );
        assert_eq!(outcome.causes.disk, outcome.losses);
    }
}

#[test]
fn the_same_seed_gives_the_same_outcome() {
    let run = |seed| {
        let mut model = Model::new(class("coded:4/8"), 2_000, 2_000, seed);
        model.days = 40;
        simulate(&model)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn more_redundancy_does_not_lose_more() {
    let losses = |text| {
        let mut model = Model::calm(class(text), 1_000, 5_000, 3);
        model.days = 120;
        model.hazards.disk = 20.0;
        simulate(&model).losses
    };
    let mirrors = ["mirrors:1", "mirrors:2", "mirrors:3"].map(losses);
    assert!(mirrors.is_sorted_by(|a, b| a >= b), "{mirrors:?}");
    assert!(
        mirrors[0] > 1_000 && mirrors[2] < mirrors[0] / 100,
        "{mirrors:?}"
    );
    let coded = ["coded:4/5", "coded:4/6", "coded:4/8"].map(losses);
    assert!(coded.is_sorted_by(|a, b| a >= b), "{coded:?}");
}

/// A queue that waits for its first segment is held up for good by the first one that cannot be
/// restored, and then loses everything behind it. The Bridge's puts such segments last.
#[test]
fn head_of_line_blocking() {
    let run = |queue| {
        let mut model = Model::calm(class("coded:4/8"), 1_000, 5_000, 7);
        model.hazards.disk = 3.0;
        // A bad version takes more of some segments than they can spare.
        model.hazards.version_share = 0.4;
        model.hazards.version_loses = 0.7;
        model.queue = queue;
        simulate(&model)
    };
    let (ours, waiting) = (run(QueueRule::Urgent), run(QueueRule::WaitForFirst));
    assert!(share(&waiting) > 0.3, "{waiting:?}");
    assert!(share(&ours) < 0.02, "{ours:?}");
    let by_others = |outcome: &Outcome| outcome.losses - outcome.causes.version;
    // On that day disks fail as on any other.
    assert!(by_others(&ours) < 5, "{ours:?}");
    assert!(by_others(&waiting) > 1_000, "{waiting:?}");
}

#[test]
fn offline_is_not_lost() {
    let run = |hours: u64| {
        let mut model = Model::new(class("coded:4/8"), 2_000, 4_000, 3);
        model.days = 40;
        model.timing.lost_after_ms = hours * 3_600_000;
        model.timing.absent_after_ms = model.timing.absent_after_ms.min(hours * 3_600_000);
        simulate(&model)
    };
    let (hasty, patient) = (run(1), run(72));
    let times = hasty.repair_bytes_per_stored_byte / patient.repair_bytes_per_stored_byte;
    assert!(times > 3.0, "{times}");
    assert!(hasty.queue_mean > 10.0 * patient.queue_mean);
    assert!(hasty.given_up_returned > 20 * patient.given_up_returned);
}

#[test]
fn the_standard_world_is_as_it_is_described() {
    for text in [
        "mirrors:3",
        "mirrors:5",
        "coded:4/8",
        "coded:10/20",
        "coded:16/32",
    ] {
        let mut model = Model::new(class(text), 3_000, 2_000, 1);
        model.days = 30;
        let outcome = simulate(&model);
        assert!((0.70..0.82).contains(&outcome.online_mean), "{outcome:?}");
        // Half of those that join stay 271 days.
        let leave = f64::from(u32::try_from(outcome.departed).unwrap()) / 3_000.0;
        assert!((0.03..0.10).contains(&leave), "{outcome:?}");
        assert!(outcome.repaired > 0 && outcome.repair_share_of_bandwidth < 0.2);
        assert!(outcome.given_up_returned < outcome.given_up);
    }
}
