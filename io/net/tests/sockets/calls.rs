//! Requests, answers and channels over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{bridge, dialer, host, loopback, serve, serve_at, tight, tls};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use bytes::Bytes;
use model::wire::{Problem, ProblemCode};
use net::{Call, CallError, Dialer, DialerLimits, Router, Security, ServeLimits, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn bodies_go_up_in_pieces_and_come_back_whole() {
    let echo = Router::new().route("/echo", put(|body: axum::body::Body| async { body }));
    let served = serve(tls(1), ServeLimits::default(), echo);
    let pieces: Vec<Bytes> = [0, 1, 65_536, 7, 1_900_000]
        .iter()
        .map(|len| Bytes::from(vec![7; *len]))
        .collect();
    let whole = pieces.concat();
    let dialer = dialer();
    for _ in 0..3 {
        let call = Call::put("/echo", pieces.clone());
        let mut reply = dialer.send(&host(1, served.addr), &call).await.unwrap();
        assert_eq!(reply.collect_limited(whole.len()).await.unwrap(), whole);
    }
}

#[tokio::test]
async fn json_and_problems_are_typed() {
    let router = Router::new()
        .route(
            "/twice",
            post(|axum::Json(n): axum::Json<u64>| async move { axum::Json(n * 2) }),
        )
        .route("/nothing", get(|| async { StatusCode::NO_CONTENT }))
        .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
        .route(
            "/full",
            get(|| async {
                let problem = Problem::new(ProblemCode::NoSpace, "0 bytes left");
                (StatusCode::INSUFFICIENT_STORAGE, axum::Json(problem))
            }),
        );
    let served = serve(Security::PlainLoopback, ServeLimits::default(), router);
    let (dialer, to) = (dialer(), bridge(&format!("http://{}", served.addr)));
    assert_eq!(
        dialer.post_json::<u64>(&to, "/twice", &21).await.unwrap(),
        42
    );
    dialer.get_json::<()>(&to, "/nothing").await.unwrap();
    let error = dialer.get_json::<u64>(&to, "/nothing").await.unwrap_err();
    assert!(matches!(error, CallError::Decode { .. }), "{error:?}");
    let error = dialer.get_json::<()>(&to, "/teapot").await.unwrap_err();
    assert!(matches!(
        error,
        CallError::Status {
            status: StatusCode::IM_A_TEAPOT,
            ..
        }
    ));
    let error = dialer.get_json::<()>(&to, "/full").await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::NoSpace);
}

/// Answers with the client's port, which tells connections apart.
fn ports() -> Router {
    Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { axum::Json(peer.port()) }),
    )
}

