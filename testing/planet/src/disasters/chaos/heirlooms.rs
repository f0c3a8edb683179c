//! Files that are stored before chaos begins and never again: what an owner rewrites every other second
//! is never old enough to need repair.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::dice::noise;
use crate::owner::Owner;
use crate::survey::same_files;

/// The folder in the cloud and here.
const NAME: &str = "heirlooms";
/// Sizes of the files: packed, and of one segment each.
const SIZES: [usize; 5] = [3_000, 60_000, 400_000, 1_500_000, 3_000_000];

pub(super) struct Heirlooms<'a> {
    owner: &'a Owner,
    dir: PathBuf,
}

impl<'a> Heirlooms<'a> {
    /// Makes them in the folder `dir` and stores them.
    pub(super) fn store(owner: &'a Owner, dir: &Path, seed: u64) -> Result<Self> {
        let folder = dir.join(NAME);
        fs::create_dir_all(&folder)?;
        for (at, bytes) in (0..).zip(SIZES) {
            let mut file = File::create(folder.join(format!("{at}")))?;
            file.write_all(&noise(seed ^ (at << 48), bytes))?;
        }
        let it = Self {
            owner,
            dir: dir.to_owned(),
        };
        let put = ["put", "--class", "coded:4/8"].map(OsStr::new);
        it.run(put.into_iter().chain([folder.as_os_str(), OsStr::new("/")]))?;
        Ok(it)
    }

    /// They come back as they were.
    pub(super) fn expect_back(&self) -> Result<()> {
        let (remote, back) = (format!("/{NAME}"), self.dir.join("back"));
        self.run([OsStr::new("get"), OsStr::new(&remote), back.as_os_str()])?;
        for at in 0..SIZES.len() {
            let (name, folder) = (at.to_string(), self.dir.join(NAME));
            let same = same_files(&folder.join(&name), &back.join(NAME).join(&name));
            let same = same.with_context(|| format!("LOST: {remote}/{name}"))?;
            ensure!(same, "LOST: {remote}/{name} is not what was stored");
        }
        Ok(())
    }

    fn run<'b>(&self, args: impl IntoIterator<Item = &'b OsStr>) -> Result<()> {
        let output = self.owner.run(args)?;
        let (status, said) = (output.status, String::from_utf8_lossy(&output.stderr));
        ensure!(status.success(), "xcloud ended ({status}): {}", said.trim());
        Ok(())
    }
}
