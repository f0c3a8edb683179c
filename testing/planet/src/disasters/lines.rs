//! Bad lines between real processes: a Bridge, Hosts and an owner, each in a network namespace of its
//! own, where one Host is slow, some lose packets and some are cut off for a while. Root only.

mod rig;
mod world;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::Talk;
use crate::dice::{Dice, noise};
use crate::node::LOOK_EVERY;
use crate::programs::Programs;
use crate::survey::same_files;
use rig::Trouble;
pub use rig::why_not;
use world::World;

/// Hosts; any 4 of 8 of them bring a file back.
pub(crate) const HOSTS: usize = 12;
/// What every line lets through, each way, in kilobits a second: 10 MB/s.
const RATE_KBIT: u64 = 80_000;
/// And the line of the first Host: 64 KB/s.
const SLOW_KBIT: u64 = 512;
/// Percent of packets lost, each way, at the Hosts that come after the first.
const LOSSES: [u64; 3] = [5, 10, 20];
/// Hosts that are cut off at a time.
const CUT_OFF: u64 = 2;
/// How long: beyond the time after which they count as absent.
const CUT_OFF_FOR: Duration = Duration::from_secs(30);
/// Sizes of the files of one round: packed, one segment, several.
const SIZES: [usize; 4] = [3_000, 60_000, 4_000_000, 9_000_000];
/// Everything is whole again within this.
const WHOLE_WITHIN: Duration = Duration::from_secs(300);

/// Bad lines to be played.
#[derive(Debug)]
pub struct Lines {
    /// The programs.
    pub programs: Programs,
    /// Where everything is kept; empty before.
    pub dir: PathBuf,
    /// How often Hosts are cut off; every other time one of them never comes back, and another takes
    /// its place.
    pub cycles: u64,
    /// Of the Hosts and the files.
    pub seed: u64,
}

/// What came of it so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinesScore {
    /// Times Hosts were cut off.
    pub cycles: u64,
    /// Files stored.
    pub stored: u64,
    /// Files read back and found equal.
    pub read_back: u64,
    /// Hosts that died for good.
    pub deaths: u64,
    /// Longest time until everything was whole again.
    pub whole_after: Duration,
    /// Bytes that crossed the Bridge's line, both ways.
    pub bridge_bytes: u64,
    /// Bytes that crossed the Hosts' lines inwards.
    pub host_bytes: u64,
}

impl fmt::Display for LinesScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, mb) = (self.whole_after.as_secs(), |bytes| bytes / 1_000_000);
        write!(
            f,
            "{} times hosts were cut off, {} died for good; {} files stored, {} read back, 0 lost; whole \
             again within {whole} s; {} MB over the bridge's line, {} MB to hosts",
            self.cycles,
            self.deaths,
            self.stored,
            self.read_back,
            mb(self.bridge_bytes),
            mb(self.host_bytes)
        )
    }
}

/// Plays the lines.
///
/// # Errors
/// On the first loss, or a Host convicted of nothing; says what, and leaves the folder for a look.
pub fn run(lines: &Lines, talk: &mut Talk<'_>) -> Result<LinesScore> {
    let world = World::start(&lines.programs, &lines.dir)?;
    for host in 0..HOSTS {
        let rate = if host == 0 { SLOW_KBIT } else { RATE_KBIT };
        world.rig.limit(host, rate)?;
    }
    let lossy: Vec<(usize, u64)> = (1..).zip(LOSSES).collect();
    for (host, percent) in &lossy {
        world
            .rig
            .trouble(*host, Trouble::Loses { percent: *percent })?;
    }
    let mut campaign = Campaign {
        dice: Dice::new(lines.seed),
        world,
        lossy,
        score: LinesScore::default(),
    };
    while campaign.score.cycles < lines.cycles && !(talk.give_up)() {
        campaign.cycle()?;
        campaign.score.cycles += 1;
        campaign.measure()?;
        (talk.progress)(&campaign.score);
    }
    campaign.expect_nobody_convicted()?;
    Ok(campaign.score)
}

struct Campaign {
    dice: Dice,
    world: World,
    /// Who loses how many percent.
    lossy: Vec<(usize, u64)>,
    score: LinesScore,
}

