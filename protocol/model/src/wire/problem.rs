//! Errors on the wire: problem+json (RFC 9457) with stable codes.

use serde::{Deserialize, Serialize};

/// An error as the Bridge and the Hosts answer it, with media type `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{detail} ({code}, HTTP {status})")]
pub struct Problem {
    /// `urn:xcloud:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What went wrong, for every occurrence the same.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code programs decide by.
    pub code: ProblemCode,
    /// This occurrence, for people: the thing, the limit and the way out.
    pub detail: String,
    /// Facts that belong to the code, `{"needed": 8, "available": 3}` say.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub facts: serde_json::Value,
}

/// Declares the codes with their text, HTTP status and title.
macro_rules! problem_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong; the text form never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(from = "String", into = "&'static str")]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)*
            /// A code of a newer version.
            Other,
        }

        impl ProblemCode {
            /// Every code that is answered.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Other => "other" }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* Self::Other => 500 }
            }

            /// What went wrong, for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* Self::Other => "another problem" }
            }
        }

        impl From<String> for ProblemCode {
            fn from(text: String) -> Self {
                match text.as_str() { $($text => Self::$name,)* _ => Self::Other }
            }
        }
    };
}

problem_codes! {
    /// The request is not of the right form.
    BadRequest = "bad_request", 400, "the request is malformed";
    /// A list, name or body is above its limit.
    TooLarge = "too_large", 413, "above a limit";
    /// No session, or one that ended.
    Unauthorized = "unauthorized", 401, "sign in first";
    /// Signed by somebody who may not do this.
    Forbidden = "forbidden", 403, "not permitted";
    /// No such thing in this account.
    NotFound = "not_found", 404, "not found";
    /// Exists already with other content.
    Conflict = "conflict", 409, "exists with other content";
    /// The root changed since it was read; facts carry the current one.
    RootConflict = "root_conflict", 409, "the root changed meanwhile";
    /// The serial is bound to another shard.
    SerialBound = "serial_bound", 409, "the serial is bound to another shard";
    /// An upload that ended, or whose receipts are incomplete.
    UploadState = "upload_state", 409, "the upload is not in that state";
    /// A segment without enough receipts to be committed.
    TooFewReceipts = "too_few_receipts", 422, "too few shards of a segment are stored";
    /// Bytes that do not hash to what they should.
    HashMismatch = "hash_mismatch", 422, "the content does not match its hash";
    /// A ticket that is not honoured.
    TicketRefused = "ticket_refused", 403, "the ticket is not honoured";
    /// A receipt that is not accepted.
    ReceiptRefused = "receipt_refused", 422, "the receipt is not accepted";
    /// The owner's quota is used up.
    QuotaExceeded = "quota_exceeded", 402, "the quota is used up";
    /// The Host has no space.
    NoSpace = "no_space", 507, "no space left";
    /// Too few Hosts are there for what was asked.
    TooFewHosts = "too_few_hosts", 503, "too few hosts";
    /// The Host is in its declared hours off.
    ScheduledOff = "scheduled_off", 503, "outside the host's hours";
    /// Too many requests at once; try again.
    Busy = "busy", 429, "too many requests";
    /// The sender was slower than the minimum rate.
    TooSlow = "too_slow", 408, "too slow";
    /// The shard may lie on a volume that the Host cannot see now: not lost, and not there.
    ShardUnseen = "shard_unseen", 503, "a volume cannot be seen";
    /// The shard was there and its bytes have changed.
    ShardRotten = "shard_rotten", 410, "the shard has rotted";
    /// The protocol version is not accepted.
    VersionRefused = "version_refused", 426, "protocol version not accepted";
    /// A fault of the server.
    Internal = "internal", 500, "internal fault";
    /// Shutting down or not yet ready.
    Unavailable = "unavailable", 503, "not available";
}

impl std::fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<ProblemCode> for &'static str {
    fn from(code: ProblemCode) -> Self {
        code.as_str()
    }
}

impl Problem {
    /// A problem with a sentence for people.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:xcloud:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.into(),
            facts: serde_json::Value::Null,
        }
    }

    /// The same problem with facts for programs.
    #[must_use]
    pub fn with_facts(mut self, facts: serde_json::Value) -> Self {
        self.facts = facts;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_of_newer_versions_are_read() {
        let json = r#"{"type":"urn:xcloud:problem:moon","title":"t","status":418,"code":"moon","detail":"d"}"#;
        let problem: Problem = serde_json::from_str(json).unwrap();
        assert_eq!(problem.code, ProblemCode::Other);
        let known = Problem::new(ProblemCode::TooFewHosts, "8 needed, 3 there");
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), known);
    }
}
