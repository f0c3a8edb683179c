//! Draws Hosts for the shards of one segment.
//!
//! Never two on one Host, in one zone or of one operator. Rules that give way where the network
//! is too small for them, in this order: nearness, few shards to new Hosts, few per autonomous
//! system.

use std::hint::black_box;

use rand_core::Rng;

use super::Region;
use super::alias_table::AliasTable;
use super::table::{Host, SPACE_UNIT_BYTES, Table};
use crate::units::{SHARDS_PER_SEGMENT_MAX, ShardSize};

/// Pairs of Hosts drawn before all are looked through for one that fits.
const DRAWS_MAX: usize = 24;
/// Per segment at most one in so many shards, and at least one, goes to one autonomous system.
const SHARDS_PER_AS_SHARE: usize = 5;

/// What a segment wants.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How many Hosts to pick: n for a new segment, fewer for spares and repair.
    pub count: u16,
    /// The segment's n.
    pub of: u16,
    /// The size of each shard.
    pub shard_size: ShardSize,
    /// Where the owner is, if known.
    pub near: Option<Region>,
    /// Aliases of Hosts that hold shards of the segment, or were tried for it.
    pub beside: &'a [u32],
}

/// Why a segment cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// More Hosts asked for than a segment has shards.
    #[error("{count} Hosts wanted for a segment of {of} shards")]
    Count {
        /// Hosts asked for.
        count: u16,
        /// The segment's n.
        of: u16,
    },
    /// Too few zones with a Host that is open, has room and is not used by the segment already.
    #[error("{needed} further zones are needed, {found} can take a shard")]
    TooFewZones {
        /// Zones needed, beside those in use.
        needed: u16,
        /// Zones found.
        found: u16,
    },
}

impl Table {
    /// Picks distinct Hosts for shards of one segment and returns their aliases; their space
    /// counts as taken from here on.
    ///
    /// # Errors
    /// [`PlacementError`] where not all can be placed; nothing is taken then.
    pub fn pick(
        &mut self,
        rng: &mut (impl Rng + ?Sized),
        wanted: &Wanted<'_>,
    ) -> Result<Vec<u32>, PlacementError> {
        let &Wanted { count, of, .. } = wanted;
        if count > of || of > SHARDS_PER_SEGMENT_MAX {
            return Err(PlacementError::Count { count, of });
        }
        let mut segment = Segment::new(self, wanted);
        let beside = segment.used.len();
        for (found, pair) in (0..count).zip(self.draw_pairs(rng, wanted)) {
            let last = found + 1 == count;
            let Some(host) = segment.choose(self, rng, pair, last) else {
                return Err(PlacementError::TooFewZones {
                    needed: count,
                    found,
                });
            };
            segment.used.push(host);
        }
        let space = segment.space;
        let picked = segment.used.iter().skip(beside);
        let picked: Vec<(u32, u32)> = picked.map(|(index, host)| (*index, host.alias)).collect();
        let taken = picked.into_iter().map(|(index, alias)| {
            self.take(index, space);
            alias
        });
        Ok(taken.collect())
    }

    /// A first pair for every shard. Drawn together, so that the memory that they lie scattered
    /// in is waited for once and not once per draw.
    fn draw_pairs(&self, rng: &mut (impl Rng + ?Sized), wanted: &Wanted<'_>) -> Vec<Pair<'_>> {
        let near = wanted.near.and_then(|near| self.pool(near));
        let draw = |rest: u16| {
            // The last one will have to leave the region that the others were drawn from.
            let leaves = rest == 1 && wanted.of > 1;
            let pool = near.filter(|_| !leaves).unwrap_or(&self.everywhere);
            let new = chance(rng) < pool.new_share;
            let side = pool.side(new);
            let (a, b) = (side.draw(rng), side.draw(rng));
            let entry = |index: Option<u32>| index.and_then(|index| self.entry(index));
            Pair {
                new,
                near: near.is_some() && !leaves,
                a: entry(a),
                b: entry(b),
            }
        };
        let pairs: Vec<Pair<'_>> = (1..=wanted.count).rev().map(draw).collect();
        for (_, host) in pairs.iter().flat_map(|pair| [pair.a, pair.b]).flatten() {
            black_box(host.left);
        }
        pairs
    }

    fn entry(&self, index: u32) -> Option<Entry<'_>> {
        self.hosts.get(index as usize).map(|host| (index, host))
    }

    fn take(&mut self, index: u32, space: u32) {
        if let Some(host) = self.hosts.get_mut(index as usize) {
            host.left = host.left.saturating_sub(space);
            host.taken = host.taken.saturating_add(space);
        }
    }
}

/// A Host and its place in the table.
type Entry<'a> = (u32, &'a Host);

/// Two Hosts to take the better of, drawn among the new ones or the vetted ones.
#[derive(Clone, Copy)]
struct Pair<'a> {
    new: bool,
    /// Drawn in the region of the owner.
    near: bool,
    a: Option<Entry<'a>>,
    b: Option<Entry<'a>>,
}

/// The Hosts of a segment so far, and what the next one must be.
struct Segment<'a> {
    used: Vec<Entry<'a>>,
    /// Space of a shard, in units.
    space: u32,
    per_as_max: usize,
    /// Where the owner is, if there are Hosts.
    near: Option<Region>,
}

/// What a Host must fulfil beyond distinct zones and operators.
#[derive(Clone, Copy)]
struct Rules {
    per_as_max: usize,
    /// The region that the Host must not be in, if any.
    away_from: Option<Region>,
}

