//! Test vectors are made by independent Python scripts; what lies in the repository must be what
//! they make. A script writes its files beside itself, or its one file to standard output.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::tools;

/// Where scripts and vectors are.
const FOLDER: &str = "docs/spec/vectors";

/// File names and contents.
type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let kept = files_of(&root.join(FOLDER), ".json")?;
    let scripts = files_of(&root.join(FOLDER), ".py")?;
    ensure!(!scripts.is_empty(), "no scripts in {FOLDER}");
    let scratch = crate::target_folder(root).join("vectors");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    Ok(differences(&kept, &make(&scripts, &scratch)?))
}

/// Runs copies of the scripts in `scratch` and collects what they make.
fn make(scripts: &Files, scratch: &Path) -> Result<Files> {
    let python = tools::python()?;
    for (name, text) in scripts {
        let script = scratch.join(name);
        fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&script)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text))?;
    }
    let mut made = Files::new();
    for name in scripts.keys() {
        let output = Command::new(&python)
            .arg(scratch.join(name))
            .current_dir(scratch)
            .output()
            .with_context(|| format!("running {name}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} failed: {said}");
        if output.stdout.starts_with(b"{") || output.stdout.starts_with(b"[") {
            made.insert(name.replace(".py", ".json"), output.stdout);
        }
    }
    made.extend(files_of(scratch, ".json")?);
    Ok(made)
}

fn differences(kept: &Files, made: &Files) -> Vec<String> {
    let changed = made
        .iter()
        .filter_map(|(name, bytes)| match kept.get(name) {
            None => Some(format!("{FOLDER}/{name} is missing")),
            Some(kept) if kept != bytes => {
                Some(format!("{FOLDER}/{name} is not what its script makes"))
            }
            Some(_) => None,
        });
    let orphans = kept.keys().filter(|name| !made.contains_key(*name));
    changed
        .chain(orphans.map(|name| format!("{FOLDER}/{name} is made by no script")))
        .collect()
}

fn files_of(folder: &Path, ending: &str) -> Result<Files> {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(ending) {
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let files = |list: &[(&str, &[u8])]| -> Files {
            list.iter()
                .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
                .collect()
        };
        let kept = files(&[("a.json", b"1"), ("b.json", b"2"), ("old.json", b"3")]);
        let made = files(&[("a.json", b"1"), ("b.json", b"9"), ("new.json", b"4")]);
        assert_eq!(
            differences(&kept, &made),
            [
                "docs/spec/vectors/b.json is not what its script makes",
                "docs/spec/vectors/new.json is missing",
                "docs/spec/vectors/old.json is made by no script",
            ]
        );
        assert!(differences(&kept, &kept).is_empty());
    }
}
