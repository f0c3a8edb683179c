//! The Bridge's API for owners: what goes in and out of each call, as JSON.
//!
//! Calls other than [`ABOUT`], [`ACCOUNTS`] and [`SESSIONS`] carry `Authorization: Bearer <token>`.

use serde::{Deserialize, Serialize};

use super::{Base64, ProtocolVersions, SignedKind};
use crate::formats::shape::Class;
use crate::units::{
    AccountId, BlobId, BridgeId, DeviceId, HostId, NodeHash, OwnerTag, PayerKey, RootHash, ShardId,
    UnixMs, UploadId, VolumeId,
};

/// `GET`: [`About`].
pub const ABOUT: &str = "/v1/bridge";
/// `POST` [`NewAccount`].
pub const ACCOUNTS: &str = "/v1/accounts";
/// `GET`: [`DeviceListAnswer`]; `PUT` [`PutDeviceList`].
pub const DEVICES: &str = "/v1/devices";
/// `POST` `Signed<`[`SignIn`]`>`: [`Session`].
pub const SESSIONS: &str = "/v1/sessions";
/// `POST` [`UploadRequest`]: [`Plan`].
pub const UPLOADS: &str = "/v1/uploads";
/// `GET ?hash=…&hash=…`: [`Nodes`]; `PUT` [`Nodes`].
pub const NODES: &str = "/v1/nodes";
/// `GET`: [`Usage`].
pub const USAGE: &str = "/v1/usage";
/// `POST` [`Reports`].
pub const REPORTS: &str = "/v1/reports";
/// `POST` `Signed<`[`Purge`]`>`: [`PurgeAnswer`].
pub const PURGE: &str = "/v1/purge";
/// `DELETE`: gives it up.
pub const UPLOAD: &str = "/v1/uploads/{upload}";
/// `GET ?cursor=…`: [`SlotPage`].
pub const UPLOAD_SLOTS: &str = "/v1/uploads/{upload}/slots";
/// `POST` [`MoreRequest`]: [`More`].
pub const UPLOAD_MORE: &str = "/v1/uploads/{upload}/more";
/// `PUT` [`ReceiptPage`].
pub const UPLOAD_RECEIPTS: &str = "/v1/uploads/{upload}/receipts";
/// `POST` [`Commit`]: [`Committed`]. Of protocol version 1, whose commits end one upload.
pub const UPLOAD_COMMIT: &str = "/v1/uploads/{upload}/commit";
/// `GET`: [`RootAnswer`]; `PUT` [`Commit`]: [`Committed`].
pub const VOLUME_ROOT: &str = "/v1/volumes/{volume}/root";
/// `GET ?before=…&limit=…`: [`Roots`].
pub const VOLUME_ROOTS: &str = "/v1/volumes/{volume}/roots";
/// `GET ?first=…&limit=…&payer=…&purpose=…`: [`Layout`]. Its tickets are for reading, or with the
/// purpose [`AUDIT_PURPOSE`] for asking for proofs.
pub const LAYOUT: &str = "/v1/blobs/{blob}/layout";
/// The `purpose` of a [`LAYOUT`] whose tickets are for audits.
pub const AUDIT_PURPOSE: &str = "audit";
/// `GET`: the control channel of a Host ([`super::control`]).
pub const CONTROL: &str = "/v1/hosts/control";
/// `GET`: the description of all of this in OpenAPI 3.1.
pub const OPENAPI: &str = "/openapi.json";

/// At a Host. `PUT` with the header [`SHARD_ID_HEADER`], body a shard: the signed
/// [`StoreReceipt`](super::StoreReceipt). `GET {SHARDS}/{id}`: the shard. Both carry
/// `Authorization: Ticket …`.
pub const SHARDS: &str = "/v1/shards";
/// At a Host. `GET {RECEIPTS}/{id}` with a PUT ticket: the signed
/// [`StoreReceipt`](super::StoreReceipt) again, where the shard is stored under its serial.
pub const RECEIPTS: &str = "/v1/receipts";
/// At a Host. `POST` with an audit ticket, body a signed [`Challenge`](super::audit::Challenge) of
/// the ticket's payer or its Bridge: a [`Proof`](super::audit::Proof).
pub const AUDIT: &str = "/v1/audit";
/// The header of a PUT that names the shard: 64 hexadecimal characters.
pub const SHARD_ID_HEADER: &str = "shard-id";

