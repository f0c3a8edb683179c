//! What is known of each Host: where it is, how fast it was, and whether to leave it alone.
//!
//! All of it is this program's own experience, in memory only. It decides whom to ask first and
//! how long to wait; it convicts nobody.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::units::HostId;
use model::wire::api::HostAddress;
use model::wire::limits::HOST_ADDRESSES_MAX;
use net::Endpoint;
use tasks::time::Instant;

/// Hosts that are remembered; beyond that the one with the lowest id is forgotten.
const HOSTS_MAX: usize = 10_000;
/// A strike's wait doubles with every further one, up to this.
const AVOID_MAX: Duration = Duration::from_secs(600);
/// Weight of the newest measurement in a Host's pace.
const NEWEST_SHARE: f64 = 0.3;

/// A Host that can be dialled.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    /// For people.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    /// Whether the Bridge hears from it.
    pub(crate) online: bool,
}

impl Host {
    /// The Host behind an address as the Bridge gives it. Text that is no address is left out.
    pub(crate) fn new(address: &HostAddress) -> Self {
        let addrs = address.addresses.iter().take(HOST_ADDRESSES_MAX);
        let addrs = addrs.filter_map(|text| text.parse().ok()).collect();
        let name = address
            .name
            .chars()
            .filter(|c| !c.is_control())
            .take(64)
            .collect::<String>();
        Self {
            id: address.host,
            name: if name.is_empty() {
                address.host.short()
            } else {
                name
            },
            endpoint: Endpoint::Host {
                id: address.host,
                addrs,
            },
            online: address.online,
        }
    }
}

/// Which way bytes go; a Host has a pace for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// What a Host did that makes it worth leaving alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// Said that it has too much to do.
    Busy,
    /// Was overtaken by another.
    Slow,
    /// Could not be reached, broke off, or answered nonsense.
    Silent,
    /// Has no space, or refuses.
    Refused,
    /// Sent other bytes than it stored, or a receipt that is none.
    Dishonest,
}

impl Strike {
    /// How long the Host is left alone after the first one.
    const fn avoid_for(self) -> Duration {
        match self {
            Self::Busy => Duration::from_secs(1),
            Self::Slow | Self::Silent => Duration::from_secs(30),
            Self::Refused => Duration::from_secs(120),
            Self::Dishonest => AVOID_MAX,
        }
    }
}

/// Every Host this program has dealt with.
#[derive(Debug, Default)]
pub(crate) struct HostBook {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    hosts: BTreeMap<HostId, Standing>,
    /// The pace of all Hosts together, for those that are new.
    everyone: [Option<Pace>; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    strikes: u32,
    avoid_until: Option<Instant>,
    paces: [Option<Pace>; 2],
    in_flight: u32,
}

/// A running mean of how long a transfer took.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Until the first byte came back, seconds.
    first_s: f64,
    /// Per byte after that, seconds.
    byte_s: f64,
}

/// How long one transfer took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) bytes: usize,
    pub(crate) first: Duration,
    pub(crate) rest: Duration,
}

/// Counts as a transfer with a Host until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    book: &'a HostBook,
    host: HostId,
}

