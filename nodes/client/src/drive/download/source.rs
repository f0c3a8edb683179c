//! What is to be got, and where it goes: the slash rule in reverse.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::formats::tree::{Entry, Kind, TreePath};

use super::target::Target;
use super::{GetError, GetRequest};
use crate::drive::path::TypedPath;
use crate::drive::read::Snapshot;
use crate::drive::slash::{Destination, Occupant, Placement, Source, ends_in_slash, place};

/// Something to be got.
pub(super) struct Start {
    pub(super) path: TreePath,
    pub(super) entry: Arc<Entry>,
    pub(super) target: Target,
    /// Its own place below the target; empty where its contents go there.
    pub(super) below: Vec<Vec<u8>>,
}

/// Finds everything that was asked for, before anything is written.
pub(super) async fn starts(
    request: &GetRequest,
    snapshot: &Snapshot,
) -> Result<Vec<Start>, GetError> {
    let many = request.remotes.len() > 1;
    let slash = ends_in_slash(request.local.as_os_str().as_encoded_bytes());
    let to = Destination {
        occupant: occupant(&request.local)?,
        folder_wanted: slash || many,
    };
    let mut entries = Vec::new();
    for remote in &request.remotes {
        let entry = snapshot.entry(&remote.path).await?;
        let placement = place(source(remote, &entry)?, to).map_err(|_| GetError::FolderNeeded {
            path: request.local.clone(),
        })?;
        entries.push((remote.path.clone(), entry, placement));
    }
    let start = |(path, entry, placement)| {
        let (folder, name) = match placement {
            Placement::Contents => (request.local.clone(), None),
            Placement::Inside => {
                let name = TreePath::name(&path).map(|name| name.as_bytes().to_vec());
                (request.local.clone(), name)
            }
            Placement::Exactly => split(&request.local),
        };
        let target = Target::open(make_folder(folder)?)?;
        Ok(Start {
            path,
            entry,
            target,
            below: name.into_iter().collect(),
        })
    };
    entries.into_iter().map(start).collect()
}

fn source(remote: &TypedPath, entry: &Entry) -> Result<Source, GetError> {
    match (&entry.kind, remote.slash) {
        (Kind::Folder(_), true) => Ok(Source::Contents),
        (Kind::Folder(_), false) => Ok(Source::Folder),
        (Kind::File(_) | Kind::Symlink(_), false) => Ok(Source::File),
        (Kind::File(_) | Kind::Symlink(_), true) => Err(GetError::NoFolder {
            path: remote.path.clone(),
        }),
    }
}

/// What stands at `local`; a symlink that the owner named is followed.
fn occupant(local: &Path) -> Result<Occupant, GetError> {
    match fs::metadata(local) {
        Ok(metadata) if metadata.is_dir() => Ok(Occupant::Folder),
        Ok(_) => Ok(Occupant::File),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::Nothing),
        Err(source) => Err(GetError::Destination {
            path: local.to_owned(),
            source,
        }),
    }
}

fn make_folder(path: PathBuf) -> Result<PathBuf, GetError> {
    match fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(GetError::Destination { path, source }),
    }
}

/// The folder that holds `local`, and its name there.
fn split(local: &Path) -> (PathBuf, Option<Vec<u8>>) {
    let folder = match local.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    (
        folder,
        local
            .file_name()
            .map(|name| name.as_encoded_bytes().to_vec()),
    )
}
