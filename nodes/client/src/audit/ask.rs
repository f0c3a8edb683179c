//! One question to one Host: the challenge, signed by the key that the ticket names as payer, and
//! what its answer is worth.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use model::crypto::SigningKey;
use model::units::{BridgeId, HostId, LEAF_BYTES, ShardId};
use model::wire::api::AUDIT;
use model::wire::audit::{Challenge, Finding, Judgement, Proof};
use model::wire::{HEALS, PROTOCOL_HEADER, ProblemCode, ProtocolVersions, Signed, ticket_header};
use net::{Call, CallError};
use tasks::time::sleep;

use super::{Auditor, Failing, Leaves, Verdict};
use crate::transfer::hosts::Host;
use crate::transfer::{Environment, chain, speaking};

/// Bytes of an answer: a leaf and its path as text, with room for what surrounds them.
const PROOF_BYTES_MAX: usize = 160 * 1_024;
/// Tries, where the Host was busy or not reached.
const TRIES: u32 = 3;
/// The pause before the second; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// A shard that its Host is to prove.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) bridge: BridgeId,
    pub(super) host: Host,
    /// By the owner's manifest.
    pub(super) shard: ShardId,
    pub(super) shard_bytes: u32,
    /// As it goes into the header.
    pub(super) ticket: Vec<u8>,
}

/// Why no verdict came yet.
enum Again {
    /// Not reached.
    Silent(String),
    /// Too much to do.
    Busy(String),
}

impl Auditor {
    /// Asks for a shard, signing with `payer`.
    pub(super) async fn ask(&self, question: &Question, payer: &SigningKey) -> Verdict {
        let leaf_bytes = u32::try_from(LEAF_BYTES).unwrap_or(u32::MAX);
        let leaves = question.shard_bytes.div_ceil(leaf_bytes).max(1);
        let wanted = match self.leaves {
            Leaves::One => {
                let drawn = self.transfer.environment().draw(u64::from(leaves));
                let drawn = u32::try_from(drawn).unwrap_or(0);
                drawn..drawn + 1
            }
            Leaves::All => 0..leaves,
        };
        for leaf in wanted {
            match self.ask_patiently(question, leaf, payer).await {
                Verdict::Proved => {}
                other => return other,
            }
        }
        Verdict::Proved
    }

    async fn ask_patiently(&self, question: &Question, leaf: u32, payer: &SigningKey) -> Verdict {
        let (mut pause, host) = (PAUSE, question.host.id);
        let mut why = "was not reached a moment ago".to_owned();
        for attempt in 1..=TRIES {
            // Whoever waits for a turn may learn meanwhile that the Host is silent.
            let Ok(turn) = self.turns.acquire().await else {
                break;
            };
            if self.is_silent(&host) {
                return Verdict::Unreachable(why);
            }
            let asked = self.ask_once(question, leaf, payer).await;
            drop(turn);
            match asked {
                Ok(verdict) => return verdict,
                Err(Again::Silent(reason) | Again::Busy(reason)) if attempt < TRIES => {
                    why = reason;
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(Again::Silent(reason)) => {
                    self.note_silent(host);
                    return Verdict::Unreachable(reason);
                }
                Err(Again::Busy(reason)) => return Verdict::Unreachable(reason),
            }
        }
        Verdict::Unreachable(why)
    }

    async fn ask_once(
        &self,
        question: &Question,
        leaf: u32,
        payer: &SigningKey,
    ) -> Result<Verdict, Again> {
        let challenge = question.challenge(leaf, self.transfer.environment());
        let challenge = Signed::new(payer, &challenge);
        let call = question.call(&challenge);
        let call = call.map_err(|error| Again::Busy(error.to_string()))?;
        let within = self.transfer.limits().silent_after;
        let call = call.answer_within(within).stall_within(within);
        let reply = self.transfer.dialer().send(&question.host.endpoint, &call);
        let reply = Box::pin(reply).await.map_err(|error| unanswered(&error))?;
        let theirs = reply.headers().get(PROTOCOL_HEADER);
        let theirs = ProtocolVersions::of_header(theirs.map(HeaderValue::as_bytes));
        if !theirs.is_ok_and(|theirs| theirs.version >= HEALS) {
            let old = "is of an older version that answers no audits";
            return Ok(Verdict::Unreachable(old.to_owned()));
        }
        let mut reply = match reply.success().await {
            Ok(reply) => reply,
            Err(error) => return refused(&error),
        };
        let body = match reply.collect_limited(PROOF_BYTES_MAX).await {
            Ok(body) => body,
            Err(CallError::TooLarge { .. }) => return Ok(Verdict::Failed(Failing::NoProof)),
            Err(error) => return Err(unanswered(&error)),
        };
        Ok(judge(&body, &challenge, &question.host.id))
    }
}

impl Question {
    fn challenge(&self, leaf: u32, environment: &dyn Environment) -> Challenge {
        Challenge {
            bridge: self.bridge,
            host: self.host.id,
            serial: None,
            shard: self.shard,
            shard_bytes: self.shard_bytes,
            leaf,
            nonce: data_encoding::HEXLOWER.encode(environment.fresh_secret().expose()),
            at: environment.now(),
        }
    }

    fn call(&self, challenge: &Signed<Challenge>) -> Result<Call, serde_json::Error> {
        let call = speaking(Call::new(http::Method::POST, AUDIT)).json(challenge)?;
        let json = HeaderValue::from_static("application/json");
        let call = call.header(ACCEPT, json);
        Ok(match HeaderValue::try_from(ticket_header(&self.ticket)) {
            Ok(ticket) => call.header(AUTHORIZATION, ticket),
            Err(_) => call,
        })
    }
}

/// What an answer is worth, against the challenge and so against the owner's shard id.
fn judge(body: &[u8], challenge: &Signed<Challenge>, host: &HostId) -> Verdict {
    let proof: Proof = match serde_json::from_slice(body) {
        Ok(proof) => proof,
        Err(error) => {
            tracing::debug!(host = %host.short(), %error, "an answer that is no proof");
            return Verdict::Failed(Failing::NoProof);
        }
    };
    match proof.judge(challenge) {
        Ok((Judgement::Pass, _)) => Verdict::Proved,
        Ok((Judgement::Unknown, _)) => {
            Verdict::Unreachable("cannot see one of its volumes now".to_owned())
        }
        Ok((Judgement::Fail, answer)) => Verdict::Failed(match answer.finding {
            Finding::Missing => Failing::Missing,
            Finding::Rotten => Failing::Rotten,
            Finding::Leaf { .. } | Finding::Unseen => Failing::WrongLeaf,
        }),
        Err(error) => {
            tracing::debug!(host = %host.short(), %error, "an answer that proves nothing");
            Verdict::Failed(Failing::NoProof)
        }
    }
}

/// A refusal. The connection is pinned to the Host's key, so the word is the Host's.
fn refused(error: &CallError) -> Result<Verdict, Again> {
    let why = chain(error);
    match error.problem().map(|problem| problem.code) {
        Some(ProblemCode::NotFound) => Ok(Verdict::Failed(Failing::Missing)),
        Some(ProblemCode::ShardRotten) => Ok(Verdict::Failed(Failing::Rotten)),
        Some(ProblemCode::Busy | ProblemCode::TooSlow | ProblemCode::Unavailable) => {
            Err(Again::Busy(why))
        }
        Some(_) | None => Ok(Verdict::Unreachable(why)),
    }
}

fn unanswered(error: &CallError) -> Again {
    Again::Silent(chain(error))
}
