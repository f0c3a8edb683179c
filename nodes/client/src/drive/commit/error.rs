//! Why a change was not committed.

use std::sync::Arc;

use model::formats::root::RootSignError;
use model::formats::tree::EditError;

use super::pace::PATIENCE;
use crate::bridge_api::BridgeError;
use crate::drive::home::HomeError;
use crate::drive::open::OpenError;
use crate::drive::read::ReadError;
use crate::transfer::FailureKind;

/// A change that was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another run of this device could not be waited for.
    #[error("the home of this device cannot be locked")]
    Lock(#[source] HomeError),
    /// The root that was signed cannot be remembered.
    #[error("the new root cannot be remembered")]
    Remember(#[source] HomeError),
    /// The tree does not allow it.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The tree could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The root cannot be signed.
    #[error("the new root cannot be signed")]
    Sign(#[source] RootSignError),
    /// The Bridge does not take pages.
    #[error("{count} pages of the tree could not be stored")]
    Pages {
        /// How many.
        count: usize,
        /// Why.
        #[source]
        source: BridgeError,
    },
    /// The Bridge does not take the commit.
    #[error("the change was not committed")]
    Commit(#[source] BridgeError),
    /// The newest root is refused.
    #[error("the root that was committed meanwhile is refused")]
    Newer(#[source] Box<OpenError>),
    /// Others were faster, again and again.
    #[error(
        "other devices were faster for {} seconds, {lost} times; try again",
        PATIENCE.as_secs()
    )]
    Overtaken {
        /// How often.
        lost: u32,
    },
    /// The program is ending.
    #[error("the commit was interrupted")]
    Interrupted,
    /// What stopped all changes that shared a root.
    #[error(transparent)]
    Shared(Arc<Self>),
}

impl CommitError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Lock(_) | Self::Remember(_) | Self::Interrupted => FailureKind::Local,
            Self::Edit(error) => edit_kind(error),
            Self::Read(source) => source.kind(),
            Self::Sign(_) => FailureKind::Refused,
            Self::Pages { source, .. } | Self::Commit(source) => source.kind(),
            Self::Newer(source) => source.kind(),
            Self::Overtaken { .. } => FailureKind::Conflict,
            Self::Shared(source) => source.kind(),
        }
    }

    /// Why the Bridge does not take the commit, where that is what went wrong.
    pub(in crate::drive) fn refusal(&self) -> Option<&BridgeError> {
        match self {
            Self::Commit(source) => Some(source),
            Self::Shared(shared) => shared.refusal(),
            _ => None,
        }
    }

    /// Whether one of several changes that share a root may be the cause alone.
    pub(super) fn may_be_of_one(&self) -> bool {
        match self {
            Self::Edit(_) => true,
            Self::Commit(source) => source.code().is_some(),
            Self::Lock(_)
            | Self::Remember(_)
            | Self::Read(_)
            | Self::Sign(_)
            | Self::Pages { .. }
            | Self::Newer(_)
            | Self::Overtaken { .. }
            | Self::Interrupted
            | Self::Shared(_) => false,
        }
    }
}

/// What kind of failure an edit is.
fn edit_kind(error: &EditError) -> FailureKind {
    match error {
        EditError::NotFound { .. } => FailureKind::NotFound,
        EditError::NotAFolder { .. } | EditError::Exists { .. } => FailureKind::Conflict,
        EditError::TopFolder
        | EditError::IntoItself { .. }
        | EditError::EntryTooLarge { .. }
        | EditError::Invalid { .. } => FailureKind::Refused,
        EditError::Tree(_) => FailureKind::Integrity,
    }
}
