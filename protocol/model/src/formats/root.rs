//! The root of a volume: what a device signs, and everything else hangs from.
//!
//! Roots are numbered and chained by hash. Beside its predecessor, a root names one older
//! ancestor per power of two, so that descent over many roots is proved in a few steps. The byte
//! table is in `docs/spec/formats.md`.

mod lineage;

pub use lineage::{ANCESTORS, Descent, Lineage};

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{
    OpenError, SEAL_OVERHEAD_BYTES, Secret, Signature, SignatureError, SigningKey, VolumeKey, open,
    seal, sha256, verify,
};
use crate::formats::device_list::DeviceList;
use crate::units::{
    AccountId, DeviceId, DeviceListHash, HostId, NodeHash, RootHash, ShardId, UnixMs, VolumeId,
};

/// Largest signed root.
pub const ROOT_BYTES_MAX: usize = 4_096;
/// Most Hosts that pin roots.
pub const PINS_MAX: usize = 5;
/// Most locations of metadata shards.
pub const LOCATIONS_MAX: usize = 15;
/// Bytes of [`Root::sealed_keys`].
pub const SEALED_KEYS_BYTES: usize = SEAL_OVERHEAD_BYTES + 64;
const VERSION: u8 = 1;
const KIND: &str = "root";

/// What a root says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Whose volume.
    pub account: AccountId,
    /// Which volume.
    pub volume: VolumeId,
    /// Its number, its predecessor and older ancestors.
    pub lineage: Lineage,
    /// The top page of the top folder.
    pub top: NodeHash,
    /// The epoch of the volume key that seals [`Self::sealed_keys`].
    pub epoch: u32,
    /// [`RootKeys`], sealed under the volume key of the epoch.
    pub sealed_keys: [u8; SEALED_KEYS_BYTES],
    /// The device list its signer goes by.
    pub device_list: DeviceListHash,
    /// When it was signed, by the device's clock.
    pub time: UnixMs,
    /// Hosts that pin the next roots, at most [`PINS_MAX`].
    pub pins: Vec<HostId>,
    /// Where metadata shards lie, at most [`LOCATIONS_MAX`].
    pub locations: Vec<Location>,
}

/// Where a metadata shard lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The shard.
    pub shard: ShardId,
    /// A Host that keeps it.
    pub host: HostId,
}

/// The keys a root carries, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKeys {
    /// The key of the top folder.
    pub top: Secret,
    /// The volume key of the epoch before, so that older entries stay readable.
    pub previous: Option<VolumeKey>,
}

impl RootKeys {
    /// Seals the keys under `key`, the volume key of `epoch`.
    #[must_use]
    pub fn seal(
        &self,
        key: &VolumeKey,
        account: &AccountId,
        volume: &VolumeId,
        epoch: u32,
    ) -> [u8; SEALED_KEYS_BYTES] {
        let mut plain = zeroize::Zeroizing::new([0; 64]);
        plain[..32].copy_from_slice(self.top.expose());
        if let Some(previous) = &self.previous {
            plain[32..].copy_from_slice(previous.0.expose());
        }
        let sealed = seal(&key.0, &keys_context(account, volume, epoch), &plain[..]);
        sealed.try_into().unwrap_or([0; SEALED_KEYS_BYTES])
    }
}

fn keys_context(account: &AccountId, volume: &VolumeId, epoch: u32) -> Vec<u8> {
    [b"rootkeys", &account.0[..], &volume.0, &epoch.to_le_bytes()].concat()
}

impl Root {
    /// Opens the keys with the volume key of [`Self::epoch`].
    ///
    /// # Errors
    /// [`OpenError`] for any other key.
    pub fn open_keys(&self, key: &VolumeKey) -> Result<RootKeys, OpenError> {
        let context = keys_context(&self.account, &self.volume, self.epoch);
        let plain = zeroize::Zeroizing::new(open(&key.0, &context, &self.sealed_keys)?);
        let (top, previous) = plain.split_first_chunk::<32>().ok_or(OpenError)?;
        let previous: [u8; 32] = previous.try_into().map_err(|_| OpenError)?;
        let previous = (self.epoch > 0).then(|| VolumeKey(Secret::new(previous)));
        Ok(RootKeys {
            top: Secret::new(*top),
            previous,
        })
    }

    /// Signs the root as `device`.
    ///
    /// # Errors
    /// [`RootSignError`] where a list is above its limit.
    pub fn sign(self, device: &SigningKey) -> Result<SignedRoot, RootSignError> {
        let mut bytes = encode(&self);
        // What the reader would refuse is never signed.
        decode(&mut Reader::new(&bytes)).map_err(RootSignError)?;
        let id = DeviceId(device.public());
        bytes.extend_from_slice(&id.0);
        let signature = device.sign(KIND, &bytes);
        bytes.extend_from_slice(&signature.0);
        Ok(SignedRoot {
            root: self,
            device: id,
            signature,
            bytes,
        })
    }
}

/// A root that cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the root breaks a limit")]
pub struct RootSignError(#[source] DecodeError);

/// A root as stored and sent: body, device id, signature. Its content counts once
/// [`SignedRoot::verify`] passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRoot {
    root: Root,
    device: DeviceId,
    signature: Signature,
    bytes: Vec<u8>,
}

