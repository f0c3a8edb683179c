//! Which Hosts take the shards of a segment. Normative text: `docs/spec/placement.md`.
//!
//! A [`Table`] is built from all known Hosts every few seconds and answers picks from memory. It
//! knows no clock, database or network: who is online and how much is free is handed in, and the
//! same picks follow from the same table and random generator.

mod alias_table;
mod groups;
mod pick;
mod table;
mod zones;

pub use pick::{PlacementError, Wanted};
pub use table::Table;

use crate::formats::shape::Class;
use crate::units::SHARD_BYTES_MAX;

/// A part of the world, numbered by the Bridge; [`Region::UNKNOWN`] where it cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(pub u16);

impl Region {
    /// Nobody knows where.
    pub const UNKNOWN: Self = Self(0);
}

/// A Host as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The Bridge's small number for the Host.
    pub alias: u32,
    /// What fails together and has one owner, most likely: a /24 or /48, or a name the operator
    /// of the Bridge trusts, hashed to a number.
    pub zone: u64,
    /// Who runs the Host; 0 where unknown.
    pub operator: u32,
    /// The autonomous system of its address; 0 where unknown.
    pub asn: u32,
    /// Where it is.
    pub region: Region,
    /// Whether it may get shards now. Hosts that may not belong into the table as well: the
    /// shards they hold keep others out of their zone.
    pub open: bool,
    /// Whether it has passed enough audits.
    pub vetted: bool,
    /// Bytes it can still store, what is planned but not stored yet already taken off.
    pub free_bytes: u64,
    /// Bytes per second it offers; 0 where unknown.
    pub bandwidth: u64,
    /// How well it kept its promises, in millionths; 0 gets nothing.
    pub reputation_ppm: u32,
    /// The chance to find it online, in millionths; see [`online_ppm`].
    pub online_ppm: u32,
}

impl Candidate {
    /// Whether it may get shards.
    const fn opens(&self) -> bool {
        self.open
            && self.reputation_ppm > 0
            && self.online_ppm > 0
            && self.free_bytes >= SHARD_BYTES_MAX as u64
    }
}

/// The chance, in millionths, to find a Host online that promises `hours` of the week's 168 and
/// has kept `kept_ppm` millionths of what it promised.
#[must_use]
pub const fn online_ppm(hours: u32, kept_ppm: u32) -> u32 {
    const HOURS_PER_WEEK: u64 = 168;
    let hours = if hours as u64 > HOURS_PER_WEEK {
        HOURS_PER_WEEK
    } else {
        hours as u64
    };
    let kept = if kept_ppm > 1_000_000 {
        1_000_000
    } else {
        kept_ppm
    };
    #[expect(clippy::cast_possible_truncation, reason = "at most 1,000,000")]
    let online = (hours * kept as u64 / HOURS_PER_WEEK) as u32;
    online
}

/// How blobs are coded in a network of `zones` zones that can take shards, unless the owner
/// chooses; `None` where there is no zone. Fewer than three mirrors need the owner's consent.
#[must_use]
pub const fn class_for(zones: usize) -> Option<Class> {
    match zones {
        0 => None,
        1 => Some(Class::Mirrors { n: 1 }),
        2 => Some(Class::Mirrors { n: 2 }),
        3 => Some(Class::Mirrors { n: 3 }),
        4..=7 => Some(Class::Mirrors { n: 4 }),
        8..=23 => Some(Class::Coded { k: 4, n: 8 }),
        24..=39 => Some(Class::Coded { k: 10, n: 20 }),
        40.. => Some(Class::Coded { k: 16, n: 32 }),
    }
}

/// How metadata shards are mirrored: on five Hosts, or as many as there are zones.
#[must_use]
pub const fn metadata_class_for(zones: usize) -> Option<Class> {
    match zones {
        5.. => Some(Class::Mirrors { n: 5 }),
        4 => Some(Class::Mirrors { n: 4 }),
        _ => class_for(zones),
    }
}

#[cfg(test)]
mod tests;
