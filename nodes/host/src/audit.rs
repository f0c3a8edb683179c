//! Audit: a challenge names a leaf, the Host reads it from its disk and signs what it found there.
//!
//! What is absent: an answer from memory alone (the path may be remembered, the leaf is read each
//! time), and "missing" for what may lie on a volume that is away.

mod chain;
mod owner;

use std::sync::Arc;

use model::crypto::{LeafRange, leaf_hash};
use model::units::BridgeId;
use model::wire::audit::{AuditAnswer, Challenge, Finding, Proof};
use model::wire::{Base64, Signed, SignedError};
use shardstore::{ReadError, RecordKey, RecordSeen, Seen, ShardReader};
use tasks::spawn_blocking;

pub(crate) use chain::Chains;
pub(crate) use owner::post_audit;

use crate::host::Node;
use crate::proof::{self, ProofError};

/// A challenge that is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditRefused {
    /// Not signed by who asks.
    #[error("a challenge that its bridge did not sign")]
    Signed(#[from] SignedError),
    /// For another Host, or in the name of another Bridge.
    #[error("a challenge for another host or of another bridge")]
    NotForUs,
    /// It asks for a leaf that no such shard has.
    #[error("a shard of {shard_bytes} bytes has no leaf {leaf}")]
    NoSuchLeaf {
        /// The size that it names.
        shard_bytes: u32,
        /// The leaf.
        leaf: u32,
    },
    /// It names another size than the shard has.
    #[error("the shard has {found} bytes, the challenge says {named}")]
    OtherSize {
        /// What the shard has.
        found: u32,
        /// What was said.
        named: u32,
    },
    /// The Host stops before it is done.
    #[error("this host is stopping")]
    Stopping,
}

/// What was found where a challenge asks to look, and the leaf where there is one.
#[derive(Debug)]
struct Found {
    finding: Finding,
    leaf: Vec<u8>,
}

/// Answers a challenge of `bridge` that came over its channel; the chain moves on.
pub(crate) async fn of_bridge(
    node: &Arc<Node>,
    bridge: BridgeId,
    challenge: &Signed<Challenge>,
) -> Result<Proof, AuditRefused> {
    let asked = challenge.open(&bridge.0)?;
    if asked.bridge != bridge || asked.host != node.id {
        return Err(AuditRefused::NotForUs);
    }
    let Found { finding, leaf } = find(node, &asked).await?;
    let now = node.environment.now();
    let (chaining, challenge) = (Arc::clone(node), challenge.clone());
    let answer = spawn_blocking(move || {
        chaining.chains.extend(bridge, |previous| {
            let said = AuditAnswer::new(&challenge, &asked, previous, finding, now);
            let chain = said.chain_value().unwrap_or(previous);
            (said, chain)
        })
    });
    let said = answer.await.map_err(|_| AuditRefused::Stopping)?;
    node.done.audited(now);
    tracing::debug!(
        bridge = bridge.short(),
        finding = text(&said.finding),
        "audit answered"
    );
    Ok(sign(node, &said, leaf))
}

fn sign(node: &Node, said: &AuditAnswer, leaf: Vec<u8>) -> Proof {
    Proof {
        answer: Signed::new(&node.key, said),
        leaf: Base64(leaf),
    }
}

/// Looks for the leaf. What does not prove is read once more, and then it has rotted.
async fn find(node: &Arc<Node>, asked: &Challenge) -> Result<Found, AuditRefused> {
    let leaves = asked.leaf_range().ok_or(AuditRefused::NoSuchLeaf {
        shard_bytes: asked.shard_bytes,
        leaf: asked.leaf,
    })?;
    for _ in 0..2 {
        let shard = match look(node, asked).await? {
            Ok(shard) => shard,
            Err(finding) => {
                let leaf = Vec::new();
                return Ok(Found { finding, leaf });
            }
        };
        if shard.shard_bytes() != asked.shard_bytes {
            return Err(AuditRefused::OtherSize {
                found: shard.shard_bytes(),
                named: asked.shard_bytes,
            });
        }
        if let Some(found) = prove(node, &shard, leaves).await? {
            return Ok(found);
        }
    }
    let finding = Finding::Rotten;
    tracing::error!(shard = %asked.shard, "an audit found that a shard has rotted");
    Ok(Found {
        finding,
        leaf: Vec::new(),
    })
}

/// The shard that is asked for, or what is said instead.
async fn look(
    node: &Arc<Node>,
    asked: &Challenge,
) -> Result<Result<ShardReader, Finding>, AuditRefused> {
    let (looking, bridge) = (Arc::clone(node), asked.bridge);
    let (shard, serial) = (asked.shard, asked.serial);
    let looked = spawn_blocking(move || {
        let volumes = &looking.volumes;
        if let Some(serial) = serial {
            match volumes.record(RecordKey { bridge, serial }) {
                RecordSeen::Here { shard: held, .. } if held == shard => {}
                RecordSeen::Rotten { shard: held, .. } if held == shard => {
                    return Err(Finding::Rotten);
                }
                RecordSeen::Here { .. } | RecordSeen::Rotten { .. } if volumes.away() == 0 => {
                    return Err(Finding::Missing);
                }
                RecordSeen::Here { .. } | RecordSeen::Rotten { .. } | RecordSeen::Unseen => {
                    return Err(Finding::Unseen);
                }
                RecordSeen::NotHere => return Err(Finding::Missing),
            }
        }
        match volumes.look_up(&bridge, &shard) {
            Seen::Here(reader) => Ok(reader),
            Seen::Rotten => Err(Finding::Rotten),
            Seen::Unseen => Err(Finding::Unseen),
            Seen::NotHere => Err(Finding::Missing),
        }
    });
    looked.await.map_err(|_| AuditRefused::Stopping)
}

/// The leaf and its path; `None` where they do not prove the shard, which was then read again, so
/// that the store knows what has rotted.
async fn prove(
    node: &Arc<Node>,
    shard: &ShardReader,
    leaves: LeafRange,
) -> Result<Option<Found>, AuditRefused> {
    let path = match proof::of(node, shard, leaves).await {
        Ok(path) => path,
        Err(ProofError::Stopping) => return Err(AuditRefused::Stopping),
        Err(ProofError::Damaged { .. } | ProofError::Unreadable(_)) => {
            return again(node, shard).await;
        }
    };
    let (reading, start) = (shard.clone(), leaves.bytes().start);
    let length = leaves.bytes().len();
    let read = spawn_blocking(move || -> Result<Vec<u8>, ReadError> {
        let mut leaf = vec![0; length];
        reading.read_at(start, &mut leaf)?;
        Ok(leaf)
    });
    let Ok(leaf) = read.await.map_err(|_| AuditRefused::Stopping)? else {
        return again(node, shard).await;
    };
    let hash = leaf_hash(&leaf);
    if leaves.verify_hashes(&shard.id(), &[hash], &path).is_err() {
        return again(node, shard).await;
    }
    let finding = Finding::Leaf {
        hash: Base64(hash.to_vec()),
        path: Base64(path.concat()),
    };
    Ok(Some(Found { finding, leaf }))
}

async fn again(node: &Arc<Node>, shard: &ShardReader) -> Result<Option<Found>, AuditRefused> {
    let checked = proof::recheck(node, shard.id()).await;
    checked.map_err(|_| AuditRefused::Stopping)?;
    Ok(None)
}

const fn text(finding: &Finding) -> &'static str {
    match finding {
        Finding::Leaf { .. } => "leaf",
        Finding::Missing => "missing",
        Finding::Rotten => "rotten",
        Finding::Unseen => "unseen",
    }
}
