//! Whatever a value is, it is read as it was written; whatever bytes are, reading them ends.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use model::crypto::{Secret, SigningKey, account_of};
use model::formats::device_list::{Device, DeviceList, DeviceListDraft, LastRoot, Revoked};
use model::formats::root::{ANCESTORS, Lineage, Location, Root, SEALED_KEYS_BYTES, SignedRoot};
use model::formats::shape::{Class, Shape};
use model::units::{
    AccountId, BridgeId, DeviceId, DeviceListHash, HostId, NodeHash, OwnerTag, PayerKey, RootHash,
    Serial, ShardId, ShardSize, UnixMs, VolumeId,
};
use model::wire::{
    Action, Problem, ProblemCode, ProtocolVersions, Schedule, StoreReceipt, Ticket, TicketPurpose,
    ValidTicket,
};
use proptest::prelude::*;

fn key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([7; 32]))
}

fn lineage() -> impl Strategy<Value = Lineage> {
    prop::collection::vec(any::<[u8; 32]>(), 0..2 * ANCESTORS).prop_map(|hashes| {
        hashes.into_iter().fold(Lineage::first(), |lineage, hash| {
            lineage.next(RootHash(hash))
        })
    })
}

prop_compose! {
    fn root()(
        (account, volume) in any::<([u8; 16], [u8; 16])>(),
        lineage in lineage(),
        (top, list) in any::<([u8; 32], [u8; 32])>(),
        (epoch, time) in any::<(u32, u64)>(),
        sealed in prop::collection::vec(any::<u8>(), SEALED_KEYS_BYTES),
        pins in prop::collection::vec(any::<[u8; 32]>(), 0..4),
        locations in prop::collection::vec(any::<([u8; 32], [u8; 32])>(), 0..4),
    ) -> Root {
        Root {
            account: AccountId(account),
            volume: VolumeId(volume),
            lineage,
            top: NodeHash(top),
            epoch,
            sealed_keys: sealed.try_into().unwrap(),
            device_list: DeviceListHash(list),
            time: UnixMs(time),
            pins: pins.into_iter().map(HostId).collect(),
            locations: locations
                .into_iter()
                .map(|(shard, host)| Location { shard: ShardId(shard), host: HostId(host) })
                .collect(),
        }
    }
}

prop_compose! {
    fn device()(id in any::<[u8; 32]>(), name in "[a-z]{1,16}", kem_key in prop::collection::vec(any::<u8>(), 0..64), added in any::<u64>()) -> Device {
        Device { id: DeviceId(id), name, kem_key, added: UnixMs(added) }
    }
}

prop_compose! {
    fn revoked()(id in any::<[u8; 32]>(), time in any::<u64>(), roots in prop::collection::vec(any::<([u8; 16], u64, [u8; 32])>(), 0..4)) -> Revoked {
        let last = |(volume, seq, hash)| LastRoot { volume: VolumeId(volume), seq, hash: RootHash(hash) };
        Revoked { id: DeviceId(id), time: UnixMs(time), last_roots: roots.into_iter().map(last).collect() }
    }
}

prop_compose! {
    fn draft()(
        (seq, prev, time) in any::<(u64, [u8; 32], u64)>(),
        devices in prop::collection::vec(device(), 0..4),
        revoked in prop::collection::vec(revoked(), 0..4),
        wrapped_keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
    ) -> DeviceListDraft {
        DeviceListDraft {
            identity: key().public(), seq, prev: DeviceListHash(prev), time: UnixMs(time), devices, revoked, wrapped_keys,
        }
    }
}

fn action() -> impl Strategy<Value = Action> {
    (0..5, any::<[u8; 32]>()).prop_map(|(kind, subject)| match kind {
        0 => Action::Put {
            owner_tag: OwnerTag(subject),
        },
        1 => Action::Get {
            shard: ShardId(subject),
        },
        2 => Action::Audit {
            shard: ShardId(subject),
        },
        3 => Action::RepairGet {
            shard: ShardId(subject),
        },
        _ => Action::RepairPut {
            owner_tag: OwnerTag(subject),
        },
    })
}

