//! The device list of an account: who may sign its roots.
//!
//! One numbered list per account, chained by hash and signed by the identity key, which devices
//! never keep: a thief of a device can neither enrol another nor evict the owner. The byte table
//! is in `docs/spec/formats.md`.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{Signature, SignatureError, SigningKey, account_of, sha256, verify};
use crate::units::{AccountId, DeviceId, DeviceListHash, RootHash, UnixMs, VolumeId};

/// Largest signed device list.
pub const DEVICE_LIST_BYTES_MAX: usize = 524_288;
/// Most devices at a time.
pub const DEVICES_MAX: usize = 64;
/// Most revoked devices that are remembered.
pub const REVOKED_MAX: usize = 256;
/// Most volumes per revoked device.
pub const LAST_ROOTS_MAX: usize = 64;
/// Most wrapped volume keys.
pub const WRAPPED_KEYS_MAX: usize = 256;
/// Longest device name, in bytes of UTF-8.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;
const KEM_KEY_BYTES_MAX: usize = 2_048;
const WRAPPED_KEY_BYTES_MAX: usize = 2_048;
const VERSION: u8 = 1;
const KIND: &str = "device-list";

/// What a device list says, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceListDraft {
    /// The account's identity key; its hash names the account.
    pub identity: [u8; 32],
    /// 1 for the first list, then one more each time.
    pub seq: u64,
    /// The hash of the previous list; zero for the first.
    pub prev: DeviceListHash,
    /// When it was signed.
    pub time: UnixMs,
    /// Who may sign roots.
    pub devices: Vec<Device>,
    /// Who may not any more.
    pub revoked: Vec<Revoked>,
    /// Volume keys wrapped to the devices' KEM keys; opaque here.
    pub wrapped_keys: Vec<Vec<u8>>,
}

/// A device that may sign roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its Ed25519 public key.
    pub id: DeviceId,
    /// What its owner calls it, at most 64 bytes.
    pub name: String,
    /// Its X-Wing public key; may be empty.
    pub kem_key: Vec<u8>,
    /// When it was enrolled.
    pub added: UnixMs,
}

/// A device whose signatures no longer count, but for what it signed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its Ed25519 public key.
    pub id: DeviceId,
    /// When it was revoked.
    pub time: UnixMs,
    /// Per volume, the last root that counted when it was revoked.
    pub last_roots: Vec<LastRoot>,
}

/// The last root of a volume that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRoot {
    /// The volume.
    pub volume: VolumeId,
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: RootHash,
}

/// A device list whose signature was checked, or made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    draft: DeviceListDraft,
    bytes: Vec<u8>,
}

/// A draft that cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceListSignError {
    /// The draft names another identity key.
    #[error("the draft is of another account than the key")]
    OtherAccount,
    /// The draft breaks a limit.
    #[error("the draft breaks a limit")]
    Limit(#[from] DecodeError),
}

/// Bytes that are not the device list of the account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceListError {
    /// It cannot be read.
    #[error("the device list cannot be read")]
    Decode(#[from] DecodeError),
    /// It is of another account.
    #[error("the device list is of account {found}, not {expected}")]
    OtherAccount {
        /// The account its identity key names.
        found: AccountId,
        /// The account it should be of.
        expected: AccountId,
    },
    /// Its signature does not verify.
    #[error("the device list of account {account} is not signed by its identity key")]
    Signature {
        /// The account.
        account: AccountId,
        /// Why.
        #[source]
        source: SignatureError,
    },
}

impl DeviceListDraft {
    /// The first list of an account, with one device.
    #[must_use]
    pub fn first(identity: [u8; 32], device: Device) -> Self {
        Self {
            identity,
            seq: 1,
            prev: DeviceListHash::default(),
            time: device.added,
            devices: vec![device],
            revoked: Vec::new(),
            wrapped_keys: Vec::new(),
        }
    }

    /// Signs the draft.
    ///
    /// # Errors
    /// [`DeviceListSignError`] where `identity` is not the key it names, or a limit is broken.
    pub fn sign(self, identity: &SigningKey) -> Result<DeviceList, DeviceListSignError> {
        if identity.public() != self.identity {
            return Err(DeviceListSignError::OtherAccount);
        }
        let mut bytes = encode(&self);
        // What the reader would refuse is never signed.
        decode(&mut Reader::new(&bytes))?;
        let signature = identity.sign(KIND, &bytes);
        bytes.extend_from_slice(&signature.0);
        check_length(&bytes)?;
        Ok(DeviceList { draft: self, bytes })
    }
}

