//! Options of `xcore run`: flags above environment above file, checked once, together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::{BridgeSettings, HostConfig, Settings, VolumeSettings};
use model::wire::Schedule;
use runtime::{LogFormat, QuantityError, Size, Span};
use serde::{Deserialize, Serialize};

/// Where a Host listens that is told nothing.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7410);
/// Every shard is read again within this.
const SCRUB_WITHIN_DEFAULT: Span = Span::from_ms(30 * 86_400_000);
/// What upkeep may read or write per second.
const UPKEEP_RATE_DEFAULT: Size = Size(16_000_000);

/// What a Bridge has no use for is kept for so long.
const TRASH_DEFAULT: Span = Span::from_ms(7 * 86_400_000);

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
    /// A Bridge to join: http://127.0.0.1:PORT, https://NAME[:PORT] or https://KEY@HOST:PORT, with
    /// `=5GB` behind it to limit what its owners may keep here; may be given several times.
    #[arg(
        long = "bridge",
        env = "XCORE_BRIDGE",
        value_name = "URL[=SIZE]",
        value_delimiter = ','
    )]
    bridge: Option<Vec<String>>,
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
    /// Disk space to offer in the data folder, `10GB` say.
    #[arg(long, env = "XCORE_SPACE", value_name = "SIZE")]
    space: Option<Size>,
    /// A folder on another disk, which must exist, and the space to offer there, `/mnt/disk2=2TB`
    /// say; may be given several times.
    #[arg(
        long = "volume",
        env = "XCORE_VOLUME",
        value_name = "DIR=SIZE",
        value_delimiter = ','
    )]
    volume: Option<Vec<String>>,
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
    /// Time within which every shard is read again and checked [default: 30 d].
    #[arg(long, env = "XCORE_SCRUB_WITHIN", value_name = "TIME")]
    scrub_within: Option<Span>,
    /// Most bytes per second that checking shards and rewriting logs may read or write
    /// [default: 16 MB].
    #[arg(long, env = "XCORE_UPKEEP_RATE", value_name = "SIZE")]
    upkeep_rate: Option<Size>,
    /// Time for which shards that a Bridge has no use for are kept all the same; they make room when
    /// it is needed, `0s` keeps none [default: 7 d].
    #[arg(long, env = "XCORE_TRASH", value_name = "TIME")]
    trash: Option<Span>,
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
    /// As flags say it.
    bridge: OneOrMany,
    bridges: Vec<RawBridge>,
    listen: Option<SocketAddr>,
    addresses: Vec<SocketAddr>,
    space: Option<Size>,
    /// As flags say it.
    volume: OneOrMany,
    volumes: Vec<RawVolume>,
    keep_free: Option<Size>,
    name: Option<String>,
    zone: Option<String>,
    region: Option<String>,
    bandwidth_up: Option<Size>,
    bandwidth_down: Option<Size>,
    schedule: Option<String>,
    scrub_within: Option<Span>,
    upkeep_rate: Option<Size>,
    trash: Option<Span>,
    log_format: Option<String>,
    log_level: Option<String>,
}

/// A list of which one may stand alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// A Bridge in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBridge {
    url: String,
    space: Option<Size>,
}

/// A volume in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVolume {
    path: PathBuf,
    space: Size,
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
        let bridges = bridges(raw.bridge, raw.bridges)?;
        let schedule: Schedule = raw
            .schedule
            .as_deref()
            .unwrap_or("always")
            .parse()
            .context("--schedule")?;
        let volumes = volumes(raw.space, raw.volume, raw.volumes)?;
        let settings = Settings {
            data: raw.data.map_or_else(default_data, Ok)?,
            bridges,
            listen: raw.listen.unwrap_or(LISTEN_DEFAULT),
            addresses: raw.addresses,
            volumes,
            keep_free_bytes: raw.keep_free.map(Size::bytes),
            name: raw.name.unwrap_or_else(|| "host".to_owned()),
            zone: raw.zone,
            region: raw.region,
            bandwidth_up: raw.bandwidth_up.map(Size::bytes),
            bandwidth_down: raw.bandwidth_down.map(Size::bytes),
            schedule,
            scrub_within: raw.scrub_within.unwrap_or(SCRUB_WITHIN_DEFAULT).duration(),
            upkeep_bytes_per_s: raw.upkeep_rate.unwrap_or(UPKEEP_RATE_DEFAULT).bytes(),
            trash: raw.trash.unwrap_or(TRASH_DEFAULT).duration(),
        };
        Ok(Self {
            host: HostConfig::new(settings)?,
            log_format: raw.log_format.as_deref().unwrap_or("human").parse()?,
            log_level: raw.log_level.unwrap_or_else(|| "info".to_owned()),
        })
    }
}

