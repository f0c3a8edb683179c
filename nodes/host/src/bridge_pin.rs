//! Which Bridges this Host belongs to, and how far it has carried out each one's orders.
//!
//! A Bridge's key is learned when it is joined for the first time, or told by its URL, and from
//! then on no other is accepted at that URL. Each Bridge has a file of its own, so that none waits
//! for another's orders.

use std::io;
use std::path::{Path, PathBuf};

use model::units::BridgeId;
use model::wire::Signed;
use model::wire::upkeep::Mark;
use net::BridgeUrl;
use serde::{Deserialize, Serialize};
use shardstore::{disk, durable};

use crate::limits::MARK_WRITTEN_EVERY;

pub(crate) const FOLDER: &str = "bridges";
/// Where the only Bridge was remembered when a Host could have but one.
const FILE_OF_ONE: &str = "bridge.json";
const FILE_BYTES_MAX: u64 = 4_096;
/// Most Bridges that a Host remembers.
const KNOWN_MAX: usize = 1_024;

/// What is remembered of the Bridge at one URL, on disk.
#[derive(Debug)]
pub struct BridgePin {
    folder: PathBuf,
    url: String,
    known: Option<Known>,
    /// The highest mark heard, of which what is written down may lag behind.
    mark: u64,
    /// It, as the Bridge signed it: what is shown to a Bridge that has forgotten.
    shown: Option<Signed<Mark>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    bridge: BridgeId,
    /// Where it was joined last; unknown for one that is remembered from long ago.
    #[serde(default)]
    url: Option<String>,
    orders_done: u64,
    /// How far its memory reached.
    #[serde(default)]
    mark: u64,
    /// That, as it was signed.
    #[serde(default)]
    shown: Option<Signed<Mark>>,
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
    /// More Bridges than are remembered.
    #[error("more than {KNOWN_MAX} bridges are remembered in {}; remove files of those that are gone", folder.display())]
    TooMany {
        /// The folder.
        folder: PathBuf,
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
    /// Two URLs lead to one Bridge.
    #[error("the bridge {found} is joined under another url already; name it once")]
    Twice {
        /// The Bridge.
        found: BridgeId,
    },
}

impl BridgePin {
    /// Reads what the folder `data` holds of the Bridges at `urls`, in their order.
    ///
    /// # Errors
    /// [`PinError`] where a file cannot be used.
    pub fn open_all(data: &Path, urls: &[&BridgeUrl]) -> Result<Vec<Self>, PinError> {
        let folder = data.join(FOLDER);
        let made = disk::create_folders(&folder).and_then(|()| durable::sync_folder_of(&folder));
        made.map_err(|source| PinError::Write {
            path: folder.clone(),
            source,
        })?;
        take_over_the_one(data, &folder, urls)?;
        let known = read_all(&folder)?;
        urls.iter()
            .map(|url| {
                let text = url.to_string();
                let is_its = |known: &&Known| match url.pinned() {
                    Some(told) => known.bridge == told,
                    None => known.url.as_ref() == Some(&text),
                };
                let known = known.iter().find(is_its).cloned();
                let mut pin = Self {
                    folder: folder.clone(),
                    mark: known.as_ref().map_or(0, |known| known.mark),
                    shown: known.as_ref().and_then(|known| known.shown.clone()),
                    known,
                    url: text,
                };
                if let Some(told) = url.pinned() {
                    pin.accept(told)?;
                }
                Ok(pin)
            })
            .collect()
    }

    /// The known Bridge.
    #[must_use]
    pub fn bridge(&self) -> Option<BridgeId> {
        self.known.as_ref().map(|known| known.bridge)
    }

    /// The highest order carried out.
    #[must_use]
    pub fn orders_done(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.orders_done)
    }

