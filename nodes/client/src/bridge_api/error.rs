//! Why a call to the Bridge did not succeed.

use model::wire::api::RootAnswer;
use model::wire::{Problem, ProblemCode, ProtocolVersionsError, VersionRefused};
use net::CallError;

use crate::transfer::FailureKind;

/// A call to the Bridge that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The call needs a session, and no key to sign in with was given.
    #[error("not signed in")]
    SignedOut,
    /// The Bridge gave a token that no header can carry.
    #[error("the bridge gave a malformed token")]
    Token,
    /// A list is longer than the Bridge takes.
    #[error("{call}: {count} {what}, at most {limit}")]
    TooMany {
        /// Which call.
        call: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// The request could not be written as JSON.
    #[error("{call}: the request could not be written")]
    Encode {
        /// Which call.
        call: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The Bridge refused, and said why.
    #[error("{call}: {problem}")]
    Refused {
        /// Which call.
        call: &'static str,
        /// The Bridge's reason.
        problem: Box<Problem>,
    },
    /// The Bridge was not reached, or its answer was lost, also when asked again.
    #[error("{call}: the bridge does not answer")]
    Unreachable {
        /// Which call.
        call: &'static str,
        /// The last failure.
        #[source]
        source: CallError,
    },
    /// The Bridge is too old for us, or we for it. Nothing was changed.
    #[error("{call}: {refused}")]
    Version {
        /// Which call.
        call: &'static str,
        /// Who is behind.
        refused: VersionRefused,
    },
    /// The Bridge says of what it speaks something that is no range of versions.
    #[error("{call}: what the bridge speaks is not understood")]
    Versions {
        /// Which call.
        call: &'static str,
        /// What it should be.
        #[source]
        source: ProtocolVersionsError,
    },
    /// The Bridge answered something that is not an answer.
    #[error("{call}: the bridge's answer is not understood")]
    Answer {
        /// Which call.
        call: &'static str,
        /// What is wrong with it.
        #[source]
        source: CallError,
    },
}

impl BridgeError {
    pub(super) fn of(call: &'static str, error: CallError) -> Self {
        match error {
            CallError::Refused { problem, .. } => Self::Refused { call, problem },
            source @ (CallError::Connect { .. }
            | CallError::Timeout { .. }
            | CallError::Answer { .. }
            | CallError::Body { .. }) => Self::Unreachable { call, source },
            source @ (CallError::Request { .. }
            | CallError::TooLarge { .. }
            | CallError::Encode { .. }
            | CallError::Decode { .. }
            | CallError::Status { .. }) => Self::Answer { call, source },
        }
    }

    /// The Bridge's reason, where it gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            Self::SignedOut
            | Self::Token
            | Self::TooMany { .. }
            | Self::Encode { .. }
            | Self::Unreachable { .. }
            | Self::Version { .. }
            | Self::Versions { .. }
            | Self::Answer { .. } => None,
        }
    }

    /// The code of the Bridge's reason.
    #[must_use]
    pub fn code(&self) -> Option<ProblemCode> {
        self.problem().map(|problem| problem.code)
    }

    /// The root that stands where a commit wanted to put its own.
    #[must_use]
    pub fn root_conflict(&self) -> Option<RootAnswer> {
        let problem = self
            .problem()
            .filter(|found| found.code == ProblemCode::RootConflict)?;
        serde_json::from_value(problem.facts.clone()).ok()
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unreachable { .. } => FailureKind::Unavailable,
            Self::Refused { problem, .. } => kind_of(problem.code),
            Self::SignedOut
            | Self::Token
            | Self::TooMany { .. }
            | Self::Encode { .. }
            | Self::Version { .. }
            | Self::Versions { .. }
            | Self::Answer { .. } => FailureKind::Refused,
        }
    }
}

const fn kind_of(code: ProblemCode) -> FailureKind {
    match code {
        ProblemCode::NotFound => FailureKind::NotFound,
        ProblemCode::TooFewHosts
        | ProblemCode::TooFewReceipts
        | ProblemCode::ScheduledOff
        | ProblemCode::Busy
        | ProblemCode::TooSlow
        | ProblemCode::Internal
        | ProblemCode::ShardUnseen
        | ProblemCode::ShardRotten
        | ProblemCode::Unavailable => FailureKind::Unavailable,
        ProblemCode::HashMismatch | ProblemCode::ReceiptRefused => FailureKind::Integrity,
        ProblemCode::QuotaExceeded | ProblemCode::NoSpace => FailureKind::Quota,
        ProblemCode::Conflict
        | ProblemCode::RootConflict
        | ProblemCode::SerialBound
        | ProblemCode::UploadState => FailureKind::Conflict,
        ProblemCode::BadRequest
        | ProblemCode::TooLarge
        | ProblemCode::Unauthorized
        | ProblemCode::Forbidden
        | ProblemCode::TicketRefused
        | ProblemCode::VersionRefused
        | ProblemCode::Other => FailureKind::Refused,
    }
}
