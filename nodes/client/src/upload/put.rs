//! One shard to one Host: the PUT, and the check of the receipt that comes back.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use model::units::{ShardId, ShardSize};
use model::wire::limits::TRANSFER_RATE_MIN;
use model::wire::{Base64, ProblemCode, StoreReceipt, StoreReceiptError, ticket_header};
use net::{Call, CallError, Payload};
use tokio::time::Instant;

use super::plan::Place;
use crate::transfer::hosts::{Measure, Strike, Way};
use crate::transfer::{SHARD_ID_HEADER, SHARDS_PATH, Transfer};

/// A Host that was never tried gets the time that the minimum rate allows, and this.
const GRACE: Duration = Duration::from_secs(10);
/// With experience a Host gets this many times what is expected, but not less than …
const PATIENCE: u32 = 20;
/// … this.
const PATIENCE_MIN: Duration = Duration::from_secs(15);
/// Largest answer that is read: a receipt is much smaller.
const RECEIPT_BYTES_MAX: usize = 1_024;

/// A shard on its way.
#[derive(Clone, Debug)]
pub(super) struct OutgoingShard {
    pub(super) id: ShardId,
    pub(super) bytes: bytes::Bytes,
}

/// A PUT that brought no receipt.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    /// The call itself failed, or the Host refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What came back is no receipt of that Host.
    #[error("its receipt is not good")]
    Receipt(#[from] StoreReceiptError),
    /// The receipt is for something else.
    #[error("its receipt is for another shard")]
    OtherReceipt,
}

impl PutError {
    /// Whether the same Host may take it when asked again.
    pub(super) fn may_pass(&self) -> bool {
        match self.strike() {
            Strike::Busy | Strike::Silent | Strike::Slow => true,
            Strike::Refused | Strike::Dishonest => false,
        }
    }

    /// What it says about the Host.
    pub(super) fn strike(&self) -> Strike {
        let Self::Call(error) = self else {
            return Strike::Dishonest;
        };
        match error.problem().map(|problem| problem.code) {
            Some(ProblemCode::Busy) => Strike::Busy,
            Some(ProblemCode::TooSlow | ProblemCode::Internal | ProblemCode::Unavailable)
            | None => Strike::Silent,
            Some(_) => Strike::Refused,
        }
    }
}

/// Puts `shard` at `place` and returns the Host's receipt for it.
pub(super) async fn put_shard(
    transfer: &Transfer,
    place: &Place,
    shard: &OutgoingShard,
) -> Result<Base64, PutError> {
    let (book, host) = (transfer.hosts(), &place.host);
    let _in_flight = book.enter(&host.id);
    let bytes = shard.bytes.len();
    let began = Instant::now();
    let call = put_call(
        place,
        shard,
        time_limit(book.expected(&host.id, Way::Up, bytes), bytes),
    );
    let outcome = exchange(transfer, place, shard, &call).await;
    match &outcome {
        Ok(_) => {
            let measure = Measure {
                bytes,
                first: Duration::ZERO,
                rest: began.elapsed(),
            };
            book.went_well(&host.id, Way::Up, measure);
        }
        Err(error) => {
            tracing::debug!(host = %host.name, %error, "host did not take a shard");
            book.strike(&host.id, error.strike());
        }
    }
    outcome
}

async fn exchange(
    transfer: &Transfer,
    place: &Place,
    shard: &OutgoingShard,
    call: &Call,
) -> Result<Base64, PutError> {
    let reply = transfer.dialer().send(&place.host.endpoint, call).await?;
    let signed = reply
        .success()
        .await?
        .collect_limited(RECEIPT_BYTES_MAX)
        .await?;
    let receipt = StoreReceipt::open(&signed)?;
    let is_ours = receipt.serial == place.serial
        && receipt.bridge == place.bridge
        && receipt.host == place.host.id
        && receipt.shard == shard.id
        && ShardSize::try_from(u32::try_from(shard.bytes.len()).unwrap_or(0)) == Ok(receipt.size);
    if is_ours {
        Ok(Base64(signed.to_vec()))
    } else {
        Err(PutError::OtherReceipt)
    }
}

fn put_call(place: &Place, shard: &OutgoingShard, within: Duration) -> Call {
    let id = HeaderValue::try_from(shard.id.to_string());
    let ticket = HeaderValue::try_from(ticket_header(&place.ticket));
    let call = Call::put(SHARDS_PATH, Payload::from(shard.bytes.clone())).answer_within(within);
    // Hexadecimal and base64 text is always a header value.
    match (id, ticket) {
        (Ok(id), Ok(ticket)) => call
            .header(HeaderName::from_static(SHARD_ID_HEADER), id)
            .header(AUTHORIZATION, ticket),
        _ => call,
    }
}

fn time_limit(expected: Option<Duration>, bytes: usize) -> Duration {
    let longest = GRACE + Duration::from_secs(bytes as u64 / TRANSFER_RATE_MIN);
    expected.map_or(longest, |expected| {
        expected
            .saturating_mul(PATIENCE)
            .max(PATIENCE_MIN)
            .min(longest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_experience() {
        let limit = |expected_ms: Option<u64>| {
            time_limit(expected_ms.map(Duration::from_millis), 1_966_080).as_secs()
        };
        assert_eq!(limit(None), 130);
        assert_eq!(limit(Some(10)), 15);
        assert_eq!(limit(Some(2_000)), 40);
        assert_eq!(limit(Some(60_000)), 130);
    }
}
