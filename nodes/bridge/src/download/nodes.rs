//! Sealed pages: put before a commit, and read by their hashes.

use metastore::{StoreError, Tx};
use model::crypto::{SEAL_OVERHEAD_BYTES, sha256};
use model::units::{AccountId, MANIFEST_PAGE_BYTES_MAX, NodeHash};
use model::wire::api::{NodeBody, Nodes};
use model::wire::limits::{
    NODES_PER_GET_MAX, NODES_PER_PUT_MAX, PENDING_NODE_BYTES_MAX, PENDING_NODE_LIFETIME_MS,
};
use model::wire::{Base64, Problem, ProblemCode};

use crate::context::Context;
use crate::refusal::Refusal;
use crate::upload::plan::{occupied, quota_problem};

/// Largest sealed page.
pub const NODE_BYTES_MAX: usize = MANIFEST_PAGE_BYTES_MAX + SEAL_OVERHEAD_BYTES;
/// Bytes of pages in one answer, beyond which the rest is left out and asked for again.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Why pages were not taken or given.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// Too many in one request.
    #[error("{nodes} pages in one request, limit {max}")]
    TooMany {
        /// How many.
        nodes: usize,
        /// The limit.
        max: usize,
    },
    /// A page that does not hash to its name, or is too large.
    #[error("page {hash} does not hash to its name, or is above {NODE_BYTES_MAX} bytes")]
    Page {
        /// Its name.
        hash: NodeHash,
    },
    /// Too many bytes are pending.
    #[error("{bytes} bytes of pages are pending, limit {PENDING_NODE_BYTES_MAX}")]
    Pending {
        /// How many.
        bytes: u64,
    },
    /// The quota is used up.
    #[error("{needed} bytes are needed, {used} of {quota} are used")]
    Quota {
        /// Bytes put.
        needed: u64,
        /// Bytes in use with them.
        used: u64,
        /// The most.
        quota: u64,
    },
    /// The database failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Refusal for NodesError {
    fn problem(&self) -> Problem {
        let code = match self {
            Self::TooMany { .. } | Self::Pending { .. } => ProblemCode::TooLarge,
            Self::Page { .. } => ProblemCode::HashMismatch,
            Self::Quota {
                needed,
                used,
                quota,
            } => return quota_problem(*needed, *used, *quota),
            Self::Store(error) => return error.problem(),
        };
        Problem::new(code, self.to_string())
    }
}

/// Pages whose hashes were checked.
#[derive(Clone, Debug)]
pub struct CheckedNodes(Vec<NodeBody>);

/// Checks count, sizes and hashes.
///
/// # Errors
/// [`NodesError::TooMany`] and [`NodesError::Page`].
pub fn check(request: Nodes) -> Result<CheckedNodes, NodesError> {
    let (nodes, max) = (request.nodes.len(), NODES_PER_PUT_MAX);
    if nodes > max {
        return Err(NodesError::TooMany { nodes, max });
    }
    let wrong = |node: &&NodeBody| {
        node.body.0.len() > NODE_BYTES_MAX || sha256(&node.body.0) != node.hash.0
    };
    match request.nodes.iter().find(wrong) {
        Some(node) => Err(NodesError::Page { hash: node.hash }),
        None => Ok(CheckedNodes(request.nodes)),
    }
}

/// Keeps pages for an hour, until a commit takes them.
///
/// # Errors
/// [`NodesError`].
pub fn put(
    tx: &mut dyn Tx,
    context: &Context,
    account: &AccountId,
    nodes: &CheckedNodes,
) -> Result<(), NodesError> {
    let before = tx.usage(account)?;
    let expires = context.now.plus_ms(PENDING_NODE_LIFETIME_MS);
    for node in &nodes.0 {
        tx.put_pending_node(account, &node.hash, &node.body.0, expires)?;
    }
    let after = tx.usage(account)?;
    if after.pending_node_bytes > PENDING_NODE_BYTES_MAX {
        return Err(NodesError::Pending {
            bytes: after.pending_node_bytes,
        });
    }
    let needed = after.node_bytes.saturating_sub(before.node_bytes);
    let (used, quota) = (occupied(&after), context.policy.quota_bytes);
    if needed > 0 && used > quota {
        return Err(NodesError::Quota {
            needed,
            used,
            quota,
        });
    }
    Ok(())
}

/// Those of the pages that exist. Some may be left out of a large answer; at least one is in it.
///
/// # Errors
/// [`NodesError`].
pub fn get(tx: &dyn Tx, account: &AccountId, hashes: &[NodeHash]) -> Result<Nodes, NodesError> {
    let (nodes, max) = (hashes.len(), NODES_PER_GET_MAX);
    if nodes > max {
        return Err(NodesError::TooMany { nodes, max });
    }
    let mut bytes = 0;
    let mut answer = Nodes::default();
    for row in tx.nodes(account, hashes)? {
        bytes += row.bytes.len();
        if bytes > ANSWER_BYTES_MAX && !answer.nodes.is_empty() {
            break;
        }
        answer.nodes.push(NodeBody {
            hash: row.hash,
            body: Base64(row.bytes),
        });
    }
    Ok(answer)
}