/// Flags win over the file: where they name Bridges, those of the file do not count.
fn bridges(flags: OneOrMany, file: Vec<RawBridge>) -> anyhow::Result<Vec<BridgeSettings>> {
    let flags = flags.all();
    let bridges: Vec<(String, Option<Size>)> = if flags.is_empty() {
        let file = file.into_iter();
        file.map(|bridge| (bridge.url, bridge.space)).collect()
    } else {
        let parts = flags.iter().map(|flag| match flag.rsplit_once('=') {
            Some((url, space)) => Ok((url.to_owned(), Some(space.parse()?))),
            None => Ok((flag.clone(), None)),
        });
        parts
            .collect::<Result<_, QuantityError>>()
            .context("--bridge URL=SIZE")?
    };
    anyhow::ensure!(
        !bridges.is_empty(),
        "name the bridge to join with --bridge URL"
    );
    bridges
        .into_iter()
        .map(|(url, space)| {
            Ok(BridgeSettings {
                url: url.parse().with_context(|| format!("--bridge {url}"))?,
                space_bytes: space.map(Size::bytes),
            })
        })
        .collect()
}

/// The volume in the data folder, and others; flags win over the file.
fn volumes(
    space: Option<Size>,
    flags: OneOrMany,
    file: Vec<RawVolume>,
) -> anyhow::Result<Vec<VolumeSettings>> {
    let own = space.map(|space| (None, space));
    let flags = flags.all();
    let others: Vec<(Option<PathBuf>, Size)> = if flags.is_empty() {
        let file = file.into_iter();
        file.map(|volume| (Some(volume.path), volume.space))
            .collect()
    } else {
        let parts = flags.iter().map(|flag| {
            let (path, space) = flag
                .rsplit_once('=')
                .with_context(|| format!("--volume {flag}: say DIR=SIZE"))?;
            let space = space.parse().with_context(|| format!("--volume {flag}"))?;
            Ok((Some(PathBuf::from(path)), space))
        });
        parts.collect::<anyhow::Result<_>>()?
    };
    let volumes: Vec<_> = own
        .into_iter()
        .chain(others)
        .map(|(folder, space)| VolumeSettings {
            folder,
            space_bytes: space.bytes(),
        })
        .collect();
    anyhow::ensure!(
        !volumes.is_empty(),
        "say how much disk space to offer with --space SIZE, or where with --volume DIR=SIZE"
    );
    Ok(volumes)
}

impl OneOrMany {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
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
        assert_eq!(settings.space_bytes(), 10_000_000_000);
        assert_eq!(settings.bridges[0].space_bytes, None);
        assert_eq!(
            (settings.name.as_str(), settings.zone.as_deref()),
            ("h1", Some("z1"))
        );
        assert_eq!(settings.bandwidth_up, Some(5_000_000));
        assert_eq!(settings.listen.port(), 7411);
        assert_eq!(settings.trash.as_secs(), 604_800);
        let none =
            "--data d --bridge http://127.0.0.1:1 --listen 127.0.0.1:1 --space 1GB --trash 0s";
        assert!(load(none).unwrap().host.settings().trash.is_zero());
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
            (settings.name.as_str(), settings.space_bytes()),
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
            "say how much disk space to offer with --space SIZE, or where with --volume DIR=SIZE"
        );
        let volume = "--bridge http://127.0.0.1:1 --volume /mnt/b";
        assert_eq!(wrong(volume), "--volume /mnt/b: say DIR=SIZE");
        let size = "--bridge http://127.0.0.1:1=5parsec --space 1GB";
        assert!(
            wrong(size).contains("needs one of the units"),
            "{}",
            wrong(size)
        );
        assert!(wrong("--bridge http://example.org --space 1GB").contains("use https"));
    }

    #[test]
    fn several_bridges_and_volumes_can_be_named() {
        let flags = "--data d --bridge http://127.0.0.1:1=5GB --bridge http://127.0.0.1:2 \
                     --space 1GB --volume /mnt/b=2TB --volume /mnt/c=3TB --scrub-within 10d --listen 127.0.0.1:1";
        let config = load(flags).unwrap();
        let settings = config.host.settings();
        let quotas: Vec<_> = settings
            .bridges
            .iter()
            .map(|bridge| bridge.space_bytes)
            .collect();
        assert_eq!(quotas, [Some(5_000_000_000), None]);
        let volumes: Vec<_> = settings
            .volumes
            .iter()
            .map(|volume| volume.folder.clone())
            .collect();
        assert_eq!(
            volumes,
            [None, Some("/mnt/b".into()), Some("/mnt/c".into())]
        );
        assert_eq!(settings.space_bytes(), 5_001_000_000_000);
        assert_eq!(settings.scrub_within.as_secs(), 864_000);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("xcore.toml");
        let text = "data = \"d\"\n[[bridges]]\nurl = \"http://127.0.0.1:1\"\nspace = \"5 GB\"\n\
                    [[bridges]]\nurl = \"http://127.0.0.1:2\"\n\
                    [[volumes]]\npath = \"/mnt/b\"\nspace = \"2 TB\"\n";
        std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), text.as_bytes())
            .unwrap();
        let from_file = load(&format!("--config {} --listen 127.0.0.1:1", file.display())).unwrap();
        let settings = from_file.host.settings();
        assert_eq!(settings.bridges[0].space_bytes, Some(5_000_000_000));
        assert_eq!((settings.bridges.len(), settings.volumes.len()), (2, 1));
        let flags = format!(
            "--config {} --listen 127.0.0.1:1 --bridge http://127.0.0.1:9",
            file.display()
        );
        assert_eq!(load(&flags).unwrap().host.settings().bridges.len(), 1);
    }
}
