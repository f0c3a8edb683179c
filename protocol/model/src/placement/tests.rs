//! The rules of placement, on networks small enough to see and on random ones.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::units::ShardSize;

const ROOM: u64 = 1 << 40;

/// A vetted Host in a zone of its own.
fn candidate(alias: u32) -> Candidate {
    Candidate {
        alias,
        zone: u64::from(alias) << 32,
        operator: 0,
        asn: 0,
        region: Region(1),
        open: true,
        vetted: true,
        free_bytes: ROOM,
        bandwidth: 5_000_000,
        reputation_ppm: 990_000,
        online_ppm: 900_000,
    }
}

fn network(hosts: u32, change: impl Fn(&mut Candidate)) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = (1..=hosts).map(candidate).collect();
    candidates.iter_mut().for_each(change);
    candidates
}

fn wanted(count: u16) -> Wanted<'static> {
    Wanted {
        count,
        of: count,
        shard_size: ShardSize::MAX,
        near: None,
        beside: &[],
    }
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(42)
}

/// How many of `rounds` picks of `wanted` went to each Host, by alias.
fn counts(candidates: Vec<Candidate>, wanted: &Wanted<'_>, rounds: u32) -> Vec<u32> {
    let last = candidates
        .iter()
        .map(|candidate| candidate.alias)
        .max()
        .unwrap();
    let (mut table, mut rng) = (Table::new(candidates), rng());
    let mut counts = vec![0; last as usize + 1];
    for _ in 0..rounds {
        for alias in table.pick(&mut rng, wanted).unwrap() {
            counts[alias as usize] += 1;
        }
    }
    counts
}

#[test]
fn classes_grow_with_the_network() {
    let classes = [0, 1, 2, 3, 4, 7, 8, 23, 24, 39, 40, 1_000_000]
        .map(|zones| class_for(zones).map_or("none".to_owned(), |class| class.to_string()));
    assert_eq!(
        classes.join(" "),
        "none mirrors:1 mirrors:2 mirrors:3 mirrors:4 mirrors:4 coded:4/8 coded:4/8 \
         coded:10/20 coded:10/20 coded:16/32 coded:16/32"
    );
    assert_eq!(metadata_class_for(40), Some(Class::Mirrors { n: 5 }));
    assert_eq!(metadata_class_for(2), Some(Class::Mirrors { n: 2 }));
}

#[test]
fn the_chance_to_be_online_is_promised_hours_kept() {
    assert_eq!(online_ppm(168, 1_000_000), 1_000_000);
    assert_eq!(online_ppm(84, 900_000), 450_000);
    assert_eq!(online_ppm(500, 2_000_000), 1_000_000);
}

#[test]
fn all_zones_of_a_small_network_are_used() {
    let mut table = Table::new(network(8, |_| {}));
    let mut picked = table.pick(&mut rng(), &wanted(8)).unwrap();
    picked.sort_unstable();
    assert_eq!(picked, (1..=8).collect::<Vec<_>>());
    assert_eq!(table.zones(), 8);
}

#[test]
fn too_few_zones_are_counted() {
    let pairs = network(12, |host| host.zone = u64::from(host.alias / 2));
    let mut table = Table::new(pairs);
    assert_eq!(table.zones(), 7);
    assert_eq!(
        table.pick(&mut rng(), &wanted(8)).unwrap_err().to_string(),
        "8 further zones are needed, 7 can take a shard"
    );
    let nobody = Table::new(Vec::new()).pick(&mut rng(), &wanted(3));
    assert_eq!(
        nobody,
        Err(PlacementError::TooFewZones {
            needed: 3,
            found: 0
        })
    );
}

#[test]
fn a_failed_pick_takes_no_space() {
    let room_for_one = network(3, |host| {
        host.free_bytes = u64::from(ShardSize::MAX.bytes());
    });
    let mut table = Table::new(room_for_one);
    assert!(table.pick(&mut rng(), &wanted(4)).is_err());
    assert_eq!(table.pick(&mut rng(), &wanted(3)).unwrap().len(), 3);
    let full = table.pick(&mut rng(), &wanted(1));
    assert_eq!(
        full,
        Err(PlacementError::TooFewZones {
            needed: 1,
            found: 0
        })
    );
}