/// What a Bridge says of itself to anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct About {
    /// Its id.
    pub bridge: BridgeId,
    /// Program and version.
    pub agent: String,
    /// Protocol versions.
    pub protocol: ProtocolVersions,
    /// Its clock.
    pub now: UnixMs,
    /// Hosts that take shards now.
    pub hosts_online: u64,
    /// Distinct zones among them.
    pub zones_online: u64,
    /// The class an upload gets that names none; `None` while there are too few zones.
    pub class: Option<Class>,
}

/// Opens an account. Repeating it with the same content is no error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewAccount {
    /// The identity key's public half; names the account.
    pub identity: DeviceId,
    /// The first device list, signed by the identity key.
    pub device_list: Base64,
}

/// The current device list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeviceListAnswer {
    /// Signed by the identity key.
    pub device_list: Base64,
    /// Public half of the identity key.
    pub identity: DeviceId,
}

/// Replaces the device list by its successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PutDeviceList {
    /// Signed by the identity key; its number is the current one plus one.
    pub device_list: Base64,
}

/// What a device (or, at recovery, the identity key) signs to get a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignIn {
    /// The account.
    pub account: AccountId,
    /// The key that signs: a device on the list, or the identity key.
    pub key: DeviceId,
    /// The Bridge it is for.
    pub bridge: BridgeId,
    /// Now; may differ by [`CLOCK_SKEW_MS_MAX`](super::limits::CLOCK_SKEW_MS_MAX).
    pub at: UnixMs,
    /// 16 random bytes, hexadecimal; accepted once.
    pub nonce: String,
}

impl SignedKind for SignIn {
    const KIND: &'static str = "sign-in";
}

/// A session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// Goes into `Authorization: Bearer …`.
    pub token: String,
    /// When it ends.
    pub expires: UnixMs,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Asks for places for one or many blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadRequest {
    /// The volume whose root will refer to them.
    pub volume: VolumeId,
    /// Who signs receipts for the transfers: an ephemeral key.
    pub payer: PayerKey,
    /// The class the owner chose; else the Bridge decides by the number of zones.
    #[serde(default)]
    pub class: Option<Class>,
    /// At most [`BLOBS_PER_UPLOAD_MAX`](super::limits::BLOBS_PER_UPLOAD_MAX).
    #[cfg_attr(feature = "openapi", schema(max_items = 1024))]
    pub blobs: Vec<BlobRequest>,
}

/// One blob to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobRequest {
    /// A fresh random id.
    pub blob: BlobId,
    /// Bytes of ciphertext, at least 1.
    pub length: u64,
    /// Hash of the blob's owner key.
    pub owner_tag: OwnerTag,
}

/// Where the blobs go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// The upload.
    pub upload: UploadId,
    /// When plan and tickets end.
    pub expires: UnixMs,
    /// The class of every blob in it.
    pub class: Class,
    /// The first segments' slots, in the order of the request.
    pub slots: SlotPage,
}

/// Slots of some segments: `GET /v1/uploads/{upload}/slots?cursor=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SlotPage {
    /// The Hosts that the slots refer to by index.
    pub hosts: Vec<HostAddress>,
    /// At most [`SEGMENTS_PER_PAGE_MAX`](super::limits::SEGMENTS_PER_PAGE_MAX), in order.
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub segments: Vec<SegmentSlots>,
    /// Asks for the next page; `None` on the last.
    pub next: Option<String>,
}

/// A Host and where to dial it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HostAddress {
    /// The Host's key.
    pub host: HostId,
    /// Its name for people.
    pub name: String,
    /// `ip:port`, best first.
    pub addresses: Vec<String>,
    /// The zone the Bridge counts it in.
    pub zone: String,
    /// Its region, where known.
    #[serde(default)]
    pub region: Option<String>,
    /// Whether the Bridge hears from it now.
    pub online: bool,
    /// When it last proved to the Bridge that it keeps what it should, if it ever did.
    #[serde(default)]
    pub proved: Option<UnixMs>,
}

/// The slots of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SegmentSlots {
    /// The blob.
    pub blob: BlobId,
    /// The segment, from 0.
    pub segment: u64,
    /// One per shard, in order: n in all.
    pub slots: Vec<Slot>,
}

/// A place for one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Slot {
    /// Index into the page's Hosts.
    pub host: u16,
    /// A signed PUT ticket.
    pub ticket: Base64,
}

