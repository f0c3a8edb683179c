//! The rows of the receipts log: one version byte, then for each receipt the index of its shard
//! (2 bytes) and the signed receipt.

use metastore::{ReceiptRow, StoreError, Tx};
use model::codec::Writer;
use model::units::{HostId, Serial};
use model::wire::StoreReceipt;

use crate::place::Place;

const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 2 + StoreReceipt::BYTES;

/// A row of receipts by the index of their shards.
pub(crate) fn row<'a>(receipts: impl Iterator<Item = (u16, &'a [u8])>) -> Vec<u8> {
    let mut out = Writer::with_capacity(1 + ENTRY_BYTES);
    out.u8(VERSION);
    for (index, signed) in receipts {
        out.u16(index).bytes(signed);
    }
    out.finish()
}

/// Adds one receipt.
pub(crate) fn append(tx: &mut dyn Tx, place: &Place, signed: &[u8]) -> Result<(), StoreError> {
    let segment = &place.segment;
    tx.append_receipts(&ReceiptRow {
        account: segment.account,
        blob: segment.blob,
        segment: segment.segment,
        bytes: row(std::iter::once((place.slot, signed))),
    })
}

/// The newest receipt of `host` for a place, as it was signed.
pub(crate) fn find(
    tx: &dyn Tx,
    place: &Place,
    (host, serial): (&HostId, &Serial),
) -> Result<Option<Vec<u8>>, StoreError> {
    let segment = &place.segment;
    let rows = tx.receipts(&segment.account, &segment.blob, segment.segment)?;
    let entries = rows.iter().rev().flat_map(|row| {
        let entries = row.get(1..).unwrap_or_default();
        entries.chunks_exact(ENTRY_BYTES)
    });
    let its = |entry: &&[u8]| {
        let signed = entry.get(2..).unwrap_or_default();
        StoreReceipt::open(signed)
            .is_ok_and(|receipt| receipt.host == *host && receipt.serial == *serial)
    };
    let index = place.slot.to_le_bytes();
    let mut entries = entries.filter(|entry| entry.first_chunk() == Some(&index));
    Ok(entries
        .find(its)
        .map(|entry| entry.get(2..).unwrap_or_default().to_vec()))
}