/// A root that does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Its account is not the one of the device list.
    #[error("the root is of account {found}, not {expected}")]
    OtherAccount {
        /// The root's account.
        found: AccountId,
        /// The device list's account.
        expected: AccountId,
    },
    /// Nobody on the list signed it.
    #[error("device {} is not on the device list", device.short())]
    UnknownDevice {
        /// Who signed it.
        device: DeviceId,
    },
    /// A revoked device signed it after its last root that counts.
    #[error("device {} was revoked before it signed root {seq}", device.short())]
    RevokedDevice {
        /// Who signed it.
        device: DeviceId,
        /// The root's number.
        seq: u64,
    },
    /// Its signature does not verify.
    #[error("root {seq} is not signed by the device it names")]
    Signature {
        /// The root's number.
        seq: u64,
        /// Why.
        #[source]
        source: SignatureError,
    },
    /// It is not the root that its descendant names.
    #[error("root {found} is not the expected root {expected}")]
    OtherHash {
        /// Its hash.
        found: RootHash,
        /// The hash expected.
        expected: RootHash,
    },
}

impl SignedRoot {
    /// Reads a root; nothing in it counts yet.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let len = bytes.len();
        if len > ROOT_BYTES_MAX {
            return Err(DecodeError::TooLong {
                field: "root",
                len,
                max: ROOT_BYTES_MAX,
            });
        }
        let mut input = Reader::new(bytes);
        let root = decode(&mut input)?;
        let device = DeviceId(input.array("device id")?);
        let signature = Signature(input.array("signature")?);
        input.finish()?;
        Ok(Self {
            root,
            device,
            signature,
            bytes: bytes.to_vec(),
        })
    }

    /// Checks that a device of the list signed it, and returns what it says.
    ///
    /// A root of a revoked device counts only where it is the very last one that the list names;
    /// older ones are reached by hash ([`SignedRoot::expect_hash`]).
    ///
    /// # Errors
    /// [`RootError`].
    pub fn verify(&self, devices: &DeviceList) -> Result<&Root, RootError> {
        let (expected, found) = (devices.account(), self.root.account);
        if found != expected {
            return Err(RootError::OtherAccount { found, expected });
        }
        let (device, seq) = (self.device, self.root.lineage.seq());
        if devices.device(&device).is_none() {
            let revoked = devices
                .revoked(&device)
                .ok_or(RootError::UnknownDevice { device })?;
            let counts = revoked.last_roots.iter().any(|last| {
                (last.volume, last.seq, last.hash) == (self.root.volume, seq, self.hash())
            });
            if !counts {
                return Err(RootError::RevokedDevice { device, seq });
            }
        }
        let (signed, _) = self.bytes.split_at(self.bytes.len().saturating_sub(64));
        verify(&device.0, KIND, signed, &self.signature)
            .map_err(|source| RootError::Signature { seq, source })?;
        Ok(&self.root)
    }

    /// Returns what the root says where it is the one that a verified descendant names: the
    /// descendant's signature covers its hash, and so all of it.
    ///
    /// # Errors
    /// [`RootError::OtherHash`].
    pub fn expect_hash(&self, expected: &RootHash) -> Result<&Root, RootError> {
        let found = self.hash();
        if found != *expected {
            return Err(RootError::OtherHash {
                found,
                expected: *expected,
            });
        }
        Ok(&self.root)
    }

    /// What it says, unverified: for a Bridge that only routes it, and to find the device list.
    #[must_use]
    pub const fn unverified(&self) -> &Root {
        &self.root
    }

    /// Who signed it, or says so.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Its bytes as stored and sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of [`Self::bytes`].
    #[must_use]
    pub fn hash(&self) -> RootHash {
        RootHash(sha256(&self.bytes))
    }
}

fn encode(root: &Root) -> Vec<u8> {
    let mut out = Writer::with_capacity(ROOT_BYTES_MAX);
    out.u8(VERSION)
        .bytes(&root.account.0)
        .bytes(&root.volume.0)
        .u64(root.lineage.seq());
    for ancestor in root.lineage.ancestors() {
        out.bytes(&ancestor.0);
    }
    out.bytes(&root.top.0)
        .u32(root.epoch)
        .bytes(&root.sealed_keys)
        .bytes(&root.device_list.0);
    out.u64(root.time.0);
    out.u8(u8::try_from(root.pins.len()).unwrap_or(u8::MAX));
    for pin in &root.pins {
        out.bytes(&pin.0);
    }
    out.u8(u8::try_from(root.locations.len()).unwrap_or(u8::MAX));
    for location in &root.locations {
        out.bytes(&location.shard.0).bytes(&location.host.0);
    }
    out.finish()
}

fn decode(input: &mut Reader<'_>) -> Result<Root, DecodeError> {
    input.version(KIND, VERSION)?;
    let account = AccountId(input.array("account")?);
    let volume = VolumeId(input.array("volume")?);
    let seq = input.u64("seq")?;
    let mut ancestors = [RootHash::default(); ANCESTORS];
    for ancestor in &mut ancestors {
        *ancestor = RootHash(input.array("ancestor")?);
    }
    Ok(Root {
        account,
        volume,
        lineage: Lineage::new(seq, ancestors)?,
        top: NodeHash(input.array("top")?),
        epoch: input.u32("epoch")?,
        sealed_keys: input.array("sealed keys")?,
        device_list: DeviceListHash(input.array("device list")?),
        time: UnixMs(input.u64("time")?),
        pins: list(input, "pins", PINS_MAX, |input| {
            Ok(HostId(input.array("pin")?))
        })?,
        locations: list(input, "locations", LOCATIONS_MAX, |input| {
            Ok(Location {
                shard: ShardId(input.array("location shard")?),
                host: HostId(input.array("location host")?),
            })
        })?,
    })
}

fn list<T>(
    input: &mut Reader<'_>,
    field: &'static str,
    max: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let len = usize::from(input.u8(field)?);
    if len > max {
        return Err(DecodeError::TooLong { field, len, max });
    }
    (0..len).map(|_| item(input)).collect()
}

#[cfg(test)]
mod tests;
