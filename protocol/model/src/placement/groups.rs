//! Hosts in groups of one standing, region and weight, so that a draw needs to choose a group
//! and then anyone in it.

use super::alias_table::Peers;
use super::{Candidate, Region};

/// More bandwidth than this draws no more shards: 100 Mbit/s, in bytes per second.
const BANDWIDTH_CAP: u64 = 12_500_000;
/// What a Host of unknown bandwidth is taken for: 10 Mbit/s, in bytes per second.
const BANDWIDTH_UNKNOWN: u64 = 1_250_000;
const REGION_BITS: u32 = 16;
/// Bits kept of a weight: eight of exponent and six of mantissa. Its sign is known.
const WEIGHT_BITS: u32 = 14;
const WEIGHT_SHIFT: u32 = 31 - WEIGHT_BITS;

/// Which Hosts are drawn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Vetted,
    New,
    Closed,
}

impl Standing {
    const fn of(candidate: &Candidate) -> Self {
        match (candidate.opens(), candidate.vetted) {
            (false, _) => Self::Closed,
            (true, true) => Self::Vetted,
            (true, false) => Self::New,
        }
    }
}

/// Standing, region and weight of a Host in one number, in this order of importance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group(pub(super) u32);

impl Group {
    /// Where `candidate` belongs, in a zone of `crowd` open Hosts.
    pub(super) fn of(candidate: &Candidate, crowd: u32) -> Self {
        let standing = Standing::of(candidate);
        let rounded = match standing {
            Standing::Closed => 0,
            Standing::Vetted | Standing::New => {
                let half_a_step = 1 << (WEIGHT_SHIFT - 1);
                (weight(candidate, crowd).to_bits() + half_a_step) >> WEIGHT_SHIFT
            }
        };
        Self(Self::first(standing, candidate.region) | rounded)
    }

    /// The weight of each Host in it; 0 for Hosts that get nothing.
    pub(super) const fn weight(self) -> f32 {
        f32::from_bits((self.0 & ((1 << WEIGHT_BITS) - 1)) << WEIGHT_SHIFT)
    }

    const fn region(self) -> Region {
        Region((self.0 >> WEIGHT_BITS & 0xffff) as u16)
    }

    /// The number of the lightest group.
    const fn first(standing: Standing, region: Region) -> u32 {
        (standing as u32) << (REGION_BITS + WEIGHT_BITS) | (region.0 as u32) << WEIGHT_BITS
    }
}

/// A candidate on the way to its place in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) group: Group,
    /// Its place among the candidates.
    pub(super) index: u32,
    /// The number of its zone.
    pub(super) zone: u32,
}

/// All groups that have Hosts, ascending.
pub(super) struct Groups {
    names: Vec<Group>,
    peers: Vec<Peers>,
}

impl Groups {
    /// Of all Hosts, by group.
    pub(super) fn new(hosts: &[Member]) -> Self {
        let (mut names, mut peers, mut first) = (Vec::new(), Vec::new(), 0);
        for hosts in hosts.chunk_by(|a, b| a.group == b.group) {
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            let group = hosts[0].group;
            names.push(group);
            peers.push(Peers {
                first,
                count,
                weight: group.weight(),
            });
            first += count;
        }
        Self { names, peers }
    }

    /// All Hosts of this standing.
    pub(super) fn all(&self, standing: Standing) -> &[Peers] {
        self.from(Group::first(standing, Region(0)), REGION_BITS + WEIGHT_BITS)
    }

    /// The Hosts of this standing in `region`.
    pub(super) fn of(&self, standing: Standing, region: Region) -> &[Peers] {
        self.from(Group::first(standing, region), WEIGHT_BITS)
    }

    /// The regions that have Hosts which may get shards, ascending.
    pub(super) fn regions(&self) -> Vec<Region> {
        let closed = Group::first(Standing::Closed, Region(0));
        let open = self.names.iter().filter(|group| group.0 < closed);
        let mut regions: Vec<Region> = open.map(|group| group.region()).collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }

    /// The 2^`bits` groups from `first` on.
    fn from(&self, first: u32, bits: u32) -> &[Peers] {
        let at = |number| self.names.partition_point(|group| group.0 < number);
        self.peers
            .get(at(first)..at(first + (1 << bits)))
            .unwrap_or_default()
    }
}

/// free^0.5 × bandwidth, capped × reputation × chance to be online ÷ Hosts in the zone.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight needs no more precision"
)]
fn weight(candidate: &Candidate, crowd: u32) -> f32 {
    let bandwidth = match candidate.bandwidth {
        0 => BANDWIDTH_UNKNOWN,
        known => known.min(BANDWIDTH_CAP),
    };
    let kept = f64::from(candidate.reputation_ppm) / 1e6;
    let online = f64::from(candidate.online_ppm) / 1e6;
    let free_mib = candidate.free_bytes as f64 / 1_048_576.0;
    (free_mib.sqrt() * bandwidth as f64 * kept * online / f64::from(crowd.max(1))) as f32
}
