//! Who listens where, and where everybody's data is; kept, so that a planet can be started again.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

/// Most Hosts of one planet.
const HOSTS_MAX: usize = 256;

/// The file in the planet's folder that remembers the ports.
const LAYOUT_NAME: &str = "planet.json";

/// Addresses and folders of a planet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
    ports: Ports,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ports {
    bridge: u16,
    hosts: Vec<u16>,
}

/// A Host's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlace {
    /// `h1`, `h2`, …
    pub name: String,
    /// `z1`, `z2`, …
    pub zone: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its data.
    pub data: PathBuf,
}

impl Layout {
    /// The layout kept in `dir`, made or enlarged for `hosts` Hosts if need be.
    ///
    /// # Errors
    /// When the folder or its `planet.json` cannot be read or written.
    pub fn open(dir: &Path, hosts: usize) -> Result<Self> {
        ensure!(
            (1..=HOSTS_MAX).contains(&hosts),
            "between 1 and {HOSTS_MAX} hosts"
        );
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let kept = read(&dir)?.unwrap_or_default();
        let mut ports = kept.clone();
        let missing = usize::from(ports.bridge == 0) + hosts.saturating_sub(ports.hosts.len());
        let mut free = free_ports(missing)?.into_iter();
        if ports.bridge == 0 {
            ports.bridge = free.next().context("no free port")?;
        }
        ports.hosts.extend(free);
        if ports != kept {
            let mut file = File::create(dir.join(LAYOUT_NAME))?;
            serde_json::to_writer_pretty(&mut file, &ports)?;
            file.write_all(b"\n")?;
        }
        ports.hosts.truncate(hosts);
        Ok(Self { dir, ports })
    }

    /// How many Hosts `dir` had so far.
    ///
    /// # Errors
    /// When its `planet.json` cannot be read.
    pub fn hosts_kept(dir: &Path) -> Result<Option<usize>> {
        Ok(read(dir)?.map(|ports| ports.hosts.len()))
    }

    /// The planet's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the Bridge listens.
    #[must_use]
    pub fn bridge(&self) -> SocketAddr {
        loopback(self.ports.bridge)
    }

    /// The Bridge's URL.
    #[must_use]
    pub fn bridge_url(&self) -> String {
        format!("http://{}", self.bridge())
    }

    /// The Bridge's data.
    #[must_use]
    pub fn bridge_data(&self) -> PathBuf {
        self.dir.join("bridge")
    }

    /// The Hosts' places, `h1` first.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostPlace> {
        let places = self.ports.hosts.iter().enumerate();
        places
            .map(|(index, port)| self.host(index + 1, *port))
            .collect()
    }

    /// The log file of `name`.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    fn host(&self, number: usize, port: u16) -> HostPlace {
        let name = format!("h{number}");
        let data = self.dir.join("hosts").join(&name);
        HostPlace {
            name,
            zone: format!("z{number}"),
            addr: loopback(port),
            data,
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn read(dir: &Path) -> Result<Option<Ports>> {
    let path = dir.join(LAYOUT_NAME);
    match fs::read(&path) {
        Ok(json) => {
            let ports = serde_json::from_slice(&json);
            Ok(Some(
                ports.with_context(|| format!("reading {}", path.display()))?,
            ))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Ports nobody listens on; all are held before any is let go, so none comes twice.
///
/// # Errors
/// When there are none.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_stay_when_a_planet_comes_back_and_grows() {
        let scratch = tempfile::tempdir().unwrap();
        let first = Layout::open(scratch.path(), 3).unwrap();
        assert_eq!(Layout::open(scratch.path(), 3).unwrap(), first);
        let grown = Layout::open(scratch.path(), 5).unwrap();
        assert_eq!(grown.bridge(), first.bridge());
        assert_eq!(grown.hosts()[..3], first.hosts());
        assert_eq!(Layout::hosts_kept(scratch.path()).unwrap(), Some(5));
        let ports: BTreeSet<u16> = grown.hosts().iter().map(|host| host.addr.port()).collect();
        assert_eq!(ports.len(), 5);
        assert_eq!(grown.hosts()[4].name, "h5");
    }

    #[test]
    fn nonsense_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(Layout::open(scratch.path(), 0).is_err());
        File::create(scratch.path().join(LAYOUT_NAME))
            .unwrap()
            .write_all(b"{}")
            .unwrap();
        assert!(
            Layout::open(scratch.path(), 1)
                .unwrap_err()
                .to_string()
                .contains("planet.json")
        );
    }
}