/// Asks for spare Hosts for slots whose Host failed or is late:
/// `POST /v1/uploads/{upload}/more`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MoreRequest {
    /// At most [`MORE_SLOTS_MAX`](super::limits::MORE_SLOTS_MAX).
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub slots: Vec<FailedSlot>,
}

/// A slot that needs a spare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailedSlot {
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
    /// The shard's index in the segment.
    pub index: u16,
    /// The Host that failed.
    pub failed: HostId,
}

/// Spares, one answer per slot asked, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct More {
    /// The Hosts that the slots refer to by index.
    pub hosts: Vec<HostAddress>,
    /// `None` where no further Host fits or the slot had its
    /// [`REPLACEMENTS_PER_SLOT_MAX`](super::limits::REPLACEMENTS_PER_SLOT_MAX).
    pub slots: Vec<Option<Slot>>,
}

/// What was stored: `PUT /v1/uploads/{upload}/receipts`. Durable when answered; repeating it is
/// no error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReceiptPage {
    /// At most
    /// [`RECEIPT_SEGMENTS_PER_PAGE_MAX`](super::limits::RECEIPT_SEGMENTS_PER_PAGE_MAX).
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub segments: Vec<SegmentReceipts>,
}

/// What was stored of one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SegmentReceipts {
    /// The blob.
    pub blob: BlobId,
    /// The segment.
    pub segment: u64,
    /// All n ids, also of shards that found no Host; one id where k = 1.
    pub ids: Vec<ShardId>,
    /// The Hosts' signed StoreReceipts, n in all; `None` where a shard found no Host.
    pub receipts: Vec<Option<Base64>>,
}

/// A new root, with everything it adds and retires and the uploads it ends:
/// `PUT /v1/volumes/{volume}/root`. One transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Commit {
    /// The signed root. Its predecessor must be the current one.
    pub root: Base64,
    /// Uploads of this volume that it ends: their blobs are referred to from now on. At most
    /// [`UPLOADS_PER_COMMIT_MAX`](super::limits::UPLOADS_PER_COMMIT_MAX).
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub uploads: Vec<UploadId>,
    /// Pages this root adds, with their bytes.
    #[serde(default)]
    pub nodes: Vec<NodeBody>,
    /// Pages this root adds that were put before.
    #[serde(default)]
    pub pending: Vec<NodeHash>,
    /// Pages this root no longer refers to.
    #[serde(default)]
    pub retired: Vec<NodeHash>,
    /// How references to blobs change.
    #[serde(default)]
    pub blobs: Vec<BlobChange>,
    /// Receipts of those uploads that were not put before.
    #[serde(default)]
    pub receipts: ReceiptPage,
}

/// How the references to a blob change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobChange {
    /// The blob.
    pub blob: BlobId,
    /// Entries that refer to it: more or fewer by this.
    pub references: i64,
    /// Bytes of it that entries refer to: more or fewer by this.
    pub live_bytes: i64,
}

/// The answer to a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Committed {
    /// The root's number.
    pub seq: u64,
    /// The root's hash.
    pub hash: RootHash,
}

/// A root: `GET /v1/volumes/{volume}/root`, and the facts of a `root_conflict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RootAnswer {
    /// The signed root.
    pub root: Base64,
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: RootHash,
}

/// Earlier roots, newest first: `GET /v1/volumes/{volume}/roots?before=SEQ&limit=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Roots {
    /// At most [`ROOTS_PER_PAGE_MAX`](super::limits::ROOTS_PER_PAGE_MAX).
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub roots: Vec<RootAnswer>,
}

/// Sealed pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Nodes {
    /// At most [`NODES_PER_GET_MAX`](super::limits::NODES_PER_GET_MAX) out,
    /// [`NODES_PER_PUT_MAX`](super::limits::NODES_PER_PUT_MAX) in. Unknown ones are left out.
    pub nodes: Vec<NodeBody>,
}

/// A sealed page of a folder or manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeBody {
    /// SHA-256 of the bytes.
    pub hash: NodeHash,
    /// The sealed bytes.
    pub body: Base64,
}

/// At a Bridge: the blobs of the account of which less than half is referred to.
pub const SPARSE_BLOBS: &str = "/v1/blobs/sparse";

