//! What an owner's device keeps on its own disk: settings, keys, and what it last saw.
//!
//! ```text
//! settings.json   bridge, account, volume; written last, so its presence means "initialised"
//! keys.json       device key and volume keys, mode 0600
//! root.before-rollback  the newest root seen before the owner accepted an older one
//! root.seen       the last root accepted; one that does not descend from it is refused
//! devices.seen    the last device list accepted
//! session.json    the Bridge's session token
//! pages/          sealed pages by hash, bounded, checked whenever they are read
//! spool/          ciphertext of uploads whose length was not known
//! uploads/        sealed journals of uploads that have not come to their end
//! lock            held while a commit is under way
//! seen.lock       held while one of the two `seen` files is written
//! uploads.lock    held while journals are looked through
//! ```
//!
//! The recovery phrase and the keys derived from it for the account itself are never here.

#[cfg(not(target_family = "wasm"))]
mod folder;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::crypto::{Secret, SigningKey, VolumeKey};
use model::formats::device_list::DEVICE_LIST_BYTES_MAX;
use model::formats::root::{ROOT_BYTES_MAX, SignedRoot};
use model::units::{AccountId, BridgeId, DeviceId, VolumeId};
use model::wire::api::Session;
use net::BridgeUrl;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::storage::{Lock, Storage};
#[cfg(not(target_family = "wasm"))]
pub(super) use folder::write_unsynced;

const SETTINGS: &str = "settings.json";
const KEYS: &str = "keys.json";
const ROOT_SEEN: &str = "root.seen";
/// The newest root seen before the owner accepted an older one.
const ROOT_BEFORE_ROLLBACK: &str = "root.before-rollback";
const DEVICES_SEEN: &str = "devices.seen";
const SESSION: &str = "session.json";
/// Largest settings, keys or session file that is read.
const JSON_FILE_BYTES_MAX: u64 = 65_536;

/// What a device keeps, as a rule in a folder.
#[derive(Clone, Debug)]
pub struct Home {
    /// The folder; elsewhere what errors call the place.
    dir: PathBuf,
    storage: Arc<dyn Storage>,
}

/// To whom this device belongs and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The format of this file: 1.
    pub version: u32,
    /// Where the Bridge is.
    pub bridge: BridgeUrl,
    /// Its id when the account was opened; another one is refused.
    pub bridge_id: BridgeId,
    /// The account.
    pub account: AccountId,
    /// The account's volume.
    pub volume: VolumeId,
    /// The epoch of the volume key that new roots use.
    pub epoch: u32,
    /// What this device is called.
    pub device_name: String,
}

/// The version of [`Settings`] that this program writes.
pub(super) const SETTINGS_VERSION: u32 = 1;

/// The keys a device keeps.
#[derive(Clone, Debug)]
pub struct DeviceKeys {
    /// Signs in and signs roots.
    pub device: SigningKey,
    /// The volume's key of the current epoch.
    pub volume: VolumeKey,
}

/// Seed and key in hexadecimal digits; wiped when dropped.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    version: u32,
    device: String,
    volume: String,
}

