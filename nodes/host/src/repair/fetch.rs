//! One shard from one source: the GET with the Bridge's ticket, at the pace of repairs, and the
//! hash that must be the shard's.

use std::sync::PoisonError;
use std::time::Duration;

use erasure::StreamHasher;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use model::wire::api::{SHARDS, Sighting};
use model::wire::limits::{HOST_ADDRESSES_MAX, TRANSFER_RATE_MIN};
use model::wire::repair::{RepairSource, SourceSeen};
use model::wire::{PROTOCOL_HEADER, ProblemCode, ProtocolVersions, Ticket, ticket_header};
use net::{Call, CallError, Endpoint};
use tokio::time::Instant;

use super::Repair;
use crate::buffers::Buffer;
use crate::limits::{SOURCE_GRACE, SOURCE_WITHIN};

/// A source that did not deliver.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// The call itself failed, or the source refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The ticket is none.
    #[error("the ticket for this source has {bytes} bytes")]
    Ticket {
        /// How long it is.
        bytes: usize,
    },
    /// Slower than the minimum rate.
    #[error("slower than {TRANSFER_RATE_MIN} bytes per second")]
    TooSlow,
    /// Bytes that are not the shard.
    #[error("sent bytes that are not the shard")]
    BadShard,
}

impl FetchError {
    /// What it says about the source.
    fn sighting(&self) -> Sighting {
        match self {
            Self::BadShard => Sighting::BadShard,
            Self::TooSlow => Sighting::Slow,
            Self::Ticket { .. } => Sighting::Refused,
            Self::Call(error) => match error.problem().map(|problem| problem.code) {
                Some(ProblemCode::NotFound | ProblemCode::ShardRotten) => Sighting::Missing,
                Some(ProblemCode::Busy | ProblemCode::TooSlow) => Sighting::Slow,
                Some(ProblemCode::TicketRefused | ProblemCode::Forbidden) => Sighting::Refused,
                Some(_) | None => Sighting::Silent,
            },
        }
    }
}

impl Repair<'_> {
    /// The shard of `source`, verified; `None` where it did not deliver, which is noted.
    pub(super) async fn fetch(&self, source: &RepairSource) -> Option<Buffer> {
        let error = match self.try_fetch(source).await {
            Ok(bytes) => return Some(bytes),
            Err(error) => error,
        };
        let (host, index) = (source.host, source.index);
        tracing::debug!(host = host.short(), index, %error, "a source did not deliver");
        let saw = error.sighting();
        let mut seen = self.saw.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(SourceSeen { host, index, saw });
        None
    }

    async fn try_fetch(&self, source: &RepairSource) -> Result<Buffer, FetchError> {
        let reply = self.dialer.send(&endpoint(source), &call(source)?).await?;
        let mut reply = reply.success().await?;
        let (node, mut buffer) = (self.node, self.node.body_buffers.take(None));
        let (mut hasher, mut waited) = (StreamHasher::default(), Duration::ZERO);
        loop {
            // Only what the source takes counts, not how long this Host makes it wait.
            let began = Instant::now();
            let chunk = reply.chunk().await?;
            waited += began.elapsed();
            let Some(chunk) = chunk else { break };
            if !buffer.append(&chunk) || buffer.as_ref().len() > self.size.as_usize() {
                return Err(FetchError::BadShard);
            }
            hasher.advance(buffer.as_ref());
            let least = TRANSFER_RATE_MIN.saturating_mul(waited.as_secs());
            if waited > SOURCE_GRACE && (buffer.as_ref().len() as u64) < least {
                return Err(FetchError::TooSlow);
            }
            node.moved.count_received(chunk.len() as u64);
            node.bandwidth_repair.grant(chunk.len()).await;
            node.bandwidth_down.grant(chunk.len()).await;
        }
        let whole = buffer.as_ref().len() == self.size.as_usize();
        if !whole || hasher.finish(buffer.as_ref()) != source.shard {
            return Err(FetchError::BadShard);
        }
        Ok(buffer)
    }
}

fn endpoint(source: &RepairSource) -> Endpoint {
    let addresses = source.addresses.iter().take(HOST_ADDRESSES_MAX);
    Endpoint::Host {
        id: source.host,
        addrs: addresses.filter_map(|text| text.parse().ok()).collect(),
    }
}

fn call(source: &RepairSource) -> Result<Call, FetchError> {
    let bytes = source.ticket.0.len();
    let ticket = HeaderValue::try_from(ticket_header(&source.ticket.0));
    let (Ok(ticket), Ticket::BYTES) = (ticket, bytes) else {
        return Err(FetchError::Ticket { bytes });
    };
    let mut call = Call::get(format!("{SHARDS}/{}", source.shard))
        .answer_within(SOURCE_WITHIN)
        .stall_within(SOURCE_WITHIN)
        .header(AUTHORIZATION, ticket);
    if let Ok(ours) = HeaderValue::try_from(ProtocolVersions::OURS.to_string()) {
        call = call.header(HeaderName::from_static(PROTOCOL_HEADER), ours);
    }
    Ok(call)
}
