//! Properties of the text itself: file length, a doc line on top, banned words.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Lines a source file may have before its inline tests.
const FILE_LINES_MAX: usize = 600;

/// Words that name nothing of ours; the glossary has the right one.
const BANNED_TYPE_NAMES: [&str; 6] = ["Manager", "Helper", "Utils", "Info", "Data", "Farmer"];

/// Text that only means something on one machine, or to nobody. Written in halves, so that this
/// file passes.
const BANNED_TEXT: [(&str, &str); 4] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("../sha", "red"), "a path of one machine"),
    (concat!("FIX", "ME"), "a promise"),
];

/// Code that runs in a browser too, and what panics there or does not exist.
const BROWSER_FOLDER: &str = "nodes/client/src/";
const BANNED_IN_BROWSERS: [&str; 5] = [
    "tokio::spawn",
    "tokio::task",
    "tokio::time",
    "tokio_util::",
    "std::thread",
];

/// Code that a simulation runs, and what would make two of its runs differ.
const REPEATABLE_FOLDERS: [&str; 4] = [
    "nodes/bridge/src/",
    "nodes/client/src/",
    "nodes/host/src/",
    "io/net/src/",
];
const BANNED_IN_RUNS: [(&str, &str); 3] = [
    ("tokio::task::spawn_blocking", "use tasks::spawn_blocking"),
    ("std::time::Instant", "use the clock of tokio"),
    ("getrandom::", "use the environment"),
];
/// Files that stand between that code and the system.
const SYSTEM_FILES: [&str; 3] = ["environment.rs", "random.rs", "identity.rs"];

/// What a test that does not run is marked with.
const SKIPPED_TEST: &str = concat!("#[ig", "nore");

/// Endings of the files we write by hand.
const ENDINGS: [&str; 7] = ["rs", "md", "toml", "py", "sh", "yml", "json"];

/// Folders with what others or programs write.
const SKIPPED_FOLDERS: [&str; 4] = ["target", "vectors", "vendored", "node_modules"];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in our_files(root)? {
        let text = fs::read_to_string(&file)?;
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        check_words(&name, &text, &mut findings);
        if name.ends_with(".rs") {
            check_source(&name, &text, &mut findings);
        }
    }
    Ok(findings)
}

fn check_words(name: &str, text: &str, findings: &mut Vec<String>) {
    for (index, line) in text.lines().enumerate() {
        for (banned, reason) in BANNED_TEXT {
            if line.contains(banned) {
                findings.push(format!("{name}:{}: `{banned}` is {reason}", index + 1));
            }
        }
    }
}

fn check_source(name: &str, text: &str, findings: &mut Vec<String>) {
    let body = text
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = body.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(format!("{name}: {lines} lines, limit {FILE_LINES_MAX}"));
    }
    // The tests of a file, put beside it, are said what they are for by that file.
    if !text.starts_with("//!") && !name.ends_with("/tests.rs") {
        findings.push(format!(
            "{name}:1: no `//!` line saying what this file is for"
        ));
    }
    for (index, _) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(SKIPPED_TEST))
    {
        findings.push(format!("{name}:{}: a test that does not run", index + 1));
    }
    if name.starts_with(BROWSER_FOLDER) {
        check_browser(name, body, findings);
    }
    let is_repeatable = REPEATABLE_FOLDERS
        .iter()
        .any(|folder| name.starts_with(folder));
    if is_repeatable && !SYSTEM_FILES.iter().any(|file| name.ends_with(file)) {
        check_repeatable(name, body, findings);
    }
    for (index, line) in body.lines().enumerate() {
        let Some(type_name) = declared_type(line) else {
            continue;
        };
        if BANNED_TYPE_NAMES
            .iter()
            .any(|banned| type_name.ends_with(banned))
        {
            let line_number = index + 1;
            findings.push(format!(
                "{name}:{line_number}: `{type_name}` says nothing; see GLOSSARY"
            ));
        }
    }
}

