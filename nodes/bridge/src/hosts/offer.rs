//! What the Bridge keeps of a Host's offer, and which zone it counts the Host in.

use std::net::IpAddr;

use model::crypto::sha256;
use model::units::HostId;
use model::wire::control::Offer;
use serde::{Deserialize, Serialize};

/// A Host's offer as it is stored with the Host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOffer {
    /// What the Host signed.
    pub offer: Offer,
    /// The zone the Bridge counts it in.
    pub zone: String,
    /// Its program and version.
    pub agent: String,
}

/// The zone of a Host that connects from `peer`: its /24 or /48, on loopback the Host itself.
/// The Host's own word counts only where the operator trusts it.
#[must_use]
pub fn zone_of(peer: IpAddr, host: &HostId, claimed: Option<&str>, trusted: bool) -> String {
    if let Some(claimed) = claimed.filter(|_| trusted) {
        return claimed.to_owned();
    }
    match peer.to_canonical() {
        peer if peer.is_loopback() => host.to_string(),
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

/// The number that placement knows a zone by.
#[must_use]
pub fn zone_number(zone: &str) -> u64 {
    let hash = sha256(zone.as_bytes());
    hash.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_follow_the_address_unless_the_word_is_trusted() {
        let host = HostId([0xab; 32]);
        let zone = |ip: &str, trusted| zone_of(ip.parse().unwrap(), &host, Some("z1"), trusted);
        assert_eq!(zone("203.0.113.77", false), "203.0.113.0/24");
        assert_eq!(zone("::ffff:203.0.113.9", false), "203.0.113.0/24");
        assert_eq!(zone("2001:db8:7:8::9", false), "2001:db8:7::/48");
        assert_eq!(zone("127.0.0.1", false), "ab".repeat(32));
        assert_eq!(zone("127.0.0.1", true), "z1");
        assert_eq!(
            zone_of("127.0.0.1".parse().unwrap(), &host, None, true),
            "ab".repeat(32)
        );
        assert_ne!(zone_number("z1"), zone_number("z2"));
    }
}
