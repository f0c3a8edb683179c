//! Which Hosts share a zone.

use super::Candidate;

/// Hosts are sorted by zone in so many parts, each small enough for the nearest cache.
const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 11;

/// The zone of a Host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    /// A number that no other zone of the table has.
    pub(super) number: u32,
    /// How many Hosts in it may get shards.
    pub(super) crowd: u32,
}

#[derive(Clone, Copy, Default)]
struct Member {
    zone: u64,
    index: u32,
    open: bool,
}

/// The zone of each candidate; and how many zones have an open one.
pub(super) fn zones(candidates: &[Candidate]) -> (Vec<Zone>, usize) {
    let (mut members, ends) = in_parts(candidates);
    let mut zones = vec![Zone::default(); candidates.len()];
    let (mut number, mut with_open, mut start) = (0, 0, 0);
    for end in ends {
        let part = members.get_mut(start..end).unwrap_or_default();
        part.sort_unstable_by_key(|member| member.zone);
        for zone in part.chunk_by(|a, b| a.zone == b.zone) {
            let crowd = zone.iter().map(|member| u32::from(member.open)).sum();
            number += 1;
            with_open += usize::from(crowd > 0);
            for member in zone {
                zones[member.index as usize] = Zone { number, crowd };
            }
        }
        start = end;
    }
    (zones, with_open)
}

/// The candidates part by part, and where each part ends. All of a zone are in one part.
fn in_parts(candidates: &[Candidate]) -> (Vec<Member>, Vec<usize>) {
    let mut ends = vec![0; PARTS];
    candidates.iter().for_each(|c| ends[part(c.zone)] += 1);
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    let mut members = vec![Member::default(); candidates.len()];
    for (index, candidate) in (0..).zip(candidates) {
        let end = &mut ends[part(candidate.zone)];
        members[*end] = Member {
            zone: candidate.zone,
            index,
            open: candidate.opens(),
        };
        *end += 1;
    }
    (members, ends)
}

/// Spreads zones evenly, however they are numbered (Fibonacci hashing). Were somebody to force
/// them into one part, sorting would take longer and nothing else.
const fn part(zone: u64) -> usize {
    let high = zone.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (high >> (32 - PART_BITS)) as usize
}
