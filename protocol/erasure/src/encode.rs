//! Data shards in, parity shards out.

use crate::code::{Code, SizeError, common_size};
use crate::kernel::Kernel;

/// Why parity could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There must be exactly k data shards.
    #[error("{found} data shards where the code has {expected}")]
    DataShards {
        /// The code's k.
        expected: u16,
        /// How many were handed in.
        found: usize,
    },
    /// There must be exactly n − k parity shards.
    #[error("{found} parity shards where the code has {expected}")]
    ParityShards {
        /// The code's n − k.
        expected: u16,
        /// How many were handed in.
        found: usize,
    },
    /// Shards must be equally long, in a size that shards can have.
    #[error("the shards do not have one valid size")]
    Size(#[from] SizeError),
}

impl Code {
    /// Fills the n − k `parity` shards from the k `data` shards. Mirrors (k = 1) come out as
    /// copies of the data; who sends one buffer n times need not call this.
    ///
    /// Shards may be any column of a segment's shards (64 KiB, say), as long as all are the same
    /// column: bytes at one offset depend on bytes at that offset only.
    ///
    /// # Errors
    /// [`EncodeError`] where counts or sizes do not fit; nothing is written then.
    pub fn encode(self, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), EncodeError> {
        let (k, extra) = (self.k(), self.n() - self.k());
        if data.len() != usize::from(k) {
            return Err(EncodeError::DataShards {
                expected: k,
                found: data.len(),
            });
        }
        if parity.len() != usize::from(extra) {
            return Err(EncodeError::ParityShards {
                expected: extra,
                found: parity.len(),
            });
        }
        let sizes = data.iter().map(|shard| shard.len());
        common_size(sizes.chain(parity.iter().map(|shard| shard.len())))?;
        let points: Vec<u8> = (0..u8::MAX).take(usize::from(self.n())).collect();
        let (sources, wanted) = points.split_at(data.len());
        let rows = self.weights(sources, wanted);
        Kernel::fastest().combine(&rows, data, parity);
        Ok(())
    }
}
