//! One volume: there with its store, or away with a reason.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::pending::Pending;
use crate::disk::{self, File, Open};
use crate::scrub::ScrubProgress;
use crate::space::Usage;
use crate::store::{Store, StoreConfig, StoreId};

/// A file that is written to see whether a disk takes writes again.
const PROBE_FILE: &str = ".probe";

/// How a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeState {
    /// There.
    There,
    /// There, but its disk refused a write: it serves and takes no more.
    ReadOnly,
    /// It cannot be seen.
    Away {
        /// Why.
        reason: String,
    },
}

/// A volume as a Host's owner sees it.
#[derive(Clone, Debug)]
pub struct VolumeStatus {
    /// Its id.
    pub id: StoreId,
    /// Its folder.
    pub folder: PathBuf,
    /// How it is.
    pub state: VolumeState,
    /// What it takes and has; of one that is away only its limit.
    pub usage: Usage,
    /// How far its scrub has come.
    pub scrub: ScrubProgress,
    /// Shards that have rotted.
    pub bad_shards: u64,
}

#[derive(Debug)]
pub(super) struct Volume {
    id: StoreId,
    folder: PathBuf,
    config: StoreConfig,
    /// Whether it is still configured; else it is not opened again.
    wanted: bool,
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    There(Arc<Store>),
    Away(String),
}

impl Volume {
    pub(super) fn there(folder: PathBuf, config: StoreConfig, store: Store) -> Self {
        Self {
            id: store.id(),
            folder,
            config,
            wanted: true,
            state: RwLock::new(State::There(Arc::new(store))),
        }
    }

    pub(super) fn away(id: StoreId, folder: PathBuf, config: StoreConfig, reason: &str) -> Self {
        tracing::error!(volume = %id, folder = %folder.display(), reason, "volume is away");
        Self {
            id,
            folder,
            config,
            wanted: true,
            state: RwLock::new(State::Away(reason.to_owned())),
        }
    }

    pub(super) fn unwanted(self) -> Self {
        Self {
            wanted: false,
            ..self
        }
    }

    pub(super) const fn id(&self) -> StoreId {
        self.id
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) const fn space_bytes(&self) -> u64 {
        self.config.space_bytes
    }

    pub(super) fn store(&self) -> Option<Arc<Store>> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::There(store) => Some(Arc::clone(store)),
            State::Away(_) => None,
        }
    }

    pub(super) fn status(&self) -> VolumeStatus {
        let mut status = VolumeStatus {
            id: self.id,
            folder: self.folder.clone(),
            state: VolumeState::There,
            usage: Usage {
                space_bytes: self.config.space_bytes,
                ..Usage::default()
            },
            scrub: ScrubProgress::default(),
            bad_shards: 0,
        };
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Away(reason) => {
                status.state = VolumeState::Away {
                    reason: reason.clone(),
                };
            }
            State::There(store) => {
                if store.has_failed() {
                    status.state = VolumeState::ReadOnly;
                }
                status.usage = store.usage();
                status.scrub = store.scrub_progress();
                status.bad_shards = store.bad_shards();
            }
        }
        status
    }

    /// It cannot be seen from now on.
    pub(super) fn lose(&self, reason: &str) {
        let mut state = self.state_mut();
        if let State::There(store) = &*state {
            store.abandon();
            tracing::error!(
                volume = %self.id, folder = %self.folder.display(), reason, "volume is away"
            );
            *state = State::Away(reason.to_owned());
        }
    }

    /// Takes the volume back if its folder is there again, and does what was noted for it.
    pub(super) fn come_back(&self, pending: &Pending) {
        if !self.wanted || !matches!(Store::id_in(&self.folder), Ok(Some(id)) if id == self.id) {
            return;
        }
        match open(&self.folder, self.config, self.id, pending) {
            Ok(store) => {
                tracing::warn!(volume = %self.id, folder = %self.folder.display(), "volume is back");
                *self.state_mut() = State::There(Arc::new(store));
            }
            Err(reason) => self.still_away(reason),
        }
    }

    fn still_away(&self, reason: String) {
        let mut state = self.state_mut();
        if !matches!(&*state, State::Away(before) if *before == reason) {
            tracing::error!(volume = %self.id, reason, "volume cannot be taken back");
        }
        *state = State::Away(reason);
    }

    /// Whether a file in its folder can be made durable.
    pub(super) fn takes_writes(&self) -> bool {
        let path = self.folder.join(PROBE_FILE);
        let written = File::open(&path, Open::Truncate).and_then(|file| {
            file.write_all_at(b"probe", 0)?;
            file.sync_all()
        });
        let removed = disk::remove(&path);
        written.and(removed).is_ok()
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a volume that was away, and forgets what was to be forgotten; the reason where it fails.
pub(super) fn open(
    folder: &Path,
    config: StoreConfig,
    id: StoreId,
    pending: &Pending,
) -> Result<Store, String> {
    let store = Store::open(folder, config).map_err(|error| with_causes(&error))?;
    report_recovery(&store, folder);
    match pending.carry_out(id, &store) {
        Ok(()) => Ok(store),
        Err(error) => Err(with_causes(&error)),
    }
}

pub(super) fn report_recovery(store: &Store, folder: &Path) {
    let recovery = store.recovery();
    if recovery.damaged > 0 || recovery.cut_bytes > 0 || recovery.rebuilt {
        tracing::warn!(
            volume = %store.id(),
            folder = %folder.display(),
            damaged = recovery.damaged,
            cut_bytes = recovery.cut_bytes,
            rebuilt = recovery.rebuilt,
            "shard store recovered"
        );
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
