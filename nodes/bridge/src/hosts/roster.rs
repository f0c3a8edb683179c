//! The Hosts as they were a moment ago: what plans and layouts are made from.
//!
//! A roster never changes but for the space that picks take from it; a new one replaces it when
//! Hosts come, go or fill up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use metastore::HostAlias;
use model::formats::shape::Class;
use model::placement::{Candidate, Table, Wanted, class_for};
use model::units::{HostId, ShardSize, UnixMs};
use model::wire::api::HostAddress;
use model::wire::{Problem, ProblemCode};
use rand_core::CryptoRng;

use crate::refusal::Refusal;

/// Zones below which an owner must choose a class: fewer mirrors need consent.
const ZONES_FOR_A_CLASS: u16 = 3;
/// Hosts that an error names.
const NAMES_MAX: usize = 16;

/// All Hosts that ever joined.
#[derive(Debug)]
pub struct Roster {
    cards: BTreeMap<HostAlias, HostCard>,
    aliases: BTreeMap<HostId, HostAlias>,
    table: Mutex<Table>,
    zones: usize,
    online: u64,
}

/// What others are told of a Host.
#[derive(Clone, Debug)]
pub struct HostCard {
    /// Its key, name, addresses, zone and presence.
    pub address: HostAddress,
    /// How placement sees it.
    pub candidate: Candidate,
    /// When it was last heard.
    pub last_seen: UnixMs,
}

/// Too few Hosts in distinct zones can take shards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} hosts in distinct zones are needed, {available} can take a shard")]
pub struct TooFewHosts {
    /// Zones needed.
    pub needed: u16,
    /// Zones there are.
    pub available: u16,
    /// Names of Hosts that are known and cannot take shards now, last seen first.
    pub missing: Vec<String>,
}

impl Refusal for TooFewHosts {
    fn problem(&self) -> Problem {
        let Self {
            needed,
            available,
            missing,
        } = self;
        let mut detail = self.to_string();
        if !missing.is_empty() {
            detail.push_str("; missing: ");
            detail.push_str(&missing.join(", "));
        }
        if *needed == ZONES_FOR_A_CLASS && *available > 0 {
            detail.push_str("; fewer mirrors need your consent: choose a class, mirrors:1 say");
        }
        let facts = serde_json::json!({
            "needed": needed, "available": available, "missing": missing,
        });
        Problem::new(ProblemCode::TooFewHosts, detail).with_facts(facts)
    }
}

impl Roster {
    /// A roster of these Hosts.
    #[must_use]
    pub fn new(cards: BTreeMap<HostAlias, HostCard>) -> Self {
        let table = Table::new(cards.values().map(|card| card.candidate).collect());
        let aliases = cards
            .iter()
            .map(|(alias, card)| (card.address.host, *alias))
            .collect();
        let online = cards.values().filter(|card| card.candidate.open).count();
        let (zones, online) = (table.zones(), u64::try_from(online).unwrap_or(u64::MAX));
        Self {
            cards,
            aliases,
            table: Mutex::new(table),
            zones,
            online,
        }
    }

    /// Hosts that take shards now.
    #[must_use]
    pub const fn online(&self) -> u64 {
        self.online
    }

    /// Distinct zones with a Host that takes shards now.
    #[must_use]
    pub const fn zones(&self) -> usize {
        self.zones
    }

    /// The Host's small number.
    #[must_use]
    pub fn alias_of(&self, host: &HostId) -> Option<HostAlias> {
        self.aliases.get(host).copied()
    }

    /// Where to dial a Host.
    #[must_use]
    pub fn address(&self, alias: HostAlias) -> Option<HostAddress> {
        self.cards.get(&alias).map(|card| card.address.clone())
    }

    /// The class of an upload that names none.
    ///
    /// # Errors
    /// [`TooFewHosts`] where there are so few zones that the owner must choose.
    pub fn class(&self) -> Result<Class, TooFewHosts> {
        let enough = self.zones >= usize::from(ZONES_FOR_A_CLASS);
        let class = class_for(self.zones).filter(|_| enough);
        let available = u16::try_from(self.zones).unwrap_or(u16::MAX);
        class.ok_or_else(|| self.too_few(ZONES_FOR_A_CLASS, available))
    }

    /// Draws `count` Hosts for shards of `size` of one segment, none in a zone of the Hosts
    /// `beside`.
    ///
    /// # Errors
    /// [`TooFewHosts`].
    pub fn pick(
        &self,
        rng: &mut dyn CryptoRng,
        count: u16,
        shard_size: ShardSize,
        beside: &[HostAlias],
    ) -> Result<Vec<HostAlias>, TooFewHosts> {
        let beside: Vec<u32> = beside.iter().map(|alias| alias.0).collect();
        let of = count.max(u16::try_from(beside.len()).unwrap_or(u16::MAX));
        let of = of.min(model::units::SHARDS_PER_SEGMENT_MAX);
        let wanted = Wanted {
            count,
            of,
            shard_size,
            near: None,
            beside: &beside,
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match table.pick(rng, &wanted) {
            Ok(aliases) => Ok(aliases.into_iter().map(HostAlias).collect()),
            Err(model::placement::PlacementError::TooFewZones { needed, found }) => {
                Err(self.too_few(needed, found))
            }
            Err(model::placement::PlacementError::Count { count, .. }) => {
                Err(self.too_few(count, 0))
            }
        }
    }

    fn too_few(&self, needed: u16, available: u16) -> TooFewHosts {
        let mut away: Vec<&HostCard> = self
            .cards
            .values()
            .filter(|card| !card.candidate.open)
            .collect();
        away.sort_by_key(|card| std::cmp::Reverse(card.last_seen));
        let names = away
            .into_iter()
            .take(NAMES_MAX)
            .map(|card| card.address.name.clone());
        TooFewHosts {
            needed,
            available,
            missing: names.collect(),
        }
    }
}
