//! Where the three programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Names a folder with built programs, instead of the target folder's `release`.
const FOLDER_VARIABLE: &str = "PLANET_PROGRAMS";

/// The built programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The Bridge.
    pub xbridge: PathBuf,
    /// The Host.
    pub xcore: PathBuf,
    /// The owner's client.
    pub xcloud: PathBuf,
}

impl Programs {
    /// The release programs of the workspace at `root`, built if they are not up to date; or
    /// those in the folder `PLANET_PROGRAMS`, as they are.
    ///
    /// # Errors
    /// When cargo cannot be run or the build fails.
    pub fn build(root: &Path) -> Result<Self> {
        Self::build_all(root, &["xbridge", "xcore", "xcloud"])
    }

    /// The same, and the program that [`crate::disasters`] need.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn build_with_witness(root: &Path) -> Result<Self> {
        Self::build_all(root, &["xbridge", "xcore", "xcloud", "witness"])
    }

    fn build_all(root: &Path, packages: &[&str]) -> Result<Self> {
        if std::env::var_os(FOLDER_VARIABLE).is_some() {
            return Self::built(root);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release"])
            .args(packages.iter().flat_map(|package| ["-p", package]))
            .current_dir(root)
            .status()
            .context("running cargo build")?;
        ensure!(built.success(), "cargo build --release failed");
        Self::built(root)
    }

    /// The programs as they are: in the folder `PLANET_PROGRAMS`, else in the target folder's
    /// `release`.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn built(root: &Path) -> Result<Self> {
        match std::env::var_os(FOLDER_VARIABLE) {
            Some(folder) => Self::in_folder(Path::new(&folder)),
            None => Self::in_folder(&target_folder(root).join("release")),
        }
    }

    /// The program that writes what disasters fall upon, and checks it; it is beside the others.
    ///
    /// # Errors
    /// When it is not there.
    pub fn witness(&self) -> Result<PathBuf> {
        let path = self.xcloud.with_file_name("witness");
        ensure!(
            path.is_file(),
            "{} is missing: cargo build --release -p witness",
            path.display()
        );
        Ok(path)
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let find = |name: &str| {
            let path = folder.join(name);
            ensure!(
                path.is_file(),
                "{} is missing: cargo build --release",
                path.display()
            );
            Ok(path)
        };
        Ok(Self {
            xbridge: find("xbridge")?,
            xcore: find("xcore")?,
            xcloud: find("xcloud")?,
        })
    }
}

fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}
