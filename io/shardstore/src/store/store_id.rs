//! The id of a store, by which a Host knows its volumes: it follows from the salt and does not
//! tell it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Store;
use super::open::salt_in_folder;
use crate::record::Salt;

/// A store's id, 32 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId([u8; 16]);

/// Text that is no store's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a volume's id is 32 hexadecimal digits")]
pub struct ParseStoreIdError;

impl StoreId {
    pub(crate) fn of(salt: &Salt) -> Self {
        let digest = Sha256::new()
            .chain_update(b"volume")
            .chain_update(salt)
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl Store {
    /// The id of the store in `folder`, if there is one. Changes nothing there.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn id_in(folder: &Path) -> std::io::Result<Option<StoreId>> {
        Ok(salt_in_folder(folder)?.map(|salt| StoreId::of(&salt)))
    }

    /// The id of this store.
    #[must_use]
    pub fn id(&self) -> StoreId {
        StoreId::of(&self.shared.salt)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

impl FromStr for StoreId {
    type Err = ParseStoreIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = HEXLOWER.decode(text.as_bytes()).ok();
        id.and_then(|id| id.try_into().ok().map(Self))
            .ok_or(ParseStoreIdError)
    }
}

impl TryFrom<String> for StoreId {
    type Error = ParseStoreIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_as_text() {
        let id = StoreId::of(&[7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("xyz".parse::<StoreId>(), Err(ParseStoreIdError));
        assert_eq!("+1".repeat(16).parse::<StoreId>(), Err(ParseStoreIdError));
        assert_ne!(id, StoreId::of(&[8; 16]));
    }
}