#[test]
fn spares_keep_out_of_the_zones_of_the_segment_even_of_closed_hosts() {
    let mut hosts = network(6, |host| host.open = host.alias != 2);
    hosts[2].zone = hosts[1].zone; // Host 3 sits beside Host 2, which is gone but holds a shard.
    hosts[3].operator = 9;
    hosts[0].operator = 9; // Hosts 1 and 4 belong together.
    let mut table = Table::new(hosts);
    let spares = Wanted {
        count: 2,
        of: 8,
        beside: &[1, 2, 77],
        ..wanted(2)
    };
    let mut picked = table.pick(&mut rng(), &spares).unwrap();
    picked.sort_unstable();
    assert_eq!(picked, [5, 6]);
    let third = table.pick(&mut rng(), &Wanted { count: 3, ..spares });
    assert_eq!(
        third,
        Err(PlacementError::TooFewZones {
            needed: 3,
            found: 2
        })
    );
}

#[test]
fn more_hosts_than_shards_are_refused() {
    let mut table = Table::new(network(8, |_| {}));
    let more = table.pick(
        &mut rng(),
        &Wanted {
            count: 3,
            of: 2,
            ..wanted(3)
        },
    );
    assert_eq!(more, Err(PlacementError::Count { count: 3, of: 2 }));
    let oversized = table.pick(&mut rng(), &wanted(65));
    assert_eq!(oversized, Err(PlacementError::Count { count: 65, of: 65 }));
}

#[test]
fn closed_full_and_disgraced_hosts_get_nothing() {
    let hosts = network(12, |host| match host.alias {
        1 => host.open = false,
        2 => host.free_bytes = u64::from(ShardSize::MAX.bytes()) - 1,
        3 => host.reputation_ppm = 0,
        4 => host.online_ppm = 0,
        _ => {}
    });
    let counts = counts(hosts, &wanted(3), 1_000);
    assert_eq!(counts[..5], [0; 5]);
    assert!(counts[5..].iter().all(|count| *count > 0));
}

#[test]
fn shards_follow_space_bandwidth_and_the_crowd_of_the_zone() {
    let hosts = network(40, |host| match host.alias {
        1..=10 => host.free_bytes = 4 * ROOM,
        11..=20 => host.bandwidth = 15_000_000,
        21..=30 => host.zone = u64::from(host.alias / 2), // 20 and 31 aside, two to a zone.
        _ => {}
    });
    let counts = counts(hosts, &wanted(1), 60_000);
    let mean = |range: std::ops::Range<usize>| {
        let len = range.len();
        f64::from(counts[range].iter().sum::<u32>()) / len as f64
    };
    let plain = mean(31..41);
    for (range, factor) in [(1..11, 2.0), (11..21, 2.5), (22..30, 0.5)] {
        let found = mean(range.clone()) / plain;
        assert!(
            (found / factor - 1.0).abs() < 0.05,
            "{range:?}: {found} instead of {factor}"
        );
    }
}

#[test]
fn better_of_two_levels_the_load() {
    let counts = counts(network(200, |_| {}), &wanted(3), 20_000);
    let (least, most) = (
        counts[1..].iter().min().unwrap(),
        counts[1..].iter().max().unwrap(),
    );
    assert!(
        *least >= 290 && *most <= 310,
        "{least}..={most} shards where 300 are fair"
    );
}

#[test]
fn new_hosts_get_five_percent_until_they_are_needed() {
    let share = |hosts: Vec<Candidate>, count: u16| {
        let new: Vec<usize> = hosts
            .iter()
            .filter(|host| !host.vetted)
            .map(|host| host.alias as usize)
            .collect();
        let counts = counts(hosts, &wanted(count), 20_000);
        let got: u32 = new.iter().map(|alias| counts[*alias]).sum();
        f64::from(got) / f64::from(counts.iter().sum::<u32>())
    };
    let half_new = share(network(100, |host| host.vetted = host.alias % 2 == 0), 4);
    assert!((half_new - 0.05).abs() < 0.005, "{half_new}");
    let one_of_hundred = share(network(100, |host| host.vetted = host.alias != 1), 4);
    assert!((one_of_hundred - 0.01).abs() < 0.003, "{one_of_hundred}");
    let three_vetted = share(network(20, |host| host.vetted = host.alias <= 3), 4);
    assert!((0.25..0.35).contains(&three_vetted), "{three_vetted}");
    let all_new = share(network(20, |host| host.vetted = false), 4);
    assert!(all_new > 0.999, "{all_new}");
}

#[test]
fn one_shard_leaves_the_region_of_the_owner() {
    let hosts = network(60, |host| {
        host.region = Region(1 + u16::from(host.alias > 40));
    });
    let mut table = Table::new(hosts);
    let near = Wanted {
        near: Some(Region(1)),
        ..wanted(4)
    };
    for _ in 0..500 {
        let picked = table.pick(&mut rng(), &near).unwrap();
        assert_eq!(
            picked.iter().filter(|alias| **alias > 40).count(),
            1,
            "{picked:?}"
        );
    }
    let nowhere = Wanted {
        near: Some(Region(9)),
        ..wanted(4)
    };
    assert_eq!(table.pick(&mut rng(), &nowhere).unwrap().len(), 4);
    let spare = Wanted {
        count: 1,
        of: 4,
        beside: &[1, 2, 3],
        ..near
    };
    assert!(table.pick(&mut rng(), &spare).unwrap()[0] > 40);
}

