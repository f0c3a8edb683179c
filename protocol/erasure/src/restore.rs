//! Any k shards in, missing shards out. Only what is asked for is computed.

use crate::code::{Code, SizeError, common_size};
use crate::kernel::Kernel;

/// Why shards could not be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconstructError {
    /// There must be one slot per shard of the code.
    #[error("{found} slots where the code has {expected} shards")]
    Slots {
        /// The code's n.
        expected: u16,
        /// How many were handed in.
        found: usize,
    },
    /// There must be one buffer per wanted shard.
    #[error("{found} buffers for {wanted} wanted shards")]
    Buffers {
        /// How many shards were asked for.
        wanted: usize,
        /// How many buffers were handed in.
        found: usize,
    },
    /// The code has no shard of this index.
    #[error("no shard {index} among {n}")]
    Index {
        /// The index asked for or handed in.
        index: u16,
        /// The code's n.
        n: u16,
    },
    /// A shard was handed in twice.
    #[error("shard {index} is present twice")]
    Repeated {
        /// The index that repeats.
        index: u16,
    },
    /// k shards are needed.
    #[error("{present} shards are present, {k} restore the segment")]
    TooFew {
        /// How many shards are there.
        present: usize,
        /// The code's k.
        k: u16,
    },
    /// Shards must be equally long, in a size that shards can have.
    #[error("the shards do not have one valid size")]
    Size(#[from] SizeError),
}

impl Code {
    /// Fills every empty slot of a segment's n `shards`; slot i holds shard i.
    ///
    /// # Errors
    /// [`ReconstructError`] where fewer than k shards are present, or counts or sizes do not fit.
    pub fn reconstruct(self, shards: &mut [Option<Vec<u8>>]) -> Result<(), ReconstructError> {
        self.fill_slots(shards, self.n())
    }

    /// Fills the empty slots among the first k, which hold the data; parity stays as it is. With
    /// all data present it does nothing.
    ///
    /// # Errors
    /// As [`Self::reconstruct`].
    pub fn reconstruct_data(self, shards: &mut [Option<Vec<u8>>]) -> Result<(), ReconstructError> {
        self.fill_slots(shards, self.k())
    }

    /// Restores the one shard `wanted` into `out` from at least k `present` ones (index and
    /// bytes, in any order); more than k are not read.
    ///
    /// # Errors
    /// As [`Self::reconstruct`]; `out` is not written then.
    pub fn restore(
        self,
        present: &[(u16, &[u8])],
        wanted: u16,
        out: &mut [u8],
    ) -> Result<(), ReconstructError> {
        self.restore_each(present, &[wanted], &mut [out])
    }

    /// Restores each shard of `wanted` into the buffer of `outs` at the same place. Shards may be
    /// any one column of the segment's shards, as with [`Self::encode`].
    ///
    /// # Errors
    /// As [`Self::reconstruct`]; nothing is written then.
    pub fn restore_each(
        self,
        present: &[(u16, &[u8])],
        wanted: &[u16],
        outs: &mut [&mut [u8]],
    ) -> Result<(), ReconstructError> {
        let sources = self.sources(present)?;
        if wanted.len() != outs.len() {
            return Err(ReconstructError::Buffers {
                wanted: wanted.len(),
                found: outs.len(),
            });
        }
        let sizes = sources.iter().map(|(_, shard)| shard.len());
        common_size(sizes.chain(outs.iter().map(|shard| shard.len())))?;
        let (indices, shards): (Vec<u8>, Vec<&[u8]>) = sources.into_iter().unzip();
        let points = wanted
            .iter()
            .map(|index| self.point(*index))
            .collect::<Result<Vec<_>, _>>()?;
        let rows = self.weights(&indices, &points);
        Kernel::fastest().combine(&rows, &shards, outs);
        Ok(())
    }

    fn fill_slots(
        self,
        shards: &mut [Option<Vec<u8>>],
        below: u16,
    ) -> Result<(), ReconstructError> {
        if shards.len() != usize::from(self.n()) {
            return Err(ReconstructError::Slots {
                expected: self.n(),
                found: shards.len(),
            });
        }
        let indexed = || (0..).zip(shards.iter());
        let present: Vec<(u16, &[u8])> = indexed()
            .filter_map(|(i, shard)| Some((i, shard.as_deref()?)))
            .collect();
        let size = common_size(self.sources(&present)?.iter().map(|(_, shard)| shard.len()))?;
        let missing: Vec<u16> = indexed()
            .filter(|(i, shard)| *i < below && shard.is_none())
            .map(|(i, _)| i)
            .collect();
        let mut restored = vec![vec![0; size]; missing.len()];
        let mut outs: Vec<&mut [u8]> = restored.iter_mut().map(Vec::as_mut_slice).collect();
        self.restore_each(&present, &missing, &mut outs)?;
        for (index, shard) in missing.into_iter().zip(restored) {
            if let Some(slot) = shards.get_mut(usize::from(index)) {
                *slot = Some(shard);
            }
        }
        Ok(())
    }

    /// The k lowest of the `present` shards, data first, each with its point.
    fn sources<'a>(
        self,
        present: &[(u16, &'a [u8])],
    ) -> Result<Vec<(u8, &'a [u8])>, ReconstructError> {
        let mut sources = Vec::with_capacity(usize::from(self.n()));
        for (index, shard) in present.iter().take(usize::from(self.n()) + 1) {
            sources.push((self.point(*index)?, *shard));
        }
        sources.sort_unstable_by_key(|(index, _)| *index);
        let twice = sources.windows(2).find(|pair| pair[0].0 == pair[1].0);
        if let Some(pair) = twice {
            return Err(ReconstructError::Repeated {
                index: u16::from(pair[0].0),
            });
        }
        if sources.len() < usize::from(self.k()) {
            return Err(ReconstructError::TooFew {
                present: sources.len(),
                k: self.k(),
            });
        }
        sources.truncate(usize::from(self.k()));
        Ok(sources)
    }

    /// The field element of a shard index.
    fn point(self, index: u16) -> Result<u8, ReconstructError> {
        let point = u8::try_from(index).ok().filter(|_| index < self.n());
        point.ok_or(ReconstructError::Index { index, n: self.n() })
    }
}
