//! One shard from one Host, or a run of its leaves: the GET, a rate that must not be too low, and
//! the hash that must be the manifest's, directly or by the run's proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use erasure::StreamHasher;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_RANGE, HeaderValue, RANGE};
use model::crypto::LeafRange;
use model::units::ShardId;
use model::wire::api::{SHARDS, Sighting};
use model::wire::limits::TRANSFER_RATE_MIN;
use model::wire::{
    LEAF_PROOF, LeafHeaderError, ProblemCode, content_range, decode_proof, range_header,
    ticket_header,
};
use net::{Call, CallError, Reply};
use tasks::time::Instant;

use super::layout::ReadPlace;
use crate::transfer::buffers::Buffer;
use crate::transfer::hosts::{Measure, Strike, Way};
use crate::transfer::{Progress, Transfer, speaking};

/// Another Host has the shard's like, so the silence a Host is allowed is divided by this. It must
/// begin to answer within that …
const SILENCE_PART: u32 = 2;
/// … and this for each transfer that is under way with it …
const FIRST_BYTE_PER_TRANSFER: Duration = Duration::from_millis(250);
/// … of which so many count.
const TRANSFERS_MAX: u32 = 8;
/// The minimum rate counts from here.
const RATE_GRACE: Duration = Duration::from_secs(4);

/// A GET that brought no good shard.
#[derive(Debug, thiserror::Error)]
pub(super) enum GetError {
    /// The call itself failed, or the Host refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Fewer or more bytes than the shard has.
    #[error("sent {bytes} bytes, the shard has {expected}")]
    Length {
        /// Bytes that came.
        bytes: usize,
        /// Bytes of the shard.
        expected: usize,
    },
    /// Slower than the minimum rate.
    #[error("slower than {TRANSFER_RATE_MIN} bytes per second")]
    TooSlow,
    /// Bytes that are not the shard.
    #[error("sent bytes that are not the shard")]
    BadShard,
    /// An answer that is not the one to what was asked for.
    #[error("answered another range of the shard than the one asked for")]
    OtherRange,
    /// A proof that cannot be read.
    #[error("sent no proof of the leaves")]
    NoProof(#[source] LeafHeaderError),
}

impl GetError {
    /// What it says about the Host.
    pub(super) fn sighting(&self) -> Sighting {
        match self {
            Self::BadShard | Self::Length { .. } | Self::OtherRange | Self::NoProof(_) => {
                Sighting::BadShard
            }
            Self::TooSlow => Sighting::Slow,
            Self::Call(error) => match error.problem().map(|problem| problem.code) {
                Some(ProblemCode::NotFound | ProblemCode::ShardRotten) => Sighting::Missing,
                Some(ProblemCode::Busy | ProblemCode::TooSlow) => Sighting::Slow,
                Some(ProblemCode::TicketRefused | ProblemCode::Forbidden) => Sighting::Refused,
                Some(_) | None => Sighting::Silent,
            },
        }
    }

    fn strike(&self) -> Strike {
        match self.sighting() {
            Sighting::Silent => Strike::Silent,
            Sighting::Slow => Strike::Slow,
            Sighting::BadShard => Strike::Dishonest,
            Sighting::Missing | Sighting::Refused => Strike::Refused,
        }
    }
}

/// A shard that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) place: ReadPlace,
    pub(super) id: ShardId,
    /// Which leaves of it.
    pub(super) leaves: LeafRange,
    /// Set as soon as the Host begins to answer.
    pub(super) heard: Arc<AtomicBool>,
}

/// Gets leaves of a shard into `buffer`, which has their size.
pub(super) async fn get_shard(
    transfer: &Transfer,
    ask: &Ask,
    mut buffer: Buffer,
    progress: &Progress,
) -> Result<Buffer, GetError> {
    let (book, host) = (transfer.hosts(), &ask.place.host);
    let _in_flight = book.enter(&host.id);
    match receive(transfer, ask, &mut buffer, progress).await {
        Ok(measure) => {
            book.went_well(&host.id, Way::Down, measure);
            Ok(buffer)
        }
        Err(error) => {
            tracing::debug!(host = %host.name, shard = %ask.id.short(), %error, "host did not give a shard");
            book.strike(&host.id, error.strike());
            Err(error)
        }
    }
}

