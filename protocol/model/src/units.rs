//! Names for the quantities the network deals in: ids, sizes and times.
//!
//! Every quantity has its own type, so that a shard index can never be passed where a byte
//! offset is meant. Constructors check the bounds; after that the value is always valid.
//! Ids are fixed-size byte strings, written as lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes in one Merkle leaf of a shard: the granule of audits and range reads.
pub const LEAF_BYTES: usize = 65_536;
/// Largest shard: the most whole leaves within the white paper's 2 MB.
pub const SHARD_BYTES_MAX: u32 = 30 * 65_536;
/// Shard sizes are multiples of this, as block codes and SIMD want it.
pub const SHARD_ALIGN: u32 = 64;
/// Files up to this size live inside their sealed tree entry.
pub const INLINE_BYTES_MAX: usize = 4_096;
/// Files below this size are packed together.
pub const PACK_FILE_BYTES_MAX: u64 = 1_048_576;
/// Largest sealed page of a folder.
pub const PAGE_BYTES_MAX: usize = 16_384;
/// Largest page of a manifest, before sealing.
pub const MANIFEST_PAGE_BYTES_MAX: usize = 262_144;
/// Most shards a segment is coded into.
pub const SHARDS_PER_SEGMENT_MAX: u16 = 64;

/// Text that is not the hexadecimal form of an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: expected {chars} hexadecimal characters")]
pub struct ParseIdError {
    kind: &'static str,
    chars: usize,
}

/// Declares an id: a fixed-size byte string with hexadecimal text and JSON forms.
macro_rules! id_type {
    ($(#[doc = $doc:literal])* $name:ident, $bytes:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// Returns the raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Returns the first eight hexadecimal characters, for people and logs.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let wrong = ParseIdError { kind: stringify!($name), chars: 2 * $bytes };
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| wrong.clone())?;
                bytes.try_into().map(Self).map_err(|_| wrong)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;

            fn try_from(bytes: &[u8]) -> Result<Self, ParseIdError> {
                let wrong = ParseIdError { kind: stringify!($name), chars: 2 * $bytes };
                bytes.try_into().map(Self).map_err(|_| wrong)
            }
        }

        #[cfg(feature = "openapi")]
        crate::wire::openapi::text_schema! {
            $name, concat!("^(?:[0-9a-fA-F]{2}){", $bytes, "}$"), concat!($($doc),*)
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// A Host: its Ed25519 public key.
    HostId, 32
);
id_type!(
    /// A Bridge: its Ed25519 public key.
    BridgeId, 32
);
id_type!(
    /// An owner's account: the first half of the SHA-256 of its identity key.
    AccountId, 16
);
id_type!(
    /// A device of an account: its Ed25519 public key.
    DeviceId, 32
);
id_type!(
    /// A shard: the Merkle tree hash of its bytes (RFC 9162 with SHA-256 over 64 KiB leaves).
    ShardId, 32
);
id_type!(
    /// A sealed tree or manifest page: the SHA-256 of its sealed bytes.
    NodeHash, 32
);
id_type!(
    /// A signed root: the SHA-256 of its body and signature.
    RootHash, 32
);
id_type!(
    /// A device list: the SHA-256 of its body and signature.
    DeviceListHash, 32
);
id_type!(
    /// Who may read or delete a stored shard without a Bridge: SHA-256 of a per-blob public key.
    OwnerTag, 32
);
id_type!(
    /// Who pays for a transfer: an ephemeral Ed25519 public key, unlinkable to the account.
    PayerKey, 32
);
id_type!(
    /// A volume: one filesystem tree of an account.
    VolumeId, 16
);
id_type!(
    /// A run of ciphertext as stored: one large file version or a pack of small ones.
    BlobId, 16
);
id_type!(
    /// An upload between its plan and its commit.
    UploadId, 16
);
id_type!(
    /// The identity of one ticket, and with the Bridge of one stored record.
    Serial, 16
);
id_type!(
    /// A file or folder in a volume's tree, whatever its name and place.
    NodeId, 16
);

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// The time `ms` milliseconds later; saturates.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`, or 0 where `earlier` is later.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Number of bytes in one shard: a multiple of 64 in 64..=[`SHARD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ShardSize(u32);

impl ShardSize {
    /// The largest shard.
    pub const MAX: Self = Self(SHARD_BYTES_MAX);

    /// Checks `bytes` against the bounds of a shard.
    ///
    /// # Errors
    /// [`ShardSizeError`] for an empty shard, one above [`SHARD_BYTES_MAX`] and one whose size is
    /// no multiple of [`SHARD_ALIGN`].
    pub const fn new(bytes: u32) -> Result<Self, ShardSizeError> {
        if bytes == 0 || bytes > SHARD_BYTES_MAX || !bytes.is_multiple_of(SHARD_ALIGN) {
            return Err(ShardSizeError { bytes });
        }
        Ok(Self(bytes))
    }

    /// Returns the size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Returns the size in bytes, as an index.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A size that no shard can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shard of {bytes} bytes is no multiple of 64 in 64..={SHARD_BYTES_MAX}")]
pub struct ShardSizeError {
    bytes: u32,
}

impl TryFrom<u32> for ShardSize {
    type Error = ShardSizeError;

    fn try_from(bytes: u32) -> Result<Self, ShardSizeError> {
        Self::new(bytes)
    }
}

impl From<ShardSize> for u32 {
    fn from(size: ShardSize) -> Self {
        size.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_sizes_are_aligned_and_bounded() {
        assert!(ShardSize::new(0).is_err());
        assert!(ShardSize::new(63).is_err());
        assert!(ShardSize::new(65).is_err());
        assert_eq!(ShardSize::new(SHARD_BYTES_MAX).unwrap(), ShardSize::MAX);
        assert!(ShardSize::new(SHARD_BYTES_MAX + 64).is_err());
    }

    #[test]
    fn ids_survive_text_and_json() {
        let id = Serial([7; 16]);
        assert_eq!(id.to_string().parse::<Serial>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"07070707070707070707070707070707\"");
        assert_eq!(serde_json::from_str::<Serial>(&json).unwrap(), id);
        assert_eq!(
            "0707".parse::<Serial>().unwrap_err().to_string(),
            "not a Serial: expected 32 hexadecimal characters"
        );
    }
}
