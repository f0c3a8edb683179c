//! Hosts and their orders in SQLite.

use model::units::{HostId, UnixMs};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, corrupt, number};
use crate::tables::{check_value, to_i64};
use crate::{
    HostAlias, HostLog, HostLogRow, HostRow, HostState, HostStatus, HostTable, OrderRow,
    Reputation, StoreError,
};

impl HostTable for SqliteTx<'_> {
    fn upsert_host(
        &mut self,
        id: &HostId,
        offer: &[u8],
        now: UnixMs,
    ) -> Result<HostAlias, StoreError> {
        check_value("offer", offer)?;
        if let Some(alias) = self.replace_offer(id, offer)? {
            return Ok(alias);
        }
        let last = self.one(
            "find the next alias",
            "SELECT coalesce(max(alias), 0) FROM hosts",
            [],
            |row| row.get::<_, u32>(0),
        )?;
        let full = StoreError::OutOfRange { field: "alias" };
        let alias = last.unwrap_or(0).checked_add(1).ok_or(full)?;
        self.execute(
            "add a host",
            "INSERT INTO hosts (alias, id, joined, state, last_seen, alpha, beta, audits_passed,
             order_seq, offer) VALUES (?1, ?2, ?3, ?4, ?3, 0, 0, 0, 0, ?5)",
            params![
                alias,
                id.0,
                to_i64("joined", now.0)?,
                state_number(HostState::Online),
                offer
            ],
        )?;
        Ok(HostAlias(alias))
    }

    fn host(&self, alias: HostAlias) -> Result<Option<HostRow>, StoreError> {
        self.one(
            "read a host",
            "SELECT alias, id, joined, state, last_seen, alpha, beta, audits_passed, offer, record
             FROM hosts WHERE alias = ?1",
            [alias.0],
            read_host,
        )
    }

    fn host_by_id(&self, id: &HostId) -> Result<Option<HostRow>, StoreError> {
        self.one(
            "read a host",
            "SELECT alias, id, joined, state, last_seen, alpha, beta, audits_passed, offer, record
             FROM hosts WHERE id = ?1",
            [id.0],
            read_host,
        )
    }

    fn scan_hosts(&self, after: Option<HostAlias>, limit: u32) -> Result<Vec<HostRow>, StoreError> {
        self.many(
            "scan hosts",
            "SELECT alias, id, joined, state, last_seen, alpha, beta, audits_passed, offer, record
             FROM hosts WHERE alias > ?1 ORDER BY alias LIMIT ?2",
            params![after.map_or(0, |after| after.0), bounded(limit)],
            read_host,
        )
    }

    fn update_hosts(&mut self, statuses: &[HostStatus]) -> Result<u64, StoreError> {
        let mut updated = 0;
        for status in statuses {
            let last_seen = to_i64("last_seen", status.last_seen.0)?;
            updated += self.execute(
                "update a host",
                "UPDATE hosts SET state = ?2, last_seen = ?3 WHERE alias = ?1",
                params![status.alias.0, state_number(status.state), last_seen],
            )?;
        }
        Ok(updated)
    }

    fn set_reputation(
        &mut self,
        alias: HostAlias,
        reputation: Reputation,
    ) -> Result<bool, StoreError> {
        let updated = self.execute(
            "write a reputation",
            "UPDATE hosts SET alpha = ?2, beta = ?3, audits_passed = ?4 WHERE alias = ?1",
            params![
                alias.0,
                to_i64("alpha", reputation.alpha_millionths)?,
                to_i64("beta", reputation.beta_millionths)?,
                to_i64("audits_passed", reputation.audits_passed)?,
            ],
        )?;
        Ok(updated == 1)
    }

    fn set_record(&mut self, alias: HostAlias, record: &[u8]) -> Result<bool, StoreError> {
        check_value("record", record)?;
        let updated = self.execute(
            "write a host's record",
            "UPDATE hosts SET record = ?2 WHERE alias = ?1",
            params![alias.0, record],
        )?;
        Ok(updated == 1)
    }

    fn append_log(
        &mut self,
        alias: HostAlias,
        (log, above): (HostLog, u64),
        at: UnixMs,
        body: &[u8],
    ) -> Result<Option<u64>, StoreError> {
        check_value("host log", body)?;
        self.one(
            "append to a host's log",
            "INSERT INTO host_log (host, kind, seq, at, body)
             SELECT ?1, ?2, 1 + max(?5, coalesce(
                 (SELECT max(seq) FROM host_log WHERE host = ?1 AND kind = ?2), 0)), ?3, ?4
             FROM hosts WHERE alias = ?1 RETURNING seq",
            params![
                alias.0,
                log_number(log),
                to_i64("at", at.0)?,
                body,
                to_i64("seq", above.saturating_add(1))? - 1
            ],
            |row| number(row, 0),
        )
    }

    fn host_log(
        &self,
        alias: HostAlias,
        log: HostLog,
        after: u64,
        limit: u32,
    ) -> Result<Vec<HostLogRow>, StoreError> {
        self.many(
            "read a host's log",
            "SELECT seq, at, body FROM host_log WHERE host = ?1 AND kind = ?2 AND seq > ?3
             ORDER BY seq LIMIT ?4",
            params![alias.0, log_number(log), clamp(after), bounded(limit)],
            |row| {
                Ok(HostLogRow {
                    seq: number(row, 0)?,
                    at: UnixMs(number(row, 1)?),
                    body: row.get(2)?,
                })
            },
        )
    }

    fn newest_log(&self, alias: HostAlias, log: HostLog) -> Result<u64, StoreError> {
        let newest = self.one(
            "find the newest of a host's log",
            "SELECT coalesce(max(seq), 0) FROM host_log WHERE host = ?1 AND kind = ?2",
            params![alias.0, log_number(log)],
            |row| number(row, 0),
        )?;
        Ok(newest.unwrap_or(0))
    }

    fn sweep_log(&mut self, log: HostLog, before: UnixMs, limit: u32) -> Result<u64, StoreError> {
        self.execute(
            "sweep hosts' logs",
            "DELETE FROM host_log WHERE rowid IN
             (SELECT rowid FROM host_log AS old WHERE kind = ?1 AND at < ?2 AND seq <
                 (SELECT max(seq) FROM host_log WHERE host = old.host AND kind = ?1)
              ORDER BY at, host, seq LIMIT ?3)",
            params![log_number(log), clamp(before.0), bounded(limit)],
        )
    }

    fn push_order(&mut self, alias: HostAlias, body: &[u8]) -> Result<Option<u64>, StoreError> {
        check_value("order", body)?;
        let seq = self.one(
            "number an order",
            "UPDATE hosts SET order_seq = order_seq + 1 WHERE alias = ?1 RETURNING order_seq",
            [alias.0],
            |row| number(row, 0),
        )?;
        if let Some(seq) = seq {
            self.execute(
                "queue an order",
                "INSERT INTO orders (host, seq, body) VALUES (?1, ?2, ?3)",
                params![alias.0, to_i64("order_seq", seq)?, body],
            )?;
        }
        Ok(seq)
    }

    fn pending_orders(
        &self,
        alias: HostAlias,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OrderRow>, StoreError> {
        self.many(
            "list orders",
            "SELECT seq, body FROM orders WHERE host = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            params![alias.0, clamp(after), bounded(limit)],
            |row| {
                Ok(OrderRow {
                    seq: number(row, 0)?,
                    body: row.get(1)?,
                })
            },
        )
    }

    fn raise_order_seq(&mut self, alias: HostAlias, seq: u64) -> Result<(), StoreError> {
        self.execute(
            "raise the number of orders",
            "UPDATE hosts SET order_seq = max(order_seq, ?2) WHERE alias = ?1",
            params![alias.0, to_i64("order_seq", seq)?],
        )?;
        Ok(())
    }

    fn acknowledge_orders(&mut self, alias: HostAlias, up_to: u64) -> Result<u64, StoreError> {
        self.execute(
            "acknowledge orders",
            "DELETE FROM orders WHERE host = ?1 AND seq <= ?2",
            params![alias.0, clamp(up_to)],
        )
    }
}

