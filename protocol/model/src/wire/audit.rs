//! Proof of availability: a challenge names a leaf of a shard, the Host's signed answer says what
//! it found there. Challenges and answers form a chain per Host and Bridge, the paper's "hashed
//! keys that change as they are used": c_t = H(c_{t−1} ‖ challenge ‖ finding). So no answer can be
//! replayed, moved to another Host, or given before the question.
//!
//! What is absent: a way to convict a Host without its own signature. [`Evidence`] needs its
//! receipt and its answer; silence proves nothing.

use serde::{Deserialize, Serialize};

use super::{Base64, Signed, SignedError, SignedKind, StoreReceipt, StoreReceiptError};
use crate::crypto::{LeafRange, leaf_hash, sha256};
use crate::units::{BridgeId, HostId, Serial, ShardId, UnixMs};

/// A link of the chain between a Host and a Bridge; zero before the first answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainValue(pub [u8; 32]);

/// "Prove that this leaf is there."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Who asks: a Bridge, whose ticket or channel it came by.
    pub bridge: BridgeId,
    /// Who is asked.
    pub host: HostId,
    /// The record that is asked for, where the asker knows it.
    #[serde(default)]
    pub serial: Option<Serial>,
    /// The shard.
    pub shard: ShardId,
    /// Its size in bytes.
    pub shard_bytes: u32,
    /// Which leaf, from 0.
    pub leaf: u32,
    /// 32 fresh random bytes, hexadecimal.
    pub nonce: String,
    /// When it was asked.
    pub at: UnixMs,
}

impl SignedKind for Challenge {
    const KIND: &'static str = "audit-challenge";
}

/// What a Host found where it was asked to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Finding {
    /// A leaf.
    Leaf {
        /// Its hash, 32 bytes.
        hash: Base64,
        /// The hashes that lead from it to the shard's id, 32 bytes each.
        path: Base64,
    },
    /// No such record, and no volume away on which it might lie.
    Missing,
    /// The record is there and its bytes have rotted.
    Rotten,
    /// A volume is away on which it may lie.
    Unseen,
}

/// A Host's signed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAnswer {
    /// Who asked.
    pub bridge: BridgeId,
    /// Who answers.
    pub host: HostId,
    /// SHA-256 of the challenge's body, as transmitted; hexadecimal.
    pub challenge: String,
    /// The chain before this answer as the Host knows it; hexadecimal. Where the asker knows
    /// another, both go on from the new value: a lost disk or a backup is no fraud.
    pub previous: String,
    /// What was found.
    pub finding: Finding,
    /// The chain after this answer; hexadecimal.
    pub chain: String,
    /// When it was answered.
    pub at: UnixMs,
}

impl SignedKind for AuditAnswer {
    const KIND: &'static str = "audit-answer";
}

/// An answer as it travels: signed, and the leaf's bytes beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// What the Host signed.
    pub answer: Signed<AuditAnswer>,
    /// The leaf, where one was found.
    #[serde(default)]
    pub leaf: Base64,
}

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The leaf is there.
    Pass,
    /// The Host signed that it does not have what it was asked for.
    Fail,
    /// It may be on a volume that is away: nothing is proved.
    Unknown,
}

