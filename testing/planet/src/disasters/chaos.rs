//! Chaos: Hosts and the Bridge of a planet die, freeze, rest, leave, come anew, rot and have wrong
//! clocks, while an owner stores, reads and removes. Never more at once than every file survives; in
//! the end everybody is back, everything whole, and every acknowledged file byte-equal.

mod acts;
mod heirlooms;
mod hosts;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Talk;
use super::load::{Habits, Shared, Worker};
use crate::dice::Dice;
use crate::network::Planet;
use crate::node::LOOK_EVERY;
use crate::owner::Owner;
use heirlooms::Heirlooms;
use hosts::Hosts;

/// Fewest Hosts: those that are disturbed and one that leaves, beyond the 8 of a segment.
pub const HOSTS_MIN: usize = 12;
/// Hosts that are not as they should be, at most at a time: one less than parity.
const DISTURBED_MAX: usize = 3;
/// Shards beyond k that every segment keeps, whatever is done.
const MARGIN: u16 = 1;
/// Between two events.
const EVENT_EVERY_MS: (u64, u64) = (700, 2_500);
/// Everybody is back and everything whole this long after the last event.
const WHOLE_WITHIN: Duration = Duration::from_secs(300);
/// For programs with several threads.
const FAKETIME_NAME: &str = "libfaketimeMT.so.1";
const HABITS: Habits = Habits {
    classes: &["coded:4/8"],
    removes_one_in: 6,
};

/// Chaos to be played.
#[derive(Debug)]
pub struct Chaos {
    /// Of the events, their moments, the Hosts and the files.
    pub seed: u64,
    /// How long; `None` is until told to stop.
    pub span: Option<Duration>,
    /// The library that gives a process another clock; without it clocks stay right.
    pub faketime: Option<PathBuf>,
}

/// What came of it so far.
#[derive(Clone, Debug, Default)]
pub struct ChaosScore {
    /// Events by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Files acknowledged.
    pub acknowledged: u64,
    /// Puts and removals that said they failed.
    pub refused: u64,
    /// Files removed.
    pub removed: u64,
    /// Files read back and found equal.
    pub read_back: u64,
    /// From the first event to the last.
    pub played: Duration,
    /// From then until everything was whole.
    pub whole_after: Duration,
}

impl fmt::Display for ChaosScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.events.values().sum();
        let kinds = self.events.iter();
        let kinds: Vec<String> = kinds
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let (played, whole) = (self.played.as_secs(), self.whole_after.as_secs());
        write!(
            f,
            "{total} events in {played} s ({}); {} files acknowledged and {} removed ({} times refused), \
             {} read back; everything whole after {whole} s, 0 lost",
            kinds.join(", "),
            self.acknowledged,
            self.removed,
            self.refused,
            self.read_back,
        )
    }
}

/// Where the library that gives a process another clock is on this machine, if it is installed.
#[must_use]
pub fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib")
        .ok()?
        .filter_map(|entry| entry.ok());
    let libraries = folders.map(|folder| folder.path().join("faketime").join(FAKETIME_NAME));
    libraries.into_iter().find(|library| library.is_file())
}

/// Plays chaos on a planet that runs, for the account of `owner`, whose top folder is empty. What
/// happens is told as it happens.
///
/// # Errors
/// On the first loss, or when not everything is whole in the end.
pub fn run(
    chaos: &Chaos,
    planet: &mut Planet,
    (owner, scratch): (&Owner, &Path),
    talk: &mut Talk<'_>,
) -> Result<ChaosScore> {
    let heirlooms = Heirlooms::store(owner, &scratch.join("kept"), chaos.seed)?;
    let (shared, progress) = (Shared::default(), AtomicU64::new(0));
    let seed = (chaos.seed ^ (1 << 32), HABITS);
    let place = (owner.clone(), scratch.to_owned());
    let worker = Worker::new(&shared, place, &progress, seed);
    let mut campaign = Campaign {
        chaos,
        hosts: Hosts::new(planet)?,
        planet,
        owner,
        shared: &shared,
        dice: Dice::new(chaos.seed),
        began: Instant::now(),
        looked: Instant::now(),
        score: ChaosScore::default(),
    };
    thread::scope(|scope| {
        scope.spawn(move || worker.work());
        let played = campaign.play(talk);
        // The owner reads everything back once more, and then its failures are known.
        shared.ended.store(true, Ordering::SeqCst);
        played
    })?;
    if let Some(failure) = shared.failure() {
        return Err(failure);
    }
    campaign.wait_whole()?;
    heirlooms.expect_back()?;
    campaign.expect_nobody_convicted()?;
    Ok(campaign.count())
}

