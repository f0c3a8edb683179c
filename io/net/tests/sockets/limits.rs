//! What a hostile peer gets: a short answer or none, and its connection closed.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{bridge, dialer, serve, tight, tls};
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, put};
use bytes::Bytes;
use net::{Call, Router, Security, ServeLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// So long that only a hanging server reaches it.
const FOREVER: Duration = Duration::from_secs(60);

fn router() -> Router {
    async fn read(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> StatusCode {
        if body.is_ok() {
            StatusCode::OK
        } else {
            StatusCode::REQUEST_TIMEOUT
        }
    }
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/body", put(read))
        .route(
            "/small",
            put(|_: Bytes| async {}).layer(DefaultBodyLimit::max(1000)),
        )
        .route("/long", get(|| async { vec![7_u8; 64_000_000] }))
}

/// Sends `parts` and reads what comes until the server closes.
async fn speak(addr: SocketAddr, parts: &[&[u8]]) -> String {
    let mut tcp = TcpStream::connect(addr).await.unwrap();
    for part in parts {
        // The server may close before it has read everything: that is what is tested.
        if tcp.write_all(part).await.is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(1..) = timeout(FOREVER, tcp.read(&mut buffer))
        .await
        .unwrap()
        .inspect(|read| {
            answer.extend_from_slice(&buffer[..*read]);
        })
    {}
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let served = serve(Security::PlainLoopback, tight(), router());
    let header = format!("x: {}\r\n", "y".repeat(70_000));
    let answer = speak(
        served.addr,
        &[b"GET / HTTP/1.1\r\nhost: a\r\n", header.as_bytes()],
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let served = serve(Security::PlainLoopback, tight(), router());
    let call = Call::put("/small", vec![0; 1001]);
    let to = bridge(&format!("http://{}", served.addr));
    let reply = dialer().send(&to, &call).await.unwrap();
    assert_eq!(reply.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_oversized_announcement_costs_nothing() {
    let served = serve(Security::PlainLoopback, tight(), router());
    let head = b"PUT /small HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999\r\n\r\n";
    let answer = speak(served.addr, &[head, b"abc"]).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let served = serve(Security::PlainLoopback, tight(), router());
    assert_eq!(
        speak(served.addr, &[b"GET / HTTP/1.1\r\nhost: a\r\n"]).await,
        ""
    );
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut() {
    let served = serve(tls(1), tight(), router());
    assert_eq!(speak(served.addr, &[&[22, 3, 1, 0, 200]]).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let served = serve(Security::PlainLoopback, tight(), router());
    let answer = speak(served.addr, &[b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"]).await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_crawling_body_is_cut() {
    let served = serve(Security::PlainLoopback, tight(), router());
    let head = b"PUT /body HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";
    let answer = speak(served.addr, &[head, b"abc"]).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_crawling_reader_is_cut() {
    let served = serve(Security::PlainLoopback, tight(), router());
    let mut tcp = TcpStream::connect(served.addr).await.unwrap();
    tcp.write_all(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // Reads nothing until the server is rid of the connection, then what lies in between.
    served.stop.cancel();
    served.task.await.unwrap();
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = tcp.read(&mut buffer).await {
        taken += read;
    }
    assert!(taken < 64_000_000, "{taken}");
}

#[tokio::test]
async fn one_address_gets_so_many_connections() {
    let limits = ServeLimits {
        per_ip_max: 2,
        head_within: FOREVER,
        ..tight()
    };
    let served = serve(Security::PlainLoopback, limits, router());
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut tcp = TcpStream::connect(served.addr).await.unwrap();
        tcp.write_all(request).await.unwrap();
        assert!(tcp.read(&mut [0; 4096]).await.unwrap() > 0);
        held.push(tcp);
    }
    assert_eq!(speak(served.addr, &[request]).await, "");
    drop(held);
    let close = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    // Our side closed; the server notices a moment later.
    let answered = async {
        while speak(served.addr, &[close]).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(FOREVER, answered).await.unwrap();
}

#[tokio::test]
async fn an_open_channel_keeps_its_place() {
    let router = router().route(
        "/ws",
        get(|upgrade: axum::extract::ws::WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move { while socket.recv().await.is_some() {} })
        }),
    );
    let limits = ServeLimits {
        per_ip_max: 1,
        ..tight()
    };
    let served = serve(Security::PlainLoopback, limits, router);
    let to = bridge(&format!("http://{}", served.addr));
    let channel = dialer()
        .channel(&to, "/ws", &http::HeaderMap::new())
        .await
        .unwrap();
    assert_eq!(
        speak(served.addr, &[b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"]).await,
        ""
    );
    drop(channel);
    let close = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answered = async {
        while speak(served.addr, &[close]).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(FOREVER, answered).await.unwrap();
}

#[tokio::test]
async fn shutting_down_lets_requests_finish() {
    let (started, start) = tokio::sync::oneshot::channel();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let once = std::sync::Arc::new(std::sync::Mutex::new(Some((started, finished))));
    let slow = Router::new().route(
        "/",
        get(move || {
            let (started, finished) = once.lock().unwrap().take().unwrap();
            async move {
                started.send(()).unwrap();
                finished.await.unwrap();
                "done"
            }
        }),
    );
    let limits = ServeLimits {
        drain_within: FOREVER,
        ..tight()
    };
    let served = serve(Security::PlainLoopback, limits, slow);
    let to = bridge(&format!("http://{}", served.addr));
    let waiting = tokio::spawn(async move { dialer().send(&to, &Call::get("/")).await });
    start.await.unwrap();
    served.stop.cancel();
    finish.send(()).unwrap();
    let mut reply = waiting.await.unwrap().unwrap();
    assert_eq!(reply.collect_limited(10).await.unwrap(), "done");
    served.task.await.unwrap();
}

#[tokio::test]
async fn shutting_down_does_not_wait_forever() {
    let never = Router::new().route("/", get(std::future::pending::<()>));
    let served = serve(Security::PlainLoopback, tight(), never);
    let mut tcp = TcpStream::connect(served.addr).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    served.stop.cancel();
    timeout(FOREVER, served.task).await.unwrap().unwrap();
}
