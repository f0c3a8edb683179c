//! Receipts: what a Host signs for bytes it stored, and a payer for bytes it got.

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{Signature, SignatureError, SigningKey, verify};
use crate::units::{BridgeId, HostId, Serial, ShardId, ShardSize, UnixMs};

const VERSION: u8 = 1;
const STORE: &str = "store-receipt";
const TRANSFER: &str = "transfer-receipt";
const SIGNATURE_BYTES: usize = 64;

/// A Host's signed word that a shard is durable on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreReceipt {
    /// The serial of the ticket and of the stored record.
    pub serial: Serial,
    /// The Bridge whose ticket it was.
    pub bridge: BridgeId,
    /// The Host that stores it.
    pub host: HostId,
    /// What it stores.
    pub shard: ShardId,
    /// How many bytes.
    pub size: ShardSize,
    /// Since when.
    pub stored: UnixMs,
}

/// A receipt that is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreReceiptError {
    /// Not the bytes of a receipt.
    #[error("malformed receipt")]
    Malformed(#[source] DecodeError),
    /// Not signed by the Host it names.
    #[error("forged receipt")]
    Forged(#[source] SignatureError),
}

impl StoreReceipt {
    /// Bytes of a signed receipt.
    pub const BYTES: usize = 125 + SIGNATURE_BYTES;

    /// Encodes and signs the receipt: body ‖ signature, [`Self::BYTES`] long.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut out = Writer::with_capacity(Self::BYTES);
        out.u8(VERSION)
            .bytes(&self.serial.0)
            .bytes(&self.bridge.0)
            .bytes(&self.host.0);
        out.bytes(&self.shard.0)
            .u32(self.size.bytes())
            .u64(self.stored.0);
        let body = out.finish();
        let signature = key.sign(STORE, &body);
        [body, signature.0.to_vec()].concat()
    }

    /// Reads a signed receipt and checks that the Host it names signed it.
    ///
    /// # Errors
    /// [`StoreReceiptError`] for other bytes and other signers.
    pub fn open(signed: &[u8]) -> Result<Self, StoreReceiptError> {
        let cut = signed.len().saturating_sub(SIGNATURE_BYTES);
        let (body, signature) = signed.split_at(cut);
        let receipt = Self::decode(body).map_err(StoreReceiptError::Malformed)?;
        let signature = signature.try_into().map_err(|_| {
            StoreReceiptError::Malformed(DecodeError::Truncated { field: "signature" })
        })?;
        verify(&receipt.host.0, STORE, body, &Signature(signature))
            .map_err(StoreReceiptError::Forged)?;
        Ok(receipt)
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(body);
        input.version(STORE, VERSION)?;
        let receipt = Self {
            serial: Serial(input.array("serial")?),
            bridge: BridgeId(input.array("bridge")?),
            host: HostId(input.array("host")?),
            shard: ShardId(input.array("shard")?),
            size: ShardSize::new(input.u32("size")?)
                .map_err(|_| DecodeError::Invalid { field: "size" })?,
            stored: UnixMs(input.u64("stored")?),
        };
        input.finish()?;
        Ok(receipt)
    }
}

/// A payer's signed word on how many bytes of one ticket it got, chained per payer and Host.
///
/// The chain is the paper's "hashed keys updated in the course of action": no receipt can be
/// replayed or moved to another transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferReceipt {
    /// The ticket's serial.
    pub serial: Serial,
    /// The Host that moved the bytes.
    pub host: HostId,
    /// Bytes moved under this ticket so far.
    pub bytes: u64,
    /// SHA-256 of the previous receipt between this payer and Host; zero for the first.
    pub previous: [u8; 32],
}

impl TransferReceipt {
    /// Bytes of a signed receipt.
    pub const BYTES: usize = 89 + SIGNATURE_BYTES;

    /// Encodes and signs the receipt with the payer's key.
    #[must_use]
    pub fn sign(&self, payer: &SigningKey) -> Vec<u8> {
        let mut out = Writer::with_capacity(Self::BYTES);
        out.u8(VERSION)
            .bytes(&self.serial.0)
            .bytes(&self.host.0)
            .u64(self.bytes);
        out.bytes(&self.previous);
        let body = out.finish();
        let signature = payer.sign(TRANSFER, &body);
        [body, signature.0.to_vec()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    #[test]
    fn only_what_the_host_signed_opens() {
        let key = SigningKey::from_seed(&Secret::new([8; 32]));
        let receipt = StoreReceipt {
            serial: Serial([1; 16]),
            bridge: BridgeId([2; 32]),
            host: HostId(key.public()),
            shard: ShardId([3; 32]),
            size: ShardSize::MAX,
            stored: UnixMs(77),
        };
        let signed = receipt.sign(&key);
        assert_eq!(signed.len(), StoreReceipt::BYTES);
        assert_eq!(StoreReceipt::open(&signed), Ok(receipt));
        for byte in 0..signed.len() {
            let mut bent = signed.clone();
            bent[byte] ^= 1;
            assert!(StoreReceipt::open(&bent).is_err(), "byte {byte}");
            assert!(
                StoreReceipt::open(&signed[..byte]).is_err(),
                "length {byte}"
            );
        }
    }
}
