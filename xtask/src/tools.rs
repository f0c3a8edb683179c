//! What the checks need beside cargo: found, or installed and said so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// What the scripts that make test vectors import.
const PYTHON_PACKAGE: &str = "cryptography";

/// Which schemathesis: what it makes up follows from its version as well as from the seed.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// The peer whose figures are aims of ours.
const TAHOE: &str = "tahoe-lafs==1.20.*";

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
    let system = system_python()?;
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
        environment(&system, &folder, PYTHON_PACKAGE)?;
    }
    Ok(own)
}

/// What asks the Bridge what its description promises: a program in the target folder.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    let folder = crate::target_folder(&crate::workspace_root()).join("schemathesis");
    let program = folder.join("bin/schemathesis");
    let (_, version) = SCHEMATHESIS.split_once("==").unwrap_or_default();
    let said = Command::new(&program).arg("--version").output();
    if !said.is_ok_and(|said| said.stdout.trim_ascii().ends_with(version.as_bytes())) {
        println!("installing {SCHEMATHESIS} into {}", folder.display());
        environment(&system_python()?, &folder, SCHEMATHESIS)?;
    }
    Ok(program)
}

fn system_python() -> Result<PathBuf> {
    let system = PathBuf::from("python3");
    if !runs(Command::new(&system).args(["-c", "import ensurepip"])) {
        install_packages(&["python3", "python3-venv"])?;
    }
    Ok(system)
}

/// Tahoe-LAFS for the bench with peers, in the target folder.
pub(crate) fn tahoe() -> Result<PathBuf> {
    let folder = crate::target_folder(&crate::workspace_root()).join("tahoe");
    let program = folder.join("bin/tahoe");
    if !runs(Command::new(&program).arg("--version")) {
        println!("installing {TAHOE} into {}", folder.display());
        let system = system_python()?;
        environment(&system, &folder, TAHOE)?;
    }
    Ok(program)
}

/// restic for the bench with peers.
pub(crate) fn install_restic() -> Result<()> {
    if runs(Command::new("restic").arg("version")) {
        return Ok(());
    }
    install_packages(&["restic"])
}

/// perf for profiles: the kernel's own profiler.
pub(crate) fn install_perf() -> Result<()> {
    if runs(Command::new("perf").arg("--version")) {
        return Ok(());
    }
    install_packages(&["linux-perf"])
}

/// What makes networks and spoils them.
pub(crate) fn install_network_tools() -> Result<()> {
    install_packages(&["iproute2", "nftables"])
}

/// A library that gives processes other clocks.
pub(crate) fn install_faketime() -> Result<()> {
    install_packages(&["faketime"])
}

/// Makes a Python environment in `folder` with `package` in it.
fn environment(python: &PathBuf, folder: &Path, package: &str) -> Result<()> {
    let made = Command::new(python)
        .args(["-m", "venv", "--clear"])
        .arg(folder)
        .status()?;
    ensure!(
        made.success(),
        "no python environment in {}",
        folder.display()
    );
    let pip = Command::new(folder.join("bin/python3"))
        .args(["-m", "pip", "install", "-q", package])
        .status()?;
    ensure!(pip.success(), "{package} not installed");
    Ok(())
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
