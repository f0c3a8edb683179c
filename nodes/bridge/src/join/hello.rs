//! A Host's hello: its proof of key and its offer, checked before anything is kept of it.

use std::net::{IpAddr, SocketAddr};

use metastore::{HostAlias, HostLog, StoreError, Tx};
use model::units::{BridgeId, HostId, UnixMs};
use model::wire::control::{Hello, HostState, Offer};
use model::wire::limits::{HOST_ADDRESSES_MAX, NAME_BYTES_MAX};
use model::wire::upkeep::{HostEventKind, Mark};
use model::wire::{
    Problem, ProblemCode, Program, ProtocolVersions, Signed, SignedError, VersionRefused,
};

use crate::corrupt::corrupt;
use crate::hosts::offer::{StoredOffer, zone_of};
use crate::refusal::{Refusal, internal};
use crate::{events, memory, orders};

/// A Host that says it has done more orders or seen more events than this is not believed.
const NUMBER_MAX: u64 = 1 << 48;
/// Longest agent text.
const AGENT_BYTES_MAX: usize = 128;

/// What the Bridge expects of a hello.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who the Bridge is.
    pub bridge: BridgeId,
    /// The nonce of the challenge.
    pub nonce: &'a str,
    /// Where the Host connected from.
    pub peer: IpAddr,
    /// Whether its word about its zone counts.
    pub trust_zones: bool,
}

/// A Host whose hello was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// The Host.
    pub id: HostId,
    /// What is kept of it.
    pub offer: StoredOffer,
    /// Where it says it listens.
    pub addresses: Vec<SocketAddr>,
    /// How it is.
    pub state: HostState,
    /// The protocol version spoken with it.
    pub version: u16,
    /// The highest event it keeps.
    pub events_seen: u64,
    /// The highest mark it keeps.
    pub mark: Option<Signed<Mark>>,
    /// The highest order it says it has done.
    pub orders_done: u64,
}

/// A Host that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its small number.
    pub alias: HostAlias,
    /// The highest order it has done.
    pub orders_done: u64,
}

/// Why a Host is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// Not signed by the Host it names.
    #[error("the hello is not signed by the host it names")]
    Signed(#[from] SignedError),
    /// For another Bridge or an older challenge.
    #[error("the hello answers another challenge")]
    OtherChallenge,
    /// No protocol version in common.
    #[error("{0}")]
    Version(VersionRefused),
    /// A name or text of the offer is empty or too long.
    #[error("the offer's {field} is empty or longer than {max} bytes")]
    Text {
        /// Which.
        field: &'static str,
        /// The limit.
        max: usize,
    },
    /// Not one to eight addresses.
    #[error("the offer has {addresses} addresses, 1 to {HOST_ADDRESSES_MAX} are possible")]
    Addresses {
        /// How many.
        addresses: usize,
    },
    /// An address that nobody could dial from here.
    #[error("`{address}` is no ip:port that can be dialled from the bridge")]
    Address {
        /// The address.
        address: String,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for HelloError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::Signed(_) | Self::OtherChallenge => ProblemCode::Forbidden,
            Self::Version(refused) => return refused.problem(),
            Self::Text { .. } | Self::Addresses { .. } | Self::Address { .. } => {
                ProblemCode::BadRequest
            }
            Self::Store(StoreError::Closed) => ProblemCode::Unavailable,
            Self::Store(_) => return internal(),
        };
        Problem::new(code, crate::refusal::chain(self))
    }
}