/// A home that cannot be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// There is no account here yet.
    #[error("{} holds no account; run `xcloud init` first, or name another --home", dir.display())]
    NotInitialised {
        /// The folder.
        dir: PathBuf,
    },
    /// There is an account here already.
    #[error("{} holds an account already; choose another --home", dir.display())]
    AlreadyInitialised {
        /// The folder.
        dir: PathBuf,
    },
    /// A file that cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A file that cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// A file that does not hold what it should.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// A key file with a key of the wrong length.
    #[error("{} holds no 32-byte key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Settings of another version of this program.
    #[error("{} is of version {version}, this program reads {SETTINGS_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Home {
    /// The home in `storage`, initialised or not. Errors call it `name`.
    #[must_use]
    pub fn over(storage: Arc<dyn Storage>, name: impl Into<PathBuf>) -> Self {
        Self {
            dir: name.into(),
            storage,
        }
    }

    /// The folder, or what errors call the place.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the settings.
    ///
    /// # Errors
    /// [`HomeError::NotInitialised`], or what is wrong with the file.
    pub fn settings(&self) -> Result<Settings, HomeError> {
        let path = self.dir.join(SETTINGS);
        let settings: Settings =
            self.read_json(SETTINGS)?
                .ok_or_else(|| HomeError::NotInitialised {
                    dir: self.dir.clone(),
                })?;
        match settings.version {
            SETTINGS_VERSION => Ok(settings),
            version => Err(HomeError::Version { path, version }),
        }
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// [`HomeError`].
    pub fn keys(&self) -> Result<DeviceKeys, HomeError> {
        let path = self.dir.join(KEYS);
        let file: KeysFile = self
            .read_json(KEYS)?
            .ok_or_else(|| HomeError::NotInitialised {
                dir: self.dir.clone(),
            })?;
        let key = |text: &str| {
            let id: DeviceId = text
                .parse()
                .map_err(|_| HomeError::Key { path: path.clone() })?;
            Ok::<_, HomeError>(Secret::new(id.0))
        };
        Ok(DeviceKeys {
            device: SigningKey::from_seed(&key(&file.device)?),
            volume: VolumeKey(key(&file.volume)?),
        })
    }

    /// Refuses a home that holds an account.
    ///
    /// # Errors
    /// [`HomeError::AlreadyInitialised`].
    pub fn expect_empty(&self) -> Result<(), HomeError> {
        match self.read(SETTINGS, JSON_FILE_BYTES_MAX) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(HomeError::AlreadyInitialised {
                dir: self.dir.clone(),
            }),
        }
    }

    /// Writes a new account's keys, and then its settings: the home is initialised by the last.
    ///
    /// # Errors
    /// [`HomeError::Write`].
    pub fn initialise(&self, settings: &Settings, keys: &DeviceKeys) -> Result<(), HomeError> {
        self.storage.make().map_err(|source| HomeError::Write {
            path: self.dir.clone(),
            source,
        })?;
        let hex = |secret: &Secret| DeviceId(*secret.expose()).to_string();
        let file = KeysFile {
            version: SETTINGS_VERSION,
            device: hex(&keys.device.seed()),
            volume: hex(&keys.volume.0),
        };
        self.write_json(KEYS, &file)?;
        self.write_json(SETTINGS, settings)
    }

    /// The last root accepted, if any, as it was signed.
    ///
    /// # Errors
    /// [`HomeError::Read`].
    pub fn root_seen(&self) -> Result<Option<Vec<u8>>, HomeError> {
        let seen = self.read(ROOT_SEEN, ROOT_BYTES_MAX as u64)?;
        // Empty after a rollback to before the first.
        Ok(seen.filter(|bytes| !bytes.is_empty()))
    }

    /// Remembers the last root accepted, unless another run of this device saw a newer one.
    ///
    /// # Errors
    /// [`HomeError::Read`] and [`HomeError::Write`].
    pub fn see_root(&self, signed: &SignedRoot) -> Result<(), HomeError> {
        let seq = |root: &SignedRoot| root.unverified().lineage.seq();
        let _turn = self.flock("seen.lock")?;
        let seen = self
            .root_seen()?
            .and_then(|bytes| SignedRoot::parse(&bytes).ok());
        match seen {
            Some(seen) if seq(&seen) >= seq(signed) => Ok(()),
            _ => self.write(ROOT_SEEN, signed.bytes()),
        }
    }

    /// Goes by an older root, or none, from now on. The newest one seen stays beside it.
    ///
    /// # Errors
    /// [`HomeError::Read`] and [`HomeError::Write`].
    pub fn rewind_root(&self, older: Option<&SignedRoot>) -> Result<(), HomeError> {
        let _turn = self.flock("seen.lock")?;
        if let Some(seen) = self.root_seen()? {
            self.write(ROOT_BEFORE_ROLLBACK, &seen)?;
        }
        self.write(ROOT_SEEN, older.map_or(&[], |root| root.bytes()))
    }

    /// The last device list accepted, if any, as it was signed.
    ///
    /// # Errors
    /// [`HomeError::Read`].
    pub fn devices_seen(&self) -> Result<Option<Vec<u8>>, HomeError> {
        self.read(DEVICES_SEEN, DEVICE_LIST_BYTES_MAX as u64)
    }

    /// Remembers the last device list accepted.
    ///
    /// # Errors
    /// [`HomeError::Write`].
    pub fn see_devices(&self, signed: &[u8]) -> Result<(), HomeError> {
        let _turn = self.flock("seen.lock")?;
        self.write(DEVICES_SEEN, signed)
    }

    /// The session of the last run, if it left one. A damaged one counts as none.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.read_json(SESSION).ok().flatten()
    }

    /// Keeps a session for the next run. It can be had again at any time, so nothing is synced
    /// and failing to keep it is no error.
    pub fn keep_session(&self, session: &Session) {
        let Ok(bytes) = serde_json::to_vec(session) else {
            return;
        };
        if let Err(error) = self.storage.replace_unsynced(SESSION, &bytes) {
            tracing::debug!(%error, "session not kept");
        }
    }

    /// Waits for and takes the lock that a commit holds; dropping it releases it.
    ///
    /// # Errors
    /// [`HomeError::Write`].
    pub fn lock(&self) -> Result<Lock, HomeError> {
        self.flock("lock")
    }

    fn flock(&self, name: &str) -> Result<Lock, HomeError> {
        self.storage.lock(name).map_err(|source| HomeError::Write {
            path: self.dir.join(name),
            source,
        })
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HomeError> {
        let Some(bytes) = self.read(name, JSON_FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let bytes = Zeroizing::new(bytes);
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|source| HomeError::Damaged {
            path: self.dir.join(name),
            source,
        })
    }

    fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, HomeError> {
        let read = self.storage.read(name, bytes_max);
        read.map_err(|source| HomeError::Read {
            path: self.dir.join(name),
            source,
        })
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), HomeError> {
        let path = self.dir.join(name);
        let bytes = serde_json::to_vec_pretty(value)
            .map(Zeroizing::new)
            .map_err(|source| HomeError::Damaged { path, source })?;
        self.write(name, &bytes)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let written = self.storage.replace(name, bytes);
        written.map_err(|source| HomeError::Write {
            path: self.dir.join(name),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::{Mutex, MutexGuard};

    use model::formats::root::{Lineage, Root, SEALED_KEYS_BYTES};
    use model::units::{DeviceListHash, NodeHash, UnixMs};

    use super::*;

    fn settings() -> Settings {
        Settings {
            version: SETTINGS_VERSION,
            bridge: "http://127.0.0.1:7400".parse().unwrap(),
            bridge_id: BridgeId([1; 32]),
            account: AccountId([2; 16]),
            volume: VolumeId([3; 16]),
            epoch: 0,
            device_name: "laptop".to_owned(),
        }
    }

    fn keys() -> DeviceKeys {
        DeviceKeys {
            device: SigningKey::from_seed(&Secret::new([4; 32])),
            volume: VolumeKey(Secret::new([5; 32])),
        }
    }

    /// Storage as a browser would bring it.
    #[derive(Debug, Default)]
    struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

    impl Memory {
        fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
            self.0.lock().unwrap()
        }
    }

    impl Storage for Memory {
        fn make(&self) -> io::Result<()> {
            Ok(())
        }

        fn read(&self, name: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
            match self.files().get(name) {
                Some(bytes) if bytes.len() as u64 > bytes_max => {
                    Err(io::ErrorKind::FileTooLarge.into())
                }
                found => Ok(found.cloned()),
            }
        }

        fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            self.files().insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }

        fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
            self.replace(name, bytes)
        }

        fn lock(&self, _name: &str) -> io::Result<Lock> {
            Ok(Box::new(()))
        }
    }

    #[test]
    fn a_home_needs_no_folder() {
        let home = Home::over(Arc::new(Memory::default()), "this browser");
        home.expect_empty().unwrap();
        home.initialise(&settings(), &keys()).unwrap();
        assert_eq!(home.settings().unwrap(), settings());
        assert_eq!(home.keys().unwrap().volume, keys().volume);
        home.write(ROOT_SEEN, &vec![0; ROOT_BYTES_MAX + 1]).unwrap();
        let error = home.root_seen().unwrap_err();
        assert_eq!(error.to_string(), "this browser/root.seen cannot be read");
    }

    #[test]
    fn what_was_initialised_is_read_back_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("deep/home"));
        assert!(matches!(
            home.settings(),
            Err(HomeError::NotInitialised { .. })
        ));
        home.expect_empty().unwrap();

        home.initialise(&settings(), &keys()).unwrap();

        assert_eq!(home.settings().unwrap(), settings());
        let read = home.keys().unwrap();
        assert_eq!(read.device.public(), keys().device.public());
        assert_eq!(read.volume, keys().volume);
        assert!(matches!(
            home.expect_empty(),
            Err(HomeError::AlreadyInitialised { .. })
        ));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.dir().join(KEYS)), 0o600);
        assert_eq!(mode(home.dir()), 0o700);
    }

    #[test]
    fn damage_and_other_versions_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        home.write(SETTINGS, b"{").unwrap();
        assert!(
            home.settings()
                .unwrap_err()
                .to_string()
                .ends_with("settings.json is damaged")
        );
        home.write_json(
            SETTINGS,
            &Settings {
                version: 9,
                ..settings()
            },
        )
        .unwrap();
        assert!(matches!(
            home.settings(),
            Err(HomeError::Version { version: 9, .. })
        ));
        home.write(ROOT_SEEN, &vec![0; ROOT_BYTES_MAX + 1]).unwrap();
        assert!(matches!(home.root_seen(), Err(HomeError::Read { .. })));
    }

    #[test]
    fn a_spool_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let first = home.spool().unwrap();
        let second = home.spool().unwrap();
        assert_eq!(
            fs::read_dir(folder.path().join("spool")).unwrap().count(),
            0
        );
        drop((first, second));
    }

    #[test]
    fn an_older_root_does_not_replace_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let root = |lineage: Lineage| {
            let root = Root {
                account: AccountId([2; 16]),
                volume: VolumeId([3; 16]),
                lineage,
                top: NodeHash([6; 32]),
                epoch: 0,
                sealed_keys: [0; SEALED_KEYS_BYTES],
                device_list: DeviceListHash([7; 32]),
                time: UnixMs(8),
                pins: Vec::new(),
                locations: Vec::new(),
            };
            root.sign(&keys().device).unwrap()
        };
        let first = root(Lineage::first());
        let second = root(Lineage::first().next(first.hash()));

        home.see_root(&second).unwrap();
        home.see_root(&first).unwrap();

        assert_eq!(home.root_seen().unwrap().unwrap(), second.bytes());
    }
}
