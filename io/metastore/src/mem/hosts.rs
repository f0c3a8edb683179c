//! Hosts and their orders in memory.

use std::ops::Bound;

use model::units::{HostId, UnixMs};

use super::{Mem, bounded, count};
use crate::tables::{check_value, to_i64};
use crate::{
    HostAlias, HostLog, HostLogRow, HostRow, HostState, HostStatus, HostTable, OrderRow,
    Reputation, StoreError,
};

impl HostTable for Mem {
    fn upsert_host(
        &mut self,
        id: &HostId,
        offer: &[u8],
        now: UnixMs,
    ) -> Result<HostAlias, StoreError> {
        check_value("offer", offer)?;
        to_i64("joined", now.0)?;
        if let Some(mut row) = self.host_by_id(id)? {
            row.offer = offer.to_vec();
            let alias = row.alias;
            self.hosts.put(alias, row);
            return Ok(alias);
        }
        let last = self
            .hosts
            .range(..)
            .next_back()
            .map_or(0, |(alias, _)| alias.0);
        let full = StoreError::OutOfRange { field: "alias" };
        let alias = HostAlias(last.checked_add(1).ok_or(full)?);
        let row = HostRow {
            alias,
            id: *id,
            offer: offer.to_vec(),
            joined: now,
            state: HostState::Online,
            last_seen: now,
            reputation: Reputation::default(),
            record: Vec::new(),
        };
        self.hosts.put(alias, row);
        self.host_aliases.put(*id, alias);
        Ok(alias)
    }

    fn host(&self, alias: HostAlias) -> Result<Option<HostRow>, StoreError> {
        Ok(self.hosts.get(&alias).cloned())
    }

    fn host_by_id(&self, id: &HostId) -> Result<Option<HostRow>, StoreError> {
        Ok(self
            .host_aliases
            .get(id)
            .and_then(|alias| self.hosts.get(alias))
            .cloned())
    }

    fn scan_hosts(&self, after: Option<HostAlias>, limit: u32) -> Result<Vec<HostRow>, StoreError> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self
            .hosts
            .range((first, Bound::Unbounded))
            .map(|(_, row)| row.clone());
        Ok(rows.take(bounded(limit)).collect())
    }

    fn update_hosts(&mut self, statuses: &[HostStatus]) -> Result<u64, StoreError> {
        let mut updated = 0;
        for status in statuses {
            to_i64("last_seen", status.last_seen.0)?;
            if let Some(row) = self.hosts.get(&status.alias).cloned() {
                let HostStatus {
                    alias,
                    state,
                    last_seen,
                } = *status;
                self.hosts.put(
                    alias,
                    HostRow {
                        state,
                        last_seen,
                        ..row
                    },
                );
                updated += 1;
            }
        }
        Ok(updated)
    }

    fn set_reputation(
        &mut self,
        alias: HostAlias,
        reputation: Reputation,
    ) -> Result<bool, StoreError> {
        to_i64("alpha", reputation.alpha_millionths)?;
        to_i64("beta", reputation.beta_millionths)?;
        to_i64("audits_passed", reputation.audits_passed)?;
        let Some(row) = self.hosts.get(&alias).cloned() else {
            return Ok(false);
        };
        self.hosts.put(alias, HostRow { reputation, ..row });
        Ok(true)
    }

    fn set_record(&mut self, alias: HostAlias, record: &[u8]) -> Result<bool, StoreError> {
        check_value("record", record)?;
        let Some(row) = self.hosts.get(&alias).cloned() else {
            return Ok(false);
        };
        let record = record.to_vec();
        self.hosts.put(alias, HostRow { record, ..row });
        Ok(true)
    }

    fn append_log(
        &mut self,
        alias: HostAlias,
        (log, above): (HostLog, u64),
        at: UnixMs,
        body: &[u8],
    ) -> Result<Option<u64>, StoreError> {
        check_value("host log", body)?;
        to_i64("at", at.0)?;
        if self.hosts.get(&alias).is_none() {
            return Ok(None);
        }
        to_i64("seq", above.saturating_add(1))?;
        let seq = self.newest_log(alias, log)?.max(above) + 1;
        self.host_log.put((alias, log, seq), (at, body.to_vec()));
        Ok(Some(seq))
    }

    fn host_log(
        &self,
        alias: HostAlias,
        log: HostLog,
        after: u64,
        limit: u32,
    ) -> Result<Vec<HostLogRow>, StoreError> {
        if after == u64::MAX {
            return Ok(Vec::new());
        }
        let rows = self.host_log.range((
            Bound::Excluded((alias, log, after)),
            Bound::Included((alias, log, u64::MAX)),
        ));
        let rows = rows.map(|((_, _, seq), (at, body))| HostLogRow {
            seq: *seq,
            at: *at,
            body: body.clone(),
        });
        Ok(rows.take(bounded(limit)).collect())
    }

    fn newest_log(&self, alias: HostAlias, log: HostLog) -> Result<u64, StoreError> {
        let all = (alias, log, 0)..=(alias, log, u64::MAX);
        let newest = self.host_log.range(all).next_back();
        Ok(newest.map_or(0, |((_, _, seq), _)| *seq))
    }

    fn sweep_log(&mut self, log: HostLog, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        let old = self.host_log.range(..).filter(|((alias, of, seq), row)| {
            let is_newest = || {
                let all = (*alias, log, 0)..=(*alias, log, u64::MAX);
                let newest = self.host_log.range(all).next_back();
                newest.is_some_and(|((_, _, newest), _)| newest == seq)
            };
            *of == log && row.0 < before && !is_newest()
        });
        let mut old: Vec<_> = old.map(|(key, row)| (row.0, *key)).collect();
        old.sort_unstable();
        old.truncate(bounded(limit));
        for (_, key) in &old {
            self.host_log.remove(key);
        }
        Ok(count(old.len()))
    }

    fn push_order(&mut self, alias: HostAlias, body: &[u8]) -> Result<Option<u64>, StoreError> {
        check_value("order", body)?;
        if self.hosts.get(&alias).is_none() {
            return Ok(None);
        }
        let seq = self.order_seqs.get(&alias).copied().unwrap_or(0) + 1;
        self.order_seqs.put(alias, seq);
        self.orders.put((alias, seq), body.to_vec());
        Ok(Some(seq))
    }

    fn pending_orders(
        &self,
        alias: HostAlias,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OrderRow>, StoreError> {
        let waiting = (
            Bound::Excluded((alias, after)),
            Bound::Included((alias, u64::MAX)),
        );
        if after == u64::MAX {
            return Ok(Vec::new());
        }
        let rows = self.orders.range(waiting);
        let rows = rows.map(|((_, seq), body)| OrderRow {
            seq: *seq,
            body: body.clone(),
        });
        Ok(rows.take(bounded(limit)).collect())
    }

    fn raise_order_seq(&mut self, alias: HostAlias, seq: u64) -> Result<(), StoreError> {
        to_i64("order_seq", seq)?;
        let now = self.order_seqs.get(&alias).copied().unwrap_or(0);
        if self.hosts.get(&alias).is_some() && now < seq {
            self.order_seqs.put(alias, seq);
        }
        Ok(())
    }

    fn acknowledge_orders(&mut self, alias: HostAlias, up_to: u64) -> Result<u64, StoreError> {
        let mut acknowledged = 0;
        loop {
            let removed = self
                .orders
                .sweep((alias, 0)..=(alias, up_to), u32::MAX, |_| true);
            if removed.is_empty() {
                return Ok(acknowledged);
            }
            acknowledged += count(removed.len());
        }
    }
}