impl SqliteTx<'_> {
    fn replace_offer(&self, id: &HostId, offer: &[u8]) -> Result<Option<HostAlias>, StoreError> {
        self.one(
            "replace an offer",
            "UPDATE hosts SET offer = ?2 WHERE id = ?1 RETURNING alias",
            params![id.0, offer],
            |row| row.get(0).map(HostAlias),
        )
    }
}

const fn log_number(log: HostLog) -> i64 {
    match log {
        HostLog::Events => 0,
        HostLog::Audits => 1,
    }
}

const fn state_number(state: HostState) -> i64 {
    match state {
        HostState::Online => 0,
        HostState::ScheduledOff => 1,
        HostState::Suspect => 2,
        HostState::Absent => 3,
        HostState::Lost => 4,
    }
}

fn read_host(row: &Row<'_>) -> rusqlite::Result<HostRow> {
    let state = match row.get(3)? {
        0 => HostState::Online,
        1 => HostState::ScheduledOff,
        2 => HostState::Suspect,
        3 => HostState::Absent,
        4 => HostState::Lost,
        state => return Err(corrupt(3, format!("no state of a host: {state}"))),
    };
    Ok(HostRow {
        alias: HostAlias(row.get(0)?),
        id: HostId(row.get(1)?),
        joined: UnixMs(number(row, 2)?),
        state,
        last_seen: UnixMs(number(row, 4)?),
        reputation: Reputation {
            alpha_millionths: number(row, 5)?,
            beta_millionths: number(row, 6)?,
            audits_passed: number(row, 7)?,
        },
        offer: row.get(8)?,
        record: row.get(9)?,
    })
}
