//! A Host whose disk went bad while it was away is found, and what it lost is made anew. Nobody else
//! is blamed.

use crate::heals::{expect_back, expect_no_event, expect_proved, has_event, put, segments};
use crate::logs::shards;
use crate::stage::{Stage, noise, wait_within, write};

const HOSTS: usize = 11;
/// Found by drawing shards: twice as long as it takes in nearly all runs.
const FOUND_WITHIN: std::time::Duration = std::time::Duration::from_secs(240);
/// So that every leaf of 64 KiB is damaged.
const FLIP_EVERY_BYTES: usize = 40_009;

#[test]
fn damage_done_to_a_stopped_host_is_found_and_made_good() {
    let mut stage = Stage::healing(HOSTS);
    let tree = stage.path("tree");
    for large in 0..3 {
        write(&tree.join(format!("large{large}")), noise(large, 9_000_000));
    }
    for small in 0..20 {
        write(
            &tree.join(format!("small/{small}")),
            noise(10 + small, 30_000),
        );
    }
    put(&stage, &tree);

    let mut by_shards: Vec<usize> = (0..HOSTS).collect();
    by_shards.sort_by_key(|host| shards(&stage, *host).len());
    let victim = *by_shards.last().unwrap();
    stage.planet.hosts()[victim].kill();
    damage(&stage, victim);
    stage.revive();

    wait_within("the damage is found", FOUND_WITHIN, || {
        has_event(&stage, victim, "audit_failed") || has_event(&stage, victim, "shards_lost")
    });
    // Whoever makes it anew: the same Host may.
    wait_within("what was damaged is made anew", FOUND_WITHIN, || {
        let whole = segments(&stage).iter().all(planet::Segment::is_whole);
        whole && proofs(&stage).are_whole()
    });
    expect_proved(&stage);
    expect_back(&stage, &tree);
    for host in (0..HOSTS).filter(|host| *host != victim) {
        expect_no_event(&stage, host, "audit_failed");
        expect_no_event(&stage, host, "shards_lost");
    }
}

/// Damages every other shard of a Host that does not run, so that no proof of them holds.
fn damage(stage: &Stage, host: usize) {
    let all = shards(stage, host);
    let damaged: Vec<_> = all.iter().step_by(2).collect();
    assert!(damaged.len() * 10 >= all.len() * 3 && damaged.len() >= 2);
    for shard in &damaged {
        shard.bend(FLIP_EVERY_BYTES).unwrap();
    }
}

fn proofs(stage: &Stage) -> planet::Proofs {
    stage.owner.proofs("/").unwrap().0
}