/// Checks a hello: the key first, then everything it says.
///
/// # Errors
/// [`HelloError`].
pub fn check(signed: &Signed<Hello>, expected: &Expected<'_>) -> Result<Newcomer, HelloError> {
    let claimed = signed.peek()?.host;
    let hello = signed.open(&claimed.0)?;
    if hello.bridge != expected.bridge || hello.nonce != expected.nonce {
        return Err(HelloError::OtherChallenge);
    }
    let version = ProtocolVersions::OURS
        .agree(Program::Bridge, (Program::Host, hello.protocol))
        .map_err(HelloError::Version)?;
    check_texts(&hello)?;
    let addresses = parse_addresses(&hello.offer, expected.peer)?;
    let Hello {
        host: id,
        offer,
        state,
        agent,
        events_seen,
        mark,
        orders_done,
        ..
    } = hello;
    let zone = zone_of(
        expected.peer,
        &id,
        offer.zone.as_deref(),
        expected.trust_zones,
    );
    Ok(Newcomer {
        id,
        offer: StoredOffer { offer, zone, agent },
        addresses,
        state,
        version,
        events_seen,
        mark,
        orders_done,
    })
}

fn check_texts(hello: &Hello) -> Result<(), HelloError> {
    let offer = &hello.offer;
    let texts = [
        ("name", Some(&offer.name), NAME_BYTES_MAX),
        ("zone", offer.zone.as_ref(), NAME_BYTES_MAX),
        ("region", offer.region.as_ref(), NAME_BYTES_MAX),
        ("agent", Some(&hello.agent), AGENT_BYTES_MAX),
    ];
    for (field, text, max) in texts {
        let fits = |text: &String| !text.is_empty() && text.len() <= max;
        if !text.is_none_or(fits) {
            return Err(HelloError::Text { field, max });
        }
    }
    Ok(())
}

/// Addresses are dialled by the Bridge, so a Host from elsewhere may not name the Bridge's own
/// machine, nor an address that is no single machine's.
fn parse_addresses(offer: &Offer, peer: IpAddr) -> Result<Vec<SocketAddr>, HelloError> {
    let addresses = offer.addresses.len();
    if addresses == 0 || addresses > HOST_ADDRESSES_MAX {
        return Err(HelloError::Addresses { addresses });
    }
    let local = peer.to_canonical().is_loopback();
    let parse = |text: &String| {
        let address = || HelloError::Address {
            address: text.chars().take(64).collect(),
        };
        let parsed: SocketAddr = text.parse().map_err(|_| address())?;
        let ip = parsed.ip().to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.is_link_local());
        let nobody = ip.is_unspecified() || ip.is_multicast() || broadcast;
        if nobody || parsed.port() == 0 || (ip.is_loopback() && !local) {
            return Err(address());
        }
        Ok(parsed)
    };
    offer.addresses.iter().map(parse).collect()
}

