//! Who may be connected: so many connections in all, so many from one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts open connections.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    inner: Arc<DoorInner>,
}

#[derive(Debug)]
struct DoorInner {
    total_max: usize,
    per_ip_max: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    per_ip: BTreeMap<IpAddr, usize>,
}

/// A place inside; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Admission {
    door: Door,
    ip: IpAddr,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    Full,
    TooManyOfThisAddress,
}

impl Door {
    pub(crate) fn new(total_max: usize, per_ip_max: usize) -> Self {
        let inside = Mutex::new(Inside::default());
        Self {
            inner: Arc::new(DoorInner {
                total_max,
                per_ip_max,
                inside,
            }),
        }
    }

    pub(crate) fn admit(&self, ip: IpAddr) -> Result<Admission, TurnedAway> {
        let ip = network(ip);
        let mut inside = self
            .inner
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if inside.total >= self.inner.total_max {
            return Err(TurnedAway::Full);
        }
        let of_this_ip = inside.per_ip.entry(ip).or_default();
        if *of_this_ip >= self.inner.per_ip_max {
            return Err(TurnedAway::TooManyOfThisAddress);
        }
        *of_this_ip += 1;
        inside.total += 1;
        Ok(Admission {
            door: self.clone(),
            ip,
        })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut inside = self
            .door
            .inner
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        inside.total -= 1;
        if let Some(count) = inside.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                inside.per_ip.remove(&self.ip);
            }
        }
    }
}

/// What counts as one address: with IPv6 the /64, which is what one subscriber gets.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_does_not_fill_the_house() {
        let door = Door::new(3, 2);
        let first = door.admit(ip("2001:db8::1")).unwrap();
        let _second = door.admit(ip("2001:db8::2")).unwrap();
        assert_eq!(
            door.admit(ip("2001:db8::3")).unwrap_err(),
            TurnedAway::TooManyOfThisAddress
        );
        let _other = door.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(door.admit(ip("192.0.2.2")).unwrap_err(), TurnedAway::Full);
        drop(first);
        assert!(door.admit(ip("::ffff:192.0.2.1")).is_ok());
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let door = Door::new(3, 2);
        drop(door.admit(ip("192.0.2.1")).unwrap());
        assert!(door.inner.inside.lock().unwrap().per_ip.is_empty());
    }
}
