//! The cryptographic constructions, all from the paper's primitives: SHA-256 and AES-256-CTR.
//!
//! Nothing here draws randomness; keys and seeds come in as arguments. Every construction is
//! bound to a label, so that no two uses of a key can be confused (`docs/spec/crypto.md`).

mod file_cipher;
mod keys;
mod leaf_range;
mod seal;
mod sign;
mod tree_hash;

pub use file_cipher::FileCipher;
pub use keys::{AccountKeys, AccountRootKey, Mnemonic, MnemonicError, VolumeKey, account_of};
pub use leaf_range::{LeafRange, LeafRangeError, RANGE_PROOF_HASHES_MAX, RangeProofError};
pub use seal::{OpenError, SEAL_OVERHEAD_BYTES, open, seal};
pub use sign::{Signature, SignatureError, SigningKey, verify};
pub use tree_hash::{LeafProofError, TreeHasher, hash_shard, leaf_hash, leaf_path, verify_leaf};

use std::fmt;

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes: wiped when dropped, compared in constant time, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes possession of `bytes`.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws a fresh secret.
    pub fn random(rng: &mut (impl rand_core::CryptoRng + ?Sized)) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Shows the bytes to code that needs them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives another secret: HKDF-Expand-SHA256 (RFC 5869) with the info
    /// `"xcloud/v1/" ‖ label ‖ context`. `context` must be of fixed width for its label.
    #[must_use]
    pub fn expand(&self, label: &str, context: &[u8]) -> Self {
        let mut out = [0; 32];
        let expanded = Hkdf::<Sha256>::from_prk(&self.0).map(|hkdf| {
            hkdf.expand_multi_info(&[b"xcloud/v1/", label.as_bytes(), context], &mut out)
        });
        debug_assert!(
            matches!(expanded, Ok(Ok(()))),
            "32 bytes in, 32 bytes out always fit"
        );
        Self(out)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}

impl Eq for Secret {}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
