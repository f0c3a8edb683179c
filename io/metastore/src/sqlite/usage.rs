//! Usage in SQLite.

use model::units::AccountId;

use super::{SqliteTx, number};
use crate::tables::nodes::NodeRows;
use crate::{StoreError, Usage, UsageDelta, UsageTable};

impl UsageTable for SqliteTx<'_> {
    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
        let usage = self.one(
            "read usage",
            "SELECT stored_bytes, reserved_bytes, node_bytes, pending_node_bytes
             FROM usage WHERE owner = ?1",
            [account.0],
            |row| {
                Ok(Usage {
                    stored_bytes: number(row, 0)?,
                    reserved_bytes: number(row, 1)?,
                    node_bytes: number(row, 2)?,
                    pending_node_bytes: number(row, 3)?,
                })
            },
        )?;
        Ok(usage.unwrap_or_default())
    }

    fn add_usage(&mut self, account: &AccountId, delta: UsageDelta) -> Result<Usage, StoreError> {
        let usage = self.usage(account)?.after(delta)?;
        self.set_usage(account, usage)?;
        Ok(usage)
    }
}