/// A `select!` looks at its branches in the order they are written, and nothing asks the system.
fn check_repeatable(name: &str, body: &str, findings: &mut Vec<String>) {
    let lines: Vec<&str> = body.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        for (banned, instead) in BANNED_IN_RUNS {
            if line.contains(banned) {
                findings.push(format!("{name}:{number}: `{banned}`: {instead}"));
            }
        }
        let mut inside = lines.iter().skip(number);
        let first = inside.find(|line| !line.starts_with("//"));
        if line.ends_with("select! {") && first != Some(&"biased;") {
            findings.push(format!(
                "{name}:{number}: a `select!` that is not `biased;`"
            ));
        }
    }
}

/// Clocks, waits and tasks come from `tasks`, which knows what a browser has.
fn check_browser(name: &str, body: &str, findings: &mut Vec<String>) {
    let is_clock = |line: &str| {
        line.contains("std::time::") && (line.contains("Instant") || line.contains("SystemTime"))
    };
    for (index, line) in body.lines().enumerate() {
        if is_clock(line)
            || BANNED_IN_BROWSERS
                .iter()
                .any(|banned| line.contains(banned))
        {
            let line_number = index + 1;
            findings.push(format!(
                "{name}:{line_number}: not in a browser; `tasks` has what works there"
            ));
        }
    }
}

fn declared_type(line: &str) -> Option<&str> {
    let rest = line
        .trim_start()
        .trim_start_matches("pub ")
        .trim_start_matches("pub(crate) ");
    let rest = rest
        .strip_prefix("struct ")
        .or_else(|| rest.strip_prefix("enum "))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

fn our_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let ours = !name.starts_with('.') || name == ".ci";
            if path.is_dir() && ours && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                folders.push(path);
            } else if path.is_file()
                && path
                    .extension()
                    .is_some_and(|e| ENDINGS.iter().any(|known| e == *known))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        assert_eq!(
            check(&crate::workspace_root()).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn names_the_line() {
        let mut findings = Vec::new();
        check_source(
            "a.rs",
            "//! Doc.\n\npub struct ShardManager;\n",
            &mut findings,
        );
        assert_eq!(
            findings,
            ["a.rs:3: `ShardManager` says nothing; see GLOSSARY"]
        );
    }

    #[test]
    fn what_a_browser_lacks_is_found_where_it_matters() {
        let code = "//! Doc.\nuse std::time::{Duration, Instant};\nuse std::time::Duration;\n";
        let mut findings = Vec::new();
        check_source("io/net/src/a.rs", code, &mut findings);
        assert_eq!(findings, Vec::<String>::new());
        check_source("nodes/client/src/a.rs", code, &mut findings);
        check_source(
            "nodes/client/src/b.rs",
            "//! Doc.\ntokio::time::sleep(a);\n",
            &mut findings,
        );
        let places: Vec<_> = findings
            .iter()
            .filter_map(|f| f.split(": ").next())
            .collect();
        assert_eq!(
            places,
            ["nodes/client/src/a.rs:2", "nodes/client/src/b.rs:2"]
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let mut findings = Vec::new();
        check_words(
            "a.md",
            concat!("Fine.\nSee /wo", "rk/notes.\n"),
            &mut findings,
        );
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("a.md:2: "), "{findings:?}");
    }

    #[test]
    fn long_files_are_found_and_their_tests_not_counted() {
        let mut findings = Vec::new();
        let code = format!("//! Doc.\n{}", "// line\n".repeat(FILE_LINES_MAX));
        let tests = format!(
            "//! Doc.\n\n#[cfg(test)]\nmod tests {{\n{}",
            "\n".repeat(FILE_LINES_MAX)
        );
        check_source("tests.rs", &tests, &mut findings);
        assert_eq!(findings, Vec::<String>::new());
        check_source("code.rs", &code, &mut findings);
        assert_eq!(findings, ["code.rs: 601 lines, limit 600"]);
    }
}
