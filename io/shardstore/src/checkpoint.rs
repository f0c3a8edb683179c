//! The index written out: a start in a moment instead of a scan. Never the truth, and thrown away
//! at the slightest doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use model::units::BridgeId;
use sha2::{Digest, Sha256};

use crate::disk::{File, Open};
use crate::durable;
use crate::index::{Holders, Holding, Index, LogPins, Slot};
use crate::record::{Location, Salt};

/// Name of the file in the store's folder.
pub(crate) const FILE_NAME: &str = "index.checkpoint";
const MAGIC: [u8; 8] = *b"XCSI\x02\0\0\0";
const SLOT_BYTES: u64 = 16;

/// A checkpoint that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the index checkpoint")]
pub struct CheckpointError(#[from] io::Error);

/// Writes the index as it stands when everything before `end` has been applied.
pub(crate) fn write(
    folder: &Path,
    salt: &Salt,
    index: &Index,
    end: Location,
) -> Result<(), CheckpointError> {
    durable::replace_with(&folder.join(FILE_NAME), |out| {
        write_to(out, salt, index, end)
    })?;
    Ok(())
}

pub(crate) fn write_to(
    out: &mut dyn Write,
    salt: &Salt,
    index: &Index,
    end: Location,
) -> io::Result<()> {
    let mut out = Hashing {
        inner: out,
        hasher: Sha256::new(),
    };
    out.write_all(&MAGIC)?;
    out.write_all(salt)?;
    out.location(end)?;
    out.number(index.live_bytes)?;
    out.slots(&index.records)?;
    out.slots(&index.shards)?;
    out.shared(&index.shared)?;
    out.logs(&index.logs)?;
    out.bridges(&index.bridges)?;
    let sum = out.hasher.clone().finalize();
    out.inner.write_all(&sum)
}

/// Reads the last checkpoint; `None` where there is none that holds.
pub(crate) fn read(folder: &Path, salt: &Salt) -> Option<(Index, Location)> {
    let file = File::open(&folder.join(FILE_NAME), Open::Read).ok()?;
    let bytes_left = file.bytes().ok()?;
    let file = BufReader::with_capacity(1 << 16, file.sequential());
    let found = read_from(file, bytes_left, salt);
    if found.is_none() {
        tracing::warn!("index checkpoint is damaged; the logs are read instead");
    }
    found
}

/// Reads a checkpoint of `bytes_left` bytes.
pub(crate) fn read_from(
    inner: impl Read,
    bytes_left: u64,
    salt: &Salt,
) -> Option<(Index, Location)> {
    let mut input = Input {
        inner,
        hasher: Sha256::new(),
        bytes_left,
    };
    input.index(salt)
}

struct Hashing<'a> {
    inner: &'a mut dyn Write,
    hasher: Sha256,
}

impl Hashing<'_> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, value: u64) -> io::Result<()> {
        self.write_all(&value.to_le_bytes())
    }

    fn location(&mut self, at: Location) -> io::Result<()> {
        self.write_all(&at.log.to_le_bytes())?;
        self.write_all(&at.offset.to_le_bytes())
    }

    fn slots(&mut self, slots: &BTreeSet<Slot>) -> io::Result<()> {
        self.number(slots.len() as u64)?;
        slots.iter().try_for_each(|slot| {
            self.number(slot.hash)?;
            self.location(slot.at)
        })
    }

    fn shared(&mut self, shared: &BTreeMap<Location, Holders>) -> io::Result<()> {
        self.number(shared.len() as u64)?;
        for (at, holders) in shared {
            self.location(*at)?;
            self.number(u64::from(holders.own))?;
            self.number(holders.others.len() as u64)?;
            for (bridge, records) in &holders.others {
                self.write_all(&bridge.0)?;
                self.number(u64::from(*records))?;
            }
        }
        Ok(())
    }

    fn bridges(&mut self, bridges: &BTreeMap<BridgeId, Holding>) -> io::Result<()> {
        self.number(bridges.len() as u64)?;
        for (bridge, holding) in bridges {
            self.write_all(&bridge.0)?;
            self.number(holding.records)?;
            self.number(holding.bytes)?;
        }
        Ok(())
    }

    fn logs(&mut self, logs: &BTreeMap<u32, LogPins>) -> io::Result<()> {
        self.number(logs.len() as u64)?;
        for (log, pins) in logs {
            self.number(u64::from(*log))?;
            self.number(u64::from(pins.slots))?;
            self.number(pins.live_bytes)?;
            self.number(pins.guards.len() as u64)?;
            for (guarded, headers) in &pins.guards {
                self.number(u64::from(*guarded))?;
                self.number(u64::from(*headers))?;
            }
        }
        Ok(())
    }
}

