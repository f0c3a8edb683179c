//! All Hosts in a form that answers picks in a microsecond, rebuilt from scratch every few
//! seconds.

use super::alias_table::{AliasTable, Peers};
use super::groups::{Group, Groups, Member, Standing};
use super::zones::zones;
use super::{Candidate, Region};

/// Space is counted in these; a shard takes whole ones.
pub(super) const SPACE_UNIT_BYTES: u64 = 65_536;
/// Most of the shards that go to Hosts which are not vetted yet.
const NEW_SHARE_MAX: f64 = 0.05;

/// A picture of all Hosts from which shards are placed. Picks are counted in it, so that a Host
/// gets no more than it has room for until the next picture.
#[derive(Clone, Debug)]
pub struct Table {
    /// Vetted ones, new ones, closed ones; each by region, and these by weight. So every pool is
    /// a range, and those of one weight lie together.
    pub(super) hosts: Vec<Host>,
    /// Each alias and its place in `hosts`, ascending.
    places: Vec<(u32, u32)>,
    pub(super) everywhere: Pool,
    /// By region, ascending.
    regions: Vec<(Region, Pool)>,
    zones: usize,
}

/// All that a pick looks at, in half a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Host {
    pub(super) alias: u32,
    /// The number that the table gave to the zone.
    pub(super) zone: u32,
    pub(super) operator: u32,
    pub(super) asn: u32,
    /// Space left, in units.
    pub(super) left: u32,
    /// Space that picks from this table have taken, in units.
    pub(super) taken: u32,
    /// 0 for Hosts that get nothing.
    pub(super) weight: f32,
    pub(super) region: Region,
}

/// The Hosts of a region, or of all, that may get shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    vetted: AliasTable,
    new: AliasTable,
    /// Chance that a shard goes to a new Host.
    pub(super) new_share: f64,
}

impl Table {
    /// Builds the table. Of two candidates with one alias, the first counts.
    #[must_use]
    pub fn new(mut candidates: Vec<Candidate>) -> Self {
        candidates.sort_by_key(|candidate| candidate.alias);
        candidates.dedup_by_key(|candidate| candidate.alias);
        let (zone_of, zones) = zones(&candidates);
        let mut order: Vec<Member> = (0..)
            .zip(candidates.iter().zip(zone_of))
            .map(|(index, (candidate, zone))| Member {
                group: Group::of(candidate, zone.crowd),
                index,
                zone: zone.number,
            })
            .collect();
        order.sort_unstable_by_key(|m| u64::from(m.group.0) << 32 | u64::from(m.index));

        let mut places: Vec<(u32, u32)> = candidates.iter().map(|c| (c.alias, 0)).collect();
        let mut hosts = Vec::with_capacity(order.len());
        for (place, member) in (0..).zip(&order) {
            let index = member.index as usize;
            hosts.push(Host::new(&candidates[index], member));
            places[index].1 = place;
        }
        let groups = Groups::new(&order);
        let pool = |region| {
            Pool::new(
                groups.of(Standing::Vetted, region),
                groups.of(Standing::New, region),
            )
        };
        Self {
            hosts,
            places,
            everywhere: Pool::new(groups.all(Standing::Vetted), groups.all(Standing::New)),
            regions: groups
                .regions()
                .into_iter()
                .map(|region| (region, pool(region)))
                .collect(),
            zones,
        }
    }

    /// How many distinct zones have a Host that may get shards.
    #[must_use]
    pub const fn zones(&self) -> usize {
        self.zones
    }

    /// The weight of Host `alias`: its fair share of shards, compared with others. `None` for a
    /// Host that is unknown or gets nothing.
    #[must_use]
    pub fn weight(&self, alias: u32) -> Option<f64> {
        let (_, host) = self.host(alias)?;
        (host.weight > 0.0).then_some(f64::from(host.weight))
    }

    /// The Hosts of `region` that may get shards.
    pub(super) fn pool(&self, region: Region) -> Option<&Pool> {
        let at = self
            .regions
            .binary_search_by_key(&region, |(name, _)| *name)
            .ok()?;
        self.regions.get(at).map(|(_, pool)| pool)
    }

    /// Whether a known region other than `home` has Hosts that may get shards.
    pub(super) fn has_region_beside(&self, home: Region) -> bool {
        let mut known = self.regions.iter().map(|(region, _)| *region);
        known.any(|region| region != home && region != Region::UNKNOWN)
    }

    /// The Host with the Bridge's number `alias`, whether or not it may get shards.
    pub(super) fn host(&self, alias: u32) -> Option<(u32, &Host)> {
        let at = self
            .places
            .binary_search_by_key(&alias, |(alias, _)| *alias)
            .ok()?;
        let (_, place) = self.places.get(at)?;
        Some((*place, self.hosts.get(*place as usize)?))
    }
}

impl Pool {
    /// New Hosts get what their weight gives them, but no more than [`NEW_SHARE_MAX`] while there
    /// are vetted ones.
    fn new(vetted: &[Peers], new: &[Peers]) -> Self {
        let none_vetted = vetted.is_empty();
        let (vetted, new) = (AliasTable::new(vetted), AliasTable::new(new));
        let natural = new.weight() / (new.weight() + vetted.weight());
        let new_share = if none_vetted {
            1.0
        } else {
            natural.min(NEW_SHARE_MAX)
        };
        Self {
            vetted,
            new,
            new_share,
        }
    }

    pub(super) const fn side(&self, new: bool) -> &AliasTable {
        if new { &self.new } else { &self.vetted }
    }
}

impl Host {
    fn new(candidate: &Candidate, member: &Member) -> Self {
        let units = candidate.free_bytes / SPACE_UNIT_BYTES;
        Self {
            alias: candidate.alias,
            zone: member.zone,
            operator: candidate.operator,
            asn: candidate.asn,
            left: u32::try_from(units).unwrap_or(u32::MAX),
            taken: 0,
            weight: member.group.weight(),
            region: candidate.region,
        }
    }
}
