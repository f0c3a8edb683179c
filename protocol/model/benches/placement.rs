//! Measures placement, in CPU time of one core, at a million Hosts: `cargo bench -p model --bench placement`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, times itself and stops at the first surprise"
)]

use std::fs;

use model::placement::{Candidate, Region, Table, Wanted};
use model::units::ShardSize;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const HOSTS: u32 = 1_000_000;
const REGIONS: u16 = 24;

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let candidates: Vec<Candidate> = (1..=HOSTS)
        .map(|alias| candidate(alias, &mut rng))
        .collect();
    let mut built_ms = f64::MAX;
    for _ in 0..5 {
        let candidates = candidates.clone();
        let start = cpu_seconds();
        let table = Table::new(candidates);
        built_ms = built_ms.min((cpu_seconds() - start) * 1e3);
        assert!(table.zones() > 100_000, "the Hosts are in many zones");
    }
    println!("table of {HOSTS} Hosts built in {built_ms:.0} ms");

    let few: Vec<Candidate> = candidates.iter().take(10_000).copied().collect();
    println!("of 10,000 Hosts:");
    rate(&mut Table::new(few), &mut rng, 3, None);
    println!("of {HOSTS} Hosts:");
    let table = Table::new(candidates.clone());
    for (count, near) in [
        (3, None),
        (3, Some(Region(5))),
        (8, None),
        (32, None),
        (32, Some(Region(5))),
    ] {
        rate(&mut table.clone(), &mut rng, count, near);
    }
    load(table, &candidates, &mut rng);
}

fn candidate(alias: u32, rng: &mut ChaCha8Rng) -> Candidate {
    let random = rng.next_u64();
    Candidate {
        alias,
        zone: rng.next_u64() % 400_000,
        operator: 0,
        asn: u32::try_from(random % 3_000).unwrap(),
        region: Region(u16::try_from(random >> 20 & 0xffff).unwrap() % REGIONS + 1),
        open: true,
        vetted: !random.is_multiple_of(10),
        free_bytes: 2_000_000_000_000 + (random >> 8) % 2_000_000_000_000,
        bandwidth: 1_000_000 + random % 20_000_000,
        reputation_ppm: 960_000 + u32::try_from(random % 40_000).unwrap(),
        online_ppm: 500_000 + u32::try_from(random % 500_000).unwrap(),
    }
}

fn wanted(count: u16, near: Option<Region>) -> Wanted<'static> {
    Wanted {
        count,
        of: count,
        shard_size: ShardSize::MAX,
        near,
        beside: &[],
    }
}

fn rate(table: &mut Table, rng: &mut ChaCha8Rng, count: u16, near: Option<Region>) {
    let picks = 3_000_000 / u32::from(count);
    let start = cpu_seconds();
    for _ in 0..picks {
        assert_eq!(
            table.pick(rng, &wanted(count, near)).unwrap().len(),
            usize::from(count)
        );
    }
    let rate = f64::from(picks) / (cpu_seconds() - start) / 1e6;
    println!("{count:>2} Hosts, near {near:?}: {rate:.2} M picks/s");
}

/// How much more than its fair share a vetted Host gets, at a mean of 30 shards each.
fn load(mut table: Table, candidates: &[Candidate], rng: &mut ChaCha8Rng) {
    let mut shards = vec![0_u32; candidates.len() + 1];
    for _ in 0..10 * HOSTS {
        for alias in table.pick(rng, &wanted(3, None)).unwrap() {
            shards[alias as usize] += 1;
        }
    }
    let vetted = || candidates.iter().filter(|candidate| candidate.vetted);
    let total: u32 = vetted()
        .map(|candidate| shards[candidate.alias as usize])
        .sum();
    let weights: f64 = vetted()
        .filter_map(|candidate| table.weight(candidate.alias))
        .sum();
    let mut loads: Vec<f64> = vetted()
        .filter_map(|c| Some(f64::from(shards[c.alias as usize]) / table.weight(c.alias)?))
        .map(|load| load * weights / f64::from(total))
        .collect();
    loads.sort_by(f64::total_cmp);
    println!(
        "load p1 {:.2}, p99 {:.2}, max {:.2} of the fair share",
        loads[loads.len() / 100],
        loads[loads.len() * 99 / 100],
        loads[loads.len() - 1]
    );
}

/// CPU time of this thread, so far.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
