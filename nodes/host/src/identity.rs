//! The Host's identity: one Ed25519 key, made at the first start and kept for good. Whoever has
//! it is this Host; without it every shard here is lost to the network.

use std::io;
use std::path::{Path, PathBuf};

use model::crypto::{Secret, SigningKey};
use shardstore::durable;

/// Name of the file in a Host's data folder: the key's 32-byte seed, mode 0600.
const FILE_NAME: &str = "identity.key";

/// An identity that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HostIdentityError {
    /// The file cannot be read.
    #[error("cannot read the identity in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no key.
    #[error("{} holds {bytes} bytes, a key has 32; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How long it is.
        bytes: usize,
    },
    /// The system gives no randomness for a new key.
    #[error("no randomness for a new identity: {0}")]
    Random(getrandom::Error),
    /// A new key cannot be kept.
    #[error("cannot write the identity to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Reads the identity in the folder `data`, or makes one there if there is none.
///
/// # Errors
/// [`HostIdentityError`]; an existing file is never replaced.
pub fn identity(data: &Path) -> Result<SigningKey, HostIdentityError> {
    let path = data.join(FILE_NAME);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let damaged = HostIdentityError::Damaged {
                path,
                bytes: bytes.len(),
            };
            let seed = bytes.try_into().map_err(|_| damaged)?;
            Ok(SigningKey::from_seed(&Secret::new(seed)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&path),
        Err(source) => Err(HostIdentityError::Read { path, source }),
    }
}

fn create(path: &Path) -> Result<SigningKey, HostIdentityError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(HostIdentityError::Random)?;
    durable::create_new(path, &seed).map_err(|source| HostIdentityError::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok(SigningKey::from_seed(&Secret::new(seed)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_for_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        let first = identity(data.path()).unwrap().public();
        assert_eq!(identity(data.path()).unwrap().public(), first);
        let mode = std::fs::metadata(data.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_identity_is_never_replaced() {
        let data = tempfile::tempdir().unwrap();
        durable::replace(&data.path().join(FILE_NAME), b"short").unwrap();
        let error = identity(data.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("holds 5 bytes, a key has 32; restore it from a backup")
        );
        assert_eq!(
            std::fs::read(data.path().join(FILE_NAME)).unwrap(),
            b"short"
        );
    }
}
