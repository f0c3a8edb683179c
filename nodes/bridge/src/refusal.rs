//! How a rule's error reaches whoever asked: as a problem with a stable code.

use metastore::{StoreError, TxError};
use model::wire::{Problem, ProblemCode};

use crate::random::EntropyError;

/// An error that says how it is told to the caller.
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// The problem document. Internal faults say nothing of their cause.
    fn problem(&self) -> Problem;
}

impl Refusal for StoreError {
    fn problem(&self) -> Problem {
        match self {
            Self::Closed => Problem::new(ProblemCode::Unavailable, "the bridge is shutting down"),
            Self::Engine { .. }
            | Self::Commit { .. }
            | Self::OutOfRange { .. }
            | Self::TooLong { .. }
            | Self::Panicked => internal(),
        }
    }
}

impl<E: Refusal> Refusal for TxError<E> {
    fn problem(&self) -> Problem {
        match self {
            Self::Rule(refusal) => refusal.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

impl Refusal for EntropyError {
    fn problem(&self) -> Problem {
        internal()
    }
}

/// What the caller learns of a fault that is the Bridge's own.
pub(crate) fn internal() -> Problem {
    Problem::new(
        ProblemCode::Internal,
        "the bridge failed to do this; its log says why",
    )
}

/// An error with all its causes, for the log. Causes that their error has told already are left
/// out.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |error| error.source());
    for cause in causes.map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