impl Campaign {
    fn cycle(&mut self) -> Result<()> {
        let cycle = self.score.cycles;
        let before = format!("before{cycle}");
        self.put(&before)?;
        self.expect_back(&before)?;

        let cut_off = self.draw_cut_off();
        for host in &cut_off {
            self.world.rig.trouble(*host, Trouble::CutOff)?;
        }
        let began = Instant::now();
        let during = format!("during{cycle}");
        self.put(&during)?;
        self.expect_back(&before)?;
        self.expect_back(&during)?;
        while began.elapsed() < CUT_OFF_FOR {
            sleep(LOOK_EVERY);
        }
        let dead = cut_off.first().copied().filter(|_| cycle % 2 == 1);
        if let Some(dead) = dead {
            self.world.replace(dead)?;
            self.score.deaths += 1;
        }
        for host in &cut_off {
            self.world.rig.trouble(*host, self.usual(*host))?;
        }
        let began = Instant::now();
        self.wait_whole()?;
        self.score.whole_after = self.score.whole_after.max(began.elapsed());
        self.expect_back(&before)?;
        self.expect_back(&during)
    }

    fn draw_cut_off(&mut self) -> BTreeSet<usize> {
        let mut hosts = BTreeSet::new();
        while (hosts.len() as u64) < CUT_OFF {
            let drawn = self.dice.below(HOSTS as u64);
            hosts.extend(usize::try_from(drawn));
        }
        hosts
    }

    fn usual(&self, host: usize) -> Trouble {
        let lossy = self.lossy.iter().find(|(number, _)| *number == host);
        lossy.map_or(Trouble::None, |(_, percent)| Trouble::Loses {
            percent: *percent,
        })
    }

    fn put(&mut self, name: &str) -> Result<()> {
        let folder = self.world.scratch(name);
        std::fs::create_dir_all(&folder)?;
        for (at, bytes) in SIZES.into_iter().enumerate() {
            let content = noise(self.dice.next(), bytes);
            let mut file = std::fs::File::create(folder.join(at.to_string()))?;
            std::io::Write::write_all(&mut file, &content)?;
        }
        let local = folder.to_string_lossy();
        self.world
            .xcloud(["put", "--class", "coded:4/8", &local, "/"])?;
        self.score.stored += SIZES.len() as u64;
        Ok(())
    }

    fn expect_back(&mut self, name: &str) -> Result<()> {
        let back = self.world.scratch("back");
        if back.exists() {
            std::fs::remove_dir_all(&back)?;
        }
        let (remote, local) = (format!("/{name}"), back.to_string_lossy());
        self.world.xcloud(["get", &remote, &local])?;
        for at in 0..SIZES.len() {
            let stored = self.world.scratch(name).join(at.to_string());
            let found = back.join(name).join(at.to_string());
            let equal = same_files(&stored, &found).context("LOST")?;
            ensure!(equal, "LOST: /{name}/{at} is not what was stored");
        }
        self.score.read_back += SIZES.len() as u64;
        Ok(())
    }

    fn wait_whole(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let short = self.world.short_segments();
            if short.as_ref().is_ok_and(|short| *short == 0) {
                return Ok(());
            }
            ensure!(
                began.elapsed() < WHOLE_WITHIN,
                "not whole {} s after the lines were mended: {short:?}",
                WHOLE_WITHIN.as_secs()
            );
            sleep(LOOK_EVERY * 10);
        }
    }

    fn measure(&mut self) -> Result<()> {
        let (received, sent) = self.world.rig.carried(rig::BRIDGE)?;
        self.score.bridge_bytes = received + sent;
        self.score.host_bytes = 0;
        for host in 0..HOSTS {
            self.score.host_bytes += self.world.rig.carried(host)?.0;
        }
        Ok(())
    }

    fn expect_nobody_convicted(&self) -> Result<()> {
        for host in 0..HOSTS {
            let events = self.world.events(host)?;
            let mut failed = events.iter().filter(|event| event.kind == "audit_failed");
            if let Some(event) = failed.next() {
                anyhow::bail!("h{} was convicted of nothing: {}", host + 1, event.reason);
            }
        }
        Ok(())
    }
}
