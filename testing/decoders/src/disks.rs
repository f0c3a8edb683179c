//! What lies on disks: records and index of a Host's shard store, rows of a Bridge's database.

use bridge::upload::record::UploadRecord;
use metastore::HostAlias;
use metastore::group::Group;
use model::units::ShardId;

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "group",
        run: group,
        seeds: group_seeds,
    },
    Decoder {
        name: "upload_record",
        run: upload_record,
        seeds: record_seeds,
    },
    Decoder {
        name: "shard_record",
        run: shardstore::decoders::record,
        seeds: shardstore::decoders::record_seeds,
    },
    Decoder {
        name: "shard_checkpoint",
        run: shardstore::decoders::checkpoint,
        seeds: shardstore::decoders::checkpoint_seeds,
    },
    Decoder {
        name: "shard_scrub",
        run: shardstore::decoders::scrub,
        seeds: shardstore::decoders::scrub_seeds,
    },
];

/// The placements of some segments.
fn group(bytes: &[u8]) -> bool {
    let Ok(mut group) = Group::decode(bytes.to_vec()) else {
        return false;
    };
    assert_eq!(group.as_bytes(), bytes);
    let last = (group.segments() - 1, group.n() - 1);
    assert!(group.shard_id(last.0, last.1).is_some());
    assert!(group.shard_id(group.segments(), 0).is_none());
    assert!(group.host(0, group.n()).is_none());
    assert!(group.set_shard_id(last.0, last.1, &ShardId([1; 32])));
    assert!(group.set_host(last.0, last.1, Some(HostAlias(7))));
    assert_eq!(group.host(last.0, last.1), Some(HostAlias(7)));
    assert_eq!(group.hosts(0).count(), usize::from(group.n()));
    true
}

fn group_seeds() -> Vec<Vec<u8>> {
    let shapes = [(1, 3, 32), (4, 8, 4), (16, 32, 1), (32, 64, 1)];
    let groups = shapes.map(|(k, n, segments)| Group::new(k, n, segments));
    groups
        .into_iter()
        .flatten()
        .map(|group| group.as_bytes().to_vec())
        .collect()
}

/// What a Bridge keeps of an upload.
fn upload_record(bytes: &[u8]) -> bool {
    let Ok(record) = UploadRecord::decode(bytes) else {
        return false;
    };
    let again = UploadRecord::decode(&record.encode());
    assert_eq!(again.ok(), Some(record));
    true
}

fn record_seeds() -> Vec<Vec<u8>> {
    use bridge::upload::record::{Erasure, OpenUpload, PlannedBlob, SlotKey};
    use model::formats::shape::{Class, Shape};
    use model::units::{BlobId, OwnerTag, PayerKey, UnixMs, VolumeId};
    use model::wire::control::DeleteReason;

    let erasing = UploadRecord::Erasing(Erasure {
        reason: DeleteReason::Retired,
        blobs: vec![BlobId([1; 16]); 2],
    });
    let open = Class::coded(4, 8).ok().and_then(|class| {
        let planned = PlannedBlob {
            blob: BlobId([1; 16]),
            shape: Shape::new(1_000, class).ok()?,
            owner_tag: OwnerTag([2; 32]),
        };
        let slot = SlotKey {
            blob: 0,
            segment: 0,
            index: 3,
        };
        Some(UploadRecord::Open(OpenUpload {
            volume: VolumeId([3; 16]),
            payer: PayerKey([4; 32]),
            class_asked: true,
            class,
            created: UnixMs(5),
            reserved_bytes: 6,
            blobs: vec![planned; 2],
            moved: [(slot, vec![HostAlias(1), HostAlias(2)])].into(),
        }))
    });
    open.iter()
        .chain([&erasing])
        .map(UploadRecord::encode)
        .collect()
}
