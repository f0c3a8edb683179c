//! What a Host is told to be: every rule checked once, here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::wire::Schedule;
use model::wire::control::Offer;
use model::wire::limits::{HOST_ADDRESSES_MAX, NAME_BYTES_MAX};
use net::BridgeUrl;
use shardstore::{StoreConfig, VolumeConfig};

/// Smallest space that is worth offering: some hundred of the largest shards.
const SPACE_BYTES_MIN: u64 = 256 << 20;
/// Smallest cap on bandwidth: below twice the minimum rate of one transfer nothing would work.
const BANDWIDTH_BYTES_PER_S_MIN: u64 = 32_768;
/// Smallest quota of a Bridge.
const QUOTA_BYTES_MIN: u64 = 16 << 20;
/// Most Bridges, and most volumes.
const PARTS_MAX: usize = 64;
/// Shortest and longest time for one scrub, in seconds: a minute, a year.
const SCRUB_MIN_S: u64 = 60;
const SCRUB_MAX_S: u64 = 31_622_400;
/// Below this a large volume is never done.
const UPKEEP_BYTES_PER_S_MIN: u64 = 1 << 20;
/// Folder of the shard store in a Host's data folder.
pub(crate) const STORE_FOLDER: &str = "store";

/// What the owner of a Host decides; not yet checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of everything this Host keeps.
    pub data: PathBuf,
    /// The Bridges to join, at least one.
    pub bridges: Vec<BridgeSettings>,
    /// Where the data plane listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where clients reach it, if not where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Where shards are kept, at least one.
    pub volumes: Vec<VolumeSettings>,
    /// Bytes left free on the file system; by default 1 GiB or 1 %, whichever is more.
    pub keep_free_bytes: Option<u64>,
    /// A name for people.
    pub name: String,
    /// The zone it says it is in.
    pub zone: Option<String>,
    /// The region it says it is in.
    pub region: Option<String>,
    /// Most bytes per second it sends.
    pub bandwidth_up: Option<u64>,
    /// Most bytes per second it receives.
    pub bandwidth_down: Option<u64>,
    /// Promised hours.
    pub schedule: Schedule,
    /// Within this time every shard is read again and checked.
    pub scrub_within: Duration,
    /// Most bytes per second that scrub and compaction read or write.
    pub upkeep_bytes_per_s: u64,
    /// How long records that a Bridge has no use for are kept all the same.
    pub trash: Duration,
}

/// A Bridge to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Where it is.
    pub url: BridgeUrl,
    /// Most that its records may hold; without it, whatever the volumes take.
    pub space_bytes: Option<u64>,
}

/// A folder, usually on a disk of its own, for shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSettings {
    /// The folder; `None` is the one in the data folder.
    pub folder: Option<PathBuf>,
    /// Most bytes that it takes on the disk.
    pub space_bytes: u64,
}

impl Settings {
    /// Bytes offered.
    #[must_use]
    pub fn space_bytes(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.space_bytes).sum()
    }

    pub(crate) fn volume_configs(&self) -> Vec<VolumeConfig> {
        let config = |volume: &VolumeSettings| VolumeConfig {
            folder: match &volume.folder {
                Some(folder) => folder.clone(),
                None => self.data.join(STORE_FOLDER),
            },
            store: StoreConfig {
                keep_free_bytes: self.keep_free_bytes,
                ..StoreConfig::new(volume.space_bytes)
            },
            create_folder: volume.folder.is_none(),
        };
        self.volumes.iter().map(config).collect()
    }
}

/// Settings that hold together.
#[derive(Clone, Debug)]
pub struct HostConfig(Settings);

