//! Any k of n shards restore a segment: a systematic Reed–Solomon code over GF(2^8), and the
//! hashing of several shards at once.
//!
//! Shard i of a segment is a value of one polynomial of degree below k at the point i, so any k
//! of them determine all others. The first k shards are the data itself. Each parity shard is
//! `parity_i = Σ_j (i / (i ⊕ j)) · data_j`, which for k = 1 is the data: the paper's mirroring.
//! The code is a stored format, fixed byte for byte by `docs/spec/erasure.md`.
//!
//! This is the only crate with SIMD and with `unsafe`. It does no I/O, starts no thread, and
//! trusts nothing about the shards it is handed but what it checked.

mod code;
mod encode;
mod field;
mod hash;
mod kernel;
mod restore;

pub use code::{Code, CodeError, SizeError};
pub use encode::EncodeError;
pub use hash::{HashKernel, StreamHasher, hash_shard, hash_shards};
pub use kernel::Kernel;
pub use restore::ReconstructError;
