//! Roots in memory.

use model::units::{AccountId, RootHash, VolumeId};

use super::{Mem, bounded};
use crate::tables::roots::check_push;
use crate::tables::{check_value, to_i64};
use crate::{RootRow, RootTable, StoreError, SwapError};

impl RootTable for Mem {
    fn current_root(
        &self,
        account: &AccountId,
        volume: &VolumeId,
    ) -> Result<Option<RootRow>, StoreError> {
        let all = (*account, *volume, 0)..=(*account, *volume, u64::MAX);
        Ok(self
            .roots
            .range(all)
            .next_back()
            .map(|(_, root)| root.clone()))
    }

    fn push_root(
        &mut self,
        account: &AccountId,
        volume: &VolumeId,
        prev: Option<&RootHash>,
        root: &RootRow,
    ) -> Result<(), SwapError<RootRow>> {
        check_value("root", &root.bytes)?;
        to_i64("seq", root.seq)?;
        to_i64("time", root.time.0)?;
        check_push(self.current_root(account, volume)?, prev, root)?;
        self.roots.put((*account, *volume, root.seq), root.clone());
        Ok(())
    }

    fn root_at(
        &self,
        account: &AccountId,
        volume: &VolumeId,
        seq: u64,
    ) -> Result<Option<RootRow>, StoreError> {
        Ok(self.roots.get(&(*account, *volume, seq)).cloned())
    }

    fn roots_before(
        &self,
        account: &AccountId,
        volume: &VolumeId,
        seq: u64,
        limit: u32,
    ) -> Result<Vec<RootRow>, StoreError> {
        let older = (*account, *volume, 0)..(*account, *volume, seq);
        let newest_first = self.roots.range(older).rev().map(|(_, root)| root.clone());
        Ok(newest_first.take(bounded(limit)).collect())
    }
}