impl HostBook {
    /// Whether the Host is left alone now, where there is a choice.
    pub(crate) fn is_avoided(&self, host: &HostId) -> bool {
        let until = self
            .pages()
            .hosts
            .get(host)
            .and_then(|standing| standing.avoid_until);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Remembers something against the Host.
    pub(crate) fn strike(&self, host: &HostId, strike: Strike) {
        let mut pages = self.pages();
        let standing = pages.standing(host);
        let now = Instant::now();
        let was_avoided = standing.avoid_until.is_some_and(|until| now < until);
        // What many transfers see of one failure counts once.
        if !was_avoided && strike != Strike::Busy {
            standing.strikes = standing.strikes.saturating_add(1);
        }
        let doubled = standing.strikes.saturating_sub(1).min(6);
        let wait = strike
            .avoid_for()
            .saturating_mul(1 << doubled)
            .min(AVOID_MAX);
        let until = standing
            .avoid_until
            .map_or(now + wait, |until| until.max(now + wait));
        standing.avoid_until = Some(until);
    }

    /// Remembers a transfer that went well.
    pub(crate) fn went_well(&self, host: &HostId, way: Way, measure: Measure) {
        let mut pages = self.pages();
        let standing = pages.standing(host);
        standing.strikes = standing.strikes.saturating_sub(1);
        learn(way.of(&mut standing.paces), measure);
        learn(way.of(&mut pages.everyone), measure);
    }

    /// How long a transfer of `bytes` should take, by the Host's own pace, else by everyone's.
    pub(crate) fn expected(&self, host: &HostId, way: Way, bytes: usize) -> Option<Duration> {
        let mut pages = self.pages();
        let own = pages
            .hosts
            .get_mut(host)
            .and_then(|standing| *way.of(&mut standing.paces));
        let pace = own.or(*way.of(&mut pages.everyone))?;
        Some(pace.time_for(bytes))
    }

    /// How long a transfer of `bytes` takes with everyone on average.
    pub(crate) fn expected_of_all(&self, way: Way, bytes: usize) -> Option<Duration> {
        way.of(&mut self.pages().everyone)
            .map(|pace| pace.time_for(bytes))
    }

    /// Transfers under way with the Host.
    pub(crate) fn in_flight(&self, host: &HostId) -> u32 {
        self.pages()
            .hosts
            .get(host)
            .map_or(0, |standing| standing.in_flight)
    }

    /// Counts a transfer with the Host until the guard is dropped.
    pub(crate) fn enter(&self, host: &HostId) -> InFlight<'_> {
        self.pages().standing(host).in_flight += 1;
        InFlight {
            book: self,
            host: *host,
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut pages = self.book.pages();
        let standing = pages.standing(&self.host);
        standing.in_flight = standing.in_flight.saturating_sub(1);
    }
}

impl Pages {
    fn standing(&mut self, host: &HostId) -> &mut Standing {
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(host) {
            self.hosts.pop_first();
        }
        self.hosts.entry(*host).or_default()
    }
}

impl Way {
    const fn of(self, paces: &mut [Option<Pace>; 2]) -> &mut Option<Pace> {
        let [up, down] = paces;
        match self {
            Self::Up => up,
            Self::Down => down,
        }
    }
}

impl Pace {
    fn time_for(&self, bytes: usize) -> Duration {
        // No shard is longer than a f64 counts exactly.
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        Duration::try_from_secs_f64(self.first_s + self.byte_s * bytes).unwrap_or(AVOID_MAX)
    }
}

fn learn(pace: &mut Option<Pace>, measure: Measure) {
    let bytes = f64::from(u32::try_from(measure.bytes).unwrap_or(u32::MAX)).max(1.0);
    let (first, byte) = (
        measure.first.as_secs_f64(),
        measure.rest.as_secs_f64() / bytes,
    );
    *pace = Some(match *pace {
        None => Pace {
            first_s: first,
            byte_s: byte,
        },
        Some(old) => Pace {
            first_s: mean(old.first_s, first),
            byte_s: mean(old.byte_s, byte),
        },
    });
}

fn mean(old: f64, newest: f64) -> f64 {
    old + NEWEST_SHARE * (newest - old)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: HostId = HostId([1; 32]);
    const B: HostId = HostId([2; 32]);

    fn measure(rest_ms: u64) -> Measure {
        let first = Duration::from_millis(10);
        Measure {
            bytes: 1_000_000,
            first,
            rest: Duration::from_millis(rest_ms),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strikes_add_up_and_pass() {
        let book = HostBook::default();
        assert!(!book.is_avoided(&A));
        (0..8).for_each(|_| book.strike(&A, Strike::Silent));
        assert!(book.is_avoided(&A));
        assert!(!book.is_avoided(&B));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(!book.is_avoided(&A));
        book.strike(&A, Strike::Silent);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(book.is_avoided(&A), "the second time it is twice as long");
    }

    #[tokio::test]
    async fn a_new_host_is_expected_to_be_like_everyone() {
        let book = HostBook::default();
        assert_eq!(book.expected(&A, Way::Down, 10), None);
        book.went_well(&A, Way::Down, measure(1_000));
        assert_eq!(book.expected(&A, Way::Up, 10), None);
        let expected = book.expected(&B, Way::Down, 1_000_000).unwrap();
        assert_eq!(expected.as_millis(), 1_010);
        book.went_well(&B, Way::Down, measure(100));
        assert!(book.expected(&B, Way::Down, 1_000_000) < book.expected(&A, Way::Down, 1_000_000));
    }

    #[tokio::test]
    async fn transfers_are_counted_while_they_last() {
        let book = HostBook::default();
        let (one, two) = (book.enter(&A), book.enter(&A));
        assert_eq!(book.in_flight(&A), 2);
        drop((one, two));
        assert_eq!(book.in_flight(&A), 0);
    }
}
