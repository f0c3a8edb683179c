//! `cargo xtask fuzz`: every decoder under the fuzzer, one after the other, within 256 MB; what is
//! worth keeping goes into `fuzz/corpus`, from where the tests replay it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::tools;

/// Most memory a decoder may take, the fuzzer's own included.
const MEMORY_MB_MAX: u32 = 256;
/// An input that takes longer is a finding.
const INPUT_SECONDS_MAX: u32 = 10;
/// Longest input that is tried.
const INPUT_BYTES_MAX: u32 = 65_536;

#[derive(Args)]
pub(crate) struct Options {
    /// How long each decoder is tried
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this decoder
    #[arg(long)]
    target: Option<String>,
    /// Keep nothing: leave the corpora as they are
    #[arg(long)]
    dry: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let folder = crate::target_folder(root).join("fuzz");
    let fuzzer = build(root, &folder)?;
    let names = decoders(root, &["list"])?;
    let wanted = |name: &&str| options.target.as_ref().is_none_or(|only| only == name);
    let names: Vec<&str> = names.lines().filter(wanted).collect();
    ensure!(!names.is_empty(), "there is no such decoder");
    let mut sound = true;
    for name in names {
        sound &= Round {
            root,
            fuzzer: &fuzzer,
            folder: &folder,
            name,
        }
        .run(options)?;
    }
    Ok(sound)
}

/// Builds the one binary that has all decoders in it.
fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    tools::install_cargo_fuzz()?;
    let mut cargo = tools::nightly_cargo();
    let status = cargo
        .args(["fuzz", "build", "--fuzz-dir", "fuzz", "-s", "none"])
        .arg("--target-dir")
        .arg(folder)
        .arg("decode")
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "the fuzzer does not build");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    Ok(folder.join(target).join("release").join("decode"))
}

/// What `testing/decoders` says to `args`.
fn decoders(root: &Path, args: &[&str]) -> Result<String> {
    let output = crate::cargo()
        .args(["run", "-q", "-p", "decoders", "--"])
        .args(args)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "decoders {} failed",
        args.join(" ")
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// One decoder's turn.
struct Round<'a> {
    root: &'a Path,
    fuzzer: &'a Path,
    folder: &'a Path,
    name: &'a str,
}

impl Round<'_> {
    fn run(&self, options: &Options) -> Result<bool> {
        let corpus = self.folder.join("corpus").join(self.name);
        self.ask("unpack", &corpus)?;
        let log = self.folder.join(format!("{}.log", self.name));
        let findings = self.folder.join(format!("finding-{}-", self.name));
        let status = self
            .fuzzer()
            .arg(&corpus)
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-max_total_time={}", options.seconds))
            .arg(format!("-artifact_prefix={}", findings.display()))
            .arg("-print_final_stats=1")
            .stderr(File::create(&log)?)
            .status()
            .with_context(|| format!("running {}", self.fuzzer.display()))?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let stat = |name: &str| stat(&said, name).unwrap_or("?").to_owned();
        let (runs, memory) = (stat("number_of_executed_units"), stat("peak_rss_mb"));
        let verdict = if status.success() {
            "nothing found".to_owned()
        } else {
            format!("FOUND, see {}", log.display())
        };
        let (name, seconds) = (self.name, options.seconds);
        println!("{name:20} {seconds:5} s {runs:>12} runs  peak {memory:>4} MB  {verdict}");
        if status.success() && !options.dry {
            self.keep(&corpus)?;
        }
        Ok(status.success())
    }

    /// Makes the least set of inputs that reaches as much the decoder's corpus.
    fn keep(&self, corpus: &Path) -> Result<()> {
        let least = self.folder.join("least").join(self.name);
        if least.exists() {
            fs::remove_dir_all(&least)?;
        }
        fs::create_dir_all(&least)?;
        let mut fuzzer = self.fuzzer();
        let merged = fuzzer.arg("-merge=1").arg(&least).arg(corpus);
        let merged = merged.stderr(Stdio::null()).status()?;
        ensure!(
            merged.success(),
            "the corpus of {} was not merged",
            self.name
        );
        self.ask("keep", &least)
    }

    fn fuzzer(&self) -> Command {
        let mut fuzzer = Command::new(self.fuzzer);
        fuzzer.env("DECODER", self.name).stdout(Stdio::null());
        fuzzer
    }

    fn ask(&self, what: &str, folder: &Path) -> Result<()> {
        let folder = folder.to_str().context("the target folder has a name")?;
        decoders(self.root, &[what, self.name, folder]).map(drop)
    }
}

/// The value of `stat::NAME: VALUE`.
fn stat<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let values = said.lines().filter_map(|line| line.strip_prefix("stat::"));
    let mut values = values.filter_map(|line| line.split_once(':'));
    values
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_the_fuzzer_says() {
        let said = "Done 5 runs\nstat::number_of_executed_units: 5\nstat::peak_rss_mb:      47\n";
        assert_eq!(stat(said, "number_of_executed_units"), Some("5"));
        assert_eq!(stat(said, "peak_rss_mb"), Some("47"));
        assert_eq!(stat(said, "other"), None);
    }
}