impl DeviceList {
    /// Reads the list of `account` and checks that its identity key signed it.
    ///
    /// # Errors
    /// [`DeviceListError`].
    pub fn open(bytes: &[u8], account: &AccountId) -> Result<Self, DeviceListError> {
        check_length(bytes)?;
        let body_len = bytes.len().saturating_sub(64);
        let (body, rest) = bytes.split_at(body_len);
        let mut rest = Reader::new(rest);
        let signature = Signature(rest.array("signature")?);
        let mut input = Reader::new(body);
        let draft = decode(&mut input)?;
        input.finish()?;
        let found = account_of(&draft.identity);
        if found != *account {
            return Err(DeviceListError::OtherAccount {
                found,
                expected: *account,
            });
        }
        verify(&draft.identity, KIND, body, &signature).map_err(|source| {
            DeviceListError::Signature {
                account: found,
                source,
            }
        })?;
        Ok(Self {
            draft,
            bytes: bytes.to_vec(),
        })
    }

    /// What it says.
    #[must_use]
    pub const fn content(&self) -> &DeviceListDraft {
        &self.draft
    }

    /// The account it is of.
    #[must_use]
    pub fn account(&self) -> AccountId {
        account_of(&self.draft.identity)
    }

    /// Its bytes as stored and sent: body and signature.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of [`Self::bytes`].
    #[must_use]
    pub fn hash(&self) -> DeviceListHash {
        DeviceListHash(sha256(&self.bytes))
    }

    /// Whether it comes directly after `older`.
    #[must_use]
    pub fn follows(&self, older: &Self) -> bool {
        self.draft.identity == older.draft.identity
            && older.draft.seq.checked_add(1) == Some(self.draft.seq)
            && self.draft.prev == older.hash()
    }

    /// The device `id`, where it may sign.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.draft.devices.iter().find(|device| device.id == *id)
    }

    /// The device `id`, where it was revoked.
    #[must_use]
    pub fn revoked(&self, id: &DeviceId) -> Option<&Revoked> {
        self.draft.revoked.iter().find(|device| device.id == *id)
    }
}

const fn check_length(bytes: &[u8]) -> Result<(), DecodeError> {
    let len = bytes.len();
    if len > DEVICE_LIST_BYTES_MAX {
        return Err(DecodeError::TooLong {
            field: "device list",
            len,
            max: DEVICE_LIST_BYTES_MAX,
        });
    }
    Ok(())
}

fn encode(draft: &DeviceListDraft) -> Vec<u8> {
    let mut out = Writer::default();
    out.u8(VERSION)
        .bytes(&draft.identity)
        .u64(draft.seq)
        .bytes(&draft.prev.0)
        .u64(draft.time.0);
    count(&mut out, draft.devices.len());
    for device in &draft.devices {
        out.bytes(&device.id.0).prefixed(device.name.as_bytes());
        out.prefixed(&device.kem_key).u64(device.added.0);
    }
    count(&mut out, draft.revoked.len());
    for revoked in &draft.revoked {
        out.bytes(&revoked.id.0).u64(revoked.time.0);
        count(&mut out, revoked.last_roots.len());
        for last in &revoked.last_roots {
            out.bytes(&last.volume.0).u64(last.seq).bytes(&last.hash.0);
        }
    }
    count(&mut out, draft.wrapped_keys.len());
    for key in &draft.wrapped_keys {
        out.prefixed(key);
    }
    out.finish()
}

/// Writes the length of a list; one that is too long for the field breaks its limit by far, and
/// the reader that checks every draft refuses it.
fn count(out: &mut Writer, len: usize) {
    out.u16(u16::try_from(len).unwrap_or(u16::MAX));
}

fn decode(input: &mut Reader<'_>) -> Result<DeviceListDraft, DecodeError> {
    input.version(KIND, VERSION)?;
    let identity = input.array("identity key")?;
    let seq = input.u64("seq")?;
    let prev = DeviceListHash(input.array("previous hash")?);
    if seq == 0 || (seq == 1) != (prev == DeviceListHash::default()) {
        return Err(DecodeError::Invalid { field: "seq" });
    }
    let draft = DeviceListDraft {
        identity,
        seq,
        prev,
        time: UnixMs(input.u64("time")?),
        devices: list(input, "devices", DEVICES_MAX, device)?,
        revoked: list(input, "revoked devices", REVOKED_MAX, revoked)?,
        wrapped_keys: list(input, "wrapped keys", WRAPPED_KEYS_MAX, |input| {
            Ok(input
                .prefixed("wrapped key", WRAPPED_KEY_BYTES_MAX)?
                .to_vec())
        })?,
    };
    let mut ids: Vec<_> = draft.devices.iter().map(|device| device.id).collect();
    ids.extend(draft.revoked.iter().map(|device| device.id));
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(DecodeError::Invalid { field: "device id" });
    }
    Ok(draft)
}

