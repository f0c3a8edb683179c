//! Everything a Host bounds, by name.

use std::time::Duration;

/// Bodies that are received at a time, each up to one shard in memory.
pub(crate) const BODIES_MAX: usize = 16;
/// Further uploads that wait for one of those to end, their bodies unread.
pub(crate) const BODIES_WAITING_MAX: usize = 256;
/// How long an upload waits for its turn before it is told to come back.
pub(crate) const BODY_TURN_WITHIN: Duration = Duration::from_secs(20);
/// Shards that are sent at a time.
pub(crate) const READS_MAX: usize = 64;
/// Bytes read from a log at once.
pub(crate) const READ_CHUNK_BYTES: usize = 256 * 1024;
/// Shards that are hashed at a time for proofs of their leaves.
pub(crate) const PROOFS_AT_ONCE_MAX: usize = 2;
/// Shards whose leaf hashes are remembered, 960 bytes each at most.
pub(crate) const LEAF_LISTS_MAX: usize = 4_096;
/// Tickets whose bytes are counted at a time.
pub(crate) const TICKETS_COUNTED_MAX: usize = 65_536;
/// Seconds after which a client that was told `busy` may ask again.
pub(crate) const RETRY_AFTER_S: u32 = 1;

/// First pause before the Bridge is dialled again; doubles up to [`REDIAL_AFTER_MAX`].
pub(crate) const REDIAL_AFTER_MIN: Duration = Duration::from_millis(250);
/// Longest pause before the Bridge is dialled again.
pub(crate) const REDIAL_AFTER_MAX: Duration = Duration::from_secs(30);
/// How long each message of the greeting may take.
pub(crate) const GREETING_WITHIN: Duration = Duration::from_secs(15);
/// Longest pause between heartbeats that a Bridge may ask for, and the shortest.
pub(crate) const HEARTBEAT_MS_MAX: u64 = 600_000;
/// See [`HEARTBEAT_MS_MAX`].
pub(crate) const HEARTBEAT_MS_MIN: u64 = 100;
/// How often the hours of the schedule are looked at.
pub(crate) const SCHEDULE_LOOK: Duration = Duration::from_secs(5);
/// How often the status file is brought up to date.
pub(crate) const STATUS_EVERY: Duration = Duration::from_secs(2);
/// How often volumes are looked at: those that are there may have gone, those that are away may
/// be back.
pub(crate) const VOLUMES_LOOK: Duration = Duration::from_secs(10);
/// How often it is looked whether a shard is due to be scrubbed, or a log to be rewritten.
pub(crate) const UPKEEP_LOOK: Duration = Duration::from_secs(20);
/// Bytes that are scrubbed in one go.
pub(crate) const SCRUB_STEP_BYTES: u64 = 4 << 20;
/// Upkeep gives way to transfers for as long as this, then it does a little all the same.
pub(crate) const UPKEEP_GIVES_WAY: Duration = Duration::from_secs(5);
/// Pause between two looks whether transfers are under way.
pub(crate) const UPKEEP_PAUSE: Duration = Duration::from_millis(100);
/// A log of which less than this percentage is needed is rewritten.
pub(crate) const COMPACT_BELOW_PERCENT: u8 = 60;

/// Challenges of one Bridge that wait; it should ask one at a time.
pub(crate) const AUDITS_WAITING_MAX: usize = 4;
/// Inventories of one Bridge that wait.
pub(crate) const INVENTORIES_WAITING_MAX: usize = 4;
/// Repair orders of one Bridge that are under way or wait.
pub(crate) const REPAIRS_WAITING_MAX: usize = 16;
/// Answers to a Bridge that wait for its channel.
pub(crate) const ANSWERS_QUEUED_MAX: usize = 16;
/// Bytes of a challenge that an owner sends.
pub(crate) const CHALLENGE_BYTES_MAX: usize = 8_192;
/// Repairs at a time, each with up to k shards in memory.
pub(crate) const REPAIRS_AT_ONCE_MAX: usize = 2;
/// Repairs take this percentage of the declared bandwidth at most …
pub(crate) const REPAIR_BANDWIDTH_PERCENT: u64 = 20;
/// … but never less than this, below which the sources would give up.
pub(crate) const REPAIR_BYTES_PER_S_MIN: u64 = 32_768;
/// How long the source of a repair may take to begin, and be silent in between.
pub(crate) const SOURCE_WITHIN: Duration = Duration::from_secs(10);
/// The least rate of a source counts from here.
pub(crate) const SOURCE_GRACE: Duration = Duration::from_secs(4);

/// Records in the trash; beyond that the oldest are removed before their time.
pub(crate) const TRASH_RECORDS_MAX: usize = 262_144;
/// Records that are removed from the trash in one go.
pub(crate) const TRASH_STEP_RECORDS: usize = 1_024;
/// How often the trash is looked at.
pub(crate) const TRASH_LOOK: Duration = Duration::from_secs(1);
/// How often trash is given up for one shard before that is refused.
pub(crate) const TRASH_ROUNDS_MAX: usize = 8;
/// Retain sets of one Bridge that wait.
pub(crate) const RETAINS_WAITING_MAX: usize = 4;
/// Records that are looked at in one go for a retain set.
pub(crate) const RETAIN_STEP_RECORDS: usize = 4_096;
/// Orders that wait for the Bridge's mark.
pub(crate) const ORDERS_HELD_MAX: usize = 64;
/// A mark is written down when it has grown by so much: a restart forgets less.
pub(crate) const MARK_WRITTEN_EVERY: u64 = 5;
/// Events kept, and the newest of each Bridge.
pub(crate) const EVENTS_KEPT_MAX: usize = 10_000;
/// Events beyond that, before the file is written anew.
pub(crate) const EVENTS_SLACK: usize = 1_000;
/// Bytes of one event as it is kept.
pub(crate) const EVENT_LINE_BYTES_MAX: usize = 32_768;
/// How often it is looked what the owner wishes.
pub(crate) const WISHES_LOOK: Duration = Duration::from_secs(1);