/// Settings that do not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostConfigError {
    /// A name that nobody could show.
    #[error("{what} must have 1 to {NAME_BYTES_MAX} bytes, it has {bytes}")]
    Name {
        /// Which name.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// Too little space to be of use.
    #[error("offer at least {SPACE_BYTES_MIN} bytes of space, not {space_bytes}")]
    Space {
        /// What was offered.
        space_bytes: u64,
    },
    /// No Bridge, or one twice.
    #[error("name every bridge to join once, and at least one")]
    Bridges,
    /// More Bridges or volumes than a Host has.
    #[error("at most {PARTS_MAX} bridges and as many volumes")]
    TooManyParts,
    /// A quota that holds next to nothing.
    #[error("a bridge's quota must be at least {QUOTA_BYTES_MIN} bytes, not {quota_bytes}")]
    Quota {
        /// What was given.
        quota_bytes: u64,
    },
    /// Scrub and compaction would never end.
    #[error(
        "scrub within {SCRUB_MIN_S} seconds to a year, at {UPKEEP_BYTES_PER_S_MIN} bytes per second at least"
    )]
    Upkeep,
    /// A cap below what one transfer needs.
    #[error("a bandwidth cap must be at least {BANDWIDTH_BYTES_PER_S_MIN} bytes per second")]
    Bandwidth,
    /// No promised hour at all.
    #[error("the schedule promises no hour of the week")]
    Schedule,
    /// Clients cannot dial "any address".
    #[error("clients cannot dial {listen}; name the addresses at which they reach this host")]
    Addresses {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// More addresses than a Bridge takes.
    #[error("at most {HOST_ADDRESSES_MAX} addresses, not {count}")]
    TooManyAddresses {
        /// How many were given.
        count: usize,
    },
}

impl HostConfig {
    /// Checks `settings`.
    ///
    /// # Errors
    /// [`HostConfigError`] names the first that does not hold.
    pub fn new(settings: Settings) -> Result<Self, HostConfigError> {
        name("the name", Some(&settings.name))?;
        name("the zone", settings.zone.as_ref())?;
        name("the region", settings.region.as_ref())?;
        parts(&settings)?;
        let caps = [settings.bandwidth_up, settings.bandwidth_down];
        if caps
            .into_iter()
            .flatten()
            .any(|cap| cap < BANDWIDTH_BYTES_PER_S_MIN)
        {
            return Err(HostConfigError::Bandwidth);
        }
        if settings.schedule.hours() == 0 {
            return Err(HostConfigError::Schedule);
        }
        if settings.addresses.is_empty() && settings.listen.ip().is_unspecified() {
            return Err(HostConfigError::Addresses {
                listen: settings.listen,
            });
        }
        if settings.addresses.len() > HOST_ADDRESSES_MAX {
            return Err(HostConfigError::TooManyAddresses {
                count: settings.addresses.len(),
            });
        }
        Ok(Self(settings))
    }

    /// The checked settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.0
    }

    /// What a Bridge with this quota is told, with the address that was really bound.
    pub(crate) fn offer(&self, bound: SocketAddr, quota_bytes: Option<u64>) -> Offer {
        let (settings, space_bytes) = (&self.0, self.0.space_bytes());
        let own = [bound];
        let addresses = if settings.addresses.is_empty() {
            &own[..]
        } else {
            &settings.addresses[..]
        };
        Offer {
            name: settings.name.clone(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            space_bytes: quota_bytes.map_or(space_bytes, |quota| quota.min(space_bytes)),
            bandwidth_up: settings.bandwidth_up,
            bandwidth_down: settings.bandwidth_down,
            schedule: settings.schedule,
            zone: settings.zone.clone(),
            region: settings.region.clone(),
            until: None,
        }
    }
}

/// Checks Bridges, volumes and their upkeep.
fn parts(settings: &Settings) -> Result<(), HostConfigError> {
    let space_bytes = settings.space_bytes();
    if space_bytes < SPACE_BYTES_MIN {
        return Err(HostConfigError::Space { space_bytes });
    }
    if settings.bridges.len().max(settings.volumes.len()) > PARTS_MAX {
        return Err(HostConfigError::TooManyParts);
    }
    let urls: BTreeSet<_> = settings.bridges.iter().map(|bridge| &bridge.url).collect();
    if urls.is_empty() || urls.len() < settings.bridges.len() {
        return Err(HostConfigError::Bridges);
    }
    let quotas = settings
        .bridges
        .iter()
        .filter_map(|bridge| bridge.space_bytes);
    if let Some(quota_bytes) = quotas.min().filter(|quota| *quota < QUOTA_BYTES_MIN) {
        return Err(HostConfigError::Quota { quota_bytes });
    }
    let scrub = SCRUB_MIN_S..=SCRUB_MAX_S;
    if !scrub.contains(&settings.scrub_within.as_secs())
        || settings.upkeep_bytes_per_s < UPKEEP_BYTES_PER_S_MIN
    {
        return Err(HostConfigError::Upkeep);
    }
    Ok(())
}

