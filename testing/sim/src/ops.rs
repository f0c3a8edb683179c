//! What a device does: each operation follows from the seed and its number, and is checked against
//! what the owner should see.

use std::error::Error;
use std::sync::Arc;

use client::drive::arrange::Arrangement;
use client::drive::{Drive, NewContent, NewFile, TypedPath};
use client::transfer::FailureKind;
use client::upload::InMemory;
use model::crypto::{FileCipher, Secret};
use model::formats::tree::{Kind, TreePath};
use model::units::INLINE_BYTES_MAX;
use planet::Dice;

use crate::model::{Content, Files};

/// Names that files of a device have; few, so that they are replaced often.
const NAMES: u64 = 12;
const KIB: u64 = 1_024;

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Put { path: String, content: Content },
    Get { path: String },
    Remove { path: String },
    Move { from: String, to: String },
    List,
}

/// What came of one.
pub(crate) enum Outcome {
    /// It was done; what is said of it.
    Done(String),
    /// It was not, or nobody knows.
    Failed(String),
    /// It answered what must never be answered.
    Wrong(String),
}

impl Operation {
    /// Operation `number` of the device whose files lie in `folder`.
    pub(crate) fn draw(dice: &mut Dice, folder: &str, number: u64, files: &Files) -> Self {
        let there = files.paths();
        let one = dice.pick(&there).cloned();
        match (dice.below(20), one) {
            (0..=3, Some(path)) => Self::Get { path },
            (4 | 5, Some(path)) => Self::Remove { path },
            (6 | 7, Some(from)) => Self::Move {
                from,
                to: format!("{folder}/moved-{number}"),
            },
            (8, Some(_)) => Self::List,
            _ => {
                let (sub, name) = (dice.below(3), dice.below(NAMES));
                Self::put(dice, format!("{folder}/{sub}/f{name}"))
            }
        }
    }

    /// Several that are done at the same time, so that they share roots or race for them.
    pub(crate) fn several(dice: &mut Dice, folder: &str, number: u64) -> Vec<Self> {
        let count = 2 + dice.below(4);
        (0..count)
            .map(|one| Self::put(dice, format!("{folder}/{number}/g{one}")))
            .collect()
    }

    fn put(dice: &mut Dice, path: String) -> Self {
        let content = Content {
            seed: dice.next(),
            bytes: usize::try_from(size(dice)).unwrap_or(0),
        };
        Self::Put { path, content }
    }

    /// What it changes, if it is done.
    pub(crate) fn changes(&self, files: &Files) -> Vec<(String, Vec<Option<Content>>)> {
        match self {
            Self::Put { path, content } => vec![(path.clone(), vec![Some(*content)])],
            Self::Remove { path } => vec![(path.clone(), vec![None])],
            Self::Move { from, to } => {
                // Whether it was there shows when it is moved.
                let mut moved = files.contents(from);
                moved.retain(Option::is_some);
                vec![(to.clone(), moved), (from.clone(), vec![None])]
            }
            Self::Get { .. } | Self::List => Vec::new(),
        }
    }

    /// Does it, where `files` are those of the device before, which lie in `folder`.
    pub(crate) async fn run(&self, drive: &Drive, folder: &str, files: &Files) -> Outcome {
        match self {
            Self::Put { path, content } => put(drive, path, *content).await,
            Self::Get { path } => get(drive, path, files).await,
            Self::Remove { path } => remove(drive, path, files).await,
            Self::Move { from, to } => rename(drive, from, to, files).await,
            Self::List => {
                // What others do meanwhile is not known.
                let own = std::slice::from_ref(files);
                list(drive, own, &format!("{folder}/")).await
            }
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { path, content } => write!(f, "put {path} {content}"),
            Self::Get { path } => write!(f, "get {path}"),
            Self::Remove { path } => write!(f, "rm {path}"),
            Self::Move { from, to } => write!(f, "mv {from} {to}"),
            Self::List => write!(f, "ls"),
        }
    }
}

/// Most files are small, some empty, a few larger than a segment's data shards.
fn size(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0 => 0,
        1..=6 => dice.below(4 * KIB + 1),
        7..=14 => 4 * KIB + dice.below(60 * KIB),
        15..=18 => 64 * KIB + dice.below(300 * KIB),
        _ => 1_024 * KIB + dice.below(1_024 * KIB),
    }
}

async fn put(drive: &Drive, path: &str, content: Content) -> Outcome {
    let Ok(tree_path) = TreePath::parse(path.as_bytes()) else {
        return Outcome::Wrong(format!("{path} is no path"));
    };
    let mut bytes = content.make();
    let content = if bytes.len() <= INLINE_BYTES_MAX {
        NewContent::Tiny(bytes)
    } else {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&content.seed.to_le_bytes());
        let secret = Secret::new(seed);
        FileCipher::new(&secret).apply(0, &mut bytes);
        NewContent::Long {
            length: bytes.len() as u64,
            secret,
            content: Box::new(InMemory::new(bytes)),
        }
    };
    let file = NewFile {
        path: tree_path,
        content,
        class: None,
    };
    match drive.put_file(file, &Arc::default()).await {
        Ok(Some(class)) => Outcome::Done(format!("as {class}")),
        Ok(None) => Outcome::Done("in the tree".to_owned()),
        Err(error) => failed(&error, error.kind()),
    }
}