#[tokio::test]
async fn connections_are_kept_and_shared() {
    let served = serve(tls(1), ServeLimits::default(), ports());
    let (dialer, to) = (dialer(), host(1, served.addr));
    let first: u16 = dialer.get_json(&to, "/").await.unwrap();
    let second: u16 = dialer.clone().get_json(&to, "/").await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn idle_connections_are_not_kept_for_long() {
    let served = serve(tls(1), ServeLimits::default(), ports());
    let limits = DialerLimits {
        idle_for: Duration::ZERO,
        ..DialerLimits::default()
    };
    let (dialer, to) = (Dialer::new(limits).unwrap(), host(1, served.addr));
    let first: u16 = dialer.get_json(&to, "/").await.unwrap();
    let second: u16 = dialer.get_json(&to, "/").await.unwrap();
    assert_ne!(first, second);
}

#[tokio::test]
async fn the_longest_idle_connection_makes_room() {
    let (a, b) = (
        serve(tls(1), ServeLimits::default(), ports()),
        serve(tls(2), ServeLimits::default(), ports()),
    );
    let limits = DialerLimits {
        idle_max: 1,
        ..DialerLimits::default()
    };
    let dialer = Dialer::new(limits).unwrap();
    let (to_a, to_b) = (host(1, a.addr), host(2, b.addr));
    let first_a: u16 = dialer.get_json(&to_a, "/").await.unwrap();
    let first_b: u16 = dialer.get_json(&to_b, "/").await.unwrap();
    assert_eq!(dialer.get_json::<u16>(&to_b, "/").await.unwrap(), first_b);
    assert_ne!(dialer.get_json::<u16>(&to_a, "/").await.unwrap(), first_a);
}

#[tokio::test]
async fn a_connection_that_died_idle_is_replaced() {
    let limits = tight();
    let served = serve(tls(1), limits, ports());
    let (dialer, to) = (dialer(), host(1, served.addr));
    let first: u16 = dialer.get_json(&to, "/").await.unwrap();
    let addr = served.addr;
    served.stop.cancel();
    served.task.await.unwrap();
    let _again = serve_at(addr, tls(1), limits, ports());
    let second: u16 = dialer.get_json(&to, "/").await.unwrap();
    assert_ne!(first, second);
}

/// A server that answers the first request of a connection and closes at the second, as one does
/// whose idle limit ran out while the request was on its way.
async fn closes_at_the_second_request() -> (SocketAddr, Arc<AtomicUsize>) {
    let tcp = TcpListener::bind(loopback()).await.unwrap();
    let (addr, requests) = (tcp.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = tcp.accept().await {
            let mut head = [0; 4096];
            while !head.ends_with(b"\r\n\r\n") && tcp.read(&mut head).await.unwrap() == 0 {}
            seen.fetch_add(1, Ordering::SeqCst);
            tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42")
                .await
                .unwrap();
            if tcp.read(&mut head).await.unwrap() > 0 {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (addr, requests)
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated_once() {
    let (addr, requests) = closes_at_the_second_request().await;
    let (dialer, to) = (dialer(), bridge(&format!("http://{addr}")));
    assert_eq!(dialer.get_json::<u64>(&to, "/").await.unwrap(), 42);
    assert_eq!(dialer.get_json::<u64>(&to, "/").await.unwrap(), 42);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    let (addr, requests) = closes_at_the_second_request().await;
    let (dialer, to) = (dialer(), bridge(&format!("http://{addr}")));
    assert_eq!(dialer.post_json::<u64>(&to, "/", &1).await.unwrap(), 42);
    let error = dialer.post_json::<u64>(&to, "/", &1).await.unwrap_err();
    assert!(matches!(error, CallError::Answer { .. }), "{error:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_above_the_limit_is_not_taken() {
    let router = Router::new()
        .route("/announced", get(|| async { vec![0_u8; 1001] }))
        .route(
            "/chunked",
            get(|| async {
                let pieces = futures_util::stream::iter(
                    (0..11).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 100])),
                );
                axum::body::Body::from_stream(pieces)
            }),
        );
    let served = serve(Security::PlainLoopback, ServeLimits::default(), router);
    let (dialer, to) = (dialer(), bridge(&format!("http://{}", served.addr)));
    for path in ["/announced", "/chunked"] {
        let mut reply = dialer.send(&to, &Call::get(path)).await.unwrap();
        let error = reply.collect_limited(1000).await.unwrap_err();
        assert!(
            matches!(
                error,
                CallError::TooLarge {
                    limit_bytes: 1000,
                    ..
                }
            ),
            "{path}: {error:?}"
        );
    }
}

#[tokio::test]
async fn silence_is_a_typed_error() {
    let router = Router::new()
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/half",
            get(|| async {
                use futures_util::StreamExt as _;
                let first = futures_util::stream::iter([Ok::<_, std::io::Error>("half")]);
                axum::body::Body::from_stream(first.chain(futures_util::stream::pending()))
            }),
        );
    let served = serve(Security::PlainLoopback, tight(), router);
    let (dialer, to) = (dialer(), bridge(&format!("http://{}", served.addr)));
    let limit = Duration::from_millis(100);
    let call = Call::get("/never").answer_within(limit);
    let error = dialer.send(&to, &call).await.unwrap_err();
    assert!(
        matches!(error, CallError::Timeout { step: Step::Answer, after, .. } if after == limit)
    );
    let call = Call::get("/half").stall_within(limit);
    let mut reply = dialer.send(&to, &call).await.unwrap();
    assert_eq!(reply.chunk().await.unwrap().unwrap(), "half");
    let error = reply.chunk().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "bridge {} kept us waiting for the rest of an answer beyond 100 ms",
            served.addr
        )
    );
}