struct Input<R> {
    inner: R,
    hasher: Sha256,
    bytes_left: u64,
}

impl<R: Read> Input<R> {
    fn index(&mut self, salt: &Salt) -> Option<(Index, Location)> {
        let mut index = Index::new(*salt);
        if self.array()? != MAGIC || &self.array()? != salt {
            return None;
        }
        let end = self.location()?;
        index.live_bytes = self.number()?;
        index.records = self.slots()?;
        index.shards = self.slots()?;
        for _ in 0..self.count()? {
            index.shared.insert(self.location()?, self.holders()?);
        }
        for _ in 0..self.count()? {
            index.logs.insert(self.small()?, self.pins()?);
        }
        for _ in 0..self.count()? {
            let (bridge, records, bytes) = (self.array()?, self.number()?, self.number()?);
            index
                .bridges
                .insert(BridgeId(bridge), Holding { records, bytes });
        }
        let expected: [u8; 32] = self.hasher.clone().finalize().into();
        (self.array()? == expected && self.bytes_left == 0).then_some((index, end))
    }

    fn holders(&mut self) -> Option<Holders> {
        let own = self.number()? != 0;
        let others = (0..self.count()?)
            .map(|_| Some((BridgeId(self.array()?), self.small()?)))
            .collect::<Option<_>>()?;
        Some(Holders { own, others })
    }

    fn pins(&mut self) -> Option<LogPins> {
        let (slots, live_bytes) = (self.small()?, self.number()?);
        let guards = (0..self.count()?)
            .map(|_| Some((self.small()?, self.small()?)))
            .collect::<Option<_>>()?;
        Some(LogPins {
            slots,
            live_bytes,
            guards,
        })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).ok()?;
        self.hasher.update(bytes);
        self.bytes_left = self.bytes_left.checked_sub(N as u64)?;
        Some(bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn location(&mut self) -> Option<Location> {
        let log = u32::from_le_bytes(self.array()?);
        Some(Location {
            log,
            offset: u32::from_le_bytes(self.array()?),
        })
    }

    /// A count of things of 8 bytes at least; never more than the file can hold.
    fn count(&mut self) -> Option<u64> {
        self.number().filter(|count| *count <= self.bytes_left / 8)
    }

    fn slots(&mut self) -> Option<BTreeSet<Slot>> {
        let count = self
            .count()
            .filter(|count| *count <= self.bytes_left / SLOT_BYTES)?;
        (0..count)
            .map(|_| {
                Some(Slot {
                    hash: self.number()?,
                    at: self.location()?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use model::units::{OwnerTag, Serial, ShardId, UnixMs};

    use super::*;
    use crate::record::{Header, Kind};

    const SALT: Salt = [3; 16];
    const END: Location = Location {
        log: 2,
        offset: 4_096,
    };

    fn index() -> Index {
        let mut index = Index::new(SALT);
        let mut at = Location { log: 1, offset: 64 };
        for serial in 0..20 {
            let first = Location { log: 1, offset: 64 };
            let kind = match serial {
                0..15 => Kind::PUT,
                15..18 => Kind::Reference {
                    bytes_at: first,
                    replaces: None,
                },
                _ => Kind::Tombstone {
                    target: first,
                    bytes_at: first,
                },
            };
            let shard = ShardId([if serial < 15 { serial } else { 0 }; 32]);
            let serial = Serial([if serial < 18 { serial } else { 0 }; 16]);
            let bridge = BridgeId([0; 32]);
            let owner = OwnerTag([0; 32]);
            let created = UnixMs(7);
            index.apply(
                &Header {
                    kind,
                    bridge,
                    serial,
                    shard,
                    owner,
                    shard_bytes: 64,
                    created,
                },
                at,
            );
            at.offset += 256;
            at.log = if at.offset > 4_096 { 2 } else { 1 };
        }
        index
    }

    #[test]
    fn an_index_survives_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &SALT, &index(), END).unwrap();
        assert_eq!(read(folder.path(), &SALT), Some((index(), END)));
        assert_eq!(read(folder.path(), &[4; 16]), None);
    }

    #[test]
    fn a_checkpoint_bent_or_cut_anywhere_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &SALT, &index(), END).unwrap();
        let path = folder.path().join(FILE_NAME);
        let good = std::fs::read(&path).unwrap();
        for byte in 0..good.len() {
            let mut bent = good.clone();
            bent[byte] ^= 0x80;
            durable::replace(&path, &bent).unwrap();
            assert_eq!(read(folder.path(), &SALT), None, "byte {byte} bent");
            durable::replace(&path, &good[..byte]).unwrap();
            assert_eq!(read(folder.path(), &SALT), None, "cut at {byte}");
        }
    }
}