/// Takes a checked Host in, under the alias it always had.
///
/// # Errors
/// [`HelloError::Store`].
pub fn join(
    tx: &mut dyn Tx,
    bridge: &BridgeId,
    newcomer: &Newcomer,
    now: UnixMs,
) -> Result<Joined, HelloError> {
    let offer = serde_json::to_vec(&newcomer.offer).map_err(|_| corrupt("hosts", "offer"))?;
    let is_new = tx.host_by_id(&newcomer.id)?.is_none();
    let alias = tx.upsert_host(&newcomer.id, &offer, now)?;
    if is_new {
        let reason = format!("welcome; counted in zone {}", newcomer.offer.zone);
        events::push(tx, alias, now, (HostEventKind::Joined, &reason))?;
    }
    if let Some(mark) = &newcomer.mark {
        memory::shown(tx, bridge, mark, now)?;
    }
    // Where our memory went back, numbers go on behind those that the Host knows.
    if newcomer.orders_done < NUMBER_MAX {
        tx.raise_order_seq(alias, newcomer.orders_done)?;
    }
    let (seen, newest) = (newcomer.events_seen, tx.newest_log(alias, HostLog::Events)?);
    if newest < seen && seen < NUMBER_MAX {
        let reason = "the bridge was restored from an older backup: it deletes nothing that was \
                      stored since, and goes on from here";
        events::push_above(tx, alias, (now, seen), (HostEventKind::Frozen, reason))?;
    }
    Ok(Joined {
        alias,
        orders_done: orders::done(&*tx, alias)?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use model::crypto::{Secret, SigningKey};

    const BRIDGE: BridgeId = BridgeId([9; 32]);
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

    fn hello(key: &SigningKey) -> Hello {
        Hello {
            host: HostId(key.public()),
            bridge: BRIDGE,
            nonce: "ab".repeat(32),
            protocol: ProtocolVersions::OURS,
            agent: "xcore/0".to_owned(),
            offer: Offer {
                name: "h1".to_owned(),
                addresses: vec!["127.0.0.1:7001".to_owned()],
                space_bytes: 1,
                bandwidth_up: None,
                bandwidth_down: None,
                schedule: model::wire::Schedule::ALWAYS,
                zone: Some("z1".to_owned()),
                region: None,
                until: None,
            },
            state: HostState::default(),
            events_seen: 0,
            mark: None,
            orders_done: 0,
        }
    }

    fn check_as(
        signer: u8,
        peer: IpAddr,
        change: impl Fn(&mut Hello),
    ) -> Result<Newcomer, HelloError> {
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let mut hello = hello(&key);
        change(&mut hello);
        let signed = Signed::new(&SigningKey::from_seed(&Secret::new([signer; 32])), &hello);
        let nonce = "ab".repeat(32);
        check(
            &signed,
            &Expected {
                bridge: BRIDGE,
                nonce: &nonce,
                peer,
                trust_zones: true,
            },
        )
    }

    #[test]
    fn a_good_hello_is_taken() {
        let newcomer = check_as(1, HERE, |_| {}).unwrap();
        assert_eq!(newcomer.offer.zone, "z1");
        assert_eq!(newcomer.addresses, ["127.0.0.1:7001".parse().unwrap()]);
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        let refused = |signer, peer, change: fn(&mut Hello)| {
            check_as(signer, peer, change).unwrap_err().problem().code
        };
        assert_eq!(refused(2, HERE, |_| {}), ProblemCode::Forbidden);
        assert_eq!(
            refused(1, HERE, |hello| hello.nonce.clear()),
            ProblemCode::Forbidden
        );
        assert_eq!(
            refused(1, HERE, |h| h.bridge = BridgeId([8; 32])),
            ProblemCode::Forbidden
        );
        for change in [
            |hello: &mut Hello| hello.offer.name = "x".repeat(65),
            |hello: &mut Hello| hello.offer.name.clear(),
            |hello: &mut Hello| hello.offer.addresses.clear(),
            |hello: &mut Hello| hello.offer.addresses = vec!["127.0.0.1:1".to_owned(); 9],
            |hello: &mut Hello| hello.offer.addresses = vec!["example.org:80".to_owned()],
            |hello: &mut Hello| hello.offer.addresses = vec!["0.0.0.0:80".to_owned()],
            |hello: &mut Hello| hello.offer.addresses = vec!["127.0.0.1:0".to_owned()],
        ] {
            assert_eq!(refused(1, HERE, change), ProblemCode::BadRequest);
        }
        assert_eq!(refused(1, ELSEWHERE, |_| {}), ProblemCode::BadRequest);
    }

    #[test]
    fn a_host_speaks_the_lower_version_or_is_told_who_is_behind() {
        let with = |text: &'static str| {
            check_as(1, HERE, |h| h.protocol = text.parse().unwrap()).map(|_| ())
        };
        let ours = ProtocolVersions::OURS;
        assert!(with("1-1").is_ok(), "N-1 is accepted");
        assert!(with("1-9").is_ok(), "a newer host that speaks ours");
        let problem = with("9-9").unwrap_err().problem();
        assert_eq!(problem.code, ProblemCode::VersionRefused);
        assert_eq!(
            problem.detail,
            format!(
                "the bridge speaks protocol {} to {}, the host 9 to 9: update the bridge",
                ours.oldest, ours.version
            )
        );
    }
}
