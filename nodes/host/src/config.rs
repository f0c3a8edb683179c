//! What a Host is told to be: every rule checked once, here.

use std::net::SocketAddr;
use std::path::PathBuf;

use model::wire::Schedule;
use model::wire::control::Offer;
use model::wire::limits::{HOST_ADDRESSES_MAX, NAME_BYTES_MAX};
use net::BridgeUrl;

/// Smallest space that is worth offering: some hundred of the largest shards.
const SPACE_BYTES_MIN: u64 = 256 << 20;
/// Smallest cap on bandwidth: below twice the minimum rate of one transfer nothing would work.
const BANDWIDTH_BYTES_PER_S_MIN: u64 = 32_768;

/// What the owner of a Host decides; not yet checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of everything this Host keeps.
    pub data: PathBuf,
    /// The Bridge to join.
    pub bridge: BridgeUrl,
    /// Where the data plane listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where clients reach it, if not where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Bytes offered.
    pub space_bytes: u64,
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
        if settings.space_bytes < SPACE_BYTES_MIN {
            return Err(HostConfigError::Space {
                space_bytes: settings.space_bytes,
            });
        }
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

    /// What the Bridge is told, with the address that was really bound.
    pub(crate) fn offer(&self, bound: SocketAddr) -> Offer {
        let settings = &self.0;
        let own = [bound];
        let addresses = if settings.addresses.is_empty() {
            &own[..]
        } else {
            &settings.addresses[..]
        };
        Offer {
            name: settings.name.clone(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            space_bytes: settings.space_bytes,
            bandwidth_up: settings.bandwidth_up,
            bandwidth_down: settings.bandwidth_down,
            schedule: settings.schedule,
            zone: settings.zone.clone(),
            region: settings.region.clone(),
            until: None,
        }
    }
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

    fn settings() -> Settings {
        Settings {
            data: PathBuf::from("data"),
            bridge: "http://127.0.0.1:1".parse().unwrap(),
            listen: "127.0.0.1:0".parse().unwrap(),
            addresses: Vec::new(),
            space_bytes: 10_000_000_000,
            keep_free_bytes: None,
            name: "h1".to_owned(),
            zone: None,
            region: None,
            bandwidth_up: None,
            bandwidth_down: None,
            schedule: Schedule::ALWAYS,
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
            refused(|settings| settings.space_bytes = 1_000),
            "offer at least 268435456 bytes of space, not 1000"
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
        let offer = HostConfig::new(settings()).unwrap().offer(bound);
        assert_eq!(offer.addresses, ["127.0.0.1:4711"]);
        let public = Settings {
            addresses: vec!["192.0.2.1:7000".parse().unwrap()],
            ..settings()
        };
        assert_eq!(
            HostConfig::new(public).unwrap().offer(bound).addresses,
            ["192.0.2.1:7000"]
        );
    }
}
