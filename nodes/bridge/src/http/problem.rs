//! The problems that endpoints name as theirs in their descriptions. Those that follow from what
//! an endpoint takes (a session, a body, parameters) are added by [`super::openapi`].

use std::collections::BTreeMap;

use model::wire::ProblemCode;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

/// Answers under the codes' names; [`super::openapi`] puts them where their statuses are.
fn answers(codes: &[ProblemCode]) -> BTreeMap<String, RefOr<Response>> {
    let answer = |code: &ProblemCode| {
        let response = Response::new(code.title());
        (code.as_str().to_owned(), response.into())
    };
    codes.iter().map(answer).collect()
}

/// Declares a problem, or several that go together.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $($code:ident),+;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    answers(&[$(ProblemCode::$code),+])
                }
            }
        )*
    };
}

problems! {
    Busy: Busy;
    Conflict: Conflict;
    Forbidden: Forbidden;
    HashMismatch: HashMismatch;
    NotFound: NotFound;
    QuotaExceeded: QuotaExceeded;
    ReceiptRefused: ReceiptRefused;
    TooFewHosts: TooFewHosts;
    TooLarge: TooLarge;
    Unauthorized: Unauthorized;
    UploadState: UploadState;
    /// Why a root does not become the current one.
    OfCommits: Conflict, Forbidden, HashMismatch, NotFound, QuotaExceeded, ReceiptRefused,
        RootConflict, TooFewReceipts, UploadState;
}