impl<'a> Segment<'a> {
    fn new(table: &'a Table, wanted: &Wanted<'_>) -> Self {
        let beside = wanted.beside.iter().filter_map(|alias| table.host(*alias));
        let space = u64::from(wanted.shard_size.bytes()).div_ceil(SPACE_UNIT_BYTES);
        let mut used = Vec::with_capacity(wanted.beside.len() + usize::from(wanted.count));
        used.extend(beside);
        Self {
            used,
            space: u32::try_from(space).unwrap_or(u32::MAX),
            per_as_max: (usize::from(wanted.of) / SHARDS_PER_AS_SHARE).max(1),
            near: wanted.near.filter(|near| table.pool(*near).is_some()),
        }
    }

    /// Chooses the next Host, of `pair` if one fits. The last one leaves the region that all
    /// others are in.
    fn choose(
        &self,
        table: &'a Table,
        rng: &mut (impl Rng + ?Sized),
        pair: Pair<'a>,
        last: bool,
    ) -> Option<Entry<'a>> {
        let home = self.only_region().filter(|_| last);
        let away_from = home.filter(|home| table.has_region_beside(*home));
        let rules = Rules {
            per_as_max: self.per_as_max,
            away_from,
        };
        let new = pair.new;
        // A pair from everywhere serves an owner somewhere only where the region has to be left.
        let serves = pair.near || self.near.is_none() || away_from.is_some();
        let chosen = serves
            .then(|| self.better(pair.a, pair.b, rules))
            .flatten()
            .or_else(|| self.choose_by(table, rng, new, rules));
        chosen.or_else(|| {
            away_from?;
            self.choose_by(
                table,
                rng,
                new,
                Rules {
                    away_from: None,
                    ..rules
                },
            )
        })
    }

    /// Draws until one fits; each rule that may gives way where none does.
    fn choose_by(
        &self,
        table: &'a Table,
        rng: &mut (impl Rng + ?Sized),
        new_first: bool,
        rules: Rules,
    ) -> Option<Entry<'a>> {
        let near = self.near.filter(|_| rules.away_from.is_none());
        let near = near.and_then(|near| table.pool(near));
        for per_as_max in [rules.per_as_max, usize::MAX] {
            let rules = Rules {
                per_as_max,
                ..rules
            };
            for new in [new_first, !new_first] {
                let nearby = near.and_then(|pool| self.draw(table, rng, pool.side(new), rules));
                let all = table.everywhere.side(new);
                let chosen = nearby
                    .or_else(|| self.draw(table, rng, all, rules))
                    .or_else(|| self.search(table, rng, all, rules));
                if chosen.is_some() {
                    return chosen;
                }
            }
        }
        None
    }

    /// Draws pairs until one has a Host that fits.
    fn draw(
        &self,
        table: &'a Table,
        rng: &mut (impl Rng + ?Sized),
        members: &AliasTable,
        rules: Rules,
    ) -> Option<Entry<'a>> {
        (0..DRAWS_MAX).find_map(|_| {
            let (a, b) = (members.draw(rng)?, members.draw(rng)?);
            self.better(table.entry(a), table.entry(b), rules)
        })
    }

    /// Of those of the two that fit the one that has taken less of its share.
    fn better(
        &self,
        a: Option<Entry<'a>>,
        b: Option<Entry<'a>>,
        rules: Rules,
    ) -> Option<Entry<'a>> {
        let fits = |(index, host): &Entry<'a>| self.fits(*index, host, rules);
        match (a.filter(fits), b.filter(fits)) {
            (Some(a), Some(b)) => Some(if less_loaded(b.1, a.1) { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// Looks through all members and draws one of those that fit.
    fn search(
        &self,
        table: &'a Table,
        rng: &mut (impl Rng + ?Sized),
        members: &AliasTable,
        rules: Rules,
    ) -> Option<Entry<'a>> {
        let fitting = || {
            let entries = members.members().filter_map(|index| table.entry(index));
            entries.filter(|(index, host)| self.fits(*index, host, rules))
        };
        let total: f64 = fitting().map(|(_, host)| f64::from(host.weight)).sum();
        let mut rest = chance(rng) * total;
        let mut chosen = None;
        for entry in fitting() {
            chosen = Some(entry);
            rest -= f64::from(entry.1.weight);
            if rest < 0.0 {
                break;
            }
        }
        chosen
    }

    fn fits(&self, index: u32, host: &Host, rules: Rules) -> bool {
        let mut of_as = 0;
        for (other, used) in &self.used {
            let same_operator = used.operator == host.operator && host.operator != 0;
            if *other == index || used.zone == host.zone || same_operator {
                return false;
            }
            of_as += usize::from(used.asn == host.asn && host.asn != 0);
        }
        let away = rules
            .away_from
            .is_none_or(|home| host.region != home && host.region != Region::UNKNOWN);
        host.left >= self.space && of_as < rules.per_as_max && away
    }

    /// The region of all Hosts so far, if it is one.
    fn only_region(&self) -> Option<Region> {
        let (_, first) = self.used.first()?;
        self.used
            .iter()
            .all(|(_, host)| host.region == first.region)
            .then_some(first.region)
    }
}

/// Whether `a` has taken less of its share than `b`.
fn less_loaded(a: &Host, b: &Host) -> bool {
    f64::from(a.taken) * f64::from(b.weight) < f64::from(b.taken) * f64::from(a.weight)
}

/// A uniform number in 0..1.
fn chance(rng: &mut (impl Rng + ?Sized)) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}
