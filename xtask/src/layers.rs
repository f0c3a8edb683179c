//! Dependencies point downwards only: protocol <- io <- nodes <- apps <- testing <- xtask; nodes
//! and apps never depend on their like; some external crates belong to one crate of ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;

/// Folder names from the bottom up. A crate may depend on its own layer and those below.
const LAYERS: [&str; 6] = ["protocol", "io", "nodes", "apps", "testing", "xtask"];

/// Layers whose crates do not know each other.
const STRANGERS: [&str; 2] = ["nodes", "apps"];

/// External crates that do I/O: not in `protocol`.
const IO_CRATES: [&str; 11] = [
    "axum",
    "getrandom",
    "hyper",
    "quinn",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tracing-subscriber",
];

/// External crates that one crate of ours wraps for all others.
const WRAPPED: [(&str, &str); 8] = [
    ("hyper", "net"),
    ("metrics-exporter-prometheus", "runtime"),
    ("n0-future", "tasks"),
    ("rcgen", "net"),
    ("rusqlite", "metastore"),
    ("rustls", "net"),
    ("tokio-tungstenite", "net"),
    ("tracing-subscriber", "runtime"),
];

/// Layers that may use `anyhow`; below them errors are typed.
const UNTYPED_ERRORS: [&str; 3] = ["apps", "testing", "xtask"];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let crates = read_crates(root)?;
    let mut findings = Vec::new();
    for (name, krate) in &crates {
        for dep in krate.deps.iter().filter(|dep| !dep.dev) {
            let objection = match crates.get(&dep.name) {
                Some(other) => object_to_own(krate, other).map(str::to_owned),
                None => object_to_external(name, krate, &dep.name),
            };
            if let Some(objection) = objection {
                let (layer, dep) = (layer_name(krate.layer), &dep.name);
                findings.push(format!(
                    "{layer}/{name} depends on {dep}, which {objection}"
                ));
            }
        }
    }
    Ok(findings)
}

fn object_to_own(krate: &Crate, dep: &Crate) -> Option<&'static str> {
    if dep.layer > krate.layer {
        return Some("lies above it");
    }
    let strangers = dep.layer == krate.layer && STRANGERS.contains(&layer_name(krate.layer));
    strangers.then_some("is a stranger to it")
}

fn object_to_external(name: &str, krate: &Crate, dep: &str) -> Option<String> {
    let layer = layer_name(krate.layer);
    if layer == "protocol" && IO_CRATES.contains(&dep) {
        return Some("does I/O".to_owned());
    }
    if dep == "anyhow" && !UNTYPED_ERRORS.contains(&layer) {
        return Some("hides what failed; errors here are typed".to_owned());
    }
    let (_, owner) = WRAPPED
        .iter()
        .find(|(wrapped, owner)| *wrapped == dep && *owner != name)?;
    Some(format!("only io/{owner} uses itself"))
}

struct Crate {
    layer: usize,
    deps: Vec<Dep>,
}

struct Dep {
    name: String,
    dev: bool,
}

fn layer_name(layer: usize) -> &'static str {
    LAYERS.get(layer).copied().unwrap_or("?")
}

fn read_crates(root: &Path) -> Result<BTreeMap<String, Crate>> {
    let mut crates = BTreeMap::new();
    for (layer, folder) in LAYERS.iter().enumerate() {
        let folder = root.join(folder);
        // A layer is a folder of crates, or one crate.
        let mut paths = vec![folder.clone()];
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            paths.push(entry?.path());
        }
        for path in paths {
            let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) else {
                continue;
            };
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            crates.insert(
                name,
                Crate {
                    layer,
                    deps: read_deps(&manifest),
                },
            );
        }
    }
    Ok(crates)
}

fn read_deps(manifest: &str) -> Vec<Dep> {
    let mut section = "";
    let mut deps = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section.contains("dependencies")
            && let Some((key, _)) = line.split_once(['.', '=', ' '])
        {
            deps.push(Dep {
                name: key.trim().to_owned(),
                dev: section.contains("dev-"),
            });
        }
    }
    deps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_layered() {
        let root = crate::workspace_root();
        assert_eq!(check(&root).unwrap(), Vec::<String>::new());
        let crates = read_crates(&root).unwrap();
        assert_eq!(crates["xtask"].layer, 5);
        assert_eq!(crates["net"].layer, 1);
    }

    #[test]
    fn reads_normal_and_dev_dependencies() {
        let deps =
            read_deps("[dependencies]\nunits.workspace = true\n[dev-dependencies]\nsim = \"1\"\n");
        let seen: Vec<_> = deps.iter().map(|d| (d.name.as_str(), d.dev)).collect();
        assert_eq!(seen, [("units", false), ("sim", true)]);
    }

    #[test]
    fn objections() {
        let krate = |layer| Crate {
            layer,
            deps: Vec::new(),
        };
        assert_eq!(object_to_own(&krate(1), &krate(2)), Some("lies above it"));
        assert_eq!(
            object_to_own(&krate(2), &krate(2)),
            Some("is a stranger to it")
        );
        assert_eq!(object_to_own(&krate(1), &krate(1)), None);
        assert!(object_to_external("model", &krate(0), "tokio").is_some());
        assert!(object_to_external("host", &krate(2), "anyhow").is_some());
        assert!(object_to_external("host", &krate(2), "rustls").is_some());
        assert!(object_to_external("net", &krate(1), "rustls").is_none());
        assert!(object_to_external("xcore", &krate(3), "anyhow").is_none());
    }
}
