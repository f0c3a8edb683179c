//! `cargo xtask wasm`: what the browser app stands on, compiled for the browser.
//!
//! Where rustup has the target, or can fetch it, its toolchain builds. Elsewhere Debian's
//! `rustc-web` does, which brings the sources of the standard library for this target; it needs a
//! linker, which rustup's toolchain has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::tools;

const TARGET: &str = "wasm32-unknown-unknown";

/// What must compile; what these depend on comes along.
const CRATES: [&str; 3] = ["model", "erasure", "client"];

/// Debian's compiler for the web, and what it builds the standard library from.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Where its sources of the standard library are, below its root.
const LIBRARY: &str = "lib/rustlib/src/rust/library/std/Cargo.toml";

#[derive(Args)]
pub(crate) struct Options {
    /// Only check that it compiles, as the tests do
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<bool> {
    let verb = if options.check { "check" } else { "build" };
    let status = toolchain()?
        .cargo(verb)?
        // Also to check: what is compiled for this machine, to run at build time, is then built
        // without optimisation, and nothing else is built at all.
        .args(["--release", "--lib", "--target", TARGET])
        .args(CRATES.iter().flat_map(|name| ["-p", name]))
        .env("CARGO_TARGET_DIR", crate::target_folder(root).join("wasm"))
        .current_dir(root)
        .status();
    Ok(status.context("running cargo")?.success())
}

pub(crate) fn check(root: &Path) -> Result<()> {
    let compiles = run(root, &Options { check: true })?;
    ensure!(compiles, "cargo xtask wasm --check failed");
    Ok(())
}

/// Who compiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Toolchain {
    Rustup,
    Debian,
}

/// Finds a toolchain that has the target, or installs one.
fn toolchain() -> Result<Toolchain> {
    if has_target() {
        return Ok(Toolchain::Rustup);
    }
    if has_debian() {
        return Ok(Toolchain::Debian);
    }
    println!("installing the target {TARGET}");
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status();
    if added.is_ok_and(|status| status.success()) {
        return Ok(Toolchain::Rustup);
    }
    println!("rustup cannot fetch it; Debian's compiler is used");
    tools::install_packages(&DEBIAN_PACKAGES)?;
    ensure!(
        has_debian(),
        "{TARGET} cannot be built: {DEBIAN_RUSTC} has no sources of the standard library"
    );
    Ok(Toolchain::Debian)
}

impl Toolchain {
    fn cargo(self, verb: &str) -> Result<Command> {
        if self == Self::Rustup {
            let mut command = crate::cargo();
            command.arg(verb);
            return Ok(command);
        }
        let mut command = Command::new(DEBIAN_CARGO);
        command
            .args([verb, "-Zbuild-std=std,panic_abort"])
            .env("RUSTC", DEBIAN_RUSTC)
            // The standard library is built with the features of its own release.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", rust_lld()?);
        // What rustup's cargo tells its children does not hold for this one.
        for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUST_RECURSION_COUNT"] {
            command.env_remove(name);
        }
        Ok(command)
    }
}

/// Whether the compiler of this workspace has the target's standard library.
fn has_target() -> bool {
    let printed = print("rustc", &["--print", "target-libdir", "--target", TARGET]);
    printed.is_some_and(|folder| Path::new(&folder).is_dir())
}

fn has_debian() -> bool {
    let root = print(DEBIAN_RUSTC, &["--print", "sysroot"]);
    root.is_some_and(|root| Path::new(&root).join(LIBRARY).is_file())
        && Path::new(DEBIAN_CARGO).is_file()
}

/// The linker in the toolchain of this workspace.
fn rust_lld() -> Result<PathBuf> {
    let folder = print("rustc", &["--print", "target-libdir"]).context("running rustc")?;
    let linker = Path::new(&folder).with_file_name("bin").join("rust-lld");
    ensure!(linker.is_file(), "no linker at {}", linker.display());
    Ok(linker)
}

/// What a compiler says in one line.
fn print(rustc: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(rustc)
        .args(args)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
