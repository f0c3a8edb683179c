//! What a verification sums up to.

use crate::audit::{Grade, SegmentAudit, Verdict};
use crate::transfer::FailureKind;

/// What was asked, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files that come back by what was proved.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Of those, files in the tree itself, which need no proof.
    pub inline_files: u64,
    /// Files that do not, or of which that could not be learnt; each was named.
    pub files_failed: u64,
    /// Blobs asked for; a pack that was met again counts again.
    pub blobs: u64,
    /// Segments asked for.
    pub segments: u64,
    /// Segments of which too few shards are left.
    pub segments_lost: u64,
    /// Segments of which too few Hosts could be asked.
    pub segments_unavailable: u64,
    /// Shards that their Hosts proved.
    pub proved: u64,
    /// Shards whose proof failed; each was named.
    pub failed: u64,
    /// Shards whose Host could not be asked.
    pub unreachable: u64,
    /// Shards that no Host has.
    pub nowhere: u64,
    /// The gravest failure among blobs that could not be asked for.
    pub gravest: Option<FailureKind>,
}

impl VerifyReport {
    /// What went wrong, in one word; `None` where everything comes back and no proof failed.
    #[must_use]
    pub fn failure(&self) -> Option<FailureKind> {
        if self.failed > 0 || self.segments_lost > 0 {
            return Some(FailureKind::Integrity);
        }
        let unavailable = (self.segments_unavailable > 0).then_some(FailureKind::Unavailable);
        match (self.gravest, unavailable) {
            (Some(FailureKind::Integrity), _) => self.gravest,
            (gravest, unavailable) => unavailable.or(gravest),
        }
    }

    pub(super) fn note_kind(&mut self, kind: FailureKind) {
        let rank = |kind: &FailureKind| match kind {
            FailureKind::Integrity => 2,
            FailureKind::Unavailable => 1,
            FailureKind::NotFound
            | FailureKind::Quota
            | FailureKind::Conflict
            | FailureKind::Local
            | FailureKind::Refused => 0,
        };
        let graver = |known: &FailureKind| rank(known) >= rank(&kind);
        if !self.gravest.as_ref().is_some_and(graver) {
            self.gravest = Some(kind);
        }
    }

    pub(super) fn add(&mut self, segment: &SegmentAudit) {
        self.segments += 1;
        match segment.grade() {
            Grade::Lost => self.segments_lost += 1,
            Grade::Unavailable => self.segments_unavailable += 1,
            Grade::Whole | Grade::Enough | Grade::Damaged => {}
        }
        self.proved += u64::from(segment.proved);
        for shard in &segment.unproved {
            let count = match &shard.verdict {
                Verdict::Proved => &mut self.proved,
                Verdict::Failed(_) => &mut self.failed,
                Verdict::Unreachable(_) => &mut self.unreachable,
                Verdict::Nowhere => &mut self.nowhere,
            };
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrity_outranks_absence() {
        let mut report = VerifyReport::default();
        assert_eq!(report.failure(), None);
        report.note_kind(FailureKind::Refused);
        assert_eq!(report.failure(), Some(FailureKind::Refused));
        report.segments_unavailable = 1;
        assert_eq!(report.failure(), Some(FailureKind::Unavailable));
        report.note_kind(FailureKind::Integrity);
        report.note_kind(FailureKind::Unavailable);
        assert_eq!(report.failure(), Some(FailureKind::Integrity));
        let failed = VerifyReport {
            failed: 1,
            segments_unavailable: 1,
            ..VerifyReport::default()
        };
        assert_eq!(failed.failure(), Some(FailureKind::Integrity));
    }
}
