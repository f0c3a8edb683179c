//! `kill -9` of a Host or of the Bridge at random moments while owners work.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::load::{CLASSES, Habits, Shared, Worker};
use super::{Durations, Talk};
use crate::dice::Dice;
use crate::network::{Patience, Planet, PlanetConfig};
use crate::node::{LOOK_EVERY, Node};
use crate::programs::Programs;

/// One more than the widest class has, so that a put succeeds with one of them away.
const HOSTS: usize = 6;
/// Owners at work.
const OWNERS: usize = 3;
/// Latest moment of a kill after every owner got something stored, in microseconds.
const KILL_WITHIN_US: u64 = 150_000;
/// In one of so many cycles two Hosts are killed at once.
const TWO_HOSTS_ONE_IN: u64 = 4;
/// Nothing waited for takes longer, unless it never happens.
const WITHIN: Duration = Duration::from_secs(60);
/// Everybody is ended, and what the Bridge holds receipts for looked up, after so many cycles.
const AUDIT_EVERY: u64 = 100;
/// How long old versions are kept: short, so that Hosts are told to delete, and disks do not fill.
const RETENTION: &str = "20 s";

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One Host, another one each time; now and then two.
    Host,
    /// The Bridge.
    Bridge,
}

/// Kills to be played.
#[derive(Debug)]
pub struct Kills {
    /// The programs.
    pub programs: Programs,
    /// Where everything is kept; empty before.
    pub dir: PathBuf,
    /// Who is killed.
    pub victim: Victim,
    /// How often.
    pub cycles: u64,
    /// Of the moments, the victims and the files.
    pub seed: u64,
}

/// What came of it so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct KillsScore {
    /// Kills.
    pub cycles: u64,
    /// Files acknowledged.
    pub acknowledged: u64,
    /// Puts that said they failed.
    pub refused: u64,
    /// Files read back and found equal.
    pub read_back: u64,
    /// Shards that a Host had signed for, found at it.
    pub honoured: u64,
    /// From the start of the victim until it is there for everybody again.
    pub back: Durations,
    /// Of that, until a killed Bridge answers.
    pub answers: Durations,
    /// Whole cycles.
    pub cycle: Durations,
}

impl fmt::Display for KillsScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cycles,
            acknowledged,
            refused,
            ..
        } = self;
        write!(
            f,
            "{cycles} kills, {acknowledged} files acknowledged ({refused} puts refused), {} read back, \
             {} shards found that were signed for, 0 lost; a cycle {}, back after {}",
            self.read_back, self.honoured, self.cycle, self.back
        )?;
        if self.answers.count > 0 {
            write!(f, ", answering after {}", self.answers)?;
        }
        Ok(())
    }
}

/// Plays the kills.
///
/// # Errors
/// On the first loss or hang; says what, and leaves the folder for a look.
pub fn run(kills: &Kills, talk: &mut Talk<'_>) -> Result<KillsScore> {
    let mut config = PlanetConfig::new(kills.programs.clone(), kills.dir.join("planet"), HOSTS);
    config.bridge_args = vec!["--retention".into(), RETENTION.into()];
    // So that what is deleted is really deleted under load.
    config.host_args = vec!["--trash".into(), "0s".into()];
    let mut planet = Planet::new(config)?;
    planet.start(patience(talk.give_up))?;
    let shared = Shared::default();
    let progress: [AtomicU64; OWNERS] = Default::default();
    let mut workers = Vec::new();
    for (number, progress) in (0..).zip(&progress) {
        let owner = planet.owner(&format!("owner{number}"));
        owner.init(&planet.layout().bridge_url())?;
        let scratch = kills.dir.join(format!("scratch{number}"));
        let seed = kills.seed ^ ((number + 1) << 32);
        let habits = Habits {
            classes: CLASSES,
            removes_one_in: 0,
        };
        workers.push(Worker::new(
            &shared,
            (owner, scratch),
            progress,
            (seed, habits),
        ));
    }
    let mut campaign = Campaign {
        kills,
        planet,
        shared: &shared,
        progress: &progress,
        dice: Dice::new(kills.seed),
        score: KillsScore::default(),
    };
    thread::scope(|scope| {
        for worker in workers {
            scope.spawn(move || worker.work());
        }
        let played = campaign.play(talk);
        // The owners read everything back once more, and then their failures are known.
        shared.ended.store(true, Ordering::SeqCst);
        played
    })?;
    if let Some(failure) = shared.failure() {
        return Err(failure);
    }
    campaign.audit()?;
    Ok(campaign.count())
}

