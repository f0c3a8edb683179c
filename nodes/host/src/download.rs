//! Download: one shard goes out, or a run of its leaves with the proof that they are the shard's,
//! in chunks read from its log as fast as the client takes them.
//!
//! The bytes that go out are not checked against the shard's hash here: the client does that with
//! every byte, and the scrub does it with every shard.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE,
};
use http::{HeaderMap, StatusCode};
use model::crypto::LeafRange;
use model::units::{BridgeId, ParseIdError, ShardId};
use model::wire::{
    LEAF_PROOF, LeafHeaderError, ProblemCode, TicketPurpose, content_range, encode_proof,
    parse_range_header,
};
use shardstore::{ReadError, Seen, ShardReader};
use tokio::sync::OwnedSemaphorePermit;

use crate::about::require_promised_hour;
use crate::host::Node;
use crate::limits::READ_CHUNK_BYTES;
use crate::proof;
use crate::refusal::Refusal;
use crate::ticket::{self, Allowance};

/// `GET /v1/shards/{id}`: the shard's bytes, or with `Range` some of its leaves and their proof.
pub(crate) async fn get_shard(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let id: ShardId = id
        .parse()
        .map_err(|error: ParseIdError| Refusal::new(ProblemCode::BadRequest, error.to_string()))?;
    let (now, bridges) = (node.environment.now(), &node.bridges);
    let ticket = ticket::check(&headers, now, &node.id, bridges, TicketPurpose::Read(id))?;
    require_promised_hour(&node)?;
    let turn = Arc::clone(&node.reads).try_acquire_owned();
    let turn =
        turn.map_err(|_| Refusal::new(ProblemCode::Busy, "this host is sending all it can"))?;
    let shard = find(&node, ticket.ticket().bridge, id).await?;
    let leaves = wanted(&headers, &shard)?;
    let bytes = leaves.map_or(0..shard.shard_bytes(), |leaves| leaves.bytes());
    let length = bytes.end - bytes.start;
    let allowance = node
        .allowances
        .take(ticket.ticket(), u64::from(length), now)?;
    let proof = match leaves {
        Some(leaves) => Some((leaves, proof::of(&node, &shard, leaves).await?)),
        None => None,
    };
    let sending = Sending {
        node,
        shard,
        next: bytes.start,
        end: bytes.end,
        allowance,
        _turn: turn,
    };
    let body = Body::from_stream(chunks(sending));
    Ok(answer(body, length, proof))
}

/// The leaves that are asked for; `None` for the whole shard.
fn wanted(headers: &HeaderMap, shard: &ShardReader) -> Result<Option<LeafRange>, Refusal> {
    let Some(value) = headers.get(RANGE) else {
        return Ok(None);
    };
    value
        .to_str()
        .map_err(|_| LeafHeaderError::Range)
        .and_then(|text| parse_range_header(text, shard.shard_bytes()))
        .map(Some)
        .map_err(|error| Refusal::new(ProblemCode::BadRequest, error.to_string()))
}

fn answer(body: Body, length: u32, proof: Option<(LeafRange, Vec<[u8; 32]>)>) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some((leaves, proof)) = proof {
        // Digits and base64 are always header values.
        if let Ok(value) = HeaderValue::try_from(content_range(&leaves)) {
            headers.insert(CONTENT_RANGE, value);
        }
        if let Ok(value) = HeaderValue::try_from(encode_proof(&proof)) {
            headers.insert(LEAF_PROOF, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

async fn find(node: &Arc<Node>, bridge: BridgeId, id: ShardId) -> Result<ShardReader, Refusal> {
    let looking = Arc::clone(node);
    let seen = tasks::spawn_blocking(move || looking.volumes.look_up(&bridge, &id)).await;
    let (code, detail) = match seen {
        Ok(Seen::Here(shard)) => return Ok(shard),
        Ok(Seen::NotHere) => (ProblemCode::NotFound, format!("shard {id} is not here")),
        Ok(Seen::Unseen) => (
            ProblemCode::ShardUnseen,
            format!("shard {id} may lie on a volume that this host cannot see now"),
        ),
        Ok(Seen::Rotten) => (
            ProblemCode::ShardRotten,
            format!("shard {id} has rotted on this host's disk"),
        ),
        Err(_) => (ProblemCode::Unavailable, "this host is stopping".to_owned()),
    };
    Err(Refusal::new(code, detail))
}

/// A shard on its way out.
struct Sending {
    node: Arc<Node>,
    shard: ShardReader,
    next: u32,
    end: u32,
    allowance: Allowance,
    _turn: OwnedSemaphorePermit,
}

/// A shard that broke off on its way out.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the shard cannot be read")]
    Read(#[from] ReadError),
    #[error("the host is stopping")]
    Stopping(#[from] tokio::task::JoinError),
}

fn chunks(sending: Sending) -> impl Stream<Item = Result<Bytes, SendError>> {
    stream::try_unfold(sending, |mut sending| async move {
        let chunk = sending.chunk().await?;
        Ok(chunk.map(|chunk| (chunk, sending)))
    })
}

impl Sending {
    async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        let left = (self.end - self.next) as usize;
        let len = left.min(READ_CHUNK_BYTES);
        if len == 0 {
            return Ok(None);
        }
        self.node.bandwidth_up.grant(len).await;
        let bytes = self.read(len).await?;
        self.next += u32::try_from(len).unwrap_or(u32::MAX);
        self.allowance.spend(len);
        self.node.moved.count_sent(len as u64);
        Ok(Some(bytes))
    }

    /// The next `len` bytes: at once where they are in memory, else on a thread that may wait.
    async fn read(&self, len: usize) -> Result<Bytes, SendError> {
        let mut buffer = self.node.chunk_buffers.take(None);
        if self.shard.read_cached(self.next, buffer.fill(len))? {
            return Ok(buffer.into_bytes());
        }
        let (shard, start) = (self.shard.clone(), self.next);
        let bytes = tasks::spawn_blocking(move || {
            shard
                .read_at(start, buffer.fill(len))
                .map(|()| buffer.into_bytes())
        });
        Ok(bytes
            .await?
            .inspect_err(|error| tracing::error!(%error, "shard not read"))?)
    }
}
