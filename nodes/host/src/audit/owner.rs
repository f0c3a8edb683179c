//! `POST /v1/audit`: an owner asks for a leaf of its own shard, or a Bridge does that has no
//! channel at hand. The ticket says who may ask; the answer is signed like every other.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use model::wire::audit::{AuditAnswer, ChainValue, Challenge, Proof};
use model::wire::{ProblemCode, Signed, TicketPurpose, ValidTicket};

use super::{AuditRefused, Found, find, sign};
use crate::about::require_promised_hour;
use crate::host::Node;
use crate::limits::CHALLENGE_BYTES_MAX;
use crate::refusal::Refusal;
use crate::ticket;

/// Answers a challenge that is signed by the payer of its ticket, or by the Bridge that gave it.
/// Such answers are links of no chain: each begins at zero.
pub(crate) async fn post_audit(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<Proof>, Refusal> {
    let (parts, body) = request.into_parts();
    let challenge = read(body).await?;
    let asked = challenge.peek().map_err(|error| bad(&error.to_string()))?;
    let (now, purpose) = (node.environment.now(), TicketPurpose::Prove(asked.shard));
    let ticket = ticket::check(&parts.headers, now, &node.id, &node.bridges, purpose)?;
    require_promised_hour(&node)?;
    let asked = opened(&challenge, &ticket)?;
    if asked.bridge != ticket.ticket().bridge || asked.host != node.id {
        return Err(bad(&AuditRefused::NotForUs.to_string()));
    }
    let leaves = asked.leaf_range().ok_or_else(|| bad("no such leaf"))?;
    let turn = node.reads.try_acquire();
    let _turn =
        turn.map_err(|_| Refusal::new(ProblemCode::Busy, "this host is sending all it can"))?;
    let bytes = leaves.bytes().len();
    let mut allowance = node.allowances.take(ticket.ticket(), bytes as u64, now)?;
    let Found { finding, leaf } = find(&node, &asked).await?;
    node.bandwidth_up.grant(leaf.len()).await;
    allowance.spend(leaf.len());
    node.moved.count_sent(leaf.len() as u64);
    let said = AuditAnswer::new(&challenge, &asked, ChainValue::default(), finding, now);
    Ok(Json(sign(&node, &said, leaf)))
}

async fn read(body: Body) -> Result<Signed<Challenge>, Refusal> {
    let bytes = to_bytes(body, CHALLENGE_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| {
        let detail = format!("a challenge has at most {CHALLENGE_BYTES_MAX} bytes");
        Refusal::new(ProblemCode::TooLarge, detail)
    })?;
    serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))
}

fn opened(challenge: &Signed<Challenge>, ticket: &ValidTicket) -> Result<Challenge, Refusal> {
    let ticket = ticket.ticket();
    let by_payer = challenge.open(&ticket.payer.0);
    by_payer
        .or_else(|_| challenge.open(&ticket.bridge.0))
        .map_err(|_| {
            let detail = "neither the ticket's payer nor its bridge signed the challenge";
            Refusal::new(ProblemCode::Forbidden, detail)
        })
}

fn bad(detail: &str) -> Refusal {
    Refusal::new(ProblemCode::BadRequest, detail)
}

impl From<AuditRefused> for Refusal {
    fn from(error: AuditRefused) -> Self {
        let code = match &error {
            AuditRefused::Signed(_) => ProblemCode::Forbidden,
            AuditRefused::NotForUs
            | AuditRefused::NoSuchLeaf { .. }
            | AuditRefused::OtherSize { .. } => ProblemCode::BadRequest,
            AuditRefused::Stopping => ProblemCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}
