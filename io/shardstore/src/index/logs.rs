//! What the index knows of whole logs: which may be deleted, and how much of each is needed.

use std::collections::{BTreeMap, BTreeSet};

use super::Index;
use crate::record::{HEADER_LEN, Location};

/// What keeps a log from being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogPins {
    /// Slots that point into the log.
    pub(crate) slots: u32,
    /// Bytes of the records and shards that those slots are about.
    pub(crate) live_bytes: u64,
    /// Logs with records that headers in this log say are gone, and how many such headers. While
    /// one of those logs exists, a rebuild needs them.
    pub(crate) guards: BTreeMap<u32, u32>,
}

impl Index {
    /// Logs but `active` that hold nothing a reader or a rebuild needs.
    pub(crate) fn dead_logs(&self, active: u32) -> Vec<u32> {
        let mut dead = BTreeSet::new();
        loop {
            let before = dead.len();
            for (log, pins) in &self.logs {
                let free = pins.guards.keys().all(|guarded| {
                    guarded == log || dead.contains(guarded) || !self.logs.contains_key(guarded)
                });
                if *log != active && pins.slots == 0 && free {
                    dead.insert(*log);
                }
            }
            if dead.len() == before {
                return dead.into_iter().collect();
            }
        }
    }

    /// Logs but `active` that can be rewritten, with the bytes a rewrite would write. A log with
    /// bytes that several records share cannot: the others say where they lie.
    pub(crate) fn rewritable_logs(&self, active: u32) -> Vec<(u32, u64)> {
        let apart = |log: &u32| {
            let (first, last) = (
                Location {
                    log: *log,
                    offset: 0,
                },
                Location {
                    log: *log,
                    offset: u32::MAX,
                },
            );
            *log != active && self.shared.range(first..=last).next().is_none()
        };
        let logs = self.logs.iter().filter(|(log, _)| apart(log));
        logs.map(|(log, pins)| {
            let guards = pins
                .guards
                .iter()
                .filter(|(guarded, _)| self.logs.contains_key(guarded));
            let carried: u64 = guards.map(|(_, headers)| u64::from(*headers)).sum();
            (*log, pins.live_bytes + carried * u64::from(HEADER_LEN))
        })
        .collect()
    }

    /// A header in `log` says that a record in `target` is gone.
    pub(super) fn guard(&mut self, log: u32, target: u32) {
        if log != target {
            let guards = &mut self.logs.entry(log).or_default().guards;
            *guards.entry(target).or_default() += 1;
        }
    }

    pub(super) fn pin(&mut self, log: u32, bytes: u32) {
        let pins = self.logs.entry(log).or_default();
        pins.slots += 1;
        pins.live_bytes += u64::from(bytes);
    }

    pub(super) fn unpin(&mut self, log: u32, bytes: u32) {
        let pins = self.logs.entry(log).or_default();
        pins.slots = pins.slots.saturating_sub(1);
        pins.live_bytes = pins.live_bytes.saturating_sub(u64::from(bytes));
    }
}
