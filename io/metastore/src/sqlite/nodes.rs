//! Pages in SQLite.

use model::units::{AccountId, NodeHash, UnixMs};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, corrupt, number};
use crate::tables::nodes::NodeRows;
use crate::tables::to_i64;
use crate::{NodeRow, NodeState, StoreError, Usage};

impl NodeRows for SqliteTx<'_> {
    fn node_state(
        &self,
        account: &AccountId,
        hash: &NodeHash,
    ) -> Result<Option<(NodeState, i64)>, StoreError> {
        self.one(
            "read the state of a page",
            "SELECT state, due, length(bytes) FROM nodes WHERE owner = ?1 AND hash = ?2",
            params![account.0, hash.0],
            |row| Ok((read_state(row, 0)?, row.get(2)?)),
        )
    }

    fn node(&self, account: &AccountId, hash: &NodeHash) -> Result<Option<NodeRow>, StoreError> {
        self.one(
            "read a page",
            "SELECT state, due, bytes FROM nodes WHERE owner = ?1 AND hash = ?2",
            params![account.0, hash.0],
            |row| {
                Ok(NodeRow {
                    hash: *hash,
                    state: read_state(row, 0)?,
                    bytes: row.get(2)?,
                })
            },
        )
    }

    fn insert_node(&mut self, account: &AccountId, row: &NodeRow) -> Result<(), StoreError> {
        let (state, due) = columns(row.state)?;
        self.execute(
            "add a page",
            "INSERT INTO nodes (owner, hash, state, due, bytes) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![account.0, row.hash.0, state, due, row.bytes],
        )?;
        Ok(())
    }

    fn set_node_state(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        state: NodeState,
    ) -> Result<(), StoreError> {
        let (state, due) = columns(state)?;
        self.execute(
            "change the state of a page",
            "UPDATE nodes SET state = ?3, due = ?4 WHERE owner = ?1 AND hash = ?2",
            params![account.0, hash.0, state, due],
        )?;
        Ok(())
    }

    fn remove_due_nodes(
        &mut self,
        pending_until: UnixMs,
        retired_until: UnixMs,
        limit: u32,
    ) -> Result<Vec<(AccountId, NodeState, i64)>, StoreError> {
        let mut removed = Vec::new();
        for (state, until) in [(0, pending_until), (2, retired_until)] {
            let taken = u32::try_from(removed.len()).unwrap_or(u32::MAX);
            removed.extend(self.many(
                "sweep pages",
                "DELETE FROM nodes WHERE rowid IN
                 (SELECT rowid FROM nodes WHERE state <> 1 AND state = ?1 AND due <= ?2 LIMIT ?3)
                 RETURNING state, due, length(bytes), owner",
                params![state, clamp(until.0), bounded(limit).saturating_sub(taken)],
                |row| Ok((AccountId(row.get(3)?), read_state(row, 0)?, row.get(2)?)),
            )?);
        }
        Ok(removed)
    }

    fn set_usage(&mut self, account: &AccountId, usage: Usage) -> Result<(), StoreError> {
        self.execute(
            "write usage",
            "INSERT OR REPLACE INTO usage
             (owner, stored_bytes, reserved_bytes, node_bytes, pending_node_bytes)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                account.0,
                to_i64("stored_bytes", usage.stored_bytes)?,
                to_i64("reserved_bytes", usage.reserved_bytes)?,
                to_i64("node_bytes", usage.node_bytes)?,
                to_i64("pending_node_bytes", usage.pending_node_bytes)?,
            ],
        )?;
        Ok(())
    }
}

fn columns(state: NodeState) -> Result<(i64, i64), StoreError> {
    Ok(match state {
        NodeState::Pending { expires } => (0, to_i64("expires", expires.0)?),
        NodeState::Live => (1, 0),
        NodeState::Retired { at } => (2, to_i64("retired", at.0)?),
    })
}

fn read_state(row: &Row<'_>, column: usize) -> rusqlite::Result<NodeState> {
    let due = UnixMs(number(row, column + 1)?);
    match row.get(column)? {
        0 => Ok(NodeState::Pending { expires: due }),
        1 => Ok(NodeState::Live),
        2 => Ok(NodeState::Retired { at: due }),
        state => Err(corrupt(column, format!("no state of a page: {state}"))),
    }
}
