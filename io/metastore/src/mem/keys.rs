//! Kept answers and settings in memory.

use model::units::{AccountId, UnixMs};

use super::{Mem, count};
use crate::tables::{check_value, to_i64};
use crate::{IdempotencyKey, KeyTable, StoreError};

impl KeyTable for Mem {
    fn idempotent(
        &self,
        account: &AccountId,
        key: &IdempotencyKey,
        now: UnixMs,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let kept = self.idempotency.get(&(*account, *key));
        Ok(kept
            .filter(|(_, expires)| *expires > now)
            .map(|(answer, _)| answer.clone()))
    }

    fn put_idempotent(
        &mut self,
        account: &AccountId,
        key: &IdempotencyKey,
        answer: &[u8],
        expires: UnixMs,
    ) -> Result<(), StoreError> {
        check_value("answer", answer)?;
        to_i64("expires", expires.0)?;
        self.idempotency
            .put((*account, *key), (answer.to_vec(), expires));
        Ok(())
    }

    fn sweep_idempotent(&mut self, now: UnixMs, limit: u32) -> Result<u64, StoreError> {
        Ok(count(
            self.idempotency
                .sweep(.., limit, |(_, expires)| *expires <= now)
                .len(),
        ))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.meta.get(&key.to_owned()).cloned())
    }

    fn put_meta(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        check_value("meta", value)?;
        self.meta.put(key.to_owned(), value.to_vec());
        Ok(())
    }
}
