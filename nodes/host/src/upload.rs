//! Upload: one shard comes in, is hashed while it arrives, made durable, and only then receipted.
//!
//! Everything that can be refused is refused before a byte of the body is read, in the order of
//! cost: lengths, ticket, hours, serial, turn, space.

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use erasure::StreamHasher;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use model::units::{OwnerTag, ShardId, ShardSize};
use model::wire::api::SHARD_ID_HEADER;
use model::wire::{ProblemCode, TicketPurpose};
use shardstore::{NewShard, RecordKey, Stored};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::about::require_promised_hour;
use crate::buffers::Buffer;
use crate::host::Node;
use crate::limits::BODY_TURN_WITHIN;
use crate::refusal::Refusal;
use crate::storing::{self, already_stored, not_stored, room};
use crate::ticket;

/// `PUT /v1/shards`: stores the body and answers a signed receipt.
pub(crate) async fn put_shard(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let announced = announced(&node, &parts.headers)?;
    let (key, named) = (announced.key, (announced.id, announced.size));
    if let Some(stored) = already_stored(&node, key, announced.id).await? {
        return Ok(receipt(&node, key, named, stored));
    }
    let turn = turn(&node).await?;
    let (_quota, room) = room(&node, announced.key.bridge, announced.size).await?;
    let bytes = receive(&node, body, turn, &announced).await?.into_bytes();
    let now = node.environment.now();
    let shard = NewShard::new(announced.key, announced.id, announced.owner, now, bytes)
        .map_err(|error| Refusal::new(ProblemCode::BadRequest, error.to_string()))?;
    let stored = node
        .volumes
        .put(shard, room)
        .await
        .map_err(|error| not_stored(&error))?;
    node.moved.count_received(u64::from(stored.shard_bytes));
    Ok(receipt(&node, key, named, stored))
}

/// `GET /v1/receipts/{id}`: the receipt again, where the shard is stored under the PUT
/// ticket's serial. So who was interrupted learns what is here without sending it again.
pub(crate) async fn get_receipt(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let id: ShardId = id
        .parse()
        .map_err(|_| Refusal::new(ProblemCode::BadRequest, "not the id of a shard"))?;
    let (now, bridges) = (node.environment.now(), &node.bridges);
    let ticket = ticket::check(&headers, now, &node.id, bridges, TicketPurpose::Store)?;
    let key = RecordKey {
        bridge: ticket.ticket().bridge,
        serial: ticket.ticket().serial,
    };
    let stored = already_stored(&node, key, id).await?.ok_or_else(|| {
        let detail = "nothing is stored here under the ticket's serial";
        Refusal::new(ProblemCode::NotFound, detail)
    })?;
    let size = ShardSize::new(stored.shard_bytes).map_err(|error| {
        tracing::error!(%error, "a stored shard has a size that no shard has");
        Refusal::new(ProblemCode::Internal, "this host's store is damaged")
    })?;
    Ok(receipt(&node, key, (id, size), stored))
}

/// An upload that may begin.
struct Announced {
    key: RecordKey,
    id: ShardId,
    owner: OwnerTag,
    size: ShardSize,
}

fn announced(node: &Node, headers: &HeaderMap) -> Result<Announced, Refusal> {
    let size = announced_size(headers)?;
    let id = headers
        .get(SHARD_ID_HEADER)
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let id = id.ok_or_else(|| {
        let detail = format!("the header `{SHARD_ID_HEADER}` must name the shard");
        Refusal::new(ProblemCode::BadRequest, detail)
    })?;
    let (now, bridges) = (node.environment.now(), &node.bridges);
    let ticket = ticket::check(headers, now, &node.id, bridges, TicketPurpose::Store)?;
    let limit = ticket.ticket().bytes_max;
    if u64::from(size.bytes()) > limit {
        let detail = format!("{} bytes, the ticket is for {limit}", size.bytes());
        return Err(Refusal::new(ProblemCode::TooLarge, detail));
    }
    let owner = ticket.owner_tag().unwrap_or_default();
    require_promised_hour(node)?;
    let key = RecordKey {
        bridge: ticket.ticket().bridge,
        serial: ticket.ticket().serial,
    };
    Ok(Announced {
        key,
        id,
        owner,
        size,
    })
}

