//! Audits: what is here is proved, what is not is admitted, and nothing is proved twice with the
//! same words.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use bytes::Bytes;
use host::{Settings, VolumeSettings};
use model::crypto::{Secret, SigningKey, hash_shard};
use model::units::{HostId, PayerKey, Serial};
use model::wire::audit::{AuditError, ChainValue, Challenge, Finding, Judgement, Proof, judge};
use model::wire::{Action, Signed, Ticket};
use net::Call;

use crate::rig::{MONDAY, TestBridge, TestHost, rot, settings, shard};

fn challenge(bridge: &TestBridge, host: HostId, serial: u8, bytes: &Bytes) -> Challenge {
    Challenge {
        bridge: bridge.id(),
        host,
        serial: Some(Serial([serial; 16])),
        shard: hash_shard(bytes),
        shard_bytes: u32::try_from(bytes.len()).unwrap(),
        leaf: 1,
        nonce: "ab".repeat(32),
        at: MONDAY,
    }
}

async fn finding(bridge: &mut TestBridge, asked: &Challenge) -> (Judgement, Finding) {
    let (challenge, proof) = bridge.audit(asked).await;
    let (judgement, said) = proof.judge(&challenge).unwrap();
    (judgement, said.finding)
}

#[tokio::test]
async fn a_leaf_is_proved_and_the_chain_moves_on() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 3 * 65_536 + 64);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let asked = challenge(&bridge, host.id, 1, &bytes);

    let (first, answer) = bridge.audit(&asked).await;
    let (judgement, said) = answer.judge(&first).unwrap();
    assert_eq!(judgement, Judgement::Pass);
    assert_eq!(said.previous_value().unwrap(), ChainValue::default());
    assert_eq!(answer.leaf.0, bytes[65_536..131_072]);
    let last = Challenge {
        leaf: 3,
        ..asked.clone()
    };
    let (second, next) = bridge.audit(&last).await;
    let (judgement, then) = next.judge(&second).unwrap();
    assert_eq!((judgement, next.leaf.0.len()), (Judgement::Pass, 64));
    assert_eq!(then.previous, said.chain);

    // The first answer again is none to the same question asked anew.
    let anew = Challenge {
        nonce: "cd".repeat(32),
        ..asked.clone()
    };
    let anew = Signed::new(&bridge.key, &anew);
    let replayed = judge(&anew, &answer.answer);
    assert!(matches!(replayed, Err(AuditError::OtherChallenge)));
    // Nor does the very same question get the very same answer.
    let (_, again) = bridge.audit(&asked).await;
    assert_ne!(again.answer, answer.answer);

    let id = host.id;
    host.end().await;
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let before = again.answer.open(&id.0).unwrap();
    let (_, after) = bridge.audit(&asked).await;
    let after = after.answer.open(&id.0).unwrap();
    assert_eq!(after.previous, before.chain, "the chain outlives a restart");
    host.end().await;
}

#[tokio::test]
async fn what_is_missing_or_has_rotted_is_admitted() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let (bytes, other) = (shard(1, 3 * 65_536), shard(2, 3 * 65_536));
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    host.put(&bridge.put_ticket(host.id, 2), &other).await;

    let never = challenge(&bridge, host.id, 9, &bytes);
    let missing = (Judgement::Fail, Finding::Missing);
    assert_eq!(finding(&mut bridge, &never).await, missing);
    let another = challenge(&bridge, host.id, 2, &bytes);
    assert_eq!(
        finding(&mut bridge, &another).await,
        missing,
        "this record holds another shard"
    );
    assert!(bridge.inventory(&[1, 2]).await.is_empty());

    // The path is remembered from before; the leaf is read all the same.
    let asked = challenge(&bridge, host.id, 1, &bytes);
    assert_eq!(finding(&mut bridge, &asked).await.0, Judgement::Pass);
    assert!(rot(data.path(), &bytes[70_000..70_100]));
    let rotten = (Judgement::Fail, Finding::Rotten);
    assert_eq!(finding(&mut bridge, &asked).await, rotten);
    bridge.beat(|state| state.shards_rotten == 1).await;
    assert_eq!(finding(&mut bridge, &asked).await, rotten);
    assert_eq!(bridge.inventory(&[1, 2, 9]).await, [0, 2]);
    host.end().await;
}

