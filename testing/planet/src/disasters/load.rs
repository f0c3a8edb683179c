//! Owners at work: each puts new files and new versions of old ones, all the time, and after every
//! disaster reads everything back that was acknowledged to it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::dice::{Dice, noise};
use crate::node::LOOK_EVERY;
use crate::owner::Owner;

/// Names an owner writes to, again and again.
const NAMES: u64 = 16;
/// Most files of one put.
const FILES_PER_PUT_MAX: u64 = 3;
/// Of a hundred files so many are of about that size: inline, packed, and of one or more segments.
const SIZES: [(u64, u64); 5] = [
    (30, 1_000),
    (35, 60_000),
    (25, 400_000),
    (8, 2_500_000),
    (2, 9_000_000),
];
/// How files are spread where nobody dies for good. Of a file with one mirror every loss of its one
/// Host is seen.
pub(crate) const CLASSES: &[&str] = &["mirrors:1", "mirrors:3", "coded:2/4", "coded:3/5"];
/// What was acknowledged is back within this, and a client ends within this, or something hangs.
const WITHIN: Duration = Duration::from_secs(120);
/// Exit codes after which nobody needs to try again: not found, integrity.
const LOST_CODES: [i32; 2] = [NOT_FOUND_CODE, 5];
const NOT_FOUND_CODE: i32 = 3;

/// What all owners and whoever plays the disasters share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Disasters over so far.
    pub(crate) healed: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) removed: AtomicU64,
    pub(crate) read_back: AtomicU64,
    pub(crate) ended: AtomicBool,
    /// Why the first owner to fail failed.
    failure: Mutex<Option<anyhow::Error>>,
}

impl Shared {
    /// The failure of an owner, if one failed.
    pub(crate) fn failure(&self) -> Option<anyhow::Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn fail(&self, error: anyhow::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.ended.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// One content of a file: its seed and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    seed: u64,
    bytes: usize,
}

/// What the cloud may have under a name: what was acknowledged last, or tried since.
#[derive(Debug, Default)]
struct Versions {
    acknowledged: Option<Version>,
    tried: Vec<Version>,
    /// Whether it may be gone: a removal did not say whether it was done.
    may_be_gone: bool,
}

/// What an owner does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// How files are spread.
    pub(crate) classes: &'static [&'static str],
    /// In one of so many steps a file is removed instead of stored; 0 is never.
    pub(crate) removes_one_in: u64,
}

