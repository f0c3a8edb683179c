//! What follows from an answer. Verdicts are kept apart: passed, failed (proven), unanswered,
//! unknown; only what a Host signed itself convicts it.

use metastore::{HostAlias, HostLog, Reputation, StoreError, Tx};
use model::units::{HostId, UnixMs};
use model::wire::audit::{AuditAnswer, ChainValue, Evidence, Judgement, Proof};
use model::wire::upkeep::HostEventKind;
use model::wire::{Base64, StoreReceipt};
use serde::{Deserialize, Serialize};

use super::ask::Question;
use super::reputation::{self, Verdict};
use crate::corrupt::corrupt;
use crate::events;
use crate::memory;
use crate::repair::settle::vacate;
use crate::upload::receipt_log;

/// By how much a Host's clock may be ahead of the Bridge's.
const CLOCKS_APART_MS: u64 = 10 * 60_000;

/// A verdict as it is kept for 30 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptVerdict {
    /// What it came to.
    pub outcome: Outcome,
    /// The shard, hexadecimal.
    pub shard: String,
    /// What proves a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// What an audit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The leaf is there.
    Passed,
    /// The Host signed that it is not, and had signed a receipt for it: proven.
    Failed,
    /// The Host signed that it is not, but there is no receipt of its own: repaired, not held
    /// against it.
    Unreceipted,
    /// It was asked again and again and did not answer in time.
    Unanswered,
    /// It cannot tell, or the Bridge cannot.
    Unknown,
}

impl Outcome {
    /// Its name in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unreceipted => "unreceipted",
            Self::Unanswered => "unanswered",
            Self::Unknown => "unknown",
        }
    }
}

/// What changes about a Host by a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it came to.
    pub outcome: Outcome,
    /// Its record of audits from now on.
    pub reputation: Reputation,
    /// Its chain from now on, where the answer moved it.
    pub chain: Option<ChainValue>,
}

/// Takes a Host's answer. An answer that is none for the question counts as silence: `None`.
///
/// # Errors
/// [`StoreError`].
pub fn answered(
    tx: &mut dyn Tx,
    (alias, id): (HostAlias, HostId),
    question: &Question,
    proof: &Proof,
    now: UnixMs,
) -> Result<Option<Judged>, StoreError> {
    let (judgement, said) = match proof.judge(&question.challenge) {
        Ok(judged) => judged,
        Err(error) => {
            tracing::info!(host = %id.short(), %error, "an answer to an audit counts for nothing");
            return Ok(None);
        }
    };
    let receipt = receipt_log::find(&*tx, &question.place, (&id, &question.serial))?;
    let receipt = match receipt {
        Some(receipt) if was_before_a_loss(&*tx, &receipt)? => None,
        receipt => receipt,
    };
    let evidence = receipt.map(|receipt| Evidence {
        receipt: Base64(receipt),
        challenge: question.challenge.clone(),
        answer: proof.answer.clone(),
    });
    let evidence = evidence.filter(|evidence| evidence.verify().is_ok());
    let outcome = match (judgement, &evidence) {
        (Judgement::Pass, _) => Outcome::Passed,
        (Judgement::Unknown, _) => Outcome::Unknown,
        (Judgement::Fail, Some(_)) => Outcome::Failed,
        (Judgement::Fail, None) => Outcome::Unreceipted,
    };
    let judged = conclude(tx, alias, question, (outcome, evidence), now)?;
    Ok(Some(Judged {
        chain: said.chain_value().ok(),
        ..judged
    }))
}

/// Whether a shard was stored before the end of a time of which the Bridge remembers nothing: it may
/// itself have ordered then that it is deleted, so that nobody is convicted for want of it.
fn was_before_a_loss(tx: &dyn Tx, receipt: &[u8]) -> Result<bool, StoreError> {
    let memory = memory::read(tx)?;
    let Some((_, until)) = memory.lost.last() else {
        return Ok(false);
    };
    let until = until.plus_ms(CLOCKS_APART_MS);
    Ok(StoreReceipt::open(receipt).is_ok_and(|receipt| receipt.stored <= until))
}

/// A Host that was asked again and again and did not answer.
///
/// # Errors
/// [`StoreError`].
pub fn unanswered(
    tx: &mut dyn Tx,
    alias: HostAlias,
    question: &Question,
    now: UnixMs,
) -> Result<Judged, StoreError> {
    conclude(tx, alias, question, (Outcome::Unanswered, None), now)
}

fn conclude(
    tx: &mut dyn Tx,
    alias: HostAlias,
    question: &Question,
    (outcome, evidence): (Outcome, Option<Evidence>),
    now: UnixMs,
) -> Result<Judged, StoreError> {
    let row = tx.host(alias)?.ok_or(corrupt("hosts", "alias"))?;
    let asked = question.challenge.peek();
    let shard = asked.map_err(|_| corrupt("audits", "challenge"))?.shard;
    let verdict = match outcome {
        Outcome::Passed => Some(Verdict::Passed),
        Outcome::Failed => Some(Verdict::Failed),
        Outcome::Unreceipted | Outcome::Unanswered | Outcome::Unknown => None,
    };
    let mut reputation = row.reputation;
    if let Some(verdict) = verdict {
        reputation = reputation::after(reputation, verdict);
        tx.set_reputation(alias, reputation)?;
    }
    let event = match outcome {
        Outcome::Failed | Outcome::Unreceipted => Some(format!(
            "asked for a leaf of shard {}, this host signed that it does not have it; the shard is \
             made anew elsewhere and everything this host keeps is checked",
            shard.short()
        )),
        Outcome::Unanswered => Some(format!(
            "no answer in time to repeated questions for shard {}: it is made anew elsewhere; is \
             this host or its line overloaded?",
            shard.short()
        )),
        Outcome::Passed | Outcome::Unknown => None,
    };
    if let Some(reason) = event {
        let kind = if outcome == Outcome::Unanswered {
            HostEventKind::AuditUnanswered
        } else {
            HostEventKind::AuditFailed
        };
        events::push(tx, alias, now, (kind, &reason))?;
        vacate(tx, alias, &[question.place])?;
    }
    let kept = KeptVerdict {
        outcome,
        shard: shard.to_string(),
        evidence,
    };
    let body = serde_json::to_vec(&kept).map_err(|_| corrupt("host_log", "audit"))?;
    tx.append_log(alias, (HostLog::Audits, 0), now, &body)?;
    metrics::counter!("xcloud_bridge_audit_verdicts_total", "outcome" => outcome.label())
        .increment(1);
    Ok(Judged {
        outcome,
        reputation,
        chain: None,
    })
}

/// Whether the Host knows another chain than the Bridge: after a restored disk or backup. Both go
/// on from the newest value; nobody is blamed.
#[must_use]
pub fn is_resync(said: &AuditAnswer, known: ChainValue) -> bool {
    said.previous_value()
        .is_ok_and(|previous| previous != known)
}
