//! A Host's shards on disk: append-only logs, group commit, and an index that can be rebuilt.
//!
//! The logs are the truth (`docs/spec/shardstore.md`). One writer thread appends records, makes
//! a whole batch durable with one `fdatasync`, and only then answers. A record is keyed by
//! (Bridge, serial); its bytes are shared by shard id and counted. The index lives in memory, is
//! written out at checkpoints, and is whatever replaying the logs makes it.
//!
//! What is absent: no write is acknowledged before it is durable; no length read from disk is
//! used before it is checked; no shard is ever loaded to serve a part of it; nothing here knows
//! of sockets, tickets or clocks.

mod checkpoint;
mod compact;
#[cfg(feature = "decoders")]
pub mod decoders;
pub mod disk;
pub mod durable;
mod index;
mod log;
mod reader;
mod record;
mod records;
mod recover;
mod scrub;
mod space;
mod store;
mod volumes;
mod writer;

pub use checkpoint::CheckpointError;
pub use compact::{CompactError, LogRewrite, SparseLog};
pub use index::Holding;
pub use log::LogError;
pub use reader::{ReadError, ShardReader, VerifyError};
pub use record::{Location, RECORD_HEADER_BYTES};
pub use records::{Presence, RecordCursor, RecordFound};
pub use recover::{Damage, RecoverError, Recovery};
pub use scrub::{ScrubProgress, ScrubStep};
pub use space::{NoSpace, Reservation, Usage};
pub use store::{
    Lookup, NewShard, OpenError, ParseStoreIdError, RecordKey, Store, StoreConfig, StoreId, Stored,
};
pub use volumes::{
    KnownError, KnownVolume, PendingError, RecordSeen, RemoveError, Room, Seen, VolumeConfig,
    VolumeState, VolumeStatus, Volumes, VolumesError,
};
pub use writer::{PutError, WriteError};