proptest! {
    #[test]
    fn roots_are_read_as_they_were_signed(root in root()) {
        let signed = root.clone().sign(&key()).unwrap();
        let read = SignedRoot::parse(signed.bytes()).unwrap();
        prop_assert_eq!(read.unverified(), &root);
        prop_assert_eq!(read.bytes(), signed.bytes());
    }

    #[test]
    fn device_lists_are_read_as_they_were_signed_or_are_not_signed(draft in draft()) {
        // Lists that contradict themselves are not signed.
        if let Ok(signed) = draft.clone().sign(&key()) {
            let read = DeviceList::open(signed.bytes(), &account_of(&key().public())).unwrap();
            prop_assert_eq!(read.content(), &draft);
        }
    }

    #[test]
    fn tickets_are_read_as_they_were_signed(
        (serial, host, payer) in any::<([u8; 16], [u8; 32], [u8; 32])>(),
        action in action(),
        (bytes_max, price_version, created) in any::<(u64, u32, u32)>(),
        life in 1..=u64::from(u32::MAX),
    ) {
        let now = UnixMs(u64::from(created));
        let ticket = Ticket {
            serial: Serial(serial),
            bridge: BridgeId(key().public()),
            host: HostId(host),
            action,
            bytes_max,
            payer: PayerKey(payer),
            price_version,
            created: now,
            expires: now.plus_ms(life),
        };
        let purpose = match action {
            Action::Put { .. } | Action::RepairPut { .. } => TicketPurpose::Store,
            Action::Get { shard } | Action::Audit { shard } | Action::RepairGet { shard } => TicketPurpose::Read(shard),
        };
        let checked = Ticket::check(&ticket.sign(&key()), now, &HostId(host), |_| true, purpose);
        // No purpose of a client's is served by an audit.
        let served = !matches!(action, Action::Audit { .. });
        prop_assert_eq!(checked.as_ref().ok().map(ValidTicket::ticket), served.then_some(&ticket));
    }

    #[test]
    fn store_receipts_are_read_as_they_were_signed(
        (serial, bridge, shard) in any::<([u8; 16], [u8; 32], [u8; 32])>(),
        lines in 1..=30_720_u32,
        stored in any::<u64>(),
    ) {
        let receipt = StoreReceipt {
            serial: Serial(serial),
            bridge: BridgeId(bridge),
            host: HostId(key().public()),
            shard: ShardId(shard),
            size: ShardSize::new(64 * lines).unwrap(),
            stored: UnixMs(stored),
        };
        prop_assert_eq!(StoreReceipt::open(&receipt.sign(&key())).unwrap(), receipt);
    }

    #[test]
    fn texts_are_read_as_they_were_written(
        hours in any::<[u8; 21]>(),
        (k, n) in (1..=64_u16).prop_flat_map(|n| (1..=n, Just(n))),
        (oldest, more) in (1..1_000_u16, 0..1_000_u16),
        length in 1..=1_u64 << 50,
        code in prop::sample::select(ProblemCode::ALL),
        detail in ".*",
    ) {
        let schedule: Schedule = data_encoding::HEXLOWER.encode(&hours).parse().unwrap();
        prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        let versions = ProtocolVersions { version: oldest + more, oldest };
        prop_assert_eq!(versions.to_string().parse::<ProtocolVersions>(), Ok(versions));
        if let Ok(class) = Class::of(k, n) {
            prop_assert_eq!(class.to_string().parse::<Class>().unwrap(), class);
            let shape = Shape::new(length, class).unwrap();
            let text = serde_json::to_string(&shape).unwrap();
            prop_assert_eq!(serde_json::from_str::<Shape>(&text).unwrap(), shape);
        }
        let problem = Problem::new(code, detail).with_facts(serde_json::json!({ "n": length }));
        let text = serde_json::to_string(&problem).unwrap();
        prop_assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
    }
}
