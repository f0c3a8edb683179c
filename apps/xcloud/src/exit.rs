//! How a run ended: exit codes, and errors told to people and programs.

use std::process::ExitCode;

use anyhow::Error;
use client::drive::arrange::ArrangeError;
use client::drive::delete::{PurgeError, RemoveError};
use client::drive::download::GetError;
use client::drive::join::JoinError;
use client::drive::locate::LocateError;
use client::drive::tidy::TidyError;
use client::drive::unfinished::UnfinishedError;
use client::drive::upload::PutError;
use client::drive::verify::VerifyError;
use client::drive::{HomeError, OpenError, PathError, ReadError};
use client::transfer::FailureKind;
use model::crypto::MnemonicError;
use serde::Serialize;

/// What the caller of the program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Some files failed, each was named; or something on this machine did.
    SomeFailed = 1,
    /// Wrong usage.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Too few Hosts, or no Bridge, can be reached.
    Unavailable = 4,
    /// What came is not what was stored.
    Integrity = 5,
    /// Quota or space is used up.
    Quota = 6,
    /// Something else stands there, or changed meanwhile.
    Conflict = 7,
    /// Ended by Ctrl-C, as shells expect it.
    Interrupted = 130,
}

/// A command that did not do what it was told.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: Error,
}

/// A failure, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct FailureReport {
    error: FailureReason,
}

#[derive(Debug, Serialize)]
struct FailureReason {
    code: u8,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::SomeFailed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Integrity => "integrity",
            Self::Quota => "quota",
            Self::Conflict => "conflict",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::NotFound => Self::NotFound,
            FailureKind::Unavailable => Self::Unavailable,
            FailureKind::Integrity => Self::Integrity,
            FailureKind::Quota => Self::Quota,
            FailureKind::Conflict => Self::Conflict,
            FailureKind::Local => Self::SomeFailed,
            FailureKind::Refused => Self::Usage,
        }
    }
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }

    /// Wrong usage, in one sentence.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Error::msg(message.into()))
    }

    /// The error with its causes on one line.
    pub(crate) fn sentence(&self) -> String {
        format!("{:#}", self.error)
    }

    pub(crate) fn report(&self) -> FailureReport {
        let causes = self
            .error
            .chain()
            .skip(1)
            .map(ToString::to_string)
            .collect();
        let message = self.error.to_string();
        let (code, kind) = (self.exit.code(), self.exit.name());
        FailureReport {
            error: FailureReason {
                code,
                kind,
                message,
                causes,
            },
        }
    }
}

macro_rules! failure_by_kind {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.kind().into(), error)
            }
        }
    )*};
}

failure_by_kind!(
    ArrangeError,
    GetError,
    JoinError,
    LocateError,
    OpenError,
    PurgeError,
    PutError,
    UnfinishedError,
    ReadError,
    RemoveError,
    TidyError,
    VerifyError,
);

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let exit = match error {
            HomeError::NotInitialised { .. } => Exit::Usage,
            HomeError::AlreadyInitialised { .. } => Exit::Conflict,
            _ => Exit::SomeFailed,
        };
        Self::new(exit, error)
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<MnemonicError> for Failure {
    fn from(error: MnemonicError) -> Self {
        Self::new(Exit::Usage, error)
    }
}

/// Trouble with this machine's own input and output.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::SomeFailed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_promised_ones() {
        let codes = [
            (FailureKind::NotFound, 3),
            (FailureKind::Unavailable, 4),
            (FailureKind::Integrity, 5),
            (FailureKind::Quota, 6),
            (FailureKind::Conflict, 7),
            (FailureKind::Local, 1),
            (FailureKind::Refused, 2),
        ];
        for (kind, code) in codes {
            assert_eq!(Exit::from(kind).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_failure_tells_its_causes() {
        let cause = std::io::Error::other("disk on fire");
        let failure = Failure::new(
            Exit::SomeFailed,
            Error::new(cause).context("f cannot be read"),
        );
        assert_eq!(failure.sentence(), "f cannot be read: disk on fire");
        assert_eq!(
            serde_json::to_string(&failure.report()).unwrap(),
            r#"{"error":{"code":1,"kind":"failed","message":"f cannot be read","causes":["disk on fire"]}}"#
        );
    }
}
