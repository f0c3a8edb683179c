//! The chains of audits, one for each Bridge: what an answer says came before it.
//!
//! Each has a small file beside what is remembered of the Bridge. It is not made durable with
//! every answer: a chain that went back, or to zero, is set right by the next answer.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::units::BridgeId;
use model::wire::audit::ChainValue;
use shardstore::disk::{self, File, Open};

use crate::bridge_pin::FOLDER;

/// What a file holds.
const VALUE_BYTES: u64 = 32;

/// The chain with every Bridge that has asked.
#[derive(Debug)]
pub(crate) struct Chains {
    folder: PathBuf,
    values: Mutex<BTreeMap<BridgeId, ChainValue>>,
}

impl Chains {
    /// Those that are remembered in the folder `data`, each read when it is asked for.
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            folder: data.join(FOLDER),
            values: Mutex::default(),
        }
    }

    /// Moves the chain with `bridge` on by what `step` makes of its value. Blocks.
    pub(crate) fn extend<T>(
        &self,
        bridge: BridgeId,
        step: impl FnOnce(ChainValue) -> (T, ChainValue),
    ) -> T {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let value = values
            .entry(bridge)
            .or_insert_with(|| self.read(bridge).unwrap_or_default());
        let (made, next) = step(*value);
        *value = next;
        if let Err(error) = self.write(bridge, next) {
            tracing::warn!(%error, "chain of audits not written");
        }
        made
    }

    fn read(&self, bridge: BridgeId) -> Option<ChainValue> {
        let value = disk::read(&self.path(bridge), VALUE_BYTES).ok()?;
        value.try_into().ok().map(ChainValue)
    }

    fn write(&self, bridge: BridgeId, value: ChainValue) -> io::Result<()> {
        File::open(&self.path(bridge), Open::Truncate)?.write_all_at(&value.0, 0)
    }

    fn path(&self, bridge: BridgeId) -> PathBuf {
        self.folder.join(format!("{bridge}.chain"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_on_after_a_restart_and_begins_anew_when_it_is_damaged() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join(FOLDER)).unwrap();
        let bridge = BridgeId([1; 32]);
        let step = |value: ChainValue| (value, ChainValue([value.0[0] + 1; 32]));
        let chains = Chains::new(data.path());
        assert_eq!(chains.extend(bridge, step), ChainValue::default());
        assert_eq!(chains.extend(bridge, step), ChainValue([1; 32]));
        let again = Chains::new(data.path());
        assert_eq!(again.extend(bridge, step), ChainValue([2; 32]));
        assert_eq!(again.extend(BridgeId([2; 32]), step), ChainValue::default());

        File::open(&again.path(bridge), Open::Truncate).unwrap();
        let damaged = Chains::new(data.path());
        assert_eq!(damaged.extend(bridge, step), ChainValue::default());
    }
}