    /// Remembers `bridge`, durably, where none is known at this URL yet. One that was known at
    /// another URL before is still known.
    ///
    /// # Errors
    /// [`PinError::OtherBridge`] where another is known, or what is wrong with the file.
    pub fn accept(&mut self, bridge: BridgeId) -> Result<(), PinError> {
        match &self.known {
            None => {
                let before = read(&path_of(&self.folder, bridge))?;
                self.mark = before.as_ref().map_or(0, |known| known.mark);
                self.shown = before.as_ref().and_then(|known| known.shown.clone());
                let orders_done = before.map_or(0, |known| known.orders_done);
                self.write(bridge, orders_done)
            }
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
        self.write(bridge, seq)
    }

    /// The highest mark heard.
    pub(crate) const fn mark(&self) -> u64 {
        self.mark
    }

    /// The highest mark heard, as the Bridge signed it.
    pub(crate) fn shown(&self) -> Option<Signed<Mark>> {
        self.shown.clone()
    }

    /// Keeps `mark` of `bridge` if it is the highest; written down now and then. Returns whether
    /// it is: a lower one means that the Bridge's memory went back.
    ///
    /// # Errors
    /// Those of [`BridgePin::accept`].
    pub(crate) fn reached(
        &mut self,
        bridge: BridgeId,
        (mark, signed): (u64, &Signed<Mark>),
    ) -> Result<bool, PinError> {
        self.accept(bridge)?;
        if mark < self.mark {
            return Ok(false);
        }
        self.mark = mark;
        self.shown = Some(signed.clone());
        let (written, orders_done) = self
            .known
            .as_ref()
            .map_or((0, 0), |known| (known.mark, known.orders_done));
        if mark >= written + MARK_WRITTEN_EVERY || (written == 0 && mark > 0) {
            self.write(bridge, orders_done)?;
        }
        Ok(true)
    }

    fn write(&mut self, bridge: BridgeId, orders_done: u64) -> Result<(), PinError> {
        let known = Known {
            bridge,
            url: Some(self.url.clone()),
            orders_done,
            mark: self.mark,
            shown: self.shown.clone(),
        };
        write(&self.folder, &known)?;
        self.known = Some(known);
        Ok(())
    }
}

/// Moves the file of a Host that could have one Bridge only. Its URL is known where just one is
/// configured; else the Bridge is known again by its key.
fn take_over_the_one(data: &Path, folder: &Path, urls: &[&BridgeUrl]) -> Result<(), PinError> {
    let old = data.join(FILE_OF_ONE);
    let Some(mut known) = read(&old)? else {
        return Ok(());
    };
    if let [only] = urls
        && only.pinned().is_none()
    {
        known.url = Some(only.to_string());
    }
    if !disk::exists(&path_of(folder, known.bridge)) {
        write(folder, &known)?;
    }
    disk::remove(&old)
        .and_then(|()| durable::sync_folder_of(&old))
        .map_err(|source| PinError::Write { path: old, source })
}

fn path_of(folder: &Path, bridge: BridgeId) -> PathBuf {
    folder.join(format!("{bridge}.json"))
}

fn write(folder: &Path, known: &Known) -> Result<(), PinError> {
    let path = path_of(folder, known.bridge);
    // Numbers and text as JSON: this cannot fail.
    let bytes = serde_json::to_vec(known).unwrap_or_default();
    durable::replace(&path, &bytes).map_err(|source| PinError::Write { path, source })
}

fn read_all(folder: &Path) -> Result<Vec<Known>, PinError> {
    let unreadable = |source| PinError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut known = Vec::new();
    for name in disk::list(folder).map_err(unreadable)? {
        let path = folder.join(name);
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        known.extend(read(&path)?);
        if known.len() > KNOWN_MAX {
            return Err(PinError::TooMany {
                folder: folder.to_owned(),
            });
        }
    }
    Ok(known)
}

fn read(path: &Path) -> Result<Option<Known>, PinError> {
    let unreadable = |source| PinError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = match disk::read(path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(unreadable)?,
    };
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

    fn url(text: &str) -> BridgeUrl {
        text.parse().unwrap()
    }

    fn open(data: &Path, urls: &[&str]) -> Vec<BridgePin> {
        let urls: Vec<BridgeUrl> = urls.iter().map(|text| url(text)).collect();
        BridgePin::open_all(data, &urls.iter().collect::<Vec<_>>()).unwrap()
    }

    const A: &str = "http://127.0.0.1:1";
    const B: &str = "http://127.0.0.1:2";

    #[test]
    fn the_bridge_at_a_url_stays_the_same() {
        let data = tempfile::tempdir().unwrap();
        let mut pins = open(data.path(), &[A, B]);
        assert_eq!((pins[0].bridge(), pins[0].orders_done()), (None, 0));
        pins[0].done(ONE, 7).unwrap();
        pins[1].done(TWO, 9).unwrap();
        assert!(matches!(
            pins[0].accept(TWO),
            Err(PinError::OtherBridge { .. })
        ));

        let again = open(data.path(), &[B, A]);
        assert_eq!((again[0].bridge(), again[0].orders_done()), (Some(TWO), 9));
        assert_eq!((again[1].bridge(), again[1].orders_done()), (Some(ONE), 7));
    }

    #[test]
    fn a_bridge_that_moved_is_known_by_its_key() {
        let data = tempfile::tempdir().unwrap();
        open(data.path(), &[A])[0].done(ONE, 7).unwrap();
        let mut moved = open(data.path(), &[B]).remove(0);
        assert_eq!(moved.bridge(), None);
        moved.accept(ONE).unwrap();
        assert_eq!(moved.orders_done(), 7);
        let told = format!("https://{ONE}@bridge.example:7400");
        assert_eq!(open(data.path(), &[&told])[0].orders_done(), 7);
    }

    fn reach(pin: &mut BridgePin, mark: u64) -> Result<bool, PinError> {
        let key = model::crypto::SigningKey::from_seed(&model::crypto::Secret::new([1; 32]));
        let at = model::units::UnixMs(1);
        let bridge = ONE;
        let signed = Signed::new(&key, &Mark { bridge, mark, at });
        pin.reached(ONE, (mark, &signed))
    }

    #[test]
    fn the_highest_mark_is_kept_and_written_now_and_then() {
        let data = tempfile::tempdir().unwrap();
        let mut pin = open(data.path(), &[A]).remove(0);
        assert!(reach(&mut pin, 100).unwrap());
        assert!(reach(&mut pin, 104).unwrap() && reach(&mut pin, 104).unwrap());
        assert!(!reach(&mut pin, 103).unwrap());
        assert_eq!((pin.mark(), open(data.path(), &[A])[0].mark()), (104, 100));
        assert!(reach(&mut pin, 105).unwrap());
        assert_eq!(open(data.path(), &[A])[0].mark(), 105);
        assert!(reach(&mut pin, 107).unwrap());
        pin.done(ONE, 1).unwrap();
        let again = &open(data.path(), &[B, A])[1];
        assert_eq!((again.mark(), again.shown()), (107, pin.shown()));
        assert_eq!(again.shown().unwrap().peek().unwrap().mark, 107);
    }

    #[test]
    fn the_file_of_a_host_with_one_bridge_is_taken_over() {
        for (urls, known) in [(&[A][..], Some(ONE)), (&[A, B][..], None)] {
            let data = tempfile::tempdir().unwrap();
            let old = format!("{{\"bridge\":\"{ONE}\",\"orders_done\":5}}");
            let path = data.path().join(FILE_OF_ONE);
            durable::replace(&path, old.as_bytes()).unwrap();
            let mut pin = open(data.path(), urls).remove(0);
            assert_eq!(pin.bridge(), known);
            pin.accept(ONE).unwrap();
            assert_eq!(pin.orders_done(), 5);
            assert!(!path.exists());
        }
    }
}
