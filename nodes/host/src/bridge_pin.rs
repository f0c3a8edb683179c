//! Which Bridge this Host belongs to, and how far it has carried out that Bridge's orders.
//!
//! The Bridge's key is learned when it is joined for the first time, or told by its URL, and
//! never changes after: tickets and orders of any other are refused.

use std::io;
use std::path::{Path, PathBuf};

use model::units::BridgeId;
use serde::{Deserialize, Serialize};
use shardstore::durable;

const FILE_NAME: &str = "bridge.json";
const FILE_BYTES_MAX: u64 = 4_096;

/// What is remembered of the Bridge, on disk.
#[derive(Debug)]
pub struct BridgePin {
    path: PathBuf,
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    bridge: BridgeId,
    orders_done: u64,
}

/// A Bridge that is not the known one, or what is known cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another Bridge than before answers.
    #[error(
        "the bridge has key {found}, not {known} as before; this host's shards belong to that one"
    )]
    OtherBridge {
        /// The known one.
        known: BridgeId,
        /// The one that answers.
        found: BridgeId,
    },
}

impl BridgePin {
    /// Reads what the folder `data` holds; `told` is the key that the Bridge's URL names.
    ///
    /// # Errors
    /// [`PinError`] where the file is unreadable, or names another Bridge than the URL.
    pub fn open(data: &Path, told: Option<BridgeId>) -> Result<Self, PinError> {
        let path = data.join(FILE_NAME);
        let known = read(&path)?;
        let mut pin = Self { path, known };
        if let Some(bridge) = told {
            pin.accept(bridge)?;
        }
        Ok(pin)
    }

    /// The known Bridge.
    #[must_use]
    pub fn bridge(&self) -> Option<BridgeId> {
        self.known.map(|known| known.bridge)
    }

    /// The highest order carried out.
    #[must_use]
    pub fn orders_done(&self) -> u64 {
        self.known.map_or(0, |known| known.orders_done)
    }

    /// Remembers `bridge`, durably, where none is known yet.
    ///
    /// # Errors
    /// [`PinError::OtherBridge`] where another is known, [`PinError::Write`] where the disk fails.
    pub fn accept(&mut self, bridge: BridgeId) -> Result<(), PinError> {
        match self.known {
            None => self.write(Known {
                bridge,
                orders_done: 0,
            }),
            Some(known) if known.bridge == bridge => Ok(()),
            Some(known) => Err(PinError::OtherBridge {
                known: known.bridge,
                found: bridge,
            }),
        }
    }

    /// Remembers, durably, that `bridge`'s orders up to `seq` are done.
    ///
    /// # Errors
    /// Those of [`BridgePin::accept`].
    pub(crate) fn done(&mut self, bridge: BridgeId, seq: u64) -> Result<(), PinError> {
        self.accept(bridge)?;
        self.write(Known {
            bridge,
            orders_done: seq,
        })
    }

    fn write(&mut self, known: Known) -> Result<(), PinError> {
        // Two numbers as JSON: this cannot fail.
        let bytes = serde_json::to_vec(&known).unwrap_or_default();
        durable::replace(&self.path, &bytes).map_err(|source| PinError::Write {
            path: self.path.clone(),
            source,
        })?;
        self.known = Some(known);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Known>, PinError> {
    let unreadable = |source| PinError::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| PinError::Damaged {
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BridgeId = BridgeId([1; 32]);
    const TWO: BridgeId = BridgeId([2; 32]);

    #[test]
    fn the_first_bridge_stays_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut pin = BridgePin::open(folder.path(), None).unwrap();
        assert_eq!((pin.bridge(), pin.orders_done()), (None, 0));
        pin.done(ONE, 7).unwrap();
        assert!(matches!(pin.accept(TWO), Err(PinError::OtherBridge { .. })));

        let again = BridgePin::open(folder.path(), None).unwrap();
        assert_eq!((again.bridge(), again.orders_done()), (Some(ONE), 7));
        assert!(BridgePin::open(folder.path(), Some(TWO)).is_err());
    }
}
