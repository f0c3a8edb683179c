//! What kind of failure an error is, for programs that act on it.

use std::collections::BTreeSet;

/// The kinds of failure that a program tells apart; its exit code says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// There is no such thing.
    NotFound,
    /// Too few Hosts, or the Bridge, can be reached.
    Unavailable,
    /// What came is not what was stored, or a promise does not verify.
    Integrity,
    /// Quota or space is used up.
    Quota,
    /// Somebody else changed the same thing meanwhile.
    Conflict,
    /// Local input or output failed.
    Local,
    /// A request that will not succeed as it is: not permitted, above a limit, other version.
    Refused,
}

/// `h3: connection refused; h7: too slow`; what happened again is said once.
pub(crate) fn failures(hosts: &[(String, String)]) -> String {
    let mut said = BTreeSet::new();
    let new = hosts.iter().filter(|failure| said.insert(*failure));
    let each = new.map(|(host, why)| format!("{host}: {why}"));
    each.collect::<Vec<_>>().join("; ")
}

/// An error with its sources, for a list that people read.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