struct Campaign<'a> {
    chaos: &'a Chaos,
    planet: &'a mut Planet,
    hosts: Hosts,
    owner: &'a Owner,
    shared: &'a Shared,
    dice: Dice,
    began: Instant,
    /// When it was looked last whether damage is made good.
    looked: Instant,
    score: ChaosScore,
}

impl Campaign<'_> {
    fn play(&mut self, talk: &mut Talk<'_>) -> Result<()> {
        let mut next = Instant::now();
        while !self.is_over(talk) {
            self.end_what_is_due(talk)?;
            if Instant::now() >= next {
                self.act(talk)?;
                let (least, most) = EVENT_EVERY_MS;
                next =
                    Instant::now() + Duration::from_millis(least + self.dice.below(most - least));
            }
            sleep(LOOK_EVERY);
        }
        self.score.played = self.began.elapsed();
        self.end_everything(talk)?;
        let began = Instant::now();
        self.wait_whole()?;
        self.score.whole_after = began.elapsed();
        Ok(())
    }

    fn is_over(&self, talk: &Talk<'_>) -> bool {
        let past = |span| self.began.elapsed() >= span;
        (talk.give_up)() || self.shared.has_ended() || self.chaos.span.is_some_and(past)
    }

    /// Until every shard of everything is proved by a Host.
    fn wait_whole(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            // Fails while the Bridge has just come back; files may come and go meanwhile.
            let said = self.owner.proofs("/");
            if said
                .as_ref()
                .is_ok_and(|(proofs, well)| *well && proofs.are_whole())
            {
                return Ok(());
            }
            ensure!(
                began.elapsed() < WHOLE_WITHIN,
                "not whole {} s after everybody was back: {said:?}",
                WHOLE_WITHIN.as_secs()
            );
            sleep(LOOK_EVERY * 10);
        }
    }

    /// Whoever's logs were not damaged was never found to have lost anything.
    fn expect_nobody_convicted(&self) -> Result<()> {
        for number in 0..self.hosts.len() {
            if self.hosts.was_damaged(number) {
                continue;
            }
            let events = self.planet.host_events(number)?;
            let mut failed = events.iter().filter(|event| event.kind == "audit_failed");
            if let Some(event) = failed.next() {
                anyhow::bail!("h{} was convicted of nothing: {}", number + 1, event.reason);
            }
        }
        Ok(())
    }

    /// Tells what happened, and has the owner read everything back.
    fn tell(&mut self, kind: &'static str, what: &str, talk: &mut Talk<'_>) {
        *self.score.events.entry(kind).or_default() += 1;
        self.shared.healed.fetch_add(1, Ordering::SeqCst);
        say(self.began, what, talk);
    }

    fn count(&self) -> ChaosScore {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        ChaosScore {
            acknowledged: load(&self.shared.acknowledged),
            refused: load(&self.shared.refused),
            removed: load(&self.shared.removed),
            read_back: load(&self.shared.read_back),
            ..self.score.clone()
        }
    }
}

fn say(began: Instant, what: &str, talk: &mut Talk<'_>) {
    let seconds = began.elapsed().as_secs_f64();
    (talk.progress)(&format_args!("{seconds:7.1} s  {what}"));
}
