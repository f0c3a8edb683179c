//! Tests of verdicts, and of how long a cheat is not found.

use metastore::{HostAlias, HostLog};
use model::crypto::{SigningKey, leaf_hash};
use model::units::{HostId, UnixMs};
use model::wire::audit::{AuditAnswer, ChainValue, Finding, Proof};
use model::wire::{Base64, Signed};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::ask::{Question, is_chosen, question, subject};
use super::reputation::{Verdict, after, first, is_out};
use super::verdict::{KeptVerdict, Outcome, answered, is_resync, unanswered};
use crate::testing::{Slot, World, key};
use crate::timing::Timing;

/// A network with one stored segment, and a question for its slot 2.
fn asked() -> (World, HostAlias, Question) {
    let mut world = World::new(12);
    world.stored("coded:4/8", &[1_000]);
    let place = world.segment(1, 0).slot(2);
    let alias = world.keepers(place.segment)[2].unwrap();
    let found = world.read(move |tx| subject(tx, alias, &place)).unwrap();
    let host = HostId(world.hosts[&alias].public());
    let (context, mut rng) = (world.context.clone(), world.rng());
    let question = question(&context, &mut rng, (place, host), found);
    (world, alias, question)
}

fn proof(question: &Question, signer: &SigningKey, finding: Finding, leaf: Vec<u8>) -> Proof {
    let asked = question.challenge.peek().unwrap();
    let at = asked.at;
    let said = AuditAnswer::new(
        &question.challenge,
        &asked,
        ChainValue([5; 32]),
        finding,
        at,
    );
    Proof {
        answer: Signed::new(signer, &said),
        leaf: Base64(leaf),
    }
}

/// An honest answer.
fn honest(world: &World, alias: HostAlias, question: &Question) -> Proof {
    let asked = question.challenge.peek().unwrap();
    let slot = Slot {
        blob: question.place.segment.blob,
        segment: 0,
        index: 2,
        size: model::units::ShardSize::new(asked.shard_bytes).unwrap(),
        mirrors: false,
    };
    let content = slot.content();
    let finding = Finding::Leaf {
        hash: Base64(leaf_hash(&content).to_vec()),
        path: Base64::default(),
    };
    proof(question, &world.hosts[&alias], finding, content)
}

fn judge(world: &World, alias: HostAlias, question: &Question, proof: Proof) -> Option<Outcome> {
    let host = HostId(world.hosts[&alias].public());
    let (question, now) = (question.clone(), world.context.now);
    let judged = world.write(move |tx| answered(tx, (alias, host), &question, &proof, now));
    judged.unwrap().map(|judged| judged.outcome)
}

fn kinds(world: &World, alias: HostAlias) -> usize {
    world
        .read(move |tx| tx.host_log(alias, HostLog::Events, 0, 100))
        .len()
}

#[test]
fn who_shows_the_leaf_passes_and_is_remembered_so() {
    let (world, alias, question) = asked();
    let answer = honest(&world, alias, &question);
    assert_eq!(
        judge(&world, alias, &question, answer),
        Some(Outcome::Passed)
    );
    let row = world.read(move |tx| tx.host(alias)).unwrap();
    assert_eq!(row.reputation, after(first(), Verdict::Passed));
    assert_eq!(world.keepers(question.place.segment)[2], Some(alias));
    assert_eq!(kinds(&world, alias), 0);
}

#[test]
fn who_signed_for_a_shard_and_does_not_have_it_is_convicted_by_its_own_words() {
    let (world, alias, question) = asked();
    let missing = proof(
        &question,
        &world.hosts[&alias],
        Finding::Missing,
        Vec::new(),
    );
    assert_eq!(
        judge(&world, alias, &question, missing),
        Some(Outcome::Failed)
    );
    assert_eq!(world.keepers(question.place.segment)[2], None);
    assert_eq!(kinds(&world, alias), 1);
    let kept = world.read(move |tx| tx.host_log(alias, HostLog::Audits, 0, 9));
    let kept: KeptVerdict = serde_json::from_slice(&kept[0].body).unwrap();
    let convicted = kept.evidence.unwrap().verify().unwrap();
    assert_eq!(convicted, HostId(world.hosts[&alias].public()));
}

/// Found by the simulation: a Bridge restored from a backup convicted all Hosts of having deleted
/// what it had told them to delete since.
#[test]
fn a_bridge_that_forgot_convicts_nobody_of_what_it_may_have_ordered() {
    let (world, alias, question) = asked();
    let memory = crate::memory::Memory {
        lost: vec![(UnixMs(0), world.context.now)],
        ..crate::memory::Memory::default()
    };
    let memory = serde_json::to_vec(&memory).unwrap();
    let put = world.write(move |tx| tx.put_meta("memory", &memory));
    put.unwrap();
    let (host, finding) = (&world.hosts[&alias], Finding::Missing);
    let missing = proof(&question, host, finding, Vec::new());
    assert_eq!(
        judge(&world, alias, &question, missing),
        Some(Outcome::Unreceipted)
    );
    assert_eq!(world.keepers(question.place.segment)[2], None);
}

