//! What is to be put where: the slash rule applied to local paths and the tree.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use model::formats::tree::{Name, PathError};

use super::compose::Origin;
use super::walk::Walk;
use super::{Intent, Put, PutError, PutRequest};
use crate::drive::file::{folders_above, occupant};
use crate::drive::open::{Drive, Head};
use crate::drive::read::Snapshot;
use crate::drive::slash::{Destination, Placement, Source, ends_in_slash, place};
use crate::drive::upload::WalkError;

/// What a `put` starts from.
pub(super) struct Sources {
    pub(super) origins: Vec<Origin>,
    /// Folders that must be there first.
    pub(super) folders: Vec<Intent>,
    /// Local paths that failed already; each was named.
    pub(super) failed: u64,
}

impl Drive {
    pub(super) async fn sources(
        &self,
        request: &PutRequest,
        put: &Put,
        head: &Head,
    ) -> Result<Sources, PutError> {
        let snapshot = Snapshot::new(head.tree.clone(), std::sync::Arc::clone(&self.pages));
        let remote = &request.remote.path;
        let many = request.locals.len() > 1;
        let occupant = occupant(&snapshot, remote).await?;
        let to = Destination {
            occupant,
            folder_wanted: request.remote.slash || many,
        };
        let mut sources = Sources {
            origins: Vec::new(),
            folders: Vec::new(),
            failed: 0,
        };
        let mut folder_needed = false;
        for local in &request.locals {
            let source = match look_at(local) {
                Ok(source) => source,
                Err(source) if many => {
                    let error = WalkError::Read {
                        path: local.clone(),
                        source,
                    };
                    put.watcher.failed(local.as_os_str().as_bytes(), &error);
                    sources.failed += 1;
                    continue;
                }
                Err(source) => {
                    return Err(PutError::Local {
                        path: local.clone(),
                        source,
                    });
                }
            };
            let needed = |_| PutError::FolderNeeded {
                path: remote.clone(),
            };
            let placement = place(source, to).map_err(needed)?;
            let base = match placement {
                Placement::Inside => remote.clone().join(name_of(local)?)?,
                Placement::Contents | Placement::Exactly => remote.clone(),
            };
            folder_needed |= placement == Placement::Inside;
            let walk = Walk::new(local.clone(), source == Source::Contents);
            sources.origins.push(Origin::Walk { walk, base });
        }
        sources.folders = folders_above(&snapshot, remote, folder_needed).await?;
        Ok(sources)
    }
}

fn look_at(local: &Path) -> io::Result<Source> {
    let slash = ends_in_slash(local.as_os_str().as_bytes());
    let metadata = if slash {
        fs::metadata(local)?
    } else {
        fs::symlink_metadata(local)?
    };
    Ok(match (metadata.is_dir(), slash) {
        (true, true) => Source::Contents,
        (true, false) => Source::Folder,
        (false, _) => Source::File,
    })
}

fn name_of(local: &Path) -> Result<Name, PathError> {
    Name::new(local.file_name().unwrap_or_default().as_bytes())
}
