//! What audits and repair see of the Hosts, and how they speak to them.

use metastore::{HostAlias, Reputation};
use model::units::{HostId, UnixMs};
use model::wire::HEALS;
use model::wire::control::FromBridge;

use super::Directory;
use super::entry::{Entry, Link};
use crate::hosts::offer::zone_number;
use crate::hosts::record::HostRecord;
use crate::repair::judge::Belief;

/// What is believed of all Hosts at one moment, by alias.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
    hosts: Vec<Option<Believed>>,
}

/// What is believed of one Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Believed {
    /// Of its shards.
    pub belief: Belief,
    /// A number that tells zones apart.
    pub zone: u32,
    /// It can be read from now.
    pub serves: bool,
    /// Bytes that are still to move away from it, at most.
    pub leaving_bytes: u64,
}

impl Beliefs {
    /// Those of these Hosts.
    pub fn of(hosts: impl Iterator<Item = (HostAlias, Believed)>) -> Self {
        let mut all = Vec::new();
        for (alias, believed) in hosts {
            let at = alias.0 as usize;
            if all.len() <= at {
                all.resize(at + 1, None);
            }
            if let Some(place) = all.get_mut(at) {
                *place = Some(believed);
            }
        }
        Self { hosts: all }
    }

    /// What is believed of a Host; `None` where it is not known.
    #[must_use]
    pub fn get(&self, alias: HostAlias) -> Option<&Believed> {
        self.hosts.get(alias.0 as usize)?.as_ref()
    }

    /// What is believed of a shard that lies there, and in which zone. A shard that nobody has is
    /// gone.
    #[must_use]
    pub fn shard(&self, host: Option<HostAlias>) -> (Belief, u32) {
        let believed = host.and_then(|alias| self.get(alias));
        believed.map_or((Belief::Gone, 0), |it| (it.belief, it.zone))
    }

    /// Whether it can be read from now.
    #[must_use]
    pub fn serves(&self, alias: HostAlias) -> bool {
        self.get(alias).is_some_and(|believed| believed.serves)
    }

    /// Hosts that want to be rid of shards.
    pub fn leaving(&self) -> impl Iterator<Item = HostAlias> + '_ {
        let aliases = (0..).zip(&self.hosts);
        aliases.filter_map(|(alias, believed)| {
            let leaves = believed.is_some_and(|it| it.belief == Belief::Leaving);
            leaves.then_some(HostAlias(alias))
        })
    }
}

impl Directory {
    /// What is believed of all Hosts now.
    #[must_use]
    pub fn beliefs(&self, now: UnixMs) -> Beliefs {
        let hosts = self.lock();
        let believed = |(alias, entry): (&HostAlias, &Entry)| {
            let belief = Belief::of(entry.presence(&self.timing, now));
            let leaving = entry.leaving_bytes(&self.timing, now);
            let zone = zone_number(&entry.offer.zone);
            let believed = Believed {
                belief: match belief {
                    Belief::Here if leaving > 0 => Belief::Leaving,
                    belief => belief,
                },
                // Its low half tells zones apart as well as all of it does.
                zone: u32::try_from(zone & u64::from(u32::MAX)).unwrap_or(0),
                serves: entry.serves(),
                leaving_bytes: leaving,
            };
            (*alias, believed)
        };
        Beliefs::of(hosts.by_alias.iter().map(believed))
    }

    /// Sends a Host a message that only newer ones understand; `false` where it is not there, too
    /// old, or does not keep up.
    #[must_use]
    pub fn send(&self, alias: HostAlias, message: FromBridge) -> bool {
        let hosts = self.lock();
        let link = hosts.by_alias.get(&alias).and_then(|it| it.link.as_ref());
        let link = link.filter(|link| link.version >= HEALS);
        link.is_some_and(|link| link.outbox.try_send(message).is_ok())
    }

    /// Sends a message to all that understand it and keep up.
    pub fn send_all(&self, message: &FromBridge) {
        let hosts = self.lock();
        let links = hosts.by_alias.values().filter_map(|it| it.link.as_ref());
        for link in links.filter(|link| link.version >= HEALS) {
            // Who does not keep up hears the next one.
            drop(link.outbox.try_send(message.clone()));
        }
    }

    /// Whether a Host is connected and understands what repairs and proves.
    #[must_use]
    pub fn heals(&self, alias: HostAlias) -> bool {
        let heals = |link: &Link| link.version >= HEALS;
        let hosts = self.lock();
        let entry = hosts.by_alias.get(&alias);
        entry.is_some_and(|entry| entry.link.as_ref().is_some_and(heals))
    }

    /// Hosts whose audit is due, at most `limit`; the next one is set by `next`, which is given
    /// once for each.
    pub fn due_audits(
        &self,
        now: UnixMs,
        limit: usize,
        mut next: impl FnMut() -> u64,
    ) -> Vec<HostAlias> {
        let mut hosts = self.lock();
        let due = hosts.by_alias.iter_mut().filter(|(_, entry)| {
            let heals = |link: &Link| link.version >= HEALS;
            entry.audit_at <= now && entry.link.as_ref().is_some_and(heals)
        });
        let due = due.take(limit).map(|(alias, entry)| {
            entry.audit_at = now.plus_ms(next());
            *alias
        });
        due.collect()
    }

    /// The key of a Host.
    #[must_use]
    pub fn id_of(&self, alias: HostAlias) -> Option<HostId> {
        self.lock().by_alias.get(&alias).map(|entry| entry.id)
    }

    /// What is remembered of a Host.
    #[must_use]
    pub fn record(&self, alias: HostAlias) -> Option<(HostRecord, Reputation)> {
        let hosts = self.lock();
        let entry = hosts.by_alias.get(&alias)?;
        Some((entry.record.clone(), entry.reputation))
    }

    /// Changes what is remembered of a Host; it is written before long.
    pub fn remember(
        &self,
        alias: HostAlias,
        change: impl FnOnce(&mut HostRecord, &mut Reputation),
    ) {
        let mut hosts = self.lock();
        if let Some(entry) = hosts.by_alias.get_mut(&alias) {
            change(&mut entry.record, &mut entry.reputation);
        }
        drop(hosts);
        self.changed.notify_one();
    }

    /// Hosts all of which is to be checked, at most `limit`: that are there and can say.
    #[must_use]
    pub fn to_check(&self, limit: usize) -> Vec<HostAlias> {
        let hosts = self.lock();
        let wanted = hosts.by_alias.iter().filter(|(_, entry)| {
            let heals = |link: &Link| link.version >= HEALS;
            entry.record.check && entry.link.as_ref().is_some_and(heals)
        });
        wanted.map(|(alias, _)| *alias).take(limit).collect()
    }

    /// Hosts that had no retain set for longer than `every_ms`, at most `limit`.
    #[must_use]
    pub fn to_retain(&self, every_ms: u64, now: UnixMs, limit: usize) -> Vec<HostAlias> {
        let hosts = self.lock();
        let wanted = hosts.by_alias.iter().filter(|(_, entry)| {
            let heals = |link: &Link| link.version >= HEALS;
            now.since_ms(entry.record.retained) >= every_ms
                && entry.link.as_ref().is_some_and(heals)
        });
        wanted.map(|(alias, _)| *alias).take(limit).collect()
    }
}
