//! Options of `xcore run`: flags above environment above file, checked once, together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::{HostConfig, Settings};
use model::wire::Schedule;
use net::BridgeUrl;
use runtime::{LogFormat, Size};
use serde::{Deserialize, Serialize};

/// Where a Host listens that is told nothing.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7410);

/// What was said on the command line or in the environment.
#[derive(Debug, Args, Serialize)]
pub(crate) struct Flags {
    /// Configuration file (TOML); its names are those of the options.
    #[arg(long, env = "XCORE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Data folder: identity, shards, logs of shards [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The Bridge to join: http://127.0.0.1:PORT, https://NAME[:PORT] or https://KEY@HOST:PORT.
    #[arg(long, env = "XCORE_BRIDGE", value_name = "URL")]
    bridge: Option<String>,
    /// Address to serve shards on [default: 0.0.0.0:7410].
    #[arg(long, env = "XCORE_LISTEN", value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Address at which clients reach this Host, where it is not the one it listens on; may be
    /// given up to 8 times.
    #[arg(
        long = "address",
        env = "XCORE_ADDRESS",
        value_name = "IP:PORT",
        value_delimiter = ','
    )]
    addresses: Option<Vec<SocketAddr>>,
    /// Disk space to offer, `10GB` say.
    #[arg(long, env = "XCORE_SPACE", value_name = "SIZE")]
    space: Option<Size>,
    /// Disk space never used on the file system [default: 1 GiB or 1 %, whichever is more].
    #[arg(long, env = "XCORE_KEEP_FREE", value_name = "SIZE")]
    keep_free: Option<Size>,
    /// A name for people [default: host].
    #[arg(long, env = "XCORE_NAME", value_name = "NAME")]
    name: Option<String>,
    /// The zone this Host is in; counts only where the Bridge trusts its Hosts' words.
    #[arg(long, env = "XCORE_ZONE", value_name = "ZONE")]
    zone: Option<String>,
    /// The region this Host is in, `eu-west` say.
    #[arg(long, env = "XCORE_REGION", value_name = "REGION")]
    region: Option<String>,
    /// Most bytes to send per second, `5MB` say [default: no cap].
    #[arg(long, env = "XCORE_BANDWIDTH_UP", value_name = "SIZE")]
    bandwidth_up: Option<Size>,
    /// Most bytes to receive per second [default: no cap].
    #[arg(long, env = "XCORE_BANDWIDTH_DOWN", value_name = "SIZE")]
    bandwidth_down: Option<Size>,
    /// Hours to be there: `always`, or 42 hexadecimal characters, one bit an hour from Monday
    /// 00:00 UTC [default: always].
    #[arg(long, env = "XCORE_SCHEDULE", value_name = "HOURS")]
    schedule: Option<String>,
    /// How logs are written: human or json [default: human].
    #[arg(long, env = "XCORE_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,
    /// Least level of logs [default: info]; XCLOUD_LOG takes whole filters.
    #[arg(long, env = "XCORE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<String>,
}

/// What file, environment and flags say together, unchecked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    data: Option<PathBuf>,
    bridge: Option<String>,
    listen: Option<SocketAddr>,
    addresses: Vec<SocketAddr>,
    space: Option<Size>,
    keep_free: Option<Size>,
    name: Option<String>,
    zone: Option<String>,
    region: Option<String>,
    bandwidth_up: Option<Size>,
    bandwidth_down: Option<Size>,
    schedule: Option<String>,
    log_format: Option<String>,
    log_level: Option<String>,
}

/// Checked options.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) host: HostConfig,
    pub(crate) log_format: LogFormat,
    pub(crate) log_level: String,
}

impl Config {
    /// Reads all layers and checks them together.
    pub(crate) fn load(flags: &Flags) -> anyhow::Result<Self> {
        Self::check(runtime::layered(flags.config.as_deref(), flags)?)
    }

    fn check(raw: RawConfig) -> anyhow::Result<Self> {
        let bridge = raw
            .bridge
            .context("name the bridge to join with --bridge URL")?;
        let bridge: BridgeUrl = bridge
            .parse()
            .with_context(|| format!("--bridge {bridge}"))?;
        let schedule: Schedule = raw
            .schedule
            .as_deref()
            .unwrap_or("always")
            .parse()
            .context("--schedule")?;
        let space = raw
            .space
            .context("say how much disk space to offer with --space SIZE")?;
        let settings = Settings {
            data: raw.data.map_or_else(default_data, Ok)?,
            bridge,
            listen: raw.listen.unwrap_or(LISTEN_DEFAULT),
            addresses: raw.addresses,
            space_bytes: space.bytes(),
            keep_free_bytes: raw.keep_free.map(Size::bytes),
            name: raw.name.unwrap_or_else(|| "host".to_owned()),
            zone: raw.zone,
            region: raw.region,
            bandwidth_up: raw.bandwidth_up.map(Size::bytes),
            bandwidth_down: raw.bandwidth_down.map(Size::bytes),
            schedule,
        };
        Ok(Self {
            host: HostConfig::new(settings)?,
            log_format: raw.log_format.as_deref().unwrap_or("human").parse()?,
            log_level: raw.log_level.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

/// `$XDG_DATA_HOME/xcore`, by default `~/.local/share/xcore`.
pub(crate) fn default_data() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local").join("share")))
        .context("no data folder: set HOME, or name one with --data")?;
    Ok(base.join("xcore"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::Cli;

    fn load(args: &str) -> anyhow::Result<Config> {
        let args = ["xcore", "run"].into_iter().chain(args.split_whitespace());
        let matches = Cli::command().try_get_matches_from(args)?;
        let run = matches.subcommand_matches("run").context("not `run`")?;
        Config::load(&Flags::from_arg_matches(run)?)
    }

    #[test]
    fn the_documented_command_line_works() {
        let config = load(
            "--data d --bridge http://127.0.0.1:7400 --listen 127.0.0.1:7411 --space 10GB \
             --name h1 --zone z1 --bandwidth-up 5MB --schedule always",
        );
        let config = config.unwrap();
        let settings = config.host.settings();
        assert_eq!(settings.space_bytes, 10_000_000_000);
        assert_eq!(
            (settings.name.as_str(), settings.zone.as_deref()),
            ("h1", Some("z1"))
        );
        assert_eq!(settings.bandwidth_up, Some(5_000_000));
        assert_eq!(settings.listen.port(), 7411);
    }

    #[test]
    fn a_file_lies_below_the_flags() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("xcore.toml");
        let text = "bridge = \"http://127.0.0.1:1\"\nspace = \"1 GB\"\nname = \"file\"\n\
                    data = \"d\"\naddresses = [\"192.0.2.7:7410\"]\n";
        std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), text.as_bytes())
            .unwrap();
        let config = load(&format!("--config {} --name flag", file.display())).unwrap();
        let settings = config.host.settings();
        assert_eq!(
            (settings.name.as_str(), settings.space_bytes),
            ("flag", 1_000_000_000)
        );
        assert_eq!(settings.listen, LISTEN_DEFAULT);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let wrong = |args| format!("{:#}", load(args).unwrap_err());
        assert_eq!(
            wrong("--data d"),
            "name the bridge to join with --bridge URL"
        );
        let bridge = "--data d --bridge http://127.0.0.1:1";
        assert_eq!(
            wrong(bridge),
            "say how much disk space to offer with --space SIZE"
        );
        assert!(wrong("--bridge http://example.org --space 1GB").contains("use https"));
    }
}