async fn receive(
    transfer: &Transfer,
    ask: &Ask,
    buffer: &mut Buffer,
    progress: &Progress,
) -> Result<Measure, GetError> {
    let (began, place) = (Instant::now(), &ask.place);
    let others = transfer.hosts().in_flight(&place.host.id);
    let silent_after = transfer.limits().silent_after / SILENCE_PART;
    let call = get_call(ask)
        .answer_within(silent_after + FIRST_BYTE_PER_TRANSFER * others.min(TRANSFERS_MAX))
        .stall_within(silent_after);
    let reply = transfer
        .dialer()
        .send(&place.host.endpoint, &call)
        .await?
        .success()
        .await?;
    let first = began.elapsed();
    if reply.status() == StatusCode::OK && !ask.leaves.is_whole() {
        ask.heard.store(true, Ordering::Relaxed);
        take_from_whole(reply, ask, buffer, progress).await?;
    } else {
        let proof = proof_of(&reply, ask)?;
        ask.heard.store(true, Ordering::Relaxed);
        let hashes = fill(reply, buffer, progress).await?;
        let held = ask.leaves.verify_hashes(&ask.id, &hashes, &proof);
        held.map_err(|_| GetError::BadShard)?;
    }
    Ok(Measure {
        bytes: buffer.len(),
        first,
        rest: began.elapsed().saturating_sub(first),
    })
}

/// A Host of the first protocol version knows no ranges and gives the whole shard: the leaves are
/// taken from it once all of it was verified.
async fn take_from_whole(
    reply: Reply,
    ask: &Ask,
    buffer: &mut Buffer,
    progress: &Progress,
) -> Result<(), GetError> {
    let bytes = ask.leaves.bytes();
    let whole = LeafRange::whole(ask.leaves.shard_bytes()).map_err(|_| GetError::BadShard)?;
    let mut shard = vec![0; whole.len()];
    let hashes = fill(reply, &mut shard, progress).await?;
    let held = whole.verify_hashes(&ask.id, &hashes, &[]);
    held.map_err(|_| GetError::BadShard)?;
    let leaves = shard.get(bytes.start as usize..bytes.end as usize);
    buffer.copy_from_slice(leaves.ok_or(GetError::BadShard)?);
    Ok(())
}

/// The proof that comes with the leaves: none is needed for all of them.
fn proof_of(reply: &Reply, ask: &Ask) -> Result<Vec<[u8; 32]>, GetError> {
    let is_whole = ask.leaves.is_whole();
    let expected = if is_whole {
        StatusCode::OK
    } else {
        StatusCode::PARTIAL_CONTENT
    };
    if reply.status() != expected {
        let (peer, status) = (reply.peer().to_owned(), reply.status());
        return Err(CallError::Status { peer, status }.into());
    }
    if is_whole {
        return Ok(Vec::new());
    }
    let header = |name| {
        let value: Option<&HeaderValue> = reply.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    if header(CONTENT_RANGE.as_str()) != content_range(&ask.leaves) {
        return Err(GetError::OtherRange);
    }
    decode_proof(header(LEAF_PROOF)).map_err(GetError::NoProof)
}

/// Fills `buffer` with the body, which must be exactly as long, and hashes it on the way, while
/// its bytes are in the cache: a fraction of a millisecond at a time. Returns the leaves' hashes.
async fn fill(
    mut reply: Reply,
    buffer: &mut [u8],
    progress: &Progress,
) -> Result<Vec<[u8; 32]>, GetError> {
    let (began, expected) = (Instant::now(), buffer.len());
    let mut hasher = StreamHasher::default();
    let mut bytes = 0;
    while let Some(chunk) = reply.chunk().await? {
        let end = bytes + chunk.len();
        let gap = buffer.get_mut(bytes..end);
        gap.ok_or(GetError::Length {
            bytes: end,
            expected,
        })?
        .copy_from_slice(&chunk);
        bytes = end;
        hasher.advance(buffer.get(..bytes).unwrap_or_default());
        progress.shard_bytes_received.add(chunk.len() as u64);
        let elapsed = began.elapsed();
        if elapsed > RATE_GRACE && (bytes as u64) < TRANSFER_RATE_MIN * elapsed.as_secs() {
            return Err(GetError::TooSlow);
        }
    }
    if bytes < expected {
        return Err(GetError::Length { bytes, expected });
    }
    Ok(hasher.finish_leaves(buffer))
}

fn get_call(ask: &Ask) -> Call {
    let mut call = speaking(Call::get(format!("{SHARDS}/{}", ask.id)));
    // Digits and base64 text are always header values.
    if !ask.leaves.is_whole()
        && let Ok(range) = HeaderValue::try_from(range_header(&ask.leaves))
    {
        call = call.header(RANGE, range);
    }
    match HeaderValue::try_from(ticket_header(&ask.place.ticket)) {
        Ok(ticket) => call.header(AUTHORIZATION, ticket),
        Err(_) => call,
    }
}
