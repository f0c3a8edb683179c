//! What chaos did to each Host and until when.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{DISTURBED_MAX, HOSTS_MIN};
use crate::dice::Dice;
use crate::network::Planet;

/// How a Host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should be.
    Well,
    /// Its process stands still.
    Frozen,
    /// Its process was killed.
    Killed,
    /// It rests by its owner's wish.
    Paused,
    /// Its clock is wrong.
    Skewed,
    /// It died, with its data; another takes its place.
    Dead,
    /// Its log was damaged while it was stopped.
    Damaged,
    /// It moves what it keeps elsewhere.
    Leaving,
}

/// All Hosts of a planet.
#[derive(Debug)]
pub(super) struct Hosts {
    moods: Vec<(Mood, Option<Instant>)>,
    damaged: BTreeSet<usize>,
}

impl Hosts {
    /// Of a planet on which everybody is well.
    pub(super) fn new(planet: &mut Planet) -> Result<Self> {
        let count = planet.hosts().len();
        ensure!(count >= HOSTS_MIN, "chaos needs {HOSTS_MIN} hosts or more");
        Ok(Self {
            moods: vec![(Mood::Well, None); count],
            damaged: BTreeSet::new(),
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.moods.len()
    }

    /// The Host is so from now on, for `span` where that ends by itself.
    pub(super) fn set(&mut self, number: usize, mood: Mood, span: Option<Duration>) {
        if let Some(entry) = self.moods.get_mut(number) {
            *entry = (mood, span.map(|span| Instant::now() + span));
        }
        if mood == Mood::Damaged {
            self.damaged.insert(number);
        }
    }

    /// Another Host takes its place.
    pub(super) fn replaced(&mut self, number: usize) {
        self.damaged.remove(&number);
    }

    /// Hosts whose time in their mood is over, or `all` that are not well.
    pub(super) fn due(&self, all: bool) -> Vec<(usize, Mood)> {
        let now = Instant::now();
        let over = |until: Option<Instant>| until.is_some_and(|until| all || until <= now);
        let moods = self.moods.iter().copied().enumerate();
        moods
            .filter(|(_, (_, until))| over(*until))
            .map(|(number, (mood, _))| (number, mood))
            .collect()
    }

    /// Hosts that cannot be relied on.
    pub(super) fn disturbed(&self) -> BTreeSet<usize> {
        self.such(|mood| !matches!(mood, Mood::Well | Mood::Leaving))
    }

    pub(super) fn may_disturb_more(&self) -> bool {
        self.disturbed().len() < DISTURBED_MAX
    }

    /// Whether shards were destroyed that are not all made anew yet.
    pub(super) fn is_something_destroyed(&self) -> bool {
        !self
            .such(|mood| matches!(mood, Mood::Dead | Mood::Damaged))
            .is_empty()
    }

    pub(super) fn leaving(&self) -> BTreeSet<usize> {
        self.such(|mood| mood == Mood::Leaving)
    }

    pub(super) fn damaged_now(&self) -> BTreeSet<usize> {
        self.such(|mood| mood == Mood::Damaged)
    }

    /// Whether its logs were damaged since it came.
    pub(super) fn was_damaged(&self, number: usize) -> bool {
        self.damaged.contains(&number)
    }

    /// One that is well.
    pub(super) fn pick(&self, dice: &mut Dice) -> Option<usize> {
        let well: Vec<usize> = self.such(|mood| mood == Mood::Well).into_iter().collect();
        dice.pick(&well).copied()
    }

    fn such(&self, is: impl Fn(Mood) -> bool) -> BTreeSet<usize> {
        let moods = self.moods.iter().enumerate();
        moods
            .filter(|(_, (mood, _))| is(*mood))
            .map(|(number, _)| number)
            .collect()
    }
}
