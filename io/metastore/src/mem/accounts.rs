//! Accounts and sessions in memory.

use model::units::{AccountId, UnixMs};

use super::{Mem, count};
use crate::tables::{check_value, to_i64};
use crate::{Account, AccountTable, DeviceListRow, Session, StoreError, SwapError, TokenHash};

impl AccountTable for Mem {
    fn account(&self, account: &AccountId) -> Result<Option<Account>, StoreError> {
        Ok(self.accounts.get(account).cloned())
    }

    fn insert_account(&mut self, account: &Account) -> Result<bool, StoreError> {
        check_list(&account.device_list)?;
        to_i64("created", account.created.0)?;
        Ok(self.accounts.insert(account.id, account.clone()))
    }

    fn replace_device_list(
        &mut self,
        account: &AccountId,
        expected: u64,
        list: &DeviceListRow,
    ) -> Result<(), SwapError<u64>> {
        check_list(list)?;
        let Some(mut row) = self.accounts.get(account).cloned() else {
            return Err(SwapError::Conflict { current: None });
        };
        let current = row.device_list.seq;
        if current != expected || list.seq <= current {
            return Err(SwapError::Conflict {
                current: Some(current),
            });
        }
        row.device_list = list.clone();
        self.accounts.put(*account, row);
        Ok(())
    }

    fn session(&self, token: &TokenHash, now: UnixMs) -> Result<Option<Session>, StoreError> {
        Ok(self
            .sessions
            .get(token)
            .filter(|session| session.expires > now)
            .cloned())
    }

    fn put_session(&mut self, session: &Session) -> Result<(), StoreError> {
        to_i64("expires", session.expires.0)?;
        self.sessions.put(session.token, session.clone());
        Ok(())
    }

    fn delete_session(&mut self, token: &TokenHash) -> Result<bool, StoreError> {
        Ok(self.sessions.remove(token).is_some())
    }

    fn sweep_sessions(&mut self, now: UnixMs, limit: u32) -> Result<u64, StoreError> {
        Ok(count(
            self.sessions
                .sweep(.., limit, |session| session.expires <= now)
                .len(),
        ))
    }
}

fn check_list(list: &DeviceListRow) -> Result<(), StoreError> {
    check_value("device_list", &list.bytes)?;
    to_i64("device_list_seq", list.seq).map(|_| ())
}