fn announced_size(headers: &HeaderMap) -> Result<ShardSize, Refusal> {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let length: u64 = length.ok_or_else(|| {
        Refusal::new(
            ProblemCode::BadRequest,
            "a shard comes with its content-length",
        )
    })?;
    if length > u64::from(ShardSize::MAX.bytes()) {
        let detail = format!(
            "{length} bytes, a shard has at most {}",
            ShardSize::MAX.bytes()
        );
        return Err(Refusal::new(ProblemCode::TooLarge, detail));
    }
    ShardSize::new(u32::try_from(length).unwrap_or(u32::MAX))
        .map_err(|error| Refusal::new(ProblemCode::BadRequest, error.to_string()))
}

/// Waits until one more body may be in memory; the turn lasts until that memory is free again,
/// also where the client goes away while the store is at work.
async fn turn(node: &Node) -> Result<OwnedSemaphorePermit, Refusal> {
    let busy = || Refusal::new(ProblemCode::Busy, "this host is receiving all it can");
    if let Ok(turn) = Arc::clone(&node.bodies).try_acquire_owned() {
        return Ok(turn);
    }
    let _waiting = node.bodies_waiting.try_acquire().map_err(|_| busy())?;
    match timeout(BODY_TURN_WITHIN, Arc::clone(&node.bodies).acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(busy()),
    }
}

async fn receive(
    node: &Node,
    mut body: Body,
    turn: OwnedSemaphorePermit,
    announced: &Announced,
) -> Result<Buffer, Refusal> {
    let mut buffer = node.body_buffers.take(Some(turn));
    let mut hasher = StreamHasher::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_off(&error))?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        node.bandwidth_down.grant(bytes.len()).await;
        if !buffer.append(&bytes) {
            return Err(Refusal::new(
                ProblemCode::TooLarge,
                "more bytes than announced",
            ));
        }
        hasher.advance(buffer.as_ref());
    }
    if buffer.as_ref().len() != announced.size.as_usize() {
        return Err(Refusal::new(
            ProblemCode::BadRequest,
            "fewer bytes than announced",
        ));
    }
    let found = hasher.finish(buffer.as_ref());
    if found != announced.id {
        let detail = format!("the body hashes to {found}, not to {}", announced.id);
        return Err(Refusal::new(ProblemCode::HashMismatch, detail));
    }
    Ok(buffer)
}

fn broken_off(error: &axum::Error) -> Refusal {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(slow) = error.downcast_ref::<net::TooSlow>() {
            return Refusal::new(ProblemCode::TooSlow, slow.to_string());
        }
        cause = error.source();
    }
    Refusal::new(ProblemCode::BadRequest, "the body broke off")
}

fn receipt(
    node: &Node,
    key: RecordKey,
    (shard, size): (ShardId, ShardSize),
    stored: Stored,
) -> Response {
    let receipt = storing::signed_receipt(node, key, (shard, size), &stored);
    let status = if stored.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let octets = [(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    )];
    (status, octets, receipt).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_crawling_body_and_a_broken_one_are_told_apart() {
        let slow = net::TooSlow {
            moved_bytes: 5,
            behind: Duration::from_secs(10),
        };
        let Refusal(problem) = broken_off(&axum::Error::new(slow));
        assert_eq!((problem.status, problem.code), (408, ProblemCode::TooSlow));
        let Refusal(problem) = broken_off(&axum::Error::new(std::io::Error::other("reset")));
        assert_eq!(problem.code, ProblemCode::BadRequest);
    }
}