#[tokio::test]
async fn requests_wait_for_their_turn() {
    let served = serve(
        Security::PlainLoopback,
        tight(),
        Router::new().route("/", get(|| async {})),
    );
    let limits = DialerLimits {
        per_endpoint_max: 1,
        ..DialerLimits::default()
    };
    let dialer = Dialer::new(limits).unwrap();
    let to = bridge(&format!("http://{}", served.addr));
    let never = serve(
        Security::PlainLoopback,
        tight(),
        Router::new().route("/", get(std::future::pending::<()>)),
    );
    let busy = bridge(&format!("http://{}", never.addr));
    let (first, dialer_of_first) = (Call::get("/"), dialer.clone());
    let busy_of_first = busy.clone();
    let waiting = tokio::spawn(async move { dialer_of_first.send(&busy_of_first, &first).await });
    let call = Call::get("/").answer_within(Duration::from_millis(200));
    let error = loop {
        match dialer.send(&busy, &call).await.unwrap_err() {
            // This one came before the other task had started.
            CallError::Timeout {
                step: Step::Answer, ..
            } => {}
            error => break error,
        }
    };
    assert!(
        matches!(
            error,
            CallError::Timeout {
                step: Step::Turn,
                ..
            }
        ),
        "{error:?}"
    );
    dialer.send(&to, &call).await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    let error = dialer.send(&busy, &call).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Timeout {
                step: Step::Answer,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn channels_carry_messages_both_ways() {
    async fn echo(upgrade: WebSocketUpgrade, State(()): State<()>) -> Response {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(Message::Text(text))) = socket.recv().await {
                socket
                    .send(Message::text(format!("{text}!")))
                    .await
                    .unwrap();
            }
        })
    }
    let router = Router::new().route("/ws", any(echo)).with_state(());
    let served = serve(tls(1), ServeLimits::default(), router);
    let headers = http::HeaderMap::new();
    let mut channel = dialer()
        .channel(&host(1, served.addr), "/ws", &headers)
        .await
        .unwrap();
    for text in ["a".to_owned(), "b".repeat(500_000)] {
        channel.writer.send(text.clone()).await.unwrap();
        let answer = channel.reader.next(Duration::from_secs(10)).await.unwrap();
        assert_eq!(answer, Some(format!("{text}!")));
    }
    channel.writer.close().await.unwrap();
    assert_eq!(
        channel.reader.next(Duration::from_secs(10)).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_message_above_the_limit_breaks_the_channel() {
    let router = Router::new().route(
        "/ws",
        any(|upgrade: WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                let _refused = socket.send(Message::text("x".repeat((1 << 20) + 1))).await;
            })
        }),
    );
    let served = serve(tls(1), ServeLimits::default(), router);
    let headers = http::HeaderMap::new();
    let mut channel = dialer()
        .channel(&host(1, served.addr), "/ws", &headers)
        .await
        .unwrap();
    let error = channel
        .reader
        .next(Duration::from_secs(10))
        .await
        .unwrap_err();
    assert!(
        matches!(error, net::ChannelError::Broken { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_page_is_no_channel() {
    let served = serve(tls(1), ServeLimits::default(), ports());
    let headers = http::HeaderMap::new();
    let error = dialer()
        .channel(&host(1, served.addr), "/", &headers)
        .await
        .unwrap_err();
    assert!(
        matches!(error, net::ChannelError::Handshake { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn refusals_arrive_although_the_body_was_not_read() {
    let router = Router::new().route(
        "/",
        put(|| async { (StatusCode::INSUFFICIENT_STORAGE, "full").into_response() }),
    );
    let served = serve(tls(1), ServeLimits::default(), router);
    let (dialer, to) = (dialer(), host(1, served.addr));
    for _ in 0..20 {
        let call = Call::put("/", vec![7; 1_900_000]);
        let mut reply = dialer.send(&to, &call).await.unwrap();
        assert_eq!(reply.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(reply.collect_limited(10).await.unwrap(), "full");
    }
}
