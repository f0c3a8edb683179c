//! Whom to dial: a Host by its key and addresses, a Bridge by its URL.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use model::units::{BridgeId, HostId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Host: TLS pinned to its id, at the first of `addrs` (at most eight are tried) to answer.
    Host {
        /// The key that must be shown.
        id: HostId,
        /// Where the Host was last seen, best first.
        addrs: Vec<SocketAddr>,
    },
    /// A Bridge.
    Bridge(BridgeUrl),
}

/// How a connection is recognised in the pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndpointKey {
    Host(HostId),
    Bridge(BridgeUrl),
}

impl Endpoint {
    pub(crate) fn key(&self) -> EndpointKey {
        match self {
            Self::Host { id, .. } => EndpointKey::Host(*id),
            Self::Bridge(url) => EndpointKey::Bridge(url.clone()),
        }
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Host { id, addrs } => addrs
                .first()
                .map_or_else(|| id.short(), ToString::to_string),
            Self::Bridge(url) => url.authority(),
        }
    }
}

/// Names the peer for logs and errors, without the address of a Host.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { id, .. } => write!(f, "host {}", id.short()),
            Self::Bridge(url) => write!(f, "bridge {}", url.authority()),
        }
    }
}

/// Where a Bridge is and how it is recognised.
///
/// `http://127.0.0.1:PORT` (plain, loopback only), `https://NAME[:PORT]` (certificate of the
/// public web) or `https://KEY@HOST:PORT` (pinned to the Bridge's key of 64 hexadecimal digits).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgeUrl {
    trust: Trust,
    host: UrlHost,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    Plain,
    Web,
    Key(BridgeId),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UrlHost {
    Ip(IpAddr),
    Name(String),
}

/// Text that is not the URL of a Bridge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeUrlError {
    /// Neither `http://` nor `https://`.
    #[error("a bridge url begins with http:// or https://")]
    Scheme,
    /// Plain HTTP to somewhere else than this machine.
    #[error("plain http reaches {host} in the clear; beyond this machine use https")]
    PlainBeyondLoopback {
        /// The host that was named.
        host: String,
    },
    /// The part before `@` is no key, or a key stands in a plain URL.
    #[error("the part before @ must be a bridge's key of 64 hexadecimal digits, in an https url")]
    Key,
    /// No name or address.
    #[error("the url names no valid host")]
    Host,
    /// A port that is no number in 1..=65535.
    #[error("the port is no number in 1..=65535")]
    Port,
    /// Something follows the port.
    #[error("a bridge url has no path")]
    Path,
}

/// What is dialled.
#[cfg(not(target_family = "wasm"))]
impl BridgeUrl {
    pub(crate) const fn trust(&self) -> Trust {
        self.trust
    }

    pub(crate) const fn host(&self) -> &UrlHost {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl BridgeUrl {
    /// The key the URL pins, if it does.
    #[must_use]
    pub const fn pinned(&self) -> Option<BridgeId> {
        match self.trust {
            Trust::Key(id) => Some(id),
            Trust::Plain | Trust::Web => None,
        }
    }

    fn authority(&self) -> String {
        match &self.host {
            UrlHost::Ip(ip) => SocketAddr::new(*ip, self.port).to_string(),
            UrlHost::Name(name) => format!("{name}:{}", self.port),
        }
    }
}

impl From<BridgeUrl> for Endpoint {
    fn from(url: BridgeUrl) -> Self {
        Self::Bridge(url)
    }
}

impl FromStr for BridgeUrl {
    type Err = BridgeUrlError;

    fn from_str(text: &str) -> Result<Self, BridgeUrlError> {
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err(BridgeUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(BridgeUrlError::Path);
        }
        let (key, place) = match rest.rsplit_once('@') {
            Some((key, place)) => (Some(key.parse().map_err(|_| BridgeUrlError::Key)?), place),
            None => (None, rest),
        };
        let (host, port) = parse_place(place, if tls { 443 } else { 80 })?;
        let trust = match (tls, key) {
            (true, Some(key)) => Trust::Key(key),
            (true, None) => Trust::Web,
            (false, None) if host.is_loopback() => Trust::Plain,
            (false, None) => {
                return Err(BridgeUrlError::PlainBeyondLoopback {
                    host: host.to_string(),
                });
            }
            (false, Some(_)) => return Err(BridgeUrlError::Key),
        };
        Ok(Self { trust, host, port })
    }
}

fn parse_place(place: &str, default_port: u16) -> Result<(UrlHost, u16), BridgeUrlError> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (ip, port) = rest.split_once(']').ok_or(BridgeUrlError::Host)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| BridgeUrlError::Host)?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port),
            None if port.is_empty() => None,
            None => return Err(BridgeUrlError::Port),
        };
        (UrlHost::Ip(ip.into()), port)
    } else {
        let (host, port) = place
            .split_once(':')
            .map_or((place, None), |(h, p)| (h, Some(p)));
        (parse_name(host)?, port)
    };
    let port = match port {
        None => default_port,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(BridgeUrlError::Port)?,
        Some(_) => return Err(BridgeUrlError::Port),
    };
    Ok((host, port))
}

fn parse_name(text: &str) -> Result<UrlHost, BridgeUrlError> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(UrlHost::Ip(ip.into()));
    }
    let is_name = !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    if is_name {
        Ok(UrlHost::Name(text.to_ascii_lowercase()))
    } else {
        Err(BridgeUrlError::Host)
    }
}

impl UrlHost {
    /// `localhost` is this machine by definition (RFC 6761) and is never looked up.
    fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }
}

impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for BridgeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.trust {
            Trust::Plain => f.write_str("http://")?,
            Trust::Web => f.write_str("https://")?,
            Trust::Key(key) => write!(f, "https://{key}@")?,
        }
        f.write_str(&self.authority())
    }
}

impl Serialize for BridgeUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BridgeUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BridgeUrl, BridgeUrlError> {
        text.parse()
    }

    #[test]
    fn urls_survive_text() {
        let key = "5a".repeat(32);
        for (given, shown) in [
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000".to_owned()),
            ("http://localhost:7000/", "http://localhost:7000".to_owned()),
            ("http://[::1]:7000", "http://[::1]:7000".to_owned()),
            (
                "https://Bridge.example.org",
                "https://bridge.example.org:443".to_owned(),
            ),
            (
                &format!("https://{key}@10.0.0.1:99"),
                format!("https://{key}@10.0.0.1:99"),
            ),
        ] {
            let url = parse(given).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(parse(&shown).unwrap(), url);
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for host in [
            "10.0.0.1",
            "example.org",
            "[2001:db8::1]",
            "localhost.example.org",
        ] {
            let refused = BridgeUrlError::PlainBeyondLoopback {
                host: host.to_owned(),
            };
            assert_eq!(parse(&format!("http://{host}:7000")), Err(refused));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for (text, error) in [
            ("127.0.0.1:7000", BridgeUrlError::Scheme),
            ("ftp://a", BridgeUrlError::Scheme),
            ("https://", BridgeUrlError::Host),
            ("https://a b", BridgeUrlError::Host),
            ("https://[::1", BridgeUrlError::Host),
            ("https://a:0", BridgeUrlError::Port),
            ("https://a:+1", BridgeUrlError::Port),
            ("https://a:70000", BridgeUrlError::Port),
            ("https://a/b", BridgeUrlError::Path),
            ("https://user@a", BridgeUrlError::Key),
            (
                &format!("http://{}@127.0.0.1:1", "5a".repeat(32)),
                BridgeUrlError::Key,
            ),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