fn name(what: &'static str, value: Option<&String>) -> Result<(), HostConfigError> {
    match value.map(String::len) {
        Some(bytes) if bytes == 0 || bytes > NAME_BYTES_MAX => {
            Err(HostConfigError::Name { what, bytes })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(port: u16) -> BridgeSettings {
        BridgeSettings {
            url: format!("http://127.0.0.1:{port}").parse().unwrap(),
            space_bytes: None,
        }
    }

    fn settings() -> Settings {
        Settings {
            data: PathBuf::from("data"),
            bridges: vec![bridge(1)],
            listen: "127.0.0.1:0".parse().unwrap(),
            addresses: Vec::new(),
            volumes: vec![VolumeSettings {
                folder: None,
                space_bytes: 10_000_000_000,
            }],
            keep_free_bytes: None,
            name: "h1".to_owned(),
            zone: None,
            region: None,
            bandwidth_up: None,
            bandwidth_down: None,
            schedule: Schedule::ALWAYS,
            scrub_within: Duration::from_secs(2_592_000),
            upkeep_bytes_per_s: 16_000_000,
            trash: Duration::from_secs(604_800),
        }
    }

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        HostConfig::new(settings).unwrap_err().to_string()
    }

    #[test]
    fn every_rule_names_its_limit() {
        HostConfig::new(settings()).unwrap();
        assert_eq!(
            refused(|settings| settings.name = String::new()),
            "the name must have 1 to 64 bytes, it has 0"
        );
        assert_eq!(
            refused(|settings| settings.zone = Some("z".repeat(65))),
            "the zone must have 1 to 64 bytes, it has 65"
        );
        assert_eq!(
            refused(|settings| settings.volumes[0].space_bytes = 1_000),
            "offer at least 268435456 bytes of space, not 1000"
        );
        let once = "name every bridge to join once, and at least one";
        assert_eq!(refused(|settings| settings.bridges.clear()), once);
        assert_eq!(refused(|settings| settings.bridges.push(bridge(1))), once);
        assert_eq!(
            refused(|settings| settings.bridges[0].space_bytes = Some(7)),
            "a bridge's quota must be at least 16777216 bytes, not 7"
        );
        assert_eq!(
            refused(|settings| settings.scrub_within = Duration::ZERO),
            "scrub within 60 seconds to a year, at 1048576 bytes per second at least"
        );
        assert_eq!(
            refused(|settings| settings.bandwidth_up = Some(1)),
            "a bandwidth cap must be at least 32768 bytes per second"
        );
        assert_eq!(
            refused(|settings| settings.schedule = "0".repeat(42).parse().unwrap()),
            "the schedule promises no hour of the week"
        );
        assert_eq!(
            refused(|settings| settings.listen = "0.0.0.0:7000".parse().unwrap()),
            "clients cannot dial 0.0.0.0:7000; name the addresses at which they reach this host"
        );
    }

    #[test]
    fn the_offer_names_the_bound_address_unless_told_otherwise() {
        let bound = "127.0.0.1:4711".parse().unwrap();
        let offer = HostConfig::new(settings()).unwrap().offer(bound, None);
        assert_eq!(offer.addresses, ["127.0.0.1:4711"]);
        assert_eq!(offer.space_bytes, 10_000_000_000);
        let public = Settings {
            addresses: vec!["192.0.2.1:7000".parse().unwrap()],
            ..settings()
        };
        assert_eq!(
            HostConfig::new(public)
                .unwrap()
                .offer(bound, Some(9))
                .addresses,
            ["192.0.2.1:7000"]
        );
    }
}
