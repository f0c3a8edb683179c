//! Protocol versions: what a program speaks, what it still accepts, and what two of them speak
//! with each other. Which version brought what, and how one is raised: `docs/spec/wire.md`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Problem, ProblemCode};

/// The header in which every HTTP request and answer carries [`ProtocolVersions`], as text. Who
/// sends none speaks [`ProtocolVersions::FIRST`].
pub const PROTOCOL_HEADER: &str = "xcloud-protocol";

/// From this version on a root ends any number of uploads (`api::Commit::uploads`); before, a commit
/// was made to the one upload that it ended.
pub const COMMITS_NAME_UPLOADS: u16 = 2;

/// From this version on a Host answers audits and inventories and carries out repair orders, and a
/// Bridge tells it its decisions (`control::FromBridge::Audit` and those after it).
pub const HEALS: u16 = 3;

/// A protocol version spoken, and the oldest one accepted. As text `OLDEST-SPOKEN`, `1-2` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProtocolVersions {
    /// Spoken.
    pub version: u16,
    /// Still accepted.
    pub oldest: u16,
}

/// Text that is no range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not protocol versions: expected the oldest accepted and the one spoken, `1-2` say")]
pub struct ProtocolVersionsError;

impl ProtocolVersions {
    /// What this program speaks and accepts: N and N−1, and while it costs nothing N−2.
    pub const OURS: Self = Self {
        version: 3,
        oldest: 1,
    };
    /// What programs spoke that did not say.
    pub const FIRST: Self = Self {
        version: 1,
        oldest: 1,
    };

    /// The highest version both sides accept, if there is one.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let version = self.version.min(other.version);
        (version >= self.oldest.max(other.oldest)).then_some(version)
    }

    /// The version that `here`, which speaks this, and `there` speak with each other.
    ///
    /// # Errors
    /// [`VersionRefused`] where none is accepted by both.
    pub fn agree(
        self,
        here: Program,
        (there, theirs): (Program, Self),
    ) -> Result<u16, VersionRefused> {
        let refused = VersionRefused {
            here: (here, self),
            there: (there, theirs),
        };
        self.common(theirs).ok_or(refused)
    }

    /// What the header of a request or answer says.
    ///
    /// # Errors
    /// [`ProtocolVersionsError`] where it says something else.
    pub fn of_header(header: Option<&[u8]>) -> Result<Self, ProtocolVersionsError> {
        let Some(header) = header else {
            return Ok(Self::FIRST);
        };
        let text = str::from_utf8(header).map_err(|_| ProtocolVersionsError)?;
        text.parse()
    }
}

impl fmt::Display for ProtocolVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.oldest, self.version)
    }
}

impl FromStr for ProtocolVersions {
    type Err = ProtocolVersionsError;

    fn from_str(text: &str) -> Result<Self, ProtocolVersionsError> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| text.parse::<u16>().ok()).flatten();
            number
                .filter(|number| *number > 0)
                .ok_or(ProtocolVersionsError)
        };
        let (oldest, version) = text.split_once('-').ok_or(ProtocolVersionsError)?;
        let (oldest, version) = (number(oldest)?, number(version)?);
        if oldest > version {
            return Err(ProtocolVersionsError);
        }
        Ok(Self { version, oldest })
    }
}

/// One of the programs, by the name under which it is updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// An owner's client.
    Client,
    /// A Bridge.
    Bridge,
    /// A Host.
    Host,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "xcloud",
            Self::Bridge => "the bridge",
            Self::Host => "the host",
        })
    }
}

/// Two programs without a version in common. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRefused {
    here: (Program, ProtocolVersions),
    there: (Program, ProtocolVersions),
}

impl VersionRefused {
    /// The program that is too old.
    const fn behind(&self) -> Program {
        if self.here.1.version < self.there.1.version {
            self.here.0
        } else {
            self.there.0
        }
    }

    /// The refusal as it is answered: both ranges, and which program is to be updated.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let facts = serde_json::json!({
            "ours": self.here.1,
            "theirs": self.there.1,
            "update": self.behind().to_string(),
        });
        Problem::new(ProblemCode::VersionRefused, self.to_string()).with_facts(facts)
    }
}

impl fmt::Display for VersionRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((here, ours), (there, theirs)) = (self.here, self.there);
        write!(
            f,
            "{here} speaks protocol {} to {}, {there} {} to {}: update {}",
            ours.oldest,
            ours.version,
            theirs.oldest,
            theirs.version,
            self.behind()
        )
    }
}

impl std::error::Error for VersionRefused {}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(text: &str) -> ProtocolVersions {
        text.parse().unwrap()
    }

    #[test]
    fn the_lower_of_both_is_spoken_where_both_accept_it() {
        for (ours, theirs, spoken) in [
            ("1-2", "1-2", Some(2)),
            ("1-2", "1-1", Some(1)),
            ("1-1", "1-2", Some(1)),
            ("2-3", "1-2", Some(2)),
            ("3-4", "1-2", None),
            ("1-1", "2-3", None),
        ] {
            assert_eq!(versions(ours).common(versions(theirs)), spoken);
        }
    }

    #[test]
    fn a_refusal_names_both_ranges_and_who_is_behind() {
        let (old, new) = (versions("1-1"), versions("2-3"));
        let refused = new.agree(Program::Bridge, (Program::Client, old));
        let text = "the bridge speaks protocol 2 to 3, xcloud 1 to 1: update xcloud";
        assert_eq!(refused.unwrap_err().to_string(), text);
        let refused = new
            .agree(Program::Client, (Program::Bridge, old))
            .unwrap_err();
        let problem = refused.problem();
        assert!(problem.detail.ends_with("update the bridge"), "{problem}");
        assert_eq!(
            (problem.status, &problem.facts["update"]),
            (426, &"the bridge".into())
        );
    }

    #[test]
    fn a_header_is_read_strictly_and_none_means_the_first_version() {
        assert_eq!(
            ProtocolVersions::of_header(None),
            Ok(ProtocolVersions::FIRST)
        );
        let ours = ProtocolVersions::OURS.to_string();
        let read = ProtocolVersions::of_header(Some(ours.as_bytes()));
        assert_eq!(read, Ok(ProtocolVersions::OURS));
        for wrong in [
            "", "1", "2-1", "0-1", "+1-2", "1-2-3", "1-99999", " 1-2", "a-b",
        ] {
            assert!(wrong.parse::<ProtocolVersions>().is_err(), "{wrong}");
        }
    }
}
