//! Where a root stands in the chain of its volume.

use crate::codec::DecodeError;
use crate::units::RootHash;

/// Ancestors that a root names.
pub const ANCESTORS: usize = 16;

/// A root's number and ancestors.
///
/// Ancestor `i` is the latest earlier root whose number is a multiple of 2^i: ancestor 0 is the
/// predecessor. Where there is none its hash is zero. So a root's ancestors follow from its
/// predecessor alone, and any older root is reached in about log₂ steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    seq: u64,
    ancestors: [RootHash; ANCESTORS],
}

/// Whether a root descends from an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    /// It does.
    Proven,
    /// It does not: the history was forked or turned back.
    Refuted,
    /// This ancestor decides: fetch it, check its hash, and ask it the same question.
    Ask {
        /// The ancestor's number.
        seq: u64,
        /// The ancestor's hash.
        hash: RootHash,
    },
}

impl Lineage {
    /// The lineage of a volume's first root.
    #[must_use]
    pub const fn first() -> Self {
        Self {
            seq: 1,
            ancestors: [RootHash([0; 32]); ANCESTORS],
        }
    }

    /// Checks that `ancestors` are set exactly where a root numbered `seq` has some.
    pub(super) fn new(seq: u64, ancestors: [RootHash; ANCESTORS]) -> Result<Self, DecodeError> {
        let lineage = Self { seq, ancestors };
        let sound = seq > 0
            && (0..).zip(&ancestors).all(|(level, ancestor)| {
                (lineage.ancestor_seq(level) == 0) == (*ancestor == RootHash::default())
            });
        if sound {
            Ok(lineage)
        } else {
            Err(DecodeError::Invalid { field: "ancestor" })
        }
    }

    /// The lineage of the root that follows this one, whose hash is `own`.
    #[must_use]
    pub fn next(&self, own: RootHash) -> Self {
        let mut ancestors = self.ancestors;
        for (level, ancestor) in (0_u32..).zip(&mut ancestors) {
            if self.seq.is_multiple_of(1 << level) {
                *ancestor = own;
            }
        }
        Self {
            seq: self.seq.saturating_add(1),
            ancestors,
        }
    }

    /// The root's number, from 1.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The predecessor's hash; zero for the first root.
    #[must_use]
    pub const fn prev(&self) -> RootHash {
        self.ancestors[0]
    }

    /// All ancestors' hashes.
    #[must_use]
    pub const fn ancestors(&self) -> &[RootHash; ANCESTORS] {
        &self.ancestors
    }

    /// Whether a root of this lineage comes directly after one of `older`, whose hash is
    /// `older_hash`.
    #[must_use]
    pub fn follows(&self, older: &Self, older_hash: RootHash) -> bool {
        *self == older.next(older_hash) && self.seq > older.seq
    }

    /// Whether the root of this lineage, whose hash is `own`, descends from root `older_seq` with
    /// the hash `older` (or is it).
    #[must_use]
    pub fn descent_from(&self, own: RootHash, older_seq: u64, older: RootHash) -> Descent {
        let verdict = |same| {
            if same {
                Descent::Proven
            } else {
                Descent::Refuted
            }
        };
        if self.seq <= older_seq || older_seq == 0 {
            return verdict(self.seq == older_seq && own == older);
        }
        let steps = (0..).zip(&self.ancestors);
        let reachable = steps.map(|(level, hash)| (self.ancestor_seq(level), *hash));
        // The levels go back ever further; the last that does not overshoot is the best.
        match reachable.take_while(|(seq, _)| *seq >= older_seq).last() {
            Some((seq, hash)) if seq == older_seq => verdict(hash == older),
            Some((seq, hash)) => Descent::Ask { seq, hash },
            None => Descent::Refuted,
        }
    }

    /// The number of ancestor `level`; 0 where there is none.
    const fn ancestor_seq(&self, level: u32) -> u64 {
        let before = self.seq.saturating_sub(1);
        before >> level << level
    }
}
