//! What changes about Hosts with time alone: their presence, the hours they kept, and what of all
//! that is to be written.

use std::collections::BTreeMap;

use metastore::{HostState, HostStatus, Reputation};
use model::units::UnixMs;
use model::wire::upkeep::HostEventKind;

use super::Directory;
use super::entry::Entry;
use crate::audit::reputation::{is_out, score_ppm};
use crate::hosts::offer::zone_number;
use crate::hosts::record::{HostRecord, Out, Presence};
use crate::timing::Timing;

/// What is to be written of a Host.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its presence.
    pub status: HostStatus,
    /// What is remembered of it.
    pub record: HostRecord,
    /// Its record of audits.
    pub reputation: Reputation,
    /// What was decided about it, with reasons.
    pub events: Vec<(HostEventKind, String)>,
}

impl Directory {
    /// Counts the hours, takes note of Hosts that went or came, and returns what is to be written
    /// of at most `limit` Hosts.
    #[must_use]
    pub fn changes(&self, limit: usize, now: UnixMs) -> Vec<Change> {
        let mut hosts = self.lock();
        let mut changes = Vec::new();
        for (alias, entry) in &mut hosts.by_alias {
            if changes.len() == limit {
                break;
            }
            entry.seen(now);
            entry.count_hours(now);
            let state = entry.presence(&self.timing, now);
            let events = entry.decide(&self.timing, state, now);
            let news = (state, entry.last_seen) != entry.written
                || entry.record != entry.record_written
                || !events.is_empty();
            if news {
                changes.push(Change {
                    status: HostStatus {
                        alias: *alias,
                        state,
                        last_seen: entry.last_seen,
                    },
                    record: entry.record.clone(),
                    reputation: entry.reputation,
                    events,
                });
            }
        }
        changes
    }

    /// These are written now.
    pub fn written(&self, changes: &[Change]) {
        let mut hosts = self.lock();
        for change in changes {
            if let Some(entry) = hosts.by_alias.get_mut(&change.status.alias) {
                entry.written = (change.status.state, change.status.last_seen);
                entry.record_written = change.record.clone();
            }
        }
    }

    /// The vetted zones: whether any Host of each serves or is away as planned.
    #[must_use]
    pub fn zones(&self, now: UnixMs) -> BTreeMap<u64, bool> {
        let hosts = self.lock();
        let mut zones = BTreeMap::new();
        for entry in hosts.by_alias.values() {
            let state = entry.presence(&self.timing, now);
            if entry.is_vetted(&self.timing) && state != HostState::Lost {
                let there = matches!(state, HostState::Online | HostState::ScheduledOff);
                *zones.entry(zone_number(&entry.offer.zone)).or_insert(false) |= there;
            }
        }
        zones
    }
}

impl Entry {
    fn count_hours(&mut self, now: UnixMs) {
        let passed_ms = now.since_ms(self.counted);
        self.counted = now;
        if self.offer.offer.schedule.promises(now) && self.record.out.is_none() {
            let kept_ms = if self.serves() { passed_ms } else { 0 };
            self.record.count_time(passed_ms, kept_ms);
        }
    }

    /// Decides what follows from presence and record; each decision is told once.
    fn decide(
        &mut self,
        timing: &Timing,
        state: HostState,
        now: UnixMs,
    ) -> Vec<(HostEventKind, String)> {
        let mut events = Vec::new();
        if is_out(self.reputation) && self.record.out.is_none() {
            self.record.out = Some(Out::Disqualified);
            let score = score_ppm(self.reputation) / 10_000;
            let reason = format!(
                "the record of audits is at {score} %, below 96 %: no further shards are placed \
                 here, and those that are move elsewhere"
            );
            events.push((HostEventKind::Disqualified, reason));
        }
        if self.is_vetted(timing) && !self.record.vetted_told {
            self.record.vetted_told = true;
            let passed = self.reputation.audits_passed;
            let reason = format!("{passed} audits passed: a full share of new shards from now on");
            events.push((HostEventKind::Vetted, reason));
        }
        let away = self.record.volume_away.map(|since| now.since_ms(since));
        if away.is_some_and(|away_ms| away_ms >= timing.lost_after_ms) && !self.record.volume_lost {
            // An inventory tells what may have lain there.
            (self.record.volume_lost, self.record.check) = (true, true);
            let away = span(away.unwrap_or(0));
            let reason = format!(
                "a volume of this host is away for {away}: what may lie on it is made anew elsewhere"
            );
            events.push((HostEventKind::ShardsLost, reason));
        }
        events.extend(self.decide_presence(state, now));
        events
    }

    fn decide_presence(
        &mut self,
        state: HostState,
        now: UnixMs,
    ) -> Option<(HostEventKind, String)> {
        let before = self.record.told.unwrap_or(Presence::There);
        let after = match state {
            HostState::Online | HostState::ScheduledOff => Presence::There,
            // Not yet worth a word, nor enough to count as back.
            HostState::Suspect => before,
            HostState::Absent => Presence::Absent,
            HostState::Lost => Presence::Lost,
        };
        if after == before {
            return None;
        }
        self.record.told = Some(after);
        let silent = span(now.since_ms(self.last_seen));
        Some(match after {
            Presence::There => {
                // What it kept while it was given up may be gone, or not wanted any more.
                self.record.check = true;
                if before == Presence::Lost {
                    self.record.retained = UnixMs(0);
                }
                let reason = "back: shards that were not made anew elsewhere count again";
                (HostEventKind::Returned, reason.to_owned())
            }
            Presence::Absent => {
                let reason = format!(
                    "not serving for {silent} of promised hours: its shards count as missing until \
                     it is back"
                );
                (HostEventKind::Absent, reason)
            }
            Presence::Lost => (HostEventKind::Lost, self.why_lost(&silent)),
        })
    }

    fn why_lost(&self, silent: &str) -> String {
        match self.record.out {
            Some(Out::Left) => "left, with all it kept moved elsewhere".to_owned(),
            Some(Out::Disqualified) => "out for its record of audits".to_owned(),
            Some(Out::Declared) => "the operator declared it lost".to_owned(),
            None => format!("not serving for {silent}: what it kept is made anew elsewhere"),
        }
    }
}

/// A span for people: its largest unit.
pub(crate) fn span(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}
