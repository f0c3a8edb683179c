//! The Bridge's identity: one Ed25519 key, and the key its serials follow from.
//!
//! Both live in one file of the data folder, made at the first start. Whoever loses it loses the
//! Bridge: Hosts honour no other key, and stored records can no longer be named.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use model::codec::{DecodeError, Reader, Writer};
use model::crypto::{Secret, SigningKey};
use model::units::BridgeId;
use model::wire::SerialKey;
use rand_core::CryptoRng;

/// The key file in the data folder.
pub const FILE_NAME: &str = "bridge.key";
const MAGIC: &[u8; 7] = b"xbridge";
const VERSION: u8 = 1;
const FILE_BYTES: usize = 8 + 32 + 32;

/// What the Bridge signs with and derives serials from.
#[derive(Clone, Debug)]
pub struct BridgeKeys {
    /// Signs tickets and orders.
    pub signing: SigningKey,
    /// Names stored records.
    pub serials: SerialKey,
    /// The public half: who the Bridge is.
    pub id: BridgeId,
}

/// Why the key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BridgeKeysError {
    /// It could not be read.
    #[error("key file {} could not be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be made.
    #[error("key file {} could not be made", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a key file.
    #[error("{} is not a key file", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// Others than its owner may read it.
    #[error("key file {} is open to other users; run chmod 600 on it", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
    },
}

impl BridgeKeys {
    /// Keys from two secrets of 32 bytes.
    #[must_use]
    pub fn new(seed: &Secret, serial_secret: &Secret) -> Self {
        let signing = SigningKey::from_seed(seed);
        let id = BridgeId(signing.public());
        Self {
            signing,
            serials: SerialKey::new(serial_secret),
            id,
        }
    }

    /// Reads the keys of the data folder `dir`, or draws and keeps new ones where it has none.
    ///
    /// # Errors
    /// [`BridgeKeysError`]. A file that is there and wrong is never replaced.
    pub fn open(dir: &Path, rng: &mut dyn CryptoRng) -> Result<Self, BridgeKeysError> {
        let path = dir.join(FILE_NAME);
        match File::open(&path) {
            Ok(file) => read(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (seed, serials) = (Secret::random(rng), Secret::random(rng));
                create(dir, &path, &seed, &serials)
                    .map_err(|source| BridgeKeysError::Create { path, source })?;
                Ok(Self::new(&seed, &serials))
            }
            Err(source) => Err(BridgeKeysError::Read { path, source }),
        }
    }
}

fn read(file: File, path: PathBuf) -> Result<BridgeKeys, BridgeKeysError> {
    let failed = |source| BridgeKeysError::Read {
        path: path.clone(),
        source,
    };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(BridgeKeysError::OpenToOthers { path });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let secrets = decode(&bytes);
    zeroize_all(&mut bytes);
    let (seed, serials) = secrets.map_err(|source| BridgeKeysError::Content { path, source })?;
    Ok(BridgeKeys::new(&seed, &serials))
}

fn decode(bytes: &[u8]) -> Result<(Secret, Secret), DecodeError> {
    let mut input = Reader::new(bytes);
    if input.array("magic")? != *MAGIC {
        return Err(DecodeError::Invalid { field: "magic" });
    }
    input.version("bridge key", VERSION)?;
    let secrets = (
        Secret::new(input.array("seed")?),
        Secret::new(input.array("serial secret")?),
    );
    input.finish()?;
    Ok(secrets)
}

/// Written under a temporary name, synced and linked into place: a crash leaves no half file, and
/// a second start at the same time cannot put another key over the first.
fn create(dir: &Path, path: &Path, seed: &Secret, serials: &Secret) -> io::Result<()> {
    let mut out = Writer::with_capacity(FILE_BYTES);
    out.bytes(MAGIC)
        .u8(VERSION)
        .bytes(seed.expose())
        .bytes(serials.expose());
    let mut bytes = out.finish();
    let fresh = path.with_extension("key.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    let written = file.write_all(&bytes).and_then(|()| file.sync_all());
    zeroize_all(&mut bytes);
    written?;
    std::fs::hard_link(&fresh, path)?;
    std::fs::remove_file(&fresh)?;
    File::open(dir)?.sync_all()
}

fn zeroize_all(bytes: &mut [u8]) {
    bytes.fill(0);
    // Keeps the write from being dropped as dead.
    std::hint::black_box(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::fresh;

    #[test]
    fn the_second_start_finds_the_same_keys() {
        let dir = tempfile::tempdir().unwrap();
        let first = BridgeKeys::open(dir.path(), &mut fresh().unwrap()).unwrap();
        let second = BridgeKeys::open(dir.path(), &mut fresh().unwrap()).unwrap();
        assert_eq!(first.id, second.id);
        assert_eq!(first.serials, second.serials);
        let mode = dir
            .path()
            .join(FILE_NAME)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_wrong_or_open_file_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        BridgeKeys::open(dir.path(), &mut fresh().unwrap()).unwrap();
        let good = std::fs::read(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = BridgeKeys::open(dir.path(), &mut fresh().unwrap()).unwrap_err();
        assert!(
            matches!(error, BridgeKeysError::OpenToOthers { .. }),
            "{error}"
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(20)
            .unwrap();
        let error = BridgeKeys::open(dir.path(), &mut fresh().unwrap()).unwrap_err();
        assert!(matches!(error, BridgeKeysError::Content { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), good[..20]);
    }
}
