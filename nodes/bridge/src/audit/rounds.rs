//! Rounds of audits: asks the Hosts whose turn it is, and takes their answers or their silence.

use metastore::{HostAlias, StoreError, TxError};
use model::units::UnixMs;
use model::wire::audit::Proof;
use model::wire::control::FromBridge;
use rand_core::Rng as _;

use super::ask::{Question, is_chosen, question, subject};
use super::verdict::{Judged, Outcome, answered, is_resync, unanswered};
use crate::bridge::Bridge;
use crate::healing::{Asked, Contained};
use crate::place::Place;

/// Hosts asked in one round.
const HOSTS_PER_ROUND: usize = 4_096;
/// Drawn shards that are looked at for one question.
const DRAWS_MAX: usize = 4;
/// A question is asked so often before silence counts.
const TRIES_MAX: u32 = 4;
/// Where so many Hosts and more than half of those asked are silent, it is not they who failed.
const SILENT_TOGETHER_MIN: usize = 5;

/// One round.
///
/// # Errors
/// [`StoreError`].
pub async fn round(bridge: &Bridge) -> Result<(), TxError<StoreError>> {
    expire(bridge).await?;
    let every = bridge.policy().timing.audit_every_ms;
    let mut rng = bridge.rng();
    // From half the interval to one and a half: nobody knows when.
    let next = || every / 2 + rng.next_u64() % every.max(1);
    let mut due = bridge
        .directory()
        .due_audits(bridge.now(), HOSTS_PER_ROUND, next);
    // Suspicions do not wait for their turn.
    due.extend(bridge.healing().lock().suspected());
    due.sort_unstable();
    due.dedup();
    for alias in due {
        ask(bridge, alias).await?;
    }
    Ok(())
}

/// Asks a Host, unless it has a question already.
async fn ask(bridge: &Bridge, alias: HostAlias) -> Result<(), TxError<StoreError>> {
    let Some(host) = bridge.directory().id_of(alias) else {
        return Ok(());
    };
    for _ in 0..DRAWS_MAX {
        let Some((place, tries, drawn)) = next_place(bridge, alias) else {
            return Ok(());
        };
        let read = move |tx: &dyn metastore::Tx| subject(tx, alias, &place);
        let Some(found) = bridge.store().read(read).await? else {
            continue;
        };
        let mut rng = bridge.rng();
        if drawn && !is_chosen(&mut rng, found.1) {
            continue;
        }
        let question = question(&bridge.context(), &mut rng, (place, host), found);
        put(bridge, alias, question, tries);
        return Ok(());
    }
    Ok(())
}

/// What the Host is asked for next, how often that was asked before, and whether it was drawn.
fn next_place(bridge: &Bridge, alias: HostAlias) -> Option<(Place, u32, bool)> {
    let now = bridge.now();
    let mut state = bridge.healing().lock();
    if state.questions.contains_key(&alias) {
        return None;
    }
    if let Some(contained) = state.contained.get(&alias).copied()
        && contained.again <= now
    {
        state.contained.remove(&alias);
        return Some((contained.place, contained.tries, false));
    }
    if let Some(place) = state.next_suspect(alias) {
        return Some((place, 0, false));
    }
    let drawn = state.samples.get_mut(&alias)?.drawn.pop()?;
    Some((drawn, 0, true))
}

fn put(bridge: &Bridge, alias: HostAlias, question: Question, tries: u32) {
    let message = FromBridge::Audit {
        challenge: question.challenge.clone(),
    };
    let until = bridge.now().plus_ms(bridge.policy().timing.audit_within_ms);
    let asked = Asked {
        question,
        until,
        tries,
    };
    let mut state = bridge.healing().lock();
    if bridge.directory().send(alias, message) {
        state.questions.insert(alias, asked);
    }
}