#[tokio::test]
async fn nothing_is_called_missing_while_a_volume_is_away() {
    let data = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let port = bridge.port;
    let with = |folder: &std::path::Path| Settings {
        volumes: vec![
            VolumeSettings {
                folder: None,
                space_bytes: 1 << 28,
            },
            VolumeSettings {
                folder: Some(folder.to_owned()),
                space_bytes: 1 << 29,
            },
        ],
        ..settings(data.path(), port)
    };
    let mut host = TestHost::start(with(disk.path()));
    host.joined().await;
    let bytes = shard(1, 65_536 + 64);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let id = host.id;
    host.end().await;

    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let asked = challenge(&bridge, id, 1, &bytes);
    let unseen = (Judgement::Unknown, Finding::Unseen);
    assert_eq!(finding(&mut bridge, &asked).await, unseen);
    assert!(bridge.inventory(&[1, 9]).await.is_empty());
    host.end().await;
    let mut host = TestHost::start(with(disk.path()));
    host.joined().await;
    assert_eq!(finding(&mut bridge, &asked).await.0, Judgement::Pass);
    assert_eq!(bridge.inventory(&[1, 9]).await, [1]);
    host.end().await;
}

#[tokio::test]
async fn challenges_that_are_not_its_bridges_are_not_answered() {
    let data = tempfile::tempdir().unwrap();
    let mut bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 2 * 65_536);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let good = challenge(&bridge, host.id, 1, &bytes);
    let stranger = SigningKey::from_seed(&Secret::new([66; 32]));
    let wrong = [
        Signed::new(&stranger, &good),
        Signed::new(
            &bridge.key,
            &Challenge {
                host: HostId([9; 32]),
                ..good.clone()
            },
        ),
        Signed::new(
            &bridge.key,
            &Challenge {
                leaf: 2,
                ..good.clone()
            },
        ),
        Signed::new(
            &bridge.key,
            &Challenge {
                shard_bytes: 3 * 65_536,
                ..good.clone()
            },
        ),
    ];
    for challenge in wrong {
        let audit = model::wire::control::FromBridge::Audit { challenge };
        bridge.say(audit).await;
    }
    // The first answer is that to the first good one.
    let (challenge, proof) = bridge.audit(&good).await;
    assert_eq!(proof.judge(&challenge).unwrap().0, Judgement::Pass);
    host.end().await;
}

#[tokio::test]
async fn an_owner_audits_its_own_shard_by_ticket() {
    let data = tempfile::tempdir().unwrap();
    let bridge = TestBridge::start(0);
    let mut host = TestHost::start(settings(data.path(), bridge.port));
    host.joined().await;
    let bytes = shard(1, 3 * 65_536);
    host.put(&bridge.put_ticket(host.id, 1), &bytes).await;
    let payer = SigningKey::from_seed(&Secret::new([5; 32]));
    let action = Action::Audit {
        shard: hash_shard(&bytes),
    };
    let ticket = Ticket {
        payer: PayerKey(payer.public()),
        ..bridge.ticket(host.id, 9, action, 2 * 65_536)
    }
    .sign(&bridge.key);
    let asked = Challenge {
        serial: None,
        ..challenge(&bridge, host.id, 1, &bytes)
    };
    let post = async |challenge: &Signed<Challenge>, ticket: &[u8]| {
        let call = Call::new(http::Method::POST, "/v1/audit").json(challenge);
        host.send(call.unwrap(), Some(ticket)).await
    };

    let by_owner = Signed::new(&payer, &asked);
    let by_bridge = Signed::new(&bridge.key, &asked);
    for challenge in [&by_owner, &by_bridge] {
        let answer = post(challenge, &ticket).await;
        assert_eq!(answer.status.as_u16(), 200);
        let proof: Proof = serde_json::from_slice(&answer.body).unwrap();
        let (judgement, said) = proof.judge(challenge).unwrap();
        assert_eq!(judgement, Judgement::Pass);
        assert_eq!(said.previous_value().unwrap(), ChainValue::default());
    }
    let beyond = post(&by_owner, &ticket).await;
    assert_eq!(beyond.problem(), "403 ticket_refused", "its bytes are used");

    let stranger = SigningKey::from_seed(&Secret::new([66; 32]));
    let forged = post(&Signed::new(&stranger, &asked), &ticket).await;
    assert_eq!(forged.problem(), "403 forbidden");
    let reading = bridge.get_ticket(host.id, 3, asked.shard);
    let reading = post(&by_owner, &reading).await;
    assert_eq!(reading.problem(), "403 ticket_refused");
    let call = Call::new(http::Method::POST, "/v1/audit").body(vec![b'x'; 10_000]);
    let long = host.send(call, Some(&ticket)).await;
    assert_eq!(long.problem(), "413 too_large");
    host.end().await;
}
