//! The one inner loop of encoding and restoring: sums of shards times weights, by the fastest
//! instructions of the machine. Every kernel gives the same bytes.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Bytes of a shard worked on at a time, so that sources read by several passes stay in cache.
const COLUMN_BYTES: usize = 16_384;
/// Most rows in one pass over the sources: as many sums as fit the registers.
const ROWS_MAX: usize = 8;

/// Which instructions do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Plain 64-bit words, which compilers vectorise.
    Portable,
    /// 256-bit byte shuffles.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 256-bit Galois field affine transformations.
    #[cfg(target_arch = "x86_64")]
    Gfni256,
    /// 512-bit Galois field affine transformations.
    #[cfg(target_arch = "x86_64")]
    Gfni512,
}

impl Kernel {
    /// The kernels this machine can run, fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        kernels.extend(x86::available());
        kernels.push(Self::Portable);
        kernels
    }

    /// The kernel that this machine works with.
    #[must_use]
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = x86::available().next() {
            return kernel;
        }
        Self::Portable
    }

    /// Sets `outs[r]` to the sum over j of `rows[r][j] · sources[j]`.
    ///
    /// # Panics
    /// Where a row has not one weight per source, or the shards are not equally long in a
    /// multiple of 64 bytes, or the machine cannot run the kernel. [`Code`](crate::Code) checks
    /// what it is handed; this is public for benches.
    pub fn combine(self, rows: &[Vec<u8>], sources: &[&[u8]], outs: &mut [&mut [u8]]) {
        let bytes = sources.first().map_or(0, |source| source.len());
        assert!(bytes.is_multiple_of(64), "shards are multiples of 64 bytes");
        assert!(
            sources.iter().all(|source| source.len() == bytes),
            "sources are equally long"
        );
        assert!(
            outs.iter().all(|out| out.len() == bytes),
            "outputs are as long as sources"
        );
        assert!(rows.len() == outs.len(), "one row per output");
        assert!(
            rows.iter().all(|row| row.len() == sources.len()),
            "one weight per source"
        );
        for start in (0..bytes).step_by(COLUMN_BYTES) {
            let column = start..bytes.min(start + COLUMN_BYTES);
            let sources: Vec<&[u8]> = sources
                .iter()
                .map(|source| &source[column.clone()])
                .collect();
            let mut outs: Vec<&mut [u8]> = outs
                .iter_mut()
                .map(|out| &mut out[column.clone()])
                .collect();
            for (rows, outs) in rows.chunks(ROWS_MAX).zip(outs.chunks_mut(ROWS_MAX)) {
                match self {
                    Self::Portable => portable::combine(rows, &sources, outs),
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2 | Self::Gfni256 | Self::Gfni512 => {
                        x86::combine(self, rows, &sources, outs);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