/// A Host's answer.
///
/// # Errors
/// [`StoreError`].
pub async fn proof(
    bridge: &Bridge,
    alias: HostAlias,
    proof: Proof,
) -> Result<(), TxError<StoreError>> {
    let asked = bridge.healing().lock().questions.remove(&alias);
    let (Some(asked), Some(id)) = (asked, bridge.directory().id_of(alias)) else {
        return Ok(());
    };
    if let (Ok(said), Some((record, _))) = (proof.answer.peek(), bridge.directory().record(alias))
        && is_resync(&said, record.chain_value())
    {
        tracing::info!(host = %id.short(), "the chain of audits goes on from the host's value");
    }
    let (now, question) = (bridge.now(), asked.question.clone());
    let write = move |tx: &mut dyn metastore::Tx| answered(tx, (alias, id), &question, &proof, now);
    match bridge.store().write(write).await? {
        Some(judged) => follow(bridge, alias, asked.question.place, &judged),
        None => contain(bridge, alias, &asked).await?,
    }
    Ok(())
}

/// What follows from a verdict in memory.
fn follow(bridge: &Bridge, alias: HostAlias, place: Place, judged: &Judged) {
    let now = bridge.now();
    bridge.directory().remember(alias, |record, reputation| {
        *reputation = judged.reputation;
        if let Some(chain) = judged.chain {
            record.set_chain(chain);
        }
        match judged.outcome {
            Outcome::Passed => record.proved = Some(now),
            Outcome::Failed | Outcome::Unreceipted => record.check = true,
            Outcome::Unanswered | Outcome::Unknown => {}
        }
    });
    if judged.outcome != Outcome::Passed && judged.outcome != Outcome::Unknown {
        // Somebody else is to make it anew, as long as there is anybody.
        bridge.healing().lock().avoid(place.segment, alias);
        bridge.directory().ring(&[alias]);
        bridge.rejudge(place.segment);
    }
    if judged.outcome == Outcome::Unanswered {
        bridge.directory().lower(std::iter::once(alias));
    }
}

/// Takes note of questions that were not answered in time.
async fn expire(bridge: &Bridge) -> Result<(), TxError<StoreError>> {
    let now = bridge.now();
    let overdue = {
        let mut state = bridge.healing().lock();
        let open = state.questions.len();
        let overdue = |(_, asked): &(&HostAlias, &Asked)| asked.until <= now;
        let overdue: Vec<HostAlias> = state
            .questions
            .iter()
            .filter(overdue)
            .map(|(alias, _)| *alias)
            .collect();
        let together = overdue.len() >= SILENT_TOGETHER_MIN && overdue.len() * 2 > open;
        let taken = overdue
            .into_iter()
            .filter_map(|alias| Some((alias, state.questions.remove(&alias)?)));
        let taken: Vec<(HostAlias, Asked)> = taken.collect();
        if together || state.outage {
            tracing::warn!(
                hosts = taken.len(),
                "many hosts did not answer: nobody is blamed"
            );
            Vec::new()
        } else {
            taken
        }
    };
    for (alias, asked) in overdue {
        if bridge.directory().heals(alias) {
            contain(bridge, alias, &asked).await?;
        }
    }
    Ok(())
}

/// A Host that is there and did not answer: it is asked again before long, and in the end the shard
/// is made anew elsewhere. That convicts nobody.
async fn contain(
    bridge: &Bridge,
    alias: HostAlias,
    asked: &Asked,
) -> Result<(), TxError<StoreError>> {
    let (now, tries) = (bridge.now(), asked.tries + 1);
    let place = asked.question.place;
    if tries < TRIES_MAX {
        let again: UnixMs = now.plus_ms(bridge.policy().timing.audit_again_ms);
        let contained = Contained {
            place,
            tries,
            again,
        };
        bridge.healing().lock().contained.insert(alias, contained);
        return Ok(());
    }
    let question = asked.question.clone();
    let write = move |tx: &mut dyn metastore::Tx| unanswered(tx, alias, &question, now);
    let judged = bridge.store().write(write).await?;
    follow(bridge, alias, place, &judged);
    Ok(())
}