struct Campaign<'a> {
    kills: &'a Kills,
    planet: Planet,
    shared: &'a Shared,
    progress: &'a [AtomicU64],
    dice: Dice,
    score: KillsScore,
}

impl Campaign<'_> {
    fn play(&mut self, talk: &mut Talk<'_>) -> Result<()> {
        let give_up = talk.give_up;
        while self.score.cycles < self.kills.cycles && !give_up() {
            let began = Instant::now();
            if let Err(error) = self.cycle(give_up) {
                if !give_up() {
                    return Err(error);
                }
                // Everybody is needed once more, since the owners read everything back.
                return self.planet.start(Patience::within(WITHIN));
            }
            self.score.cycle.add(began.elapsed());
            self.score.cycles += 1;
            if self.score.cycles.is_multiple_of(AUDIT_EVERY) {
                self.audit()?;
                self.planet.start(patience(give_up))?;
            }
            (talk.progress)(&self.count());
        }
        Ok(())
    }

    fn cycle(&mut self, give_up: &dyn Fn() -> bool) -> Result<()> {
        self.wait_for_owners(give_up)?;
        sleep(Duration::from_micros(self.dice.below(KILL_WITHIN_US)));
        let began = match self.kills.victim {
            Victim::Host => self.kill_hosts(give_up)?,
            Victim::Bridge => {
                self.planet.bridge().kill();
                let began = Instant::now();
                self.planet.start_bridge(patience(give_up))?;
                self.score.answers.add(began.elapsed());
                began
            }
        };
        self.planet.wait_online(HOSTS, patience(give_up))?;
        self.score.back.add(began.elapsed());
        self.shared.healed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// One, or two at once; returns when they were started again.
    fn kill_hosts(&mut self, give_up: &dyn Fn() -> bool) -> Result<Instant> {
        let first = usize::try_from(self.dice.below(HOSTS as u64))?;
        let mut victims = vec![first];
        if self.dice.below(TWO_HOSTS_ONE_IN) == 0 {
            victims.push((first + 1) % HOSTS);
        }
        for (host, _) in self.victims(&victims) {
            host.kill();
        }
        // The Bridge notices at once; whoever comes back is counted anew.
        self.planet
            .wait_online(HOSTS - victims.len(), patience(give_up))?;
        let began = Instant::now();
        for (host, _) in self.victims(&victims) {
            host.start()?;
        }
        Ok(began)
    }

    fn victims(&mut self, of: &[usize]) -> impl Iterator<Item = (&mut Node, usize)> {
        let hosts = self.planet.hosts().iter_mut().zip(0..);
        hosts.filter(|(_, at)| of.contains(at))
    }

    /// Until every owner got something stored: the network works, and there is something to lose.
    fn wait_for_owners(&self, give_up: &dyn Fn() -> bool) -> Result<()> {
        let counts = || {
            self.progress
                .iter()
                .map(|count| count.load(Ordering::SeqCst))
        };
        let before: Vec<_> = counts().collect();
        let began = Instant::now();
        while counts().zip(&before).any(|(now, before)| now == *before) {
            ensure!(!give_up(), "interrupted");
            if self.shared.has_ended() {
                bail!(self.shared.failure().context("the owners have ended")?);
            }
            ensure!(
                began.elapsed() < WITHIN,
                "an owner gets nothing stored, {} s after everybody was back",
                WITHIN.as_secs()
            );
            sleep(LOOK_EVERY / 4);
        }
        Ok(())
    }

    /// Kills everybody and looks up every shard that a Host signed for.
    fn audit(&mut self) -> Result<()> {
        self.planet.hosts().iter_mut().for_each(Node::kill);
        self.planet.bridge().kill();
        let witness = self.kills.programs.witness()?;
        let said = ask_witness(&witness, "receipts", self.planet.layout().dir())?;
        self.score.honoured += said.trim().parse::<u64>()?;
        Ok(())
    }

    fn count(&self) -> KillsScore {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        KillsScore {
            acknowledged: load(&self.shared.acknowledged),
            refused: load(&self.shared.refused),
            read_back: load(&self.shared.read_back),
            ..self.score
        }
    }
}

fn ask_witness(program: &Path, verb: &str, folder: &Path) -> Result<String> {
    let output = Command::new(program).arg(verb).arg(folder).output();
    let output = output.with_context(|| format!("running {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "LOST: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn patience(give_up: &dyn Fn() -> bool) -> Patience<'_> {
    Patience {
        within: WITHIN,
        give_up,
    }
}
