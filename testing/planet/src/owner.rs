//! An owner: a home folder, a recovery phrase and the client program.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

/// An owner of files.
#[derive(Clone, Debug)]
pub struct Owner {
    program: PathBuf,
    /// What comes before the program, to run it somewhere else.
    entered_by: Vec<OsString>,
    home: PathBuf,
    phrase: PathBuf,
}

impl Owner {
    pub(crate) fn new(program: &Path, home: PathBuf, phrase: PathBuf) -> Self {
        Self {
            program: program.to_owned(),
            entered_by: Vec::new(),
            home,
            phrase,
        }
    }

    /// The same, whose client is run by the words of `entered_by`.
    pub(crate) fn entered_by(self, entered_by: Vec<OsString>) -> Self {
        Self { entered_by, ..self }
    }

    /// The client program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The folder with the device's keys.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The file with the recovery phrase.
    #[must_use]
    pub fn phrase(&self) -> &Path {
        &self.phrase
    }

    /// Opens the account at the Bridge, or brings it back when only the phrase is left; does
    /// nothing where the home is there.
    ///
    /// # Errors
    /// When the client cannot be run or refuses.
    pub fn init(&self, bridge_url: &str) -> Result<()> {
        let (option, rest): (_, &[&str]) = if !self.phrase.exists() {
            ("--mnemonic-file", &["--yes"])
        } else if !self.home.exists() {
            ("--restore", &[])
        } else {
            return Ok(());
        };
        let output = self
            .command(["init", "--bridge", bridge_url])
            .arg(option)
            .arg(&self.phrase)
            .args(rest)
            .output()
            .context("running xcloud init")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "xcloud init failed ({}): {said}",
            output.status
        );
        Ok(())
    }

    /// The bearer token of the session that the client left in its home.
    ///
    /// # Errors
    /// Where it left none.
    pub fn token(&self) -> Result<String> {
        #[derive(serde::Deserialize)]
        struct Session {
            token: String,
        }
        let path = self.home.join("session.json");
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let session: Session = serde_json::from_slice(&text)?;
        Ok(session.token)
    }

    /// Runs the client to its end.
    ///
    /// # Errors
    /// When it cannot be run; what it answers is the caller's to judge.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Output> {
        self.command(args)
            .output()
            .with_context(|| format!("running {}", self.program.display()))
    }

    /// The client with `args`, to be run by the caller. Nothing can be typed into it.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let entered_by = self.entered_by.iter().map(OsString::as_os_str);
        let mut words = entered_by.chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or(self.program.as_os_str()));
        command
            .args(words)
            .arg("--home")
            .arg(&self.home)
            .args(args)
            .stdin(Stdio::null());
        command
    }
}
