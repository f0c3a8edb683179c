//! Usage in memory.

use model::units::AccountId;

use super::Mem;
use crate::{StoreError, Usage, UsageDelta, UsageTable};

impl UsageTable for Mem {
    fn usage(&self, account: &AccountId) -> Result<Usage, StoreError> {
        Ok(self.usage.get(account).copied().unwrap_or_default())
    }

    fn add_usage(&mut self, account: &AccountId, delta: UsageDelta) -> Result<Usage, StoreError> {
        let usage = self.usage(account)?.after(delta)?;
        self.usage.put(*account, usage);
        Ok(usage)
    }
}
