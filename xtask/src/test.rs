//! `cargo xtask test`: every check and test, one line at the end.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use ::planet::Programs;
use ::planet::disasters::{lines, power};
use anyhow::{Context as _, Result};

use crate::{api, layers, tidy, tools, vectors, wasm};

pub(crate) fn run(root: &Path) -> Result<bool> {
    tools::install_missing()?;
    let mut tally = Tally::default();
    tally.check("formatted", || succeeds(root, &["fmt", "--all", "--check"]));
    tally.check("layers", || nothing_found(&layers::check(root)?));
    tally.check("tidy", || nothing_found(&tidy::check(root)?));
    tally.check("clippy", || {
        succeeds(
            root,
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        )
    });
    tally.check("the core in a browser", || wasm::check(root));
    tally.tests(
        root,
        &[
            "test",
            "--workspace",
            "--exclude",
            "planet",
            "--no-fail-fast",
        ],
    )?;
    tally.check("vectors", || nothing_found(&vectors::check(root)?));
    tally.check("release build", || {
        Programs::build_with_witness(root).map(drop)
    });
    tally.check("api as described", || api::share(root));
    tally.tests(root, &["test", "-p", "planet", "--no-fail-fast"])?;
    if let Some(reason) = power::why_not() {
        println!("power cuts were not run: {reason}");
    }
    if let Some(reason) = lines::why_not() {
        println!("bad lines were not run: {reason}");
    }
    if tools::has_cargo_deny() {
        // Advisories need a database from outside: `cargo deny check advisories`.
        tally.check("licences, banned crates, sources", || {
            succeeds(root, &["deny", "check", "licenses", "bans", "sources"])
        });
    } else {
        println!("cargo-deny is not installed: licences and sources were not checked");
    }
    Ok(tally.close())
}

/// Counts tests and checks.
#[derive(Default)]
struct Tally {
    passed: u64,
    failures: Vec<String>,
    failed: u64,
}

impl Tally {
    fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        println!("== {name}");
        match check() {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("{error:#}");
                self.fail(1, name);
            }
        }
    }

    /// Runs `cargo` with `args` and counts the tests it reports.
    fn tests(&mut self, root: &Path, args: &[&str]) -> Result<()> {
        let name = format!("cargo {}", args.join(" "));
        println!("== {name}");
        let mut cargo = crate::cargo()
            .args(args)
            .current_dir(root)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("running {name}"))?;
        let output = cargo.stdout.take().context("the output was piped")?;
        let mut failed = 0;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if !line.ends_with("... ok") {
                println!("{line}");
            }
            if let Some((passed_here, failed_here)) = result_of(&line) {
                self.passed += passed_here;
                failed += failed_here;
            }
        }
        // What does not build reports no tests.
        if !cargo.wait()?.success() {
            self.fail(failed.max(1), &name);
        }
        Ok(())
    }

    fn fail(&mut self, count: u64, name: &str) {
        self.failed += count;
        self.failures.push(name.to_owned());
    }

    fn close(self) -> bool {
        if !self.failures.is_empty() {
            println!("failed: {}", self.failures.join(", "));
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}

/// The counts in `test result: ok. 12 passed; 0 failed; …`.
fn result_of(line: &str) -> Option<(u64, u64)> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let (before, _) = counts.split_once(word)?;
        before.trim_end().rsplit(' ').next()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

fn succeeds(root: &Path, args: &[&str]) -> Result<()> {
    let status = crate::cargo().args(args).current_dir(root).status()?;
    anyhow::ensure!(status.success(), "cargo {} failed", args.join(" "));
    Ok(())
}

fn nothing_found(findings: &[String]) -> Result<()> {
    anyhow::ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(result_of(line), Some((12, 3)));
        assert_eq!(
            result_of("test result: ok. 0 passed; 0 failed; 0 ignored"),
            Some((0, 0))
        );
        assert_eq!(result_of("test a::b ... ok"), None);
    }

    #[test]
    fn checks_are_counted_and_named() {
        let mut tally = Tally::default();
        tally.check("good", || Ok(()));
        tally.check("bad", || anyhow::bail!("no"));
        assert_eq!(
            (tally.passed, tally.failed, tally.failures.join(" ")),
            (1, 1, "bad".to_owned())
        );
        assert!(!tally.close());
    }
}
