//! Options of `xbridge`: flags above environment above file, checked once, together.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bridge::context::Policy;
use bridge::timing::Timing;
use clap::Parser;
use runtime::{LogFormat, Size, Span};
use serde::{Deserialize, Serialize};

/// Where a Bridge listens that is told nothing.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);

/// Connects owners with the Hosts that keep their shards. It can read nothing.
#[derive(Debug, Parser, Serialize)]
#[command(name = "xbridge", version)]
pub(crate) struct Flags {
    /// What to do instead of serving.
    #[command(subcommand)]
    #[serde(skip)]
    pub(crate) instead: Option<Instead>,
    /// Configuration file (TOML); its names are those of the options.
    #[arg(long, env = "XBRIDGE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Data folder [default: xbridge in the user's data folder].
    #[arg(long, global = true, env = "XBRIDGE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:7400].
    #[arg(long, env = "XBRIDGE_LISTEN", value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Serve TLS under the Bridge's own key; needed beyond loopback.
    #[arg(long, env = "XBRIDGE_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls: Option<bool>,
    /// Requests come through a proxy on this machine, which tells addresses in X-Forwarded-For.
    #[arg(long, env = "XBRIDGE_BEHIND_PROXY", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    behind_proxy: Option<bool>,
    /// Believe Hosts what zone they are in: for networks whose Hosts are all yours.
    #[arg(long, env = "XBRIDGE_TRUST_ZONES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    trust_zones: Option<bool>,
    /// How patient the Bridge is: standard, or dev, where silence, audits and repair go by seconds
    /// and new Hosts are trusted at once [default: standard].
    #[arg(long, env = "XBRIDGE_PROFILE", value_name = "PROFILE")]
    profile: Option<String>,
    /// How long removed content is kept [default: 30 d].
    #[arg(long, env = "XBRIDGE_RETENTION", value_name = "SPAN")]
    retention: Option<Span>,
    /// What each account may occupy, mirrors and parity counted [default: 1 TB].
    #[arg(long, env = "XBRIDGE_QUOTA", value_name = "SIZE")]
    quota: Option<Size>,
    /// How logs are written: human or json [default: human].
    #[arg(long, env = "XBRIDGE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
    /// Least level of logs [default: info]; XCLOUD_LOG takes whole filters.
    #[arg(long, env = "XBRIDGE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<String>,
}

/// What `xbridge` does instead of serving.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Instead {
    /// Copy database and key of a Bridge, which may be running, into a new folder. To bring it back:
    /// `xbridge --data FOLDER`.
    Backup {
        /// The new folder.
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
    },
    /// List the Hosts of a Bridge, which may be running.
    Hosts {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Declare a Host lost: what it kept is made anew elsewhere, and it gets nothing any more.
    Lose {
        /// Its id, as `hosts` shows it.
        #[arg(value_name = "HOST")]
        host: model::units::HostId,
    },
    /// Print the description of the API in OpenAPI 3.1.
    Openapi,
}

/// What file, environment and flags say together, unchecked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "snake_case")]
struct RawConfig {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    tls: Option<bool>,
    behind_proxy: Option<bool>,
    trust_zones: Option<bool>,
    profile: Option<String>,
    retention: Option<Span>,
    quota: Option<Size>,
    log_format: Option<String>,
    log_level: Option<String>,
}

/// Checked options.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) tls: bool,
    pub(crate) behind_proxy: bool,
    pub(crate) policy: Policy,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

impl Flags {
    /// The data folder, as flag, environment or file say.
    pub(crate) fn data(&self) -> anyhow::Result<PathBuf> {
        let raw: RawConfig = runtime::layered(self.config.as_deref(), self)?;
        raw.data.map_or_else(default_data, Ok)
    }
}

impl Config {
    /// Reads all layers and checks them together.
    pub(crate) fn load(flags: &Flags) -> anyhow::Result<Self> {
        Self::check(runtime::layered(flags.config.as_deref(), flags)?)
    }

    fn check(raw: RawConfig) -> anyhow::Result<Self> {
        let listen = raw.listen.unwrap_or(LISTEN_DEFAULT);
        let tls = raw.tls.unwrap_or(false);
        let behind_proxy = raw.behind_proxy.unwrap_or(false);
        if !listen.ip().is_loopback() && !tls {
            bail!(
                "{listen} is open to the network and would be in the clear; add --tls, or listen \
                 on loopback behind a proxy that serves tls and add --behind-proxy"
            );
        }
        if behind_proxy && !listen.ip().is_loopback() {
            bail!("--behind-proxy believes the proxy's word on addresses; listen on loopback");
        }
        let defaults = Policy::default();
        Ok(Self {
            data: raw.data.map_or_else(default_data, Ok)?,
            listen,
            tls,
            behind_proxy,
            policy: Policy {
                quota_bytes: raw.quota.map_or(defaults.quota_bytes, Size::bytes),
                retention_ms: raw.retention.map_or(defaults.retention_ms, Span::ms),
                trust_zones: raw.trust_zones.unwrap_or(defaults.trust_zones),
                timing: profile(raw.profile.as_deref())?,
            },
            log_format: raw.log_format.as_deref().unwrap_or("human").parse()?,
            log_level: raw.log_level.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

fn profile(name: Option<&str>) -> anyhow::Result<Timing> {
    match name {
        None | Some("standard") => Ok(Timing::STANDARD),
        Some("dev") => Ok(Timing::DEV),
        Some(other) => bail!("no profile is called `{other}`; there are standard and dev"),
    }
}

/// `$XDG_DATA_HOME/xbridge`, by default `~/.local/share/xbridge`.
fn default_data() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))
        .context("no data folder: set HOME, or name one with --data")?;
    Ok(base.join("xbridge"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> anyhow::Result<Config> {
        Config::load(&Flags::parse_from([&["xbridge"], args].concat()))
    }

    #[test]
    fn nothing_said_means_loopback_and_the_defaults() {
        let config = load(&["--data", "d"]).unwrap();
        assert_eq!(config.listen, LISTEN_DEFAULT);
        assert_eq!(config.policy, Policy::default());
        assert!(!config.tls);
    }

    #[test]
    fn flags_are_read_as_people_write_them() {
        let args = ["--data", "d", "--listen", "127.0.0.1:9", "--trust-zones"];
        let more = ["--retention", "2 d", "--quota", "5GB"];
        let config = load(&[&args[..], &more].concat()).unwrap();
        assert_eq!(config.listen.port(), 9);
        assert!(config.policy.trust_zones);
        assert_eq!(config.policy.retention_ms, 2 * 24 * 3_600_000);
        assert_eq!(config.policy.quota_bytes, 5_000_000_000);
    }

    #[test]
    fn the_network_is_served_with_tls_only() {
        let open = ["--data", "d", "--listen", "0.0.0.0:7400"];
        assert!(load(&open).unwrap_err().to_string().contains("--tls"));
        assert!(load(&[&open[..], &["--tls"]].concat()).unwrap().tls);
        let proxied = [&open[..], &["--tls", "--behind-proxy"]].concat();
        assert!(load(&proxied).unwrap_err().to_string().contains("loopback"));
    }
}
