//! `rm`: takes names out of the tree. Content and earlier versions stay until retention ends,
//! unless [`purge`] destroys them.

mod purge;

use model::formats::tree::TreePath;

use super::commit::{CommitError, Intent};
use super::open::{Drive, OpenError};
use super::path::TypedPath;
use super::read::ReadError;
use crate::transfer::FailureKind;
pub use purge::{PurgeError, PurgeReport};

/// Names that were not removed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The volume cannot be opened.
    #[error("the volume cannot be opened")]
    Open(#[from] OpenError),
    /// The tree cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The change was not committed.
    #[error("nothing was removed")]
    Commit(#[from] CommitError),
}

impl RemoveError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Open(source) => source.kind(),
            Self::Read(source) => source.kind(),
            Self::Commit(source) => source.kind(),
        }
    }
}

impl Drive {
    /// Removes what is at `paths`, folders with everything in them; all of it or nothing. What
    /// another device made or changed there in this very moment stays, and is returned.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove(&self, paths: &[TypedPath]) -> Result<Vec<TreePath>, RemoveError> {
        let head = self.head().await?;
        let paths = outermost(paths).into_iter();
        let intents: Vec<Intent> = paths.map(Intent::Remove).collect();
        Ok(self.committer(head).commit(intents.into()).await?.left)
    }
}

/// The paths that lie in none of the others, each once.
fn outermost(paths: &[TypedPath]) -> Vec<TreePath> {
    let mut sorted: Vec<TreePath> = paths.iter().map(|typed| typed.path.clone()).collect();
    sorted.sort_unstable();
    let mut kept: Vec<TreePath> = Vec::new();
    for path in sorted {
        if !kept.last().is_some_and(|above| path.starts_with(above)) {
            kept.push(path);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_its_folder_is_not_removed_twice() {
        let typed = ["/a/b", "/a", "/ab", "/c/d", "/a", "/c"];
        let typed = typed.map(|path| TypedPath::parse(path.as_bytes()).unwrap());
        let kept: Vec<String> = outermost(&typed).iter().map(ToString::to_string).collect();
        assert_eq!(kept, ["/a", "/ab", "/c"]);
    }
}