fn list<T>(
    input: &mut Reader<'_>,
    field: &'static str,
    max: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let len = usize::from(input.u16(field)?);
    if len > max {
        return Err(DecodeError::TooLong { field, len, max });
    }
    (0..len).map(|_| item(input)).collect()
}

fn device(input: &mut Reader<'_>) -> Result<Device, DecodeError> {
    let id = DeviceId(input.array("device id")?);
    let name = input.prefixed("device name", DEVICE_NAME_BYTES_MAX)?;
    let name = std::str::from_utf8(name).map_err(|_| DecodeError::Invalid {
        field: "device name",
    })?;
    Ok(Device {
        id,
        name: name.to_owned(),
        kem_key: input.prefixed("kem key", KEM_KEY_BYTES_MAX)?.to_vec(),
        added: UnixMs(input.u64("added")?),
    })
}

fn revoked(input: &mut Reader<'_>) -> Result<Revoked, DecodeError> {
    Ok(Revoked {
        id: DeviceId(input.array("revoked device id")?),
        time: UnixMs(input.u64("revoked at")?),
        last_roots: list(input, "last roots", LAST_ROOTS_MAX, |input| {
            Ok(LastRoot {
                volume: VolumeId(input.array("volume")?),
                seq: input.u64("last seq")?,
                hash: RootHash(input.array("last root hash")?),
            })
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    fn identity() -> SigningKey {
        SigningKey::from_seed(&Secret::new([1; 32]))
    }

    fn laptop(byte: u8) -> Device {
        Device {
            id: DeviceId([byte; 32]),
            name: "Läptop".to_owned(),
            kem_key: vec![byte; 5],
            added: UnixMs(77),
        }
    }

    fn first() -> DeviceList {
        DeviceListDraft::first(identity().public(), laptop(1))
            .sign(&identity())
            .unwrap()
    }

    fn second() -> DeviceList {
        let last = LastRoot {
            volume: VolumeId([5; 16]),
            seq: 9,
            hash: RootHash([6; 32]),
        };
        let revoked = Revoked {
            id: DeviceId([1; 32]),
            time: UnixMs(99),
            last_roots: vec![last],
        };
        let draft = DeviceListDraft {
            seq: 2,
            prev: first().hash(),
            devices: vec![laptop(2), laptop(3)],
            revoked: vec![revoked],
            wrapped_keys: vec![vec![1, 2, 3]],
            ..first().content().clone()
        };
        draft.sign(&identity()).unwrap()
    }

    #[test]
    fn lists_are_read_back_and_chained() {
        let account = account_of(&identity().public());
        for list in [first(), second()] {
            assert_eq!(DeviceList::open(list.bytes(), &account).unwrap(), list);
        }
        assert!(second().follows(&first()));
        assert!(!first().follows(&second()));
        assert!(!second().follows(&second()));
        assert!(second().device(&DeviceId([2; 32])).is_some());
        assert!(second().device(&DeviceId([1; 32])).is_none());
        assert!(second().revoked(&DeviceId([1; 32])).is_some());
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_refused() {
        let account = account_of(&identity().public());
        let list = second();
        for bit in 0..list.bytes().len() * 8 {
            let mut bent = list.bytes().to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(DeviceList::open(&bent, &account).is_err(), "bit {bit}");
        }
        for len in 0..list.bytes().len() {
            assert!(
                DeviceList::open(&list.bytes()[..len], &account).is_err(),
                "length {len}"
            );
        }
    }

    #[test]
    fn another_account_and_broken_limits_are_refused() {
        let other = SigningKey::from_seed(&Secret::new([2; 32]));
        let account = account_of(&other.public());
        assert!(matches!(
            DeviceList::open(first().bytes(), &account),
            Err(DeviceListError::OtherAccount { .. })
        ));
        let draft = DeviceListDraft::first(identity().public(), laptop(1));
        assert_eq!(
            draft.clone().sign(&other),
            Err(DeviceListSignError::OtherAccount)
        );

        let twice = DeviceListDraft {
            devices: vec![laptop(1), laptop(1)],
            ..draft.clone()
        };
        assert!(matches!(
            twice.sign(&identity()),
            Err(DeviceListSignError::Limit(_))
        ));
        let named = Device {
            name: "x".repeat(65),
            ..laptop(1)
        };
        assert!(
            DeviceListDraft::first(identity().public(), named)
                .sign(&identity())
                .is_err()
        );
        let many = (0..65).map(laptop).collect();
        assert!(
            DeviceListDraft {
                devices: many,
                ..draft
            }
            .sign(&identity())
            .is_err()
        );
    }
}
