//! Accounts and sessions in SQLite.

use model::units::{AccountId, DeviceId, UnixMs};
use rusqlite::{Row, params};

use super::{SqliteTx, bounded, clamp, number};
use crate::tables::{check_value, to_i64};
use crate::{Account, AccountTable, DeviceListRow, Session, StoreError, SwapError, TokenHash};

impl AccountTable for SqliteTx<'_> {
    fn account(&self, account: &AccountId) -> Result<Option<Account>, StoreError> {
        self.one(
            "read an account",
            "SELECT account, identity_key, created, device_list_seq, device_list
             FROM accounts WHERE account = ?1",
            [account.0],
            read_account,
        )
    }

    fn insert_account(&mut self, account: &Account) -> Result<bool, StoreError> {
        let list = &account.device_list;
        check_value("device_list", &list.bytes)?;
        let added = self.execute(
            "add an account",
            "INSERT INTO accounts (account, identity_key, created, device_list_seq, device_list)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![
                account.id.0,
                account.identity_key,
                to_i64("created", account.created.0)?,
                to_i64("device_list_seq", list.seq)?,
                list.bytes,
            ],
        )?;
        Ok(added == 1)
    }

    fn replace_device_list(
        &mut self,
        account: &AccountId,
        expected: u64,
        list: &DeviceListRow,
    ) -> Result<(), SwapError<u64>> {
        check_value("device_list", &list.bytes)?;
        let seq = to_i64("device_list_seq", list.seq)?;
        let swapped = self.execute(
            "replace a device list",
            "UPDATE accounts SET device_list_seq = ?3, device_list = ?4
             WHERE account = ?1 AND device_list_seq = ?2 AND ?3 > device_list_seq",
            params![account.0, clamp(expected), seq, list.bytes],
        )?;
        if swapped == 1 {
            return Ok(());
        }
        let current = self
            .account(account)?
            .map(|account| account.device_list.seq);
        Err(SwapError::Conflict { current })
    }

    fn session(&self, token: &TokenHash, now: UnixMs) -> Result<Option<Session>, StoreError> {
        self.one(
            "read a session",
            "SELECT token, account, device, expires FROM sessions
             WHERE token = ?1 AND expires > ?2",
            params![token.0, clamp(now.0)],
            read_session,
        )
    }

    fn put_session(&mut self, session: &Session) -> Result<(), StoreError> {
        let expires = to_i64("expires", session.expires.0)?;
        self.execute(
            "write a session",
            "INSERT OR REPLACE INTO sessions (token, account, device, expires)
             VALUES (?1, ?2, ?3, ?4)",
            params![
                session.token.0,
                session.account.0,
                session.device.0,
                expires
            ],
        )?;
        Ok(())
    }

    fn delete_session(&mut self, token: &TokenHash) -> Result<bool, StoreError> {
        let sql = "DELETE FROM sessions WHERE token = ?1";
        Ok(self.execute("delete a session", sql, [token.0])? == 1)
    }

    fn sweep_sessions(&mut self, now: UnixMs, limit: u32) -> Result<u64, StoreError> {
        self.execute(
            "sweep sessions",
            "DELETE FROM sessions WHERE token IN
             (SELECT token FROM sessions WHERE expires <= ?1 LIMIT ?2)",
            params![clamp(now.0), bounded(limit)],
        )
    }
}

fn read_account(row: &Row<'_>) -> rusqlite::Result<Account> {
    Ok(Account {
        id: AccountId(row.get(0)?),
        identity_key: row.get(1)?,
        created: UnixMs(number(row, 2)?),
        device_list: DeviceListRow {
            seq: number(row, 3)?,
            bytes: row.get(4)?,
        },
    })
}

fn read_session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        token: TokenHash(row.get(0)?),
        account: AccountId(row.get(1)?),
        device: DeviceId(row.get(2)?),
        expires: UnixMs(number(row, 3)?),
    })
}
