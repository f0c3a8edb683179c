//! What `xcore status` shows: a file that a running Host keeps up to date.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use model::units::{BridgeId, HostId, UnixMs};
use model::wire::Schedule;
use serde::{Deserialize, Serialize};
use shardstore::durable;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::host::Node;
use crate::limits::STATUS_EVERY;

/// Name of the file in a Host's data folder.
pub const STATUS_FILE: &str = "status.json";
const FILE_BYTES_MAX: u64 = 65_536;

/// How a Host is, or was when it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// Where it serves shards.
    pub listen: SocketAddr,
    /// The Bridge's id, once known.
    pub bridge: Option<BridgeId>,
    /// How the control channel stands.
    pub join: JoinState,
    /// Outside its promised hours.
    pub paused: bool,
    /// Promised hours.
    pub schedule: Schedule,
    /// Bytes offered.
    pub space_bytes: u64,
    /// Bytes of live shards.
    pub live_bytes: u64,
    /// Bytes on disk beyond live shards.
    pub overhead_bytes: u64,
    /// Bytes promised to uploads on their way.
    pub reserved_bytes: u64,
    /// Bytes left for new shards.
    pub free_bytes: u64,
    /// Records stored.
    pub records: u64,
    /// Shards stored, those that several records share counted once.
    pub shards: u64,
    /// Bytes of shards received since the start.
    pub received_bytes: u64,
    /// Bytes of shards sent since the start.
    pub sent_bytes: u64,
    /// When this was written.
    pub at: UnixMs,
}

/// How the control channel to the Bridge stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JoinState {
    /// Not joined yet, or no longer; trying.
    #[default]
    Joining,
    /// The Bridge could not be reached or the channel broke; trying again.
    Away {
        /// What happened.
        reason: String,
    },
    /// The Bridge does not take this Host; asking again now and then.
    Refused {
        /// The Bridge's words.
        reason: String,
    },
    /// Joined.
    Joined {
        /// The zone the Bridge counts this Host in.
        zone: String,
        /// What the Bridge found when it dialled this Host; `None` before it said.
        unreachable: Option<String>,
    },
}

impl fmt::Display for JoinState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joining => f.write_str("joining"),
            Self::Away { reason } => write!(f, "bridge away: {reason}"),
            Self::Refused { reason } => write!(f, "refused by the bridge: {reason}"),
            Self::Joined {
                zone,
                unreachable: None,
            } => write!(f, "joined, zone {zone}"),
            Self::Joined {
                zone,
                unreachable: Some(detail),
            } => {
                write!(
                    f,
                    "joined, zone {zone}, but the bridge cannot reach this host: {detail}"
                )
            }
        }
    }
}

/// A status that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No Host ever ran here, or the file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no status", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
}

impl Status {
    /// Reads what the Host in the folder `data` last wrote.
    ///
    /// # Errors
    /// [`StatusError`] where there is nothing to be read.
    pub fn read(data: &Path) -> Result<Self, StatusError> {
        let path = data.join(STATUS_FILE);
        let read = std::fs::metadata(&path).and_then(|metadata| {
            if metadata.len() > FILE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            std::fs::read(&path)
        });
        let bytes = read.map_err(|source| StatusError::Read {
            path: path.clone(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|source| StatusError::Damaged { path, source })
    }

    fn of(node: &Node) -> Self {
        let (settings, usage) = (node.config.settings(), node.store.usage());
        let (received_bytes, sent_bytes) = node.moved.totals();
        Self {
            host: node.id,
            name: settings.name.clone(),
            listen: node.bound,
            bridge: node.bridge.get().copied(),
            join: node.join_state.borrow().clone(),
            paused: node.is_paused(),
            schedule: settings.schedule,
            space_bytes: usage.space_bytes,
            live_bytes: usage.live_bytes,
            overhead_bytes: usage.overhead_bytes,
            reserved_bytes: usage.reserved_bytes,
            free_bytes: usage.free_bytes,
            records: usage.records,
            shards: usage.shards,
            received_bytes,
            sent_bytes,
            at: node.environment.now(),
        }
    }

    /// Whether anything but the clock and what others do to the disk has changed.
    fn differs(&self, other: &Self) -> bool {
        let plain = |status: &Self| Self {
            at: UnixMs(0),
            free_bytes: 0,
            ..status.clone()
        };
        plain(self) != plain(other)
    }
}

/// Writes the status whenever it has changed.
pub(crate) async fn keep_written(node: Arc<Node>, stop: CancellationToken) {
    let mut joined = node.join_state.subscribe();
    let mut written: Option<Status> = None;
    loop {
        let status = Status::of(&node);
        if written
            .as_ref()
            .is_none_or(|written| status.differs(written))
        {
            let (data, writing) = (node.config.settings().data.clone(), status.clone());
            tokio::task::spawn_blocking(move || write(&data, &writing))
                .await
                .ok();
            written = Some(status);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(STATUS_EVERY) => {}
            changed = joined.changed() => if changed.is_err() { return },
        }
    }
}

/// Writes the status of a Host that has stopped.
pub(crate) fn write_last(node: &Node) {
    write(&node.config.settings().data, &Status::of(node));
}

fn write(data: &Path, status: &Status) {
    // Plain numbers and text: this cannot fail.
    let bytes = serde_json::to_vec_pretty(status).unwrap_or_default();
    if let Err(error) = durable::replace(&data.join(STATUS_FILE), &bytes) {
        tracing::warn!(%error, "status file not written");
    }
}
