//! One shard to one Host: the PUT, and the check of the receipt that comes back.

use std::time::Duration;

use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use model::units::{ShardId, ShardSize};
use model::wire::api::{RECEIPTS, SHARD_ID_HEADER, SHARDS};
use model::wire::limits::TRANSFER_RATE_MIN;
use model::wire::{Base64, ProblemCode, StoreReceipt, StoreReceiptError, ticket_header};
use net::{Call, CallError, ConnectError, Payload};
use tasks::time::{Instant, timeout};

use super::plan::Place;
use crate::transfer::hosts::{Measure, Strike, Way};
use crate::transfer::{Transfer, speaking};

/// However steadily a shard moves, it gets the time that the minimum rate allows, and this.
const GRACE: Duration = Duration::from_secs(30);
/// A Host that has all of a shard may take this many times what is expected until it answers …
const EXPECTED_TIMES: u32 = 20;
/// … but not longer than so many times the silence that any Host is allowed.
const SILENCES_MAX: u32 = 2;
/// Largest answer that is read: a receipt is much smaller.
const RECEIPT_BYTES_MAX: usize = 1_024;

/// A shard on its way.
#[derive(Clone, Debug)]
pub(super) struct OutgoingShard {
    pub(super) id: ShardId,
    pub(super) bytes: bytes::Bytes,
    /// It may be at the Host already, which is asked first.
    pub(super) sent_before: bool,
}

/// A shard that a Host has.
#[derive(Clone, Debug)]
pub(super) struct TakenShard {
    pub(super) receipt: Base64,
    /// It was there already: nothing was sent.
    pub(super) was_there: bool,
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
    /// It took the shard more slowly than the minimum rate.
    #[error("slower than {TRANSFER_RATE_MIN} bytes per second")]
    TooSlow,
}

impl PutError {
    /// Whether the same Host may take it when asked again.
    pub(super) fn may_pass(&self) -> bool {
        match self.strike() {
            Strike::Busy | Strike::Silent | Strike::Slow => true,
            Strike::Refused | Strike::Dishonest => false,
        }
    }

    /// How long the Host was waited for without any sign of it.
    pub(super) const fn silence(&self) -> Duration {
        match self {
            Self::Call(
                CallError::Timeout { after, .. }
                | CallError::Connect {
                    source: ConnectError::Timeout { after },
                    ..
                },
            ) => *after,
            Self::Call(_) | Self::Receipt(_) | Self::OtherReceipt | Self::TooSlow => Duration::ZERO,
        }
    }

    /// What it says about the Host.
    pub(super) fn strike(&self) -> Strike {
        let error = match self {
            Self::Call(error) => error,
            Self::TooSlow => return Strike::Slow,
            Self::Receipt(_) | Self::OtherReceipt => return Strike::Dishonest,
        };
        match error.problem().map(|problem| problem.code) {
            Some(ProblemCode::Busy) => Strike::Busy,
            Some(ProblemCode::TooSlow | ProblemCode::Internal | ProblemCode::Unavailable)
            | None => Strike::Silent,
            Some(_) => Strike::Refused,
        }
    }
}

/// Puts `shard` at `place` and returns the Host's receipt for it. The Host may be silent as long
/// as any may, but not beyond `patience`.
pub(super) async fn put_shard(
    transfer: &Transfer,
    place: &Place,
    shard: &OutgoingShard,
    patience: Duration,
) -> Result<TakenShard, PutError> {
    let (book, host) = (transfer.hosts(), &place.host);
    let _in_flight = book.enter(&host.id);
    let bytes = shard.bytes.len();
    let began = Instant::now();
    let silent_after = transfer.limits().silent_after;
    let expected = book.expected(&host.id, Way::Up, bytes);
    let call = put_call(place, shard)
        .stall_within(silent_after.min(patience))
        .answer_within(answer_limit(expected, silent_after).min(patience));
    let exchange = async {
        if shard.sent_before
            && let Some(receipt) = ask(transfer, place, shard, silent_after.min(patience)).await?
        {
            let was_there = true;
            return Ok(TakenShard { receipt, was_there });
        }
        let reply = transfer.dialer().send(&place.host.endpoint, &call).await?;
        let receipt = read_receipt(reply, place, shard).await?;
        let was_there = false;
        Ok(TakenShard { receipt, was_there })
    };
    let outcome = timeout(slowest(bytes), exchange)
        .await
        .unwrap_or(Err(PutError::TooSlow));
    match &outcome {
        Ok(TakenShard {
            was_there: true, ..
        }) => {}
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

/// The receipt of an earlier run, where the Host has the shard.
async fn ask(
    transfer: &Transfer,
    place: &Place,
    shard: &OutgoingShard,
    within: Duration,
) -> Result<Option<Base64>, PutError> {
    let call = with_ticket(Call::get(format!("{RECEIPTS}/{}", shard.id)), place)
        .stall_within(within)
        .answer_within(within);
    let reply = transfer.dialer().send(&place.host.endpoint, &call).await?;
    if reply.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    read_receipt(reply, place, shard).await.map(Some)
}

async fn read_receipt(
    reply: net::Reply,
    place: &Place,
    shard: &OutgoingShard,
) -> Result<Base64, PutError> {
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

fn put_call(place: &Place, shard: &OutgoingShard) -> Call {
    let call = with_ticket(Call::put(SHARDS, Payload::from(shard.bytes.clone())), place);
    // Hexadecimal text is always a header value.
    match HeaderValue::try_from(shard.id.to_string()) {
        Ok(id) => call.header(HeaderName::from_static(SHARD_ID_HEADER), id),
        Err(_) => call,
    }
}

fn with_ticket(call: Call, place: &Place) -> Call {
    // Base64 text is always a header value.
    let call = speaking(call);
    match HeaderValue::try_from(ticket_header(&place.ticket)) {
        Ok(ticket) => call.header(AUTHORIZATION, ticket),
        Err(_) => call,
    }
}

/// How long a Host that has all of a shard may take to answer: its disk may be busy.
fn answer_limit(expected: Option<Duration>, silent_after: Duration) -> Duration {
    let usual = expected.unwrap_or_default().saturating_mul(EXPECTED_TIMES);
    usual.clamp(silent_after, silent_after * SILENCES_MAX)
}

/// How long a shard may take as long as it moves.
fn slowest(bytes: usize) -> Duration {
    GRACE + Duration::from_secs(bytes as u64 / TRANSFER_RATE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_follows_experience() {
        let limit = |expected_ms: Option<u64>| {
            let expected = expected_ms.map(Duration::from_millis);
            answer_limit(expected, Duration::from_secs(10)).as_secs()
        };
        assert_eq!(limit(None), 10);
        assert_eq!(limit(Some(10)), 10);
        assert_eq!(limit(Some(700)), 14);
        assert_eq!(limit(Some(60_000)), 20);
    }

    #[test]
    fn eight_shards_share_the_slowest_line() {
        let (line_bytes_per_second, shard_bytes) = (125_000, 1_966_080);
        let together = Duration::from_secs(8 * shard_bytes as u64 / line_bytes_per_second);
        assert!(slowest(shard_bytes) > together + Duration::from_secs(20));
    }
}