async fn get(drive: &Drive, path: &str, files: &Files) -> Outcome {
    match content_of(drive, path).await {
        Ok(Some(bytes)) if files.at(path).may_be(&bytes) => {
            Outcome::Done(format!("{} bytes", bytes.len()))
        }
        Ok(None) if files.at(path).may_be_nothing() => Outcome::Done("nothing there".to_owned()),
        Ok(Some(bytes)) => Outcome::Wrong(format!("{} bytes, not {}", bytes.len(), files.at(path))),
        Ok(None) => Outcome::Wrong(format!("nothing, not {}", files.at(path))),
        Err(outcome) => outcome,
    }
}

/// What is at `path`; `None` where that is nothing.
pub(crate) async fn content_of(drive: &Drive, path: &str) -> Result<Option<Vec<u8>>, Outcome> {
    let tree_path =
        TreePath::parse(path.as_bytes()).map_err(|error| Outcome::Wrong(error.to_string()))?;
    let file = match drive.open_file(&tree_path).await {
        Ok(file) => file,
        Err(error) if error.kind() == FailureKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error, error.kind())),
    };
    let length = usize::try_from(file.size()).unwrap_or(usize::MAX);
    match file.read_at(0, length).await {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(error) => Err(failed(&error, error.kind())),
    }
}

async fn remove(drive: &Drive, path: &str, files: &Files) -> Outcome {
    let Ok(typed) = TypedPath::parse(path.as_bytes()) else {
        return Outcome::Wrong(format!("{path} is no path"));
    };
    match drive.remove(&[typed]).await {
        Ok(left) if left.is_empty() => Outcome::Done("done".to_owned()),
        Ok(left) => Outcome::Wrong(format!("{} were left", left.len())),
        Err(error) => missing(&error, error.kind(), path, files),
    }
}

async fn rename(drive: &Drive, from: &str, to: &str, files: &Files) -> Outcome {
    let typed = |path: &str| TypedPath::parse(path.as_bytes());
    let (Ok(typed_from), Ok(typed_to)) = (typed(from), typed(to)) else {
        return Outcome::Wrong(format!("{from} or {to} is no path"));
    };
    let typed_from = [typed_from];
    let moved = drive.arrange(Arrangement::Move, &typed_from, &typed_to);
    match moved.await {
        Ok(()) => Outcome::Done("done".to_owned()),
        Err(error) => missing(&error, error.kind(), from, files),
    }
}

/// A failure that is wrong if it says that what must be there is not.
fn missing(error: &dyn Error, kind: FailureKind, path: &str, files: &Files) -> Outcome {
    if kind == FailureKind::NotFound && !files.at(path).may_be_nothing() {
        return Outcome::Wrong(format!("nothing at {path}, not {}", files.at(path)));
    }
    failed(error, kind)
}

/// Compares what lies below `top` with what these devices of the owner should see there together.
pub(crate) async fn list(drive: &Drive, all: &[Files], top: &str) -> Outcome {
    let seen = match walk(drive).await {
        Ok(mut seen) => {
            seen.retain(|(path, _)| path.starts_with(top));
            seen
        }
        Err(outcome) => return outcome,
    };
    let of_all = || all.iter().flat_map(Files::iter);
    for (path, bytes) in &seen {
        let mut known = of_all().filter(|(known, _)| *known == path);
        if !known.any(|(_, file)| file.may_have_size(*bytes)) {
            return Outcome::Wrong(format!("{path} of {bytes} bytes should not be there"));
        }
    }
    for (path, file) in of_all() {
        if !file.may_be_nothing() && !seen.iter().any(|(seen, _)| seen == path) {
            return Outcome::Wrong(format!("{path} is missing, which is {file}"));
        }
    }
    Outcome::Done(format!("{} files", seen.len()))
}

async fn walk(drive: &Drive) -> Result<Vec<(String, u64)>, Outcome> {
    let snapshot = drive.snapshot().await;
    let snapshot = snapshot.map_err(|error| failed(&error, error.kind()))?;
    let top = snapshot.entry(&TreePath::top()).await;
    let top = top.map_err(|error| failed(&error, error.kind()))?;
    let mut seen = Vec::new();
    let Some(folder) = top.folder() else {
        return Err(Outcome::Wrong("the top is no folder".to_owned()));
    };
    let mut walk = snapshot.walk(folder, TreePath::top());
    loop {
        match walk.next().await {
            Ok(Some(walked)) => {
                if let Kind::File(file) = &walked.entry.kind {
                    seen.push((walked.path.to_string(), file.size()));
                }
            }
            Ok(None) => return Ok(seen),
            Err(error) => return Err(failed(&error, error.kind())),
        }
    }
}

/// A failure; one of integrity is a lie that got through.
fn failed(error: &dyn Error, kind: FailureKind) -> Outcome {
    let mut text = format!("{kind:?}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    match kind {
        FailureKind::Integrity => Outcome::Wrong(text),
        _ => Outcome::Failed(text),
    }
}