/// An answer that counts for nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Not signed by the Host, or no answer.
    #[error("the answer is not the host's")]
    Signed(#[from] SignedError),
    /// To another challenge, of another Host, or from an earlier round.
    #[error("the answer is to another challenge")]
    OtherChallenge,
    /// Its chain value does not follow from what it says.
    #[error("the answer's chain value does not follow")]
    Chain,
    /// Hashes of another length, or a leaf that no such shard has.
    #[error("the answer is malformed")]
    Malformed,
    /// The bytes that came are not those whose hash was signed.
    #[error("the leaf's bytes are not those that were signed for")]
    Bytes,
    /// The receipt is not the Host's for this shard.
    #[error("the receipt does not fit")]
    Receipt(#[source] Option<StoreReceiptError>),
    /// It does not show a failure.
    #[error("it shows no failure")]
    NoFailure,
}

impl Challenge {
    /// What the chain becomes when `finding` answers the challenge with body hash `challenge`.
    #[must_use]
    pub fn chain(previous: ChainValue, challenge: &[u8; 32], finding: &Finding) -> ChainValue {
        // Findings are plain values, which always serialise.
        let found = serde_json::to_vec(finding).unwrap_or_default();
        let mut text = b"xcloud-audit-chain".to_vec();
        text.extend(previous.0);
        text.extend(challenge);
        text.extend(sha256(&found));
        ChainValue(sha256(&text))
    }

    /// The run of one leaf that is asked for; `None` where no shard of this size has it.
    #[must_use]
    pub fn leaf_range(&self) -> Option<LeafRange> {
        LeafRange::of_leaves(self.shard_bytes, self.leaf..self.leaf.checked_add(1)?).ok()
    }
}

impl AuditAnswer {
    /// The answer of `host` to `challenge`, whose chain with the asker stands at `previous`.
    #[must_use]
    pub fn new(
        challenge: &Signed<Challenge>,
        asked: &Challenge,
        previous: ChainValue,
        finding: Finding,
        at: UnixMs,
    ) -> Self {
        let hash = challenge.body_hash();
        let chain = Challenge::chain(previous, &hash, &finding);
        Self {
            bridge: asked.bridge,
            host: asked.host,
            challenge: hex(&hash),
            previous: hex(&previous.0),
            finding,
            chain: hex(&chain.0),
            at,
        }
    }

    /// The chain after it.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] where it is no hash.
    pub fn chain_value(&self) -> Result<ChainValue, AuditError> {
        unhex(&self.chain).map(ChainValue)
    }

    /// The chain before it, as its Host knows it.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] where it is no hash.
    pub fn previous_value(&self) -> Result<ChainValue, AuditError> {
        unhex(&self.previous).map(ChainValue)
    }
}

/// Judges the signed part of an answer to `challenge`: everything but the leaf's bytes.
///
/// # Errors
/// [`AuditError`] for an answer that counts for nothing.
pub fn judge(
    challenge: &Signed<Challenge>,
    answer: &Signed<AuditAnswer>,
) -> Result<(Judgement, AuditAnswer), AuditError> {
    let asked = challenge.peek()?;
    let said = answer.open(&asked.host.0)?;
    let hash = challenge.body_hash();
    let fits = said.bridge == asked.bridge && said.host == asked.host;
    if !fits || unhex(&said.challenge)? != hash {
        return Err(AuditError::OtherChallenge);
    }
    let chain = Challenge::chain(said.previous_value()?, &hash, &said.finding);
    if said.chain_value()? != chain {
        return Err(AuditError::Chain);
    }
    let judgement = match &said.finding {
        Finding::Missing | Finding::Rotten => Judgement::Fail,
        Finding::Unseen => Judgement::Unknown,
        Finding::Leaf { hash, path } => {
            let range = asked.leaf_range().ok_or(AuditError::Malformed)?;
            let hash = <[u8; 32]>::try_from(hash.0.as_slice());
            let hash = hash.map_err(|_| AuditError::Malformed)?;
            let (path, rest) = path.0.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(AuditError::Malformed);
            }
            match range.verify_hashes(&asked.shard, &[hash], path) {
                Ok(()) => Judgement::Pass,
                Err(_) => Judgement::Fail,
            }
        }
    };
    Ok((judgement, said))
}

impl Proof {
    /// Judges the answer to `challenge`, the leaf's bytes included.
    ///
    /// # Errors
    /// [`AuditError`]; among them [`AuditError::Bytes`], which proves nothing to others.
    pub fn judge(
        &self,
        challenge: &Signed<Challenge>,
    ) -> Result<(Judgement, AuditAnswer), AuditError> {
        let (judgement, said) = judge(challenge, &self.answer)?;
        if let Finding::Leaf { hash, .. } = &said.finding
            && leaf_hash(&self.leaf.0).as_slice() != hash.0.as_slice()
        {
            return Err(AuditError::Bytes);
        }
        Ok((judgement, said))
    }
}

/// What proves to anybody that a Host does not keep what it signed for: its receipt, the
/// challenge, and its own answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The Host's receipt for the shard.
    pub receipt: Base64,
    /// What it was asked, signed by the Bridge.
    pub challenge: Signed<Challenge>,
    /// What it answered.
    pub answer: Signed<AuditAnswer>,
}

impl Evidence {
    /// Checks the whole of it; returns the Host that fails.
    ///
    /// # Errors
    /// [`AuditError`] where it convicts nobody.
    pub fn verify(&self) -> Result<HostId, AuditError> {
        let asked = self.challenge.peek()?;
        let asked = self.challenge.open(&asked.bridge.0)?;
        let receipt = StoreReceipt::open(&self.receipt.0)
            .map_err(|error| AuditError::Receipt(Some(error)))?;
        let fits = receipt.host == asked.host
            && receipt.bridge == asked.bridge
            && receipt.shard == asked.shard
            && receipt.size.bytes() == asked.shard_bytes
            && asked.serial == Some(receipt.serial)
            && asked.at >= receipt.stored;
        if !fits {
            return Err(AuditError::Receipt(None));
        }
        match judge(&self.challenge, &self.answer)?.0 {
            Judgement::Fail => Ok(asked.host),
            Judgement::Pass | Judgement::Unknown => Err(AuditError::NoFailure),
        }
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unhex(text: &str) -> Result<[u8; 32], AuditError> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes());
    let bytes = bytes.map_err(|_| AuditError::Malformed)?;
    bytes.try_into().map_err(|_| AuditError::Malformed)
}

#[cfg(test)]
mod tests;
