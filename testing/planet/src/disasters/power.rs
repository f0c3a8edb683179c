//! Power cuts: an ext4 on a loop device is shut down without flushing its journal, while a shard
//! store and a Bridge's database on it are written, and mounted again. Root only.

mod disk;

use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{Durations, Talk};
use crate::dice::Dice;
use crate::node::LOOK_EVERY;
use crate::programs::Programs;
use disk::Disk;
pub use disk::why_not;

/// Latest moment of a cut after both writers got something acknowledged, in microseconds.
const CUT_WITHIN_US: u64 = 60_000;
/// Writers begin within this.
const WITHIN: Duration = Duration::from_secs(60);
/// Store and database are made anew after so many cuts, so that looking for everything stays quick.
const ANEW_EVERY: u64 = 20;
/// Shard numbers of one cycle lie below those of the next by this.
const RUN: u64 = 1_000_000;

/// Power cuts to be played.
#[derive(Debug)]
pub struct PowerCuts {
    /// The programs, with the witness.
    pub programs: Programs,
    /// Where the disk's image is; empty before.
    pub dir: PathBuf,
    /// How often.
    pub cycles: u64,
    /// Of the moments.
    pub seed: u64,
}

/// What came of it so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerScore {
    /// Cuts.
    pub cycles: u64,
    /// Shards acknowledged, and deletions of them.
    pub shards: u64,
    /// Commits acknowledged.
    pub commits: u64,
    /// Whole cycles.
    pub cycle: Durations,
}

impl fmt::Display for PowerScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} power cuts, {} shards and deletions and {} commits acknowledged, 0 lost; a cycle {}",
            self.cycles, self.shards, self.commits, self.cycle
        )
    }
}

/// Plays the cuts.
///
/// # Errors
/// On the first loss; says what, and leaves the disk mounted for a look.
pub fn run(cuts: &PowerCuts, talk: &mut Talk<'_>) -> Result<PowerScore> {
    let witness = cuts.programs.witness()?;
    let mut disk = Disk::make(&cuts.dir)?;
    let mut dice = Dice::new(cuts.seed);
    let mut score = PowerScore::default();
    let shards = Subject::new(&witness, "shards", (disk.path("shards"), &cuts.dir));
    let roots = Subject::new(&witness, "roots", (disk.path("database"), &cuts.dir));
    while score.cycles < cuts.cycles && !(talk.give_up)() {
        let began = Instant::now();
        if score.cycles.is_multiple_of(ANEW_EVERY) {
            shards.forget()?;
            roots.forget()?;
        }
        let first = (score.cycles + 1) * RUN;
        let played = cycle(
            &mut disk,
            [&shards, &roots],
            first,
            dice.below(CUT_WITHIN_US),
        );
        let [shards_new, commits_new] = played.inspect_err(|_| disk.keep())?;
        score.cycles += 1;
        score.shards += shards_new;
        score.commits += commits_new;
        score.cycle.add(began.elapsed());
        (talk.progress)(&score);
    }
    Ok(score)
}

/// One cut; returns how much each subject was acknowledged before.
fn cycle(
    disk: &mut Disk,
    subjects: [&Subject<'_>; 2],
    first: u64,
    wait_us: u64,
) -> Result<[u64; 2]> {
    let [shards, roots] = subjects;
    // Every other time most shards are deleted soon, and sparse logs rewritten.
    let verb = ["write", "churn"][usize::from((first / RUN).is_multiple_of(2))];
    let mut writers = [shards.write(verb, &[first])?, roots.write("write", &[])?];
    for subject in subjects {
        subject.wait_for_first()?;
    }
    sleep(Duration::from_micros(wait_us));
    // Power leaves the programs and the disk at once. The shutdown takes 100 ms, in which ext4 fails
    // writes and may still answer a sync with success; a killed program can tell nobody of that.
    for writer in &mut writers {
        writer.kill()?;
    }
    disk.cut()?;
    for writer in &mut writers {
        writer.wait()?;
    }
    disk.mount_again()?;
    let new = [shards.collect()?, roots.collect()?];
    let checks = [shards.check()?, roots.check()?];
    for (check, subject) in checks.into_iter().zip(subjects) {
        let output = check.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "LOST: {}: {said}", subject.what);
    }
    Ok(new)
}

/// Something that is written and checked.
struct Subject<'a> {
    witness: &'a Path,
    what: &'static str,
    /// On the disk whose power is cut.
    folder: PathBuf,
    /// Acknowledged in this cycle, and since all was made anew; not on that disk.
    new: PathBuf,
    all: PathBuf,
}

impl<'a> Subject<'a> {
    fn new(witness: &'a Path, what: &'static str, (folder, beside): (PathBuf, &Path)) -> Self {
        Self {
            witness,
            what,
            folder,
            new: beside.join(format!("{what}.new")),
            all: beside.join(format!("{what}.acknowledged")),
        }
    }

    fn forget(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir(&self.folder)?;
        File::open(&self.folder)?.sync_all()?;
        // The folder itself is not what is tested: its name is durable before anything is written.
        if let Some(above) = self.folder.parent() {
            File::open(above)?.sync_all()?;
        }
        File::create(&self.all)?;
        Ok(())
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.witness);
        // A database is a file in its folder.
        let place = match self.what {
            "roots" => self.folder.join("db"),
            _ => self.folder.join("store"),
        };
        command.arg(format!("{verb}-{}", self.what)).arg(place);
        command
    }

    fn write(&self, verb: &str, args: &[u64]) -> Result<Child> {
        let mut command = self.command(verb);
        command
            .args(args.iter().map(u64::to_string))
            .stdin(Stdio::null())
            .stdout(File::create(&self.new)?)
            .stderr(File::create(self.new.with_extension("said"))?);
        command.spawn().context("starting the witness")
    }

    fn wait_for_first(&self) -> Result<()> {
        let began = Instant::now();
        while fs::metadata(&self.new)?.len() == 0 {
            let said = || fs::read_to_string(self.new.with_extension("said")).unwrap_or_default();
            ensure!(
                began.elapsed() < WITHIN,
                "nothing of {} is acknowledged within {} s: {}",
                self.what,
                WITHIN.as_secs(),
                said()
            );
            sleep(LOOK_EVERY / 10);
        }
        Ok(())
    }

    /// Takes this cycle's acknowledgements to the others; the last line may be cut in the middle.
    fn collect(&self) -> Result<u64> {
        let new = fs::read_to_string(&self.new)?;
        let (whole, _) = new.rsplit_once('\n').unwrap_or_default();
        let mut all = BufWriter::new(File::options().append(true).open(&self.all)?);
        let mut count = 0;
        for line in whole.lines() {
            writeln!(all, "{line}")?;
            // What is only about to happen is not acknowledged.
            count += u64::from(!line.starts_with('?'));
        }
        all.flush()?;
        Ok(count)
    }

    fn check(&self) -> Result<Child> {
        let mut command = self.command("check");
        command
            .stdin(File::open(&self.all)?)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.spawn().context("starting the witness")
    }
}