#[test]
fn one_autonomous_system_gets_a_fifth_while_there_are_others() {
    let many = network(60, |host| host.asn = 1 + host.alias % 6);
    let mut table = Table::new(many);
    let mut rng = rng();
    for _ in 0..200 {
        let picked = table.pick(&mut rng, &wanted(20)).unwrap();
        for asn in 1..=6 {
            assert!(
                picked.iter().filter(|alias| 1 + *alias % 6 == asn).count() <= 4,
                "{picked:?}"
            );
        }
    }
    let one = Table::new(network(9, |host| host.asn = 7)).pick(&mut rng, &wanted(8));
    assert_eq!(
        one.unwrap().len(),
        8,
        "friends at one provider can still store"
    );
}

proptest! {
    #[test]
    fn hosts_zones_and_operators_are_distinct_and_failure_is_real(
        hosts in prop::collection::vec((0..30_u64, 0..20_u32, 0..4_u32, 0..4_u16, 0..16_u8), 0..80),
        count in 1..=32_u16,
        near in prop::option::of(0..5_u16),
        seed in any::<u64>(),
    ) {
        let candidates: Vec<Candidate> = (1..)
            .zip(&hosts)
            .map(|(alias, (zone, operator, asn, region, flags))| Candidate {
                zone: *zone,
                operator: *operator,
                asn: *asn,
                region: Region(*region),
                open: flags & 3 != 0,
                vetted: flags & 4 != 0,
                ..candidate(alias)
            })
            .collect();
        let wanted = Wanted { near: near.map(Region), ..wanted(count) };
        let by_alias = |alias: &u32| candidates[*alias as usize - 1];
        let draw = || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            Table::new(candidates.clone()).pick(&mut rng, &wanted)
        };
        match draw() {
            Ok(picked) => {
                let chosen: Vec<Candidate> = picked.iter().map(by_alias).collect();
                let known: Vec<u32> =
                    chosen.iter().map(|host| host.operator).filter(|op| *op != 0).collect();
                prop_assert!(chosen.iter().all(|host| host.open));
                prop_assert_eq!(picked.len(), usize::from(count));
                prop_assert_eq!(picked.iter().collect::<BTreeSet<_>>().len(), picked.len());
                prop_assert_eq!(chosen.iter().map(|h| h.zone).collect::<BTreeSet<_>>().len(), picked.len());
                prop_assert_eq!(known.iter().collect::<BTreeSet<_>>().len(), known.len());
            }
            Err(PlacementError::TooFewZones { needed, found }) => {
                prop_assert_eq!(needed, count);
                prop_assert!(found < count);
                // Whatever was found, it could not be added to: the greedy choice is maximal,
                // so at least half of the best matching of zones and operators.
                let zones: BTreeSet<u64> =
                    candidates.iter().filter(|host| host.open).map(|host| host.zone).collect();
                prop_assert!(zones.len() < 2 * usize::from(count));
            }
            Err(PlacementError::Count { .. }) => prop_assert!(false, "the count is right"),
        }
        prop_assert_eq!(draw(), draw(), "the same seed picks the same Hosts");
    }

    #[test]
    fn no_host_is_given_more_than_it_has_room_for(
        rooms in prop::collection::vec(0..6_u64, 1..24),
        count in 1..=8_u16,
        seed in any::<u64>(),
    ) {
        let size = u64::from(ShardSize::MAX.bytes());
        let candidates: Vec<Candidate> = (1..)
            .zip(&rooms)
            .map(|(alias, room)| Candidate { free_bytes: room * size + size / 2, ..candidate(alias) })
            .collect();
        let (mut table, mut rng) = (Table::new(candidates), ChaCha8Rng::seed_from_u64(seed));
        let mut given = vec![0; rooms.len()];
        while let Ok(picked) = table.pick(&mut rng, &wanted(count)) {
            picked.iter().for_each(|alias| given[*alias as usize - 1] += 1);
        }
        prop_assert!(given.iter().zip(&rooms).all(|(given, room)| given <= room));
        // It ended because fewer Hosts than wanted have room.
        let left = given.iter().zip(&rooms).filter(|(given, room)| given < room).count();
        prop_assert!(left < usize::from(count), "{left} hosts with room were passed over");
    }
}