/// Blobs of which less than half is referred to, by their ids:
/// `GET /v1/blobs/sparse?after=BLOB&limit=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SparseBlobs {
    /// At most [`SPARSE_BLOBS_PER_PAGE_MAX`](super::limits::SPARSE_BLOBS_PER_PAGE_MAX); none where
    /// there are no more.
    #[cfg_attr(feature = "openapi", schema(max_items = 1_000))]
    pub blobs: Vec<SparseBlob>,
}

/// A blob of which less than half is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SparseBlob {
    /// Its id.
    pub blob: BlobId,
    /// Bytes of ciphertext.
    pub length: u64,
    /// Bytes of it that entries refer to, as owners counted them.
    pub live_bytes: u64,
    /// Entries that refer to it.
    pub references: u64,
}

/// Where a blob's shards lie: `GET /v1/blobs/{blob}/layout?first=S&limit=N&payer=K`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Layout {
    /// The blob's length in bytes.
    pub length: u64,
    /// Its class.
    pub class: Class,
    /// The Hosts that the shards refer to by index.
    pub hosts: Vec<HostAddress>,
    /// In order from `first`; at most
    /// [`SEGMENTS_PER_PAGE_MAX`](super::limits::SEGMENTS_PER_PAGE_MAX).
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub segments: Vec<SegmentLayout>,
}

/// Where the shards of one segment lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SegmentLayout {
    /// The segment, from 0.
    pub segment: u64,
    /// Its shards do not fit together: what is lost of it cannot be made anew. The owner can put
    /// the file again.
    #[serde(default)]
    pub inconsistent: bool,
    /// n in all, in order.
    pub shards: Vec<ShardPlace>,
}

/// Where one shard lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShardPlace {
    /// Its id as the Bridge knows it; the owner's manifest outranks it.
    pub id: ShardId,
    /// Index into the page's Hosts; `None` while no Host has it.
    #[serde(default)]
    pub host: Option<u16>,
    /// A signed GET ticket for that Host.
    #[serde(default)]
    pub ticket: Option<Base64>,
}

/// What an owner uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Bytes of blobs that are referred to or kept as versions.
    pub blob_bytes: u64,
    /// Bytes of their shards on Hosts, mirrors and parity counted.
    pub shard_bytes: u64,
    /// Bytes of sealed pages.
    pub node_bytes: u64,
    /// Bytes of shards that uploads in progress have reserved.
    pub reserved_bytes: u64,
    /// Most bytes of shards and pages.
    pub quota_bytes: u64,
}

/// What a client saw of Hosts. A report only queues a check; it convicts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reports {
    /// At most [`REPORTS_MAX`](super::limits::REPORTS_MAX).
    #[cfg_attr(feature = "openapi", schema(max_items = 256))]
    pub reports: Vec<Report>,
}

/// One thing a client saw of a Host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Report {
    /// The Host.
    pub host: HostId,
    /// What it did.
    pub saw: Sighting,
    /// The shard it was about, with its place.
    #[serde(default)]
    pub shard: Option<ShardId>,
    /// The blob it was about.
    #[serde(default)]
    pub blob: Option<BlobId>,
    /// The segment of the blob, so that the Bridge can look at exactly this shard.
    #[serde(default)]
    pub segment: Option<u64>,
    /// The shard's place in the segment.
    #[serde(default)]
    pub index: Option<u16>,
}

/// What a Host did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// Could not be reached, or stopped answering.
    Silent,
    /// Was overtaken by another Host.
    Slow,
    /// Sent bytes that are not the shard.
    BadShard,
    /// Said it does not have the shard.
    Missing,
    /// Refused a good ticket.
    Refused,
}

/// Destroys before retention is over; signed by the identity key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Purge {
    /// The account.
    pub account: AccountId,
    /// The Bridge.
    pub bridge: BridgeId,
    /// Now; may differ by [`CLOCK_SKEW_MS_MAX`](super::limits::CLOCK_SKEW_MS_MAX).
    pub at: UnixMs,
    /// Blobs to which no entry of the current root refers.
    pub blobs: Vec<BlobId>,
    /// Pages that the current root does not use.
    pub nodes: Vec<NodeHash>,
}

impl SignedKind for Purge {
    const KIND: &'static str = "purge";
}

/// What was destroyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PurgeAnswer {
    /// Blobs whose shards are being deleted at their Hosts.
    pub blobs: u64,
    /// Blobs left alone because something still refers to them.
    pub blobs_in_use: u64,
    /// Pages destroyed.
    pub nodes: u64,
}
