//! The Bridge's database behind one narrow, synchronous trait: [`Tx`].
//!
//! Every rule of the Bridge is a plain function over a transaction, `fn plan(tx: &mut dyn Tx,
//! now, request) -> Result<Plan, PlanError>`, and so is tested without async, network or clock.
//! A [`Store`] runs such functions: writes through one writer that commits many of them together
//! (group commit) and answers only after the commit is durable, reads on consistent snapshots.
//!
//! Two engines keep the tables: `mem` (tests and simulation) and SQLite. One conformance suite
//! runs against both. A third engine will speak PostgreSQL's protocol, hence: ids made by the
//! caller, times as integers, no serial keys on hot tables, no triggers, keys that begin with the
//! owner. What this crate must never do: decide anything. Quotas, retention, placement and
//! signatures are rules and live in the Bridge.

mod error;
pub mod group;
mod mem;
mod sqlite;
mod store;
mod tables;

pub use error::{OpenError, StoreError, SwapError, TxError};
pub use sqlite::{BackupError, backup};
pub use store::{Store, StoreConfig};
pub use tables::accounts::{Account, AccountTable, DeviceListRow, Session, TokenHash};
pub use tables::blobs::{
    BlobRow, BlobState, BlobTable, ReferenceDelta, ReferenceError, RetiredCursor,
};
pub use tables::groups::{FrozenSegment, GroupKey, GroupRow, GroupTable};
pub use tables::hosts::{
    HostAlias, HostLog, HostLogRow, HostRow, HostState, HostStatus, HostTable, OrderRow, Reputation,
};
pub use tables::keys::{IdempotencyKey, KeyTable};
pub use tables::nodes::{NodeRow, NodeState, NodeTable, SweptNodes};
pub use tables::receipts::{ReceiptRow, ReceiptTable};
pub use tables::roots::{RootRow, RootTable};
pub use tables::uploads::{UploadRow, UploadTable};
pub use tables::usage::{Usage, UsageDelta, UsageTable};
pub use tables::{ROWS_PER_CALL_MAX, Tx, VALUE_BYTES_MAX};
