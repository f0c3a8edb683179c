//! Large requests to peers that do not take them, do not answer them, or are slow about it.

use std::time::Duration;

use crate::common::{dialer, host, serve, tls};
use axum::body::Body;
use axum::routing::put;
use futures_util::StreamExt as _;
use model::wire::limits::TRANSFER_RATE_MIN;
use net::{Call, CallError, Reply, Router, ServeLimits, Step};

/// More than all buffers on the way hold together.
const BODY_BYTES: usize = 12_000_000;
/// What a slow peer takes, bytes per second: far more than what servers ask for at least.
const SLOW_RATE: u64 = 4_000_000;

const _: () = assert!(SLOW_RATE > 10 * TRANSFER_RATE_MIN);

async fn read(body: Body, bytes_per_second: Option<u64>) -> u64 {
    let (mut pieces, mut bytes) = (body.into_data_stream(), 0);
    while let Some(piece) = pieces.next().await {
        let length = piece.unwrap().len() as u64;
        bytes += length;
        if let Some(rate) = bytes_per_second {
            tokio::time::sleep(Duration::from_micros(1_000_000 * length / rate)).await;
        }
    }
    bytes
}

fn router() -> Router {
    Router::new()
        .route("/unread", put(|_unread: Body| std::future::pending::<()>()))
        .route(
            "/unanswered",
            put(|body: Body| async {
                read(body, None).await;
                std::future::pending::<()>().await;
            }),
        )
        .route(
            "/slow",
            put(|body: Body| async { read(body, Some(SLOW_RATE)).await.to_string() }),
        )
}

/// Puts a large body to `path` of a fresh peer.
async fn put_large(path: &str, stall: Duration, answer: Duration) -> Result<Reply, CallError> {
    let served = serve(tls(1), ServeLimits::default(), router());
    let call = Call::put(path, vec![7; BODY_BYTES])
        .stall_within(stall)
        .answer_within(answer);
    dialer().send(&host(1, served.addr), &call).await
}

/// The step that took longer than it may, and the limit.
fn timed_out(outcome: Result<Reply, CallError>) -> (Step, Duration) {
    match outcome {
        Err(CallError::Timeout { step, after, .. }) => (step, after),
        other => panic!("{other:?}"),
    }
}

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_peer_that_never_reads_is_a_stall() {
    let outcome = put_large("/unread", SHORT, LONG).await;
    assert_eq!(timed_out(outcome), (Step::Send, SHORT));
}

#[tokio::test]
async fn a_peer_that_reads_all_and_never_answers_is_overdue() {
    let (step, after) = timed_out(put_large("/unanswered", LONG, SHORT).await);
    assert_eq!(step, Step::Answer);
    assert!(after < LONG, "{after:?}");
}

#[tokio::test]
async fn a_slow_peer_that_moves_may_take_longer_than_its_answer() {
    let limit = Duration::from_secs(1);
    let began = std::time::Instant::now();
    let mut reply = put_large("/slow", limit, limit).await.unwrap();
    let answer = reply.collect_limited(20).await.unwrap();
    assert_eq!(answer, BODY_BYTES.to_string());
    // The peer sleeps so long by itself: this says nothing of how fast the machine is.
    assert!(began.elapsed() > 2 * limit, "the limit was never at stake");
}
