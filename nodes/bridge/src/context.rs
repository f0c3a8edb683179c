//! What rules decide by besides the rows: who the Bridge is, which Hosts it knows, what it
//! allows, and what time it is.

use std::sync::Arc;

use model::units::UnixMs;

use crate::hosts::roster::Roster;
use crate::keys::BridgeKeys;
use crate::timing::Timing;

/// What a rule may look at beside its transaction. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who the Bridge is.
    pub keys: Arc<BridgeKeys>,
    /// The Hosts as they were a moment ago.
    pub roster: Arc<Roster>,
    /// What the operator allows.
    pub policy: Policy,
    /// Now.
    pub now: UnixMs,
}

/// What the operator allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Most bytes of shards and pages an account may occupy.
    pub quota_bytes: u64,
    /// How long retired blobs and pages are kept, in milliseconds.
    pub retention_ms: u64,
    /// Whether a Host's own word about its zone counts.
    pub trust_zones: bool,
    /// How patient it is.
    pub timing: Timing,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quota_bytes: 1_000_000_000_000,
            retention_ms: 30 * 24 * 3_600_000,
            trust_zones: false,
            timing: Timing::STANDARD,
        }
    }
}
