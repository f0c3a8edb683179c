//! Pages in memory.

use model::units::{AccountId, NodeHash, UnixMs};

use super::{Mem, count};
use crate::tables::nodes::NodeRows;
use crate::tables::to_i64;
use crate::{NodeRow, NodeState, StoreError, Usage};

impl NodeRows for Mem {
    fn node_state(
        &self,
        account: &AccountId,
        hash: &NodeHash,
    ) -> Result<Option<(NodeState, i64)>, StoreError> {
        let row = self.nodes.get(&(*account, *hash));
        row.map(|row| Ok((row.state, len(row)?))).transpose()
    }

    fn node(&self, account: &AccountId, hash: &NodeHash) -> Result<Option<NodeRow>, StoreError> {
        Ok(self.nodes.get(&(*account, *hash)).cloned())
    }

    fn insert_node(&mut self, account: &AccountId, row: &NodeRow) -> Result<(), StoreError> {
        check_state(row.state)?;
        self.nodes.put((*account, row.hash), row.clone());
        Ok(())
    }

    fn set_node_state(
        &mut self,
        account: &AccountId,
        hash: &NodeHash,
        state: NodeState,
    ) -> Result<(), StoreError> {
        check_state(state)?;
        if let Some(row) = self.nodes.get(&(*account, *hash)).cloned() {
            self.nodes.put((*account, *hash), NodeRow { state, ..row });
        }
        Ok(())
    }

    fn remove_due_nodes(
        &mut self,
        pending_until: UnixMs,
        retired_until: UnixMs,
        limit: u32,
    ) -> Result<Vec<(AccountId, NodeState, i64)>, StoreError> {
        let due = |row: &NodeRow| match row.state {
            NodeState::Pending { expires } => expires <= pending_until,
            NodeState::Retired { at } => at <= retired_until,
            NodeState::Live => false,
        };
        let removed = self.nodes.sweep(.., limit, due).into_iter();
        removed
            .map(|((account, _), row)| Ok((account, row.state, len(&row)?)))
            .collect()
    }

    fn set_usage(&mut self, account: &AccountId, usage: Usage) -> Result<(), StoreError> {
        self.usage.put(*account, usage);
        Ok(())
    }
}

fn len(row: &NodeRow) -> Result<i64, StoreError> {
    to_i64("node_bytes", count(row.bytes.len()))
}

fn check_state(state: NodeState) -> Result<(), StoreError> {
    match state {
        NodeState::Live => Ok(()),
        NodeState::Pending { expires: due } | NodeState::Retired { at: due } => {
            to_i64("due", due.0).map(|_| ())
        }
    }
}