#[test]
fn an_answer_of_another_or_to_another_question_counts_for_nothing() {
    let (mut world, alias, question) = asked();
    let forged = proof(&question, &key(8, 1), Finding::Missing, Vec::new());
    assert_eq!(judge(&world, alias, &question, forged), None);
    let other = again(&mut world, alias, &question);
    let replayed = proof(&other, &world.hosts[&alias], Finding::Missing, Vec::new());
    assert_eq!(judge(&world, alias, &question, replayed), None);
    let mut garbage = honest(&world, alias, &question);
    garbage.leaf.0[0] ^= 1;
    assert_eq!(judge(&world, alias, &question, garbage), None);
    assert_eq!(world.keepers(question.place.segment)[2], Some(alias));
}

#[test]
fn a_volume_that_is_away_proves_nothing_and_silence_convicts_nobody() {
    let (world, alias, question) = asked();
    let away = proof(&question, &world.hosts[&alias], Finding::Unseen, Vec::new());
    assert_eq!(
        judge(&world, alias, &question, away),
        Some(Outcome::Unknown)
    );
    let now = world.context.now;
    let asked = question.clone();
    let judged = world
        .write(move |tx| unanswered(tx, alias, &asked, now))
        .unwrap();
    assert_eq!(judged.outcome, Outcome::Unanswered);
    let row = world.read(move |tx| tx.host(alias)).unwrap();
    assert_eq!(row.reputation.audits_passed, 0);
    assert_eq!(row.reputation.beta_millionths, 0, "held against nobody");
    assert_eq!(world.keepers(question.place.segment)[2], None, "made anew");
}

#[test]
fn another_chain_is_no_fraud() {
    let (world, alias, question) = asked();
    let answer = honest(&world, alias, &question).answer.peek().unwrap();
    assert!(!is_resync(&answer, ChainValue([5; 32])));
    assert!(is_resync(&answer, ChainValue([6; 32])));
    assert_eq!(
        judge(&world, alias, &question, honest(&world, alias, &question)),
        Some(Outcome::Passed)
    );
}

/// A Host that dropped one shard in a hundred is asked at random, as often as the standard profile
/// does, by the production's draws: within three days it is found in at least 99 of 100 cases.
#[test]
fn who_drops_one_in_a_hundred_is_found_within_three_days() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let audits = 3 * 86_400_000 / Timing::STANDARD.audit_every_ms;
    let size = model::units::ShardSize::MAX;
    let found = (0..2_000).filter(|_| {
        let mut asked = 0;
        let mut found = false;
        while asked < audits && !found {
            let dropped = rng.next_u32() % 100 == 0;
            if is_chosen(&mut rng, size) {
                asked += 1;
                found = dropped;
            }
        }
        found
    });
    let found = found.count();
    assert!(found >= 1_980, "{found} of 2000");
}

/// The traffic of audits does not grow with what a Host keeps.
#[test]
fn audits_cost_a_host_less_than_20_mb_a_day() {
    let per_day = 86_400_000 / Timing::STANDARD.audit_every_ms;
    // A leaf in base64 within JSON, its answer and its question.
    let bytes = per_day * (65_536 * 4 / 3 + 4_096);
    assert!(bytes < 20_000_000, "{bytes}");
}

/// Audits of an honest Host of which one message in twenty is lost, and which restarts now and then
/// with a chain of its own: none convicts it. `XCLOUD_AUDITS=1000000` for the whole figure.
#[test]
fn no_honest_host_is_convicted() {
    let audits = std::env::var("XCLOUD_AUDITS").ok();
    let audits: u32 = audits.map_or(2_000, |audits| audits.parse().unwrap());
    let (mut world, alias, mut question) = asked();
    let mut dice = ChaCha20Rng::seed_from_u64(2);
    let mut one_in = |sides: u32| dice.next_u32() % sides == 0;
    let (mut passed, mut silent) = (0, 0);
    for _ in 0..audits {
        let lost = (0..4).all(|_| one_in(20) || one_in(20));
        let (asked, now) = (question.clone(), world.context.now);
        if lost {
            // It is put back: the next question is for the same shard.
            let place = asked.place;
            world
                .write(move |tx| unanswered(tx, alias, &asked, now))
                .unwrap();
            world
                .write(move |tx| {
                    let row = place.segment.read(&*tx)?;
                    row.unwrap().put_host(tx, place.slot, Some(alias))
                })
                .unwrap();
            silent += 1;
        } else {
            // Whatever the Bridge believes, a restarted Host begins its chain anew.
            let proof = honest(&world, alias, &asked);
            assert_eq!(judge(&world, alias, &asked, proof), Some(Outcome::Passed));
            passed += 1;
        }
        let row = world.read(move |tx| tx.host(alias)).unwrap();
        assert!(!is_out(row.reputation));
        question = again(&mut world, alias, &question);
        if (passed + silent) % 1_000 == 0 {
            world
                .write(|tx| tx.sweep_log(HostLog::Audits, UnixMs(u64::MAX >> 1), 10_000))
                .unwrap();
        }
    }
    assert!(silent < audits / 500 && passed + silent == audits);
}

/// Another question for the same shard.
fn again(world: &mut World, alias: HostAlias, before: &Question) -> Question {
    let place = before.place;
    let found = world.read(move |tx| subject(tx, alias, &place)).unwrap();
    let host = HostId(world.hosts[&alias].public());
    let (context, mut rng) = (world.context.clone(), world.rng());
    question(&context, &mut rng, (place, host), found)
}
