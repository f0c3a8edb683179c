use super::*;
use crate::crypto::{Secret, SigningKey};
use crate::units::{LEAF_BYTES, ShardSize};

const AT: UnixMs = UnixMs(5_000);

fn bridge() -> SigningKey {
    SigningKey::from_seed(&Secret::new([1; 32]))
}

fn host() -> SigningKey {
    SigningKey::from_seed(&Secret::new([2; 32]))
}

/// A shard of three leaves.
struct Shard {
    bytes: Vec<u8>,
    leaves: Vec<[u8; 32]>,
    id: ShardId,
}

fn shard() -> Shard {
    let bytes: Vec<u8> = (0..3 * LEAF_BYTES)
        .map(|i| u8::try_from(i / 999 % 251).unwrap())
        .collect();
    let leaves: Vec<[u8; 32]> = bytes.chunks(LEAF_BYTES).map(leaf_hash).collect();
    let id = crate::crypto::hash_shard(&bytes);
    Shard { bytes, leaves, id }
}

fn challenge(shard: &Shard, nonce: &str) -> Challenge {
    Challenge {
        bridge: BridgeId(bridge().public()),
        host: HostId(host().public()),
        serial: Some(Serial([7; 16])),
        shard: shard.id,
        shard_bytes: u32::try_from(shard.bytes.len()).unwrap(),
        leaf: 1,
        nonce: nonce.repeat(32),
        at: AT,
    }
}

fn found(shard: &Shard, asked: &Challenge) -> Finding {
    let path = asked.leaf_range().unwrap().proof(&shard.leaves).unwrap();
    Finding::Leaf {
        hash: Base64(shard.leaves[1].to_vec()),
        path: Base64(path.concat()),
    }
}

fn answer(
    asked: &Challenge,
    finding: Finding,
    signer: &SigningKey,
) -> (Signed<Challenge>, Signed<AuditAnswer>) {
    let challenge = Signed::new(&bridge(), asked);
    let said = AuditAnswer::new(&challenge, asked, ChainValue([9; 32]), finding, AT);
    (challenge, Signed::new(signer, &said))
}

fn receipt(serial: u8, signer: &SigningKey) -> Base64 {
    let receipt = StoreReceipt {
        serial: Serial([serial; 16]),
        bridge: BridgeId(bridge().public()),
        host: HostId(signer.public()),
        shard: shard().id,
        size: ShardSize::new(u32::try_from(3 * LEAF_BYTES).unwrap()).unwrap(),
        stored: UnixMs(1_000),
    };
    Base64(receipt.sign(signer))
}

#[test]
fn a_leaf_that_leads_to_the_shard_passes() {
    let shard = shard();
    let asked = challenge(&shard, "aa");
    let (challenge, answer) = answer(&asked, found(&shard, &asked), &host());
    let leaf = Base64(shard.bytes[LEAF_BYTES..2 * LEAF_BYTES].to_vec());
    let proof = Proof { answer, leaf };
    let (judgement, said) = proof.judge(&challenge).unwrap();
    assert_eq!(judgement, Judgement::Pass);
    let expected = Challenge::chain(ChainValue([9; 32]), &challenge.body_hash(), &said.finding);
    assert_eq!(said.chain_value().unwrap(), expected);

    let garbage = Proof {
        leaf: Base64(vec![0; LEAF_BYTES]),
        ..proof
    };
    assert!(matches!(garbage.judge(&challenge), Err(AuditError::Bytes)));
}

#[test]
fn a_replayed_or_stolen_answer_is_refused() {
    let shard = shard();
    let asked = challenge(&shard, "aa");
    let (_, old) = answer(&asked, found(&shard, &asked), &host());
    let again = challenge(&shard, "bb");
    let again = Signed::new(&bridge(), &again);
    assert!(matches!(
        judge(&again, &old),
        Err(AuditError::OtherChallenge)
    ));

    let other = SigningKey::from_seed(&Secret::new([3; 32]));
    let (challenge, stolen) = answer(&asked, found(&shard, &asked), &other);
    assert!(matches!(
        judge(&challenge, &stolen),
        Err(AuditError::Signed(_))
    ));
    let mut theirs = asked.clone();
    theirs.host = HostId(other.public());
    let (_, theirs) = answer(&theirs, found(&shard, &asked), &other);
    assert!(judge(&challenge, &theirs).is_err());
}

#[test]
fn only_a_hosts_own_words_convict_it() {
    let shard = shard();
    let asked = challenge(&shard, "aa");
    let evidence = |finding, receipt| {
        let (challenge, answer) = answer(&asked, finding, &host());
        Evidence {
            receipt,
            challenge,
            answer,
        }
    };
    let convicted = evidence(Finding::Missing, receipt(7, &host())).verify();
    assert_eq!(convicted.unwrap(), HostId(host().public()));
    let wrong_leaf = Finding::Leaf {
        hash: Base64(vec![8; 32]),
        path: Base64(vec![8; 64]),
    };
    assert!(evidence(wrong_leaf, receipt(7, &host())).verify().is_ok());

    // An honest answer, a receipt for another record, one that somebody else signed.
    let honest = evidence(found(&shard, &asked), receipt(7, &host())).verify();
    assert!(matches!(honest, Err(AuditError::NoFailure)));
    let away = evidence(Finding::Unseen, receipt(7, &host())).verify();
    assert!(matches!(away, Err(AuditError::NoFailure)));
    let other = evidence(Finding::Missing, receipt(8, &host())).verify();
    assert!(matches!(other, Err(AuditError::Receipt(None))));
    let liar = SigningKey::from_seed(&Secret::new([3; 32]));
    let forged = evidence(Finding::Missing, receipt(7, &liar)).verify();
    assert!(matches!(forged, Err(AuditError::Receipt(None))));
    let (challenge, answer) = answer(&asked, Finding::Missing, &liar);
    let framed = Evidence {
        receipt: receipt(7, &host()),
        challenge,
        answer,
    };
    assert!(matches!(framed.verify(), Err(AuditError::Signed(_))));
}

#[test]
fn the_chain_value_must_follow() {
    let shard = shard();
    let asked = challenge(&shard, "aa");
    let challenge = Signed::new(&bridge(), &asked);
    let mut said = AuditAnswer::new(
        &challenge,
        &asked,
        ChainValue::default(),
        Finding::Missing,
        AT,
    );
    said.chain = hex(&[0; 32]);
    let said = Signed::new(&host(), &said);
    assert!(matches!(judge(&challenge, &said), Err(AuditError::Chain)));
}
