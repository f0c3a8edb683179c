//! Maxima of what may arrive on the wire. A receiver checks them before it takes memory.

/// Bytes of an HTTP request's head.
pub const HEAD_BYTES_MAX: usize = 65_536;
/// Bytes of a JSON request or answer.
pub const JSON_BYTES_MAX: usize = 16 << 20;
/// Bytes of one message on the control channel.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Blobs in one upload.
pub const BLOBS_PER_UPLOAD_MAX: usize = 1_024;
/// Uploads that one commit may end.
pub const UPLOADS_PER_COMMIT_MAX: usize = 64;
/// Segments in one page of slots or of a layout.
pub const SEGMENTS_PER_PAGE_MAX: usize = 64;
/// Segments in one page of receipts.
pub const RECEIPT_SEGMENTS_PER_PAGE_MAX: usize = 256;
/// Slots in one request for replacements.
pub const MORE_SLOTS_MAX: usize = 256;
/// Replacement Hosts that one slot may get.
pub const REPLACEMENTS_PER_SLOT_MAX: u16 = 2;
/// Hashes in one request for nodes.
pub const NODES_PER_GET_MAX: usize = 64;
/// Nodes in one `PUT /v1/nodes` and in one commit.
pub const NODES_PER_PUT_MAX: usize = 1_024;
/// Hashes that one commit may add from pending ones, or retire.
pub const NODE_CHANGES_PER_COMMIT_MAX: usize = 100_000;
/// Bytes of pending nodes of an account.
pub const PENDING_NODE_BYTES_MAX: u64 = 64 << 20;
/// Blobs whose references one commit may change.
pub const BLOB_CHANGES_PER_COMMIT_MAX: usize = 100_000;
/// Roots in one answer.
pub const ROOTS_PER_PAGE_MAX: usize = 256;
/// Sparse blobs in one answer.
pub const SPARSE_BLOBS_PER_PAGE_MAX: usize = 1_000;
/// Reports in one request.
pub const REPORTS_MAX: usize = 256;
/// Blobs or nodes in one purge.
pub const PURGE_ITEMS_MAX: usize = 10_000;
/// Serials in one order to a Host.
pub const SERIALS_PER_ORDER_MAX: usize = 1_024;
/// Serials in one inventory: 256 KiB of them.
pub const SERIALS_PER_INVENTORY_MAX: usize = 16_384;
/// Serials in one retain set: 512 KiB of them.
pub const SERIALS_PER_RETAIN_SET_MAX: usize = 32_768;
/// Times that a retain set excepts.
pub const RETAIN_EXCEPT_MAX: usize = 64;
/// Sources in one repair order.
pub const REPAIR_SOURCES_MAX: usize = 64;
/// A repair order is good for this long.
pub const REPAIR_LIFETIME_MS: u64 = 3_600_000;
/// Characters of an event's reason.
pub const EVENT_REASON_CHARS_MAX: usize = 1_024;
/// Addresses a Host may offer.
pub const HOST_ADDRESSES_MAX: usize = 8;
/// Bytes of a Host's, device's or zone's name.
pub const NAME_BYTES_MAX: usize = 64;
/// A plan and its tickets are good for this long.
pub const UPLOAD_LIFETIME_MS: u64 = 24 * 3_600_000;
/// Read tickets are good for this long.
pub const READ_TICKET_LIFETIME_MS: u64 = 6 * 3_600_000;
/// Clocks may differ by this much where a signed time is checked.
pub const CLOCK_SKEW_MS_MAX: u64 = 600_000;
/// Pending nodes live this long.
pub const PENDING_NODE_LIFETIME_MS: u64 = 3_600_000;
/// A transfer slower than this is cut, bytes per second.
pub const TRANSFER_RATE_MIN: u64 = 16_384;