/// An owner at work.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    shared: &'a Shared,
    owner: Owner,
    scratch: PathBuf,
    dice: Dice,
    habits: Habits,
    files: BTreeMap<String, Versions>,
    /// Disasters over when everything was read back last.
    checked: u64,
    /// What this owner was acknowledged so far, for whoever waits for it to get on.
    progress: &'a AtomicU64,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        (owner, scratch): (Owner, PathBuf),
        progress: &'a AtomicU64,
        (seed, habits): (u64, Habits),
    ) -> Self {
        Self {
            shared,
            owner,
            scratch,
            dice: Dice::new(seed),
            habits,
            files: BTreeMap::new(),
            checked: 0,
            progress,
        }
    }

    /// Works until told to end, or until something is lost.
    pub(crate) fn work(mut self) {
        if let Err(error) = self.try_work() {
            self.shared.fail(error);
        }
    }

    fn try_work(&mut self) -> Result<()> {
        while !self.shared.has_ended() {
            let removes = self.habits.removes_one_in;
            if removes > 0 && self.dice.below(removes) == 0 {
                self.remove()?;
            } else {
                self.put()?;
            }
            let healed = self.shared.healed.load(Ordering::SeqCst);
            if healed > self.checked {
                self.checked = healed;
                self.read_back()?;
            }
        }
        self.read_back()
    }

    fn put(&mut self) -> Result<()> {
        let folder = self.scratch.join("files");
        empty(&folder)?;
        let mut names = Vec::new();
        for _ in 0..=self.dice.below(FILES_PER_PUT_MAX) {
            let name = format!("f{}", self.dice.below(NAMES));
            let version = self.draw();
            let mut file = fs::File::create(folder.join(&name))?;
            file.write_all(&noise(version.seed, version.bytes))?;
            let versions = self.files.entry(name.clone()).or_default();
            // The same name twice in one put: the later content is the one that is sent.
            if names.contains(&name) {
                versions.tried.pop();
            } else {
                names.push(name);
            }
            versions.tried.push(version);
        }
        let class = self.dice.pick(self.habits.classes).copied();
        let class = class.unwrap_or("mirrors:3");
        let put = ["put", "--quiet", "--class", class].map(OsStr::new);
        let inside = folder.join("");
        let ran = self.run(put.into_iter().chain([inside.as_os_str(), OsStr::new("/")]))?;
        if !ran.status.success() {
            ensure!(
                !is_loss(ran.status),
                "a put found something lost: {}",
                ran.said
            );
            self.shared.refused.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        for name in &names {
            if let Some(versions) = self.files.get_mut(name) {
                versions.acknowledged = versions.tried.last().copied();
                versions.tried.clear();
                versions.may_be_gone = false;
            }
        }
        let count = u64::try_from(names.len()).unwrap_or(0);
        self.shared.acknowledged.fetch_add(count, Ordering::SeqCst);
        self.progress.fetch_add(count, Ordering::SeqCst);
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        let stored = self.files.iter();
        let stored = stored.filter(|(_, versions)| versions.acknowledged.is_some());
        let names: Vec<String> = stored.map(|(name, _)| name.clone()).collect();
        let Some(name) = self.dice.pick(&names).cloned() else {
            return Ok(());
        };
        let ran = self.run(["rm".to_owned(), "--quiet".to_owned(), format!("/{name}")])?;
        let Some(versions) = self.files.get_mut(&name) else {
            return Ok(());
        };
        // An earlier removal may have been done although it did not say so.
        let was_gone = versions.may_be_gone && ran.status.code() == Some(NOT_FOUND_CODE);
        if ran.status.success() || was_gone {
            *versions = Versions::default();
            self.shared.removed.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        ensure!(!is_loss(ran.status), "LOST: {}", ran.said);
        versions.may_be_gone = true;
        self.shared.refused.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn draw(&mut self) -> Version {
        let mut roll = self.dice.below(100);
        let mut about = 1_000;
        for (share, size) in SIZES {
            about = size;
            if roll < share {
                break;
            }
            roll -= share;
        }
        let bytes = about / 2 + self.dice.below(about);
        Version {
            seed: self.dice.next(),
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    /// Everything that was acknowledged is there, now or as soon as whoever is away is back.
    fn read_back(&mut self) -> Result<()> {
        if self
            .files
            .values()
            .all(|versions| versions.acknowledged.is_none())
        {
            return Ok(());
        }
        let back = self.scratch.join("back");
        let began = Instant::now();
        loop {
            empty(&back)?;
            let get = ["get", "--quiet", "/"].map(OsStr::new);
            let ran = self.run(get.into_iter().chain([back.as_os_str()]))?;
            if ran.status.success() {
                break;
            }
            ensure!(!is_loss(ran.status), "LOST: {}", ran.said);
            ensure!(
                began.elapsed() < WITHIN,
                "not back after {} s: {}",
                WITHIN.as_secs(),
                ran.said
            );
        }
        for (name, versions) in &mut self.files {
            check(&back.join(name), versions).with_context(|| format!("LOST: {name}"))?;
            versions.may_be_gone = false;
            let was_there = u64::from(versions.acknowledged.is_some());
            self.shared.read_back.fetch_add(was_there, Ordering::SeqCst);
        }
        Ok(())
    }

    fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let log = self.scratch.join("said");
        let mut command = self.owner.command(args);
        let told = format!("{command:?}");
        let child = command
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .context("running the client")?;
        let status = end_within(child, WITHIN).with_context(|| format!("running {told}"))?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        let said = format!("{told} ended ({status}) and said: {said}");
        Ok(Ran { status, said })
    }
}

struct Ran {
    status: ExitStatus,
    said: String,
}

fn is_loss(status: ExitStatus) -> bool {
    status.code().is_some_and(|code| LOST_CODES.contains(&code))
}

fn end_within(mut child: Child, within: Duration) -> Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if began.elapsed() > within {
            child.kill()?;
            child.wait()?;
            bail!("the client did not end within {} s", within.as_secs());
        }
        sleep(LOOK_EVERY / 4);
    }
}

/// The file is one of the versions it may be; that one is then known to be the current one.
fn check(file: &Path, versions: &mut Versions) -> Result<()> {
    let found = match fs::read(file) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let may_be = versions.acknowledged.is_none() || versions.may_be_gone;
            ensure!(may_be, "it is not there");
            versions.acknowledged = None;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let may_be = versions.acknowledged.iter().chain(&versions.tried);
    let is = may_be.copied().find(|version| {
        version.bytes == found.len() && noise(version.seed, version.bytes) == found
    });
    let is = is.with_context(|| format!("{} bytes that are no version of it", found.len()))?;
    // What was tried and not acknowledged may be there; once seen, it must stay.
    versions.acknowledged = Some(is);
    versions.tried.clear();
    Ok(())
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

#[cfg(test)]
mod tests;
