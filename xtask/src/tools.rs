//! What the checks need beside cargo: found, or installed and said so.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What the scripts that make test vectors import.
const PYTHON_PACKAGE: &str = "cryptography";

pub(crate) fn install_missing() -> Result<()> {
    for (component, args) in [
        ("rustfmt", ["fmt", "--version"]),
        ("clippy", ["clippy", "--version"]),
    ] {
        if !runs(crate::cargo().args(args)) {
            println!("installing {component}");
            let added = Command::new("rustup")
                .args(["component", "add", component])
                .status();
            ensure!(
                added.context("running rustup")?.success(),
                "{component} not installed"
            );
        }
    }
    Ok(())
}

/// The fuzzer's command.
pub(crate) fn install_cargo_fuzz() -> Result<()> {
    if runs(crate::cargo().args(["fuzz", "--version"])) {
        return Ok(());
    }
    println!("installing cargo-fuzz");
    let installed = crate::cargo()
        .args(["install", "cargo-fuzz", "--locked", "-q"])
        .status()?;
    ensure!(installed.success(), "cargo-fuzz not installed");
    Ok(())
}

/// A cargo that takes what only nightly compilers do: nightly's own, else ours, told to.
pub(crate) fn nightly_cargo() -> Command {
    if runs(Command::new("rustup").args(["run", "nightly", "cargo", "--version"])) {
        let mut cargo = Command::new("rustup");
        cargo.args(["run", "nightly", "cargo"]);
        return cargo;
    }
    let mut cargo = crate::cargo();
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo
}

pub(crate) fn has_cargo_deny() -> bool {
    runs(crate::cargo().args(["deny", "--version"]))
}

/// A Python with what the scripts import: the system's, else one in the target folder.
pub(crate) fn python() -> Result<PathBuf> {
    let system = PathBuf::from("python3");
    if !runs(Command::new(&system).args(["-c", "import ensurepip"])) {
        install_packages(&["python3", "python3-venv"])?;
    }
    if imports(&system) {
        return Ok(system);
    }
    let folder = crate::target_folder(&crate::workspace_root()).join("python");
    let own = folder.join("bin/python3");
    if !imports(&own) {
        println!(
            "installing {PYTHON_PACKAGE} for python into {}",
            folder.display()
        );
        let made = Command::new(&system)
            .args(["-m", "venv"])
            .arg(&folder)
            .status()?;
        ensure!(
            made.success(),
            "no python environment in {}",
            folder.display()
        );
        let pip = Command::new(&own)
            .args(["-m", "pip", "install", "-q", PYTHON_PACKAGE])
            .status()?;
        ensure!(pip.success(), "{PYTHON_PACKAGE} not installed");
    }
    Ok(own)
}

/// Installs packages of the system, where it is a Debian and we are root.
pub(crate) fn install_packages(names: &[&str]) -> Result<()> {
    let wanted = names.join(" and ");
    println!("installing {wanted}");
    for args in [
        &["update", "-q"][..],
        &[&["install", "-q", "-y"], names].concat(),
    ] {
        let status = Command::new("apt-get").args(args).status();
        let done = status.is_ok_and(|status| status.success());
        ensure!(
            done,
            "{wanted} must be installed: `apt-get {}` failed",
            args.join(" ")
        );
    }
    Ok(())
}

fn imports(python: &PathBuf) -> bool {
    runs(Command::new(python).args(["-c", &format!("import {PYTHON_PACKAGE}")]))
}

fn runs(command: &mut Command) -> bool {
    let quiet = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .stdin(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
