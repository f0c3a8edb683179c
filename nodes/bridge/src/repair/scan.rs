//! The scan: all groups in order, a page at a time. It judges every segment by what is believed of
//! the Hosts at its start, and by the way draws shards to be audited and counts what each Host
//! holds. There is no stored health of files; a scan is faster than keeping one.

use std::collections::BTreeMap;

use metastore::{FrozenSegment, GroupKey, GroupRow, HostAlias, StoreError, Tx};
use rand_core::Rng;

use super::judge::{Belief, Need, Tally};
use crate::hosts::directory::Beliefs;
use crate::place::{Place, SegmentKey};

/// Groups in one page.
pub const GROUPS_PER_PAGE: u32 = 1_000;
/// Shards drawn for audits, per Host and scan.
pub const SAMPLES_PER_HOST: usize = 4;
/// Needs that one scan keeps; where there are more, the most urgent stay.
pub const NEEDS_MAX: usize = 100_000;
/// Frozen segments that are known by heart.
const FROZEN_MAX: u32 = 10_000;

/// What a scan found so far.
#[derive(Debug, Default)]
pub struct Findings {
    /// Segments that need repair.
    pub needs: BTreeMap<SegmentKey, Need>,
    /// Shards drawn for audits.
    pub samples: BTreeMap<HostAlias, Sample>,
    /// Shards that leaving Hosts still hold.
    pub leaving: BTreeMap<HostAlias, u64>,
    /// All places of the Hosts that are looked at closely.
    pub census: BTreeMap<HostAlias, Vec<Place>>,
    /// Segments seen.
    pub segments: u64,
    /// Shards seen.
    pub shards: u64,
    /// Segments that cannot be restored as long as Hosts stay away.
    pub unreadable: u64,
}

/// Shards of one Host, each as likely as any other.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// How many it holds.
    pub shards: u64,
    /// Some of them.
    pub drawn: Vec<Place>,
}

/// A scan under way.
#[derive(Debug)]
pub struct Scan {
    beliefs: Beliefs,
    frozen: Vec<SegmentKey>,
    after: Option<GroupKey>,
    findings: Findings,
    /// By alias: a lookup per shard would take most of the time.
    samples: Vec<Sample>,
}

impl Scan {
    /// A scan that goes by `beliefs` and lists all places of the Hosts `closely`.
    #[must_use]
    pub fn new(beliefs: Beliefs, closely: impl Iterator<Item = HostAlias>) -> Self {
        let mut findings = Findings::default();
        findings
            .census
            .extend(closely.map(|alias| (alias, Vec::new())));
        findings
            .leaving
            .extend(beliefs.leaving().map(|alias| (alias, 0)));
        Self {
            beliefs,
            frozen: Vec::new(),
            after: None,
            findings,
            samples: Vec::new(),
        }
    }

    /// What it found.
    #[must_use]
    pub fn finish(self) -> Findings {
        let Self {
            mut findings,
            samples,
            ..
        } = self;
        let held = (0..).zip(samples).filter(|(_, sample)| sample.shards > 0);
        findings.samples = held
            .map(|(alias, sample)| (HostAlias(alias), sample))
            .collect();
        findings
    }

    /// Scans one more page; `false` at the end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn page(&mut self, tx: &dyn Tx, rng: &mut impl Rng) -> Result<bool, StoreError> {
        if self.after.is_none() {
            self.read_frozen(tx)?;
        }
        let rows = tx.scan_groups(self.after.as_ref(), GROUPS_PER_PAGE)?;
        for row in &rows {
            self.group(row, rng);
        }
        self.after = rows.last().map(|row| row.key);
        Ok(rows.len() == GROUPS_PER_PAGE as usize)
    }

    fn read_frozen(&mut self, tx: &dyn Tx) -> Result<(), StoreError> {
        let key = |frozen: &FrozenSegment| SegmentKey {
            account: frozen.account,
            blob: frozen.blob,
            segment: frozen.segment,
        };
        let rows = tx.scan_frozen(None, FROZEN_MAX)?;
        self.frozen = rows.iter().map(key).collect();
        Ok(())
    }

    /// Judges the segments of a group.
    pub fn group(&mut self, row: &GroupRow, rng: &mut impl Rng) {
        let group = &row.group;
        let (k, n) = (group.k(), group.n());
        for within in 0..group.segments() {
            let key = SegmentKey::within(&row.key, within);
            for (slot, host) in (0..).zip(group.hosts(within)) {
                if let Some(alias) = host {
                    self.count(alias, key.slot(slot), rng);
                }
            }
            self.findings.segments += 1;
            self.findings.shards += u64::from(n);
            let shards = group.hosts(within).map(|host| self.beliefs.shard(host));
            let tally = Tally::of(shards);
            self.findings.unreadable += u64::from(tally.here < k);
            if let Some(need) = tally.need(k, n) {
                self.need(key, need);
            }
        }
    }

    fn need(&mut self, key: SegmentKey, need: Need) {
        if self.frozen.binary_search(&key).is_ok() {
            return;
        }
        let needs = &mut self.findings.needs;
        if needs.len() < NEEDS_MAX {
            needs.insert(key, need);
            return;
        }
        // Rare: much is amiss. One that waits less urgently gives way.
        let least = needs.iter().max_by_key(|(_, need)| **need);
        let least = least.map(|(key, least)| (*key, *least));
        if let Some((least, _)) = least.filter(|(_, least)| need < *least) {
            needs.remove(&least);
            needs.insert(key, need);
        }
    }

    fn count(&mut self, alias: HostAlias, place: Place, rng: &mut impl Rng) {
        let Some(believed) = self.beliefs.get(alias) else {
            return;
        };
        if believed.belief == Belief::Leaving
            && let Some(left) = self.findings.leaving.get_mut(&alias)
        {
            *left += 1;
        }
        if !self.findings.census.is_empty()
            && let Some(places) = self.findings.census.get_mut(&alias)
        {
            places.push(place);
        }
        let at = alias.0 as usize;
        if self.samples.len() <= at {
            self.samples.resize_with(at + 1, Sample::default);
        }
        let Some(sample) = self.samples.get_mut(at) else {
            return;
        };
        sample.shards += 1;
        if sample.drawn.len() < SAMPLES_PER_HOST {
            sample.drawn.push(place);
            return;
        }
        // Reservoir sampling: the i-th replaces one with chance kept / i.
        let at = (u128::from(rng.next_u64()) * u128::from(sample.shards)) >> 64;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(drawn) = sample.drawn.get_mut(at) {
            *drawn = place;
        }
    }
}
