//! What a Host says of itself to anyone, and whether it is well.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use model::units::{BridgeId, HostId};
use model::wire::control::{HostState, ProtocolVersions};
use model::wire::{Problem, ProblemCode, Schedule};
use serde::{Deserialize, Serialize};

use crate::host::Node;
use crate::refusal::Refusal;

/// The answer to `GET /v1/about`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its id.
    pub host: HostId,
    /// Program and version.
    pub agent: String,
    /// Protocol versions.
    pub protocol: ProtocolVersions,
    /// The Bridge whose tickets it honours; of several the first that was named.
    pub bridge: Option<BridgeId>,
    /// All Bridges whose tickets it honours.
    #[serde(default)]
    pub bridges: Vec<BridgeId>,
    /// Bytes offered.
    pub space_bytes: u64,
    /// Promised hours.
    pub schedule: Schedule,
    /// How it is now.
    pub state: HostState,
}

/// Program and version.
pub(crate) fn agent() -> String {
    concat!("xcore/", env!("CARGO_PKG_VERSION")).to_owned()
}

pub(crate) async fn about(State(node): State<Arc<Node>>) -> Json<About> {
    let links = node.bridges.all();
    Json(About {
        host: node.id,
        agent: agent(),
        protocol: ProtocolVersions::OURS,
        bridge: node.bridges.first_id(),
        bridges: links.iter().filter_map(|link| link.id()).collect(),
        space_bytes: node.space_bytes(),
        schedule: node.schedule(),
        state: node.state(),
    })
}

pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// Refuses transfers while the Host is paused, or outside its promised hours.
pub(crate) fn require_promised_hour(node: &Node) -> Result<(), Refusal> {
    if node.is_paused() {
        let detail = "this host is paused or in its declared hours off";
        return Err(Problem::new(ProblemCode::ScheduledOff, detail).into());
    }
    Ok(())
}
