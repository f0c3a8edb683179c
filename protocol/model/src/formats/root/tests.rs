use super::*;
use crate::crypto::account_of;
use crate::formats::device_list::{Device, DeviceListDraft, LastRoot, Revoked};

fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&Secret::new([byte; 32]))
}

fn device(key: &SigningKey) -> Device {
    let id = DeviceId(key.public());
    Device {
        id,
        name: "desk".to_owned(),
        kem_key: Vec::new(),
        added: UnixMs(5),
    }
}

fn devices() -> DeviceList {
    DeviceListDraft::first(key(1).public(), device(&key(2)))
        .sign(&key(1))
        .unwrap()
}

fn root(lineage: Lineage) -> Root {
    let (account, volume) = (account_of(&key(1).public()), VolumeId([8; 16]));
    let keys = RootKeys {
        top: Secret::new([7; 32]),
        previous: None,
    };
    Root {
        account,
        volume,
        lineage,
        top: NodeHash([9; 32]),
        epoch: 0,
        sealed_keys: keys.seal(&VolumeKey(Secret::new([6; 32])), &account, &volume, 0),
        device_list: devices().hash(),
        time: UnixMs(1_234),
        pins: vec![HostId([1; 32]), HostId([2; 32])],
        locations: vec![Location {
            shard: ShardId([3; 32]),
            host: HostId([4; 32]),
        }],
    }
}

fn chain(len: u64) -> Vec<SignedRoot> {
    let mut roots = vec![root(Lineage::first()).sign(&key(2)).unwrap()];
    for _ in 1..len {
        let last = roots.last().unwrap();
        let lineage = last.unverified().lineage.next(last.hash());
        roots.push(root(lineage).sign(&key(2)).unwrap());
    }
    roots
}

#[test]
fn a_root_is_read_back_and_opens_its_keys() {
    let signed = &chain(3)[2];
    let again = SignedRoot::parse(signed.bytes()).unwrap();
    assert_eq!(&again, signed);
    let root = again.verify(&devices()).unwrap();
    let keys = root.open_keys(&VolumeKey(Secret::new([6; 32]))).unwrap();
    assert_eq!(
        keys,
        RootKeys {
            top: Secret::new([7; 32]),
            previous: None
        }
    );
    assert!(root.open_keys(&VolumeKey(Secret::new([5; 32]))).is_err());
    let moved = Root {
        volume: VolumeId([0; 16]),
        ..root.clone()
    };
    assert!(moved.open_keys(&VolumeKey(Secret::new([6; 32]))).is_err());
}

#[test]
fn the_largest_root_fits() {
    let location = Location {
        shard: ShardId([3; 32]),
        host: HostId([4; 32]),
    };
    let full = Root {
        pins: vec![HostId([1; 32]); PINS_MAX],
        locations: vec![location; LOCATIONS_MAX],
        ..root(Lineage::first())
    };
    let signed = full.clone().sign(&key(2)).unwrap();
    assert!(
        signed.bytes().len() <= ROOT_BYTES_MAX,
        "{}",
        signed.bytes().len()
    );
    assert_eq!(SignedRoot::parse(signed.bytes()).unwrap(), signed);
    let over = Root {
        pins: vec![HostId([1; 32]); PINS_MAX + 1],
        ..full
    };
    assert!(over.sign(&key(2)).is_err());
}

#[test]
fn any_flipped_bit_and_any_cut_is_refused() {
    let signed = &chain(2)[1];
    for bit in 0..signed.bytes().len() * 8 {
        let mut bent = signed.bytes().to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        let counts = SignedRoot::parse(&bent).is_ok_and(|root| root.verify(&devices()).is_ok());
        assert!(!counts, "bit {bit}");
    }
    for len in 0..signed.bytes().len() {
        assert!(
            SignedRoot::parse(&signed.bytes()[..len]).is_err(),
            "length {len}"
        );
    }
}

#[test]
fn only_listed_devices_count_and_revoked_ones_up_to_their_last_root() {
    let roots = chain(3);
    let stranger = root(Lineage::first()).sign(&key(3)).unwrap();
    assert!(matches!(
        stranger.verify(&devices()),
        Err(RootError::UnknownDevice { .. })
    ));
    let other = DeviceListDraft::first(key(9).public(), device(&key(2)))
        .sign(&key(9))
        .unwrap();
    assert!(matches!(
        roots[0].verify(&other),
        Err(RootError::OtherAccount { .. })
    ));

    let last = LastRoot {
        volume: VolumeId([8; 16]),
        seq: 2,
        hash: roots[1].hash(),
    };
    let id = DeviceId(key(2).public());
    let list = DeviceListDraft {
        seq: 2,
        prev: devices().hash(),
        devices: vec![device(&key(4))],
        revoked: vec![Revoked {
            id,
            time: UnixMs(9),
            last_roots: vec![last],
        }],
        ..devices().content().clone()
    };
    let list = list.sign(&key(1)).unwrap();
    assert!(roots[1].verify(&list).is_ok());
    assert!(matches!(
        roots[2].verify(&list),
        Err(RootError::RevokedDevice { seq: 3, .. })
    ));
    assert!(matches!(
        roots[0].verify(&list),
        Err(RootError::RevokedDevice { seq: 1, .. })
    ));
    let prev = roots[1].unverified().lineage.prev();
    assert!(roots[0].expect_hash(&prev).is_ok());
    assert!(matches!(
        roots[2].expect_hash(&prev),
        Err(RootError::OtherHash { .. })
    ));
}

#[test]
fn descent_is_proved_in_few_steps_and_a_fork_is_seen() {
    let roots = chain(300);
    let at = |seq: u64| &roots[usize::try_from(seq - 1).unwrap()];
    let mut fork = root(at(40).unverified().lineage.next(at(40).hash()));
    fork.time = UnixMs(5_678);
    let fork = fork.sign(&key(2)).unwrap();

    let walk = |from: u64, seq: u64, hash: RootHash| {
        let (mut here, mut steps) = (at(from), 0);
        loop {
            match here
                .unverified()
                .lineage
                .descent_from(here.hash(), seq, hash)
            {
                Descent::Ask { seq, hash } => {
                    here = at(seq);
                    assert_eq!(here.hash(), hash);
                    steps += 1;
                }
                verdict => return (verdict, steps),
            }
        }
    };
    for from in [1, 2, 3, 64, 65, 255, 300] {
        for seq in 1..=from {
            let (verdict, steps) = walk(from, seq, at(seq).hash());
            assert_eq!(verdict, Descent::Proven, "{from} from {seq}");
            assert!(steps <= 16, "{steps} steps from {from} to {seq}");
        }
    }
    assert_eq!(walk(300, 41, fork.hash()).0, Descent::Refuted);
    assert_eq!(walk(41, 300, at(300).hash()).0, Descent::Refuted);
    assert!(
        at(41)
            .unverified()
            .lineage
            .follows(&at(40).unverified().lineage, at(40).hash())
    );
    assert!(
        !at(42)
            .unverified()
            .lineage
            .follows(&at(40).unverified().lineage, at(40).hash())
    );
}
