//! What `xcore status` shows: a file that a running Host keeps up to date.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use model::units::{BridgeId, HostId, UnixMs};
use model::wire::Schedule;
use model::wire::upkeep::LeaveProgress;
use serde::{Deserialize, Serialize};
use shardstore::{VolumeState, VolumeStatus, durable};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bridges::{Behind, BridgeLink};
use crate::host::Node;
use crate::limits::STATUS_EVERY;
use crate::wishes::Wishes;

/// Name of the file in a Host's data folder.
pub const STATUS_FILE: &str = "status.json";
const FILE_BYTES_MAX: u64 = 262_144;

/// How a Host is, or was when it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its id.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// Where it serves shards.
    pub listen: SocketAddr,
    /// The first Bridge's id, once known.
    pub bridge: Option<BridgeId>,
    /// How the control channel to the first Bridge stands.
    pub join: JoinState,
    /// Every Bridge.
    #[serde(default)]
    pub bridges: Vec<BridgeShown>,
    /// Every volume.
    #[serde(default)]
    pub volumes: Vec<VolumeShown>,
    /// Resting, as its owner wishes, or outside its promised hours.
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
    /// What the owner wishes of the Host.
    #[serde(default)]
    pub wishes: Wishes,
    /// Bytes in the trash: they make room for new shards when it is needed.
    #[serde(default)]
    pub trash_bytes: u64,
    /// Records in the trash.
    #[serde(default)]
    pub trash_records: u64,
    /// Audits answered since the start.
    #[serde(default)]
    pub audits: u64,
    /// When the last was answered.
    #[serde(default)]
    pub audited_at: Option<UnixMs>,
    /// Shards made anew here since the start.
    #[serde(default)]
    pub repairs: u64,
    /// When this was written.
    pub at: UnixMs,
}

/// A Bridge and what it has here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeShown {
    /// Where it is.
    pub url: String,
    /// Its id, once known.
    pub bridge: Option<BridgeId>,
    /// How the control channel stands.
    pub join: JoinState,
    /// Most that its records may hold, if that is limited.
    pub quota_bytes: Option<u64>,
    /// What they hold.
    pub held_bytes: u64,
    /// How many they are.
    pub records: u64,
    /// How far its memory is behind: then nothing is deleted on its word.
    #[serde(default)]
    pub frozen: Option<Behind>,
    /// The newest of its decisions that is kept.
    #[serde(default)]
    pub events: u64,
    /// How leaving goes, as it said last.
    #[serde(default)]
    pub leaving: Option<LeaveProgress>,
    /// The wish to leave that it was told last: when that was made; 0 for none.
    #[serde(default)]
    pub leave_told: UnixMs,
}

/// A volume and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeShown {
    /// Its id.
    pub id: String,
    /// Its folder.
    pub folder: PathBuf,
    /// `there`, `read_only` or `away`.
    pub state: String,
    /// Why it is away.
    pub reason: Option<String>,
    /// Most bytes that it takes.
    pub space_bytes: u64,
    /// Bytes that it takes on the disk.
    pub used_bytes: u64,
    /// Bytes left for new shards.
    pub free_bytes: u64,
    /// Shards on it.
    pub shards: u64,
    /// Shards that have rotted.
    pub rotten: u64,
    /// When the scrub under way began.
    pub scrub_started: Option<UnixMs>,
    /// Bytes checked in it.
    pub scrubbed_bytes: u64,
    /// When the last whole scrub ended.
    pub scrub_finished: Option<UnixMs>,
}

impl VolumeShown {
    fn of(volume: VolumeStatus) -> Self {
        let (state, reason) = match volume.state {
            VolumeState::There => ("there", None),
            VolumeState::ReadOnly => ("read_only", None),
            VolumeState::Away { reason } => ("away", Some(reason)),
        };
        let usage = volume.usage;
        Self {
            id: volume.id.to_string(),
            folder: volume.folder,
            state: state.to_owned(),
            reason,
            space_bytes: usage.space_bytes,
            used_bytes: usage.live_bytes + usage.overhead_bytes,
            free_bytes: usage.free_bytes,
            shards: usage.shards,
            rotten: volume.bad_shards,
            scrub_started: volume.scrub.started,
            scrubbed_bytes: volume.scrub.bytes,
            scrub_finished: volume.scrub.finished,
        }
    }
}

impl BridgeShown {
    fn of(node: &Node, link: &BridgeLink) -> Self {
        let bridge = link.id();
        let held = bridge.map(|bridge| node.volumes.held_by(&bridge));
        let held = held.unwrap_or_default();
        Self {
            url: link.url.to_string(),
            bridge,
            join: link.state(),
            quota_bytes: link.quota_bytes,
            held_bytes: held.bytes,
            records: held.records,
            frozen: link.behind(),
            events: bridge.map_or(0, |bridge| node.events.seen(&bridge)),
            leaving: link.leaving(),
            leave_told: link.leave_told(),
        }
    }
}

/// How the control channel to a Bridge stands.
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

    pub(crate) fn of(node: &Node) -> Self {
        let (settings, usage) = (node.config.settings(), node.volumes.usage());
        let links = node.bridges.all();
        let volumes = node.volumes.status();
        let (received_bytes, sent_bytes) = node.moved.totals();
        let (audits, audited_at) = node.done.audits();
        Self {
            host: node.id,
            name: settings.name.clone(),
            listen: node.bound,
            bridge: node.bridges.first_id(),
            join: links.first().map(|link| link.state()).unwrap_or_default(),
            bridges: links
                .iter()
                .map(|link| BridgeShown::of(node, link))
                .collect(),
            volumes: volumes.into_iter().map(VolumeShown::of).collect(),
            paused: node.is_paused(),
            schedule: node.schedule(),
            space_bytes: node.space_bytes(),
            live_bytes: usage.live_bytes,
            overhead_bytes: usage.overhead_bytes,
            reserved_bytes: usage.reserved_bytes,
            free_bytes: usage.free_bytes,
            records: usage.records,
            shards: usage.shards,
            received_bytes,
            sent_bytes,
            wishes: node.wishes.borrow().clone(),
            trash_bytes: node.trash.bytes(),
            trash_records: node.trash.records(),
            audits,
            audited_at,
            repairs: node.done.repairs(),
            at: node.environment.now(),
        }
    }

    /// Whether anything but the clock and what others do to the disk has changed.
    fn differs(&self, other: &Self) -> bool {
        let plain = |status: &Self| {
            let mut plain = status.clone();
            (plain.at, plain.free_bytes) = (UnixMs(0), 0);
            for volume in &mut plain.volumes {
                volume.free_bytes = 0;
            }
            plain
        };
        plain(self) != plain(other)
    }
}

/// Writes the status whenever it has changed.
pub(crate) async fn keep_written(node: Arc<Node>, stop: CancellationToken) {
    let mut written: Option<Status> = None;
    loop {
        let status = Status::of(&node);
        if written
            .as_ref()
            .is_none_or(|written| status.differs(written))
        {
            let (data, writing) = (node.config.settings().data.clone(), status.clone());
            tasks::spawn_blocking(move || write(&data, &writing))
                .await
                .ok();
            written = Some(status);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(STATUS_EVERY) => {}
            () = node.bridges.news.notified() => {}
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
