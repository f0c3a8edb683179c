//! `mkdir`, `mv`, `cp`: changes to the tree alone; no content is moved.

use model::formats::tree::{Change, Kind, Meta, Name, TreePath};

use super::commit::{CommitError, Intent, mtime};
use super::open::{Drive, OpenError};
use super::path::TypedPath;
use super::read::{ReadError, Snapshot};
use crate::transfer::FailureKind;

/// Permission bits of a folder that is made here.
const FOLDER_MODE: u32 = 0o755;

/// Whether what is arranged stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// It goes: `mv`.
    Move,
    /// It stays: `cp`.
    Copy,
}

/// A tree that was not rearranged. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ArrangeError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Several things need a folder to go to, and so does what goes to a path with a slash.
    #[error("`{path}` is no folder")]
    FolderNeeded {
        /// Where they should go.
        path: TreePath,
    },
    /// The top folder has no name to be kept elsewhere.
    #[error("the top folder cannot be moved or copied itself; name what is in it")]
    TopFolder,
    /// The path would be too deep.
    #[error(transparent)]
    Path(#[from] model::formats::tree::PathError),
    /// The change was not committed.
    #[error("the tree was not changed")]
    Commit(#[from] CommitError),
}

impl ArrangeError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::FolderNeeded { .. } => FailureKind::NotFound,
            Self::TopFolder | Self::Path(_) => FailureKind::Refused,
            Self::Commit(source) => source.kind(),
        }
    }
}

impl Drive {
    /// Makes folders; with `parents` also those above, and existing ones are no error.
    ///
    /// # Errors
    /// [`ArrangeError`].
    pub async fn make_folders(
        &self,
        paths: &[TypedPath],
        parents: bool,
    ) -> Result<(), ArrangeError> {
        let head = self.head().await?;
        let mut intents = Vec::new();
        for TypedPath { path, .. } in paths {
            if parents {
                let mut above: Vec<_> =
                    std::iter::successors(Some(path.clone()), TreePath::parent).collect();
                above.retain(|path| path.name().is_some());
                above.reverse();
                intents.extend(
                    above
                        .into_iter()
                        .map(|path| Intent::Folder { path, meta: None }),
                );
            } else {
                let mtime = mtime(self.environment.now());
                let meta = Meta {
                    mtime,
                    mode: FOLDER_MODE,
                    ..Meta::default()
                };
                intents.push(Intent::Exactly(Change::MakeFolder {
                    path: path.clone(),
                    meta,
                }));
            }
        }
        let outcome = self.committer(head).commit(intents.into()).await?;
        match outcome.refused.into_iter().next() {
            None => Ok(()),
            Some(refused) => Err(CommitError::Edit(refused.error).into()),
        }
    }

    /// Moves or copies `from` to `to`: into it where it is a folder, else to that very path.
    ///
    /// # Errors
    /// [`ArrangeError`]; then none of them went.
    pub async fn arrange(
        &self,
        arrangement: Arrangement,
        from: &[TypedPath],
        to: &TypedPath,
    ) -> Result<(), ArrangeError> {
        let head = self.head().await?;
        let snapshot = Snapshot::new(head.tree.clone(), std::sync::Arc::clone(&self.pages));
        let there = snapshot.find(&to.path).await?;
        let into_folder = there.is_some_and(|entry| matches!(entry.kind, Kind::Folder(_)));
        let mut intents = Vec::with_capacity(from.len());
        for TypedPath {
            path: from_path, ..
        } in from
        {
            let name = from_path.name().ok_or(ArrangeError::TopFolder)?;
            let entry = snapshot.entry(from_path).await?;
            let is_folder = matches!(entry.kind, Kind::Folder(_));
            let to = target(
                to,
                name,
                into_folder,
                from.len() > 1 || (to.slash && !is_folder),
            )?;
            let from = from_path.clone();
            intents.push(Intent::Exactly(match arrangement {
                Arrangement::Move => Change::Move { from, to },
                Arrangement::Copy => Change::Copy { from, to },
            }));
        }
        self.committer(head).commit(intents.into()).await?;
        Ok(())
    }
}

fn target(
    to: &TypedPath,
    name: &Name,
    into_folder: bool,
    folder_wanted: bool,
) -> Result<TreePath, ArrangeError> {
    match (into_folder, folder_wanted) {
        (true, _) => Ok(to.path.clone().join(name.clone())?),
        (false, true) => Err(ArrangeError::FolderNeeded {
            path: to.path.clone(),
        }),
        (false, false) => Ok(to.path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_take_things_in_and_other_paths_are_the_new_name() {
        let to = |typed: &[u8]| TypedPath::parse(typed).unwrap();
        let name = Name::new(b"f").unwrap();
        let path = |text: &[u8]| TreePath::parse(text).unwrap();
        assert_eq!(
            target(&to(b"/d"), &name, true, false).unwrap(),
            path(b"/d/f")
        );
        assert_eq!(
            target(&to(b"/d/"), &name, true, true).unwrap(),
            path(b"/d/f")
        );
        assert_eq!(
            target(&to(b"/new"), &name, false, false).unwrap(),
            path(b"/new")
        );
        assert!(matches!(
            target(&to(b"/new/"), &name, false, true),
            Err(ArrangeError::FolderNeeded { .. })
        ));
    }
}
