use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::pending;
use futures_util::stream;
use http::header::{HeaderName, HeaderValue};
use tasks::time::{Instant, sleep};

use super::*;
use crate::dialer::{Dialer, DialerLimits};
use crate::error::Step;

/// What becomes of one request.
enum Fate {
    /// The body is taken and answered by these pieces.
    Answer(Vec<&'static [u8]>),
    /// So many bytes are taken every second, and no answer comes.
    Taken(usize),
    /// The answer begins and does not go on.
    Stall,
    /// The answer's head has a header of so many bytes.
    Head(usize),
    Fail(CarryError),
}

/// Carries by a script, and keeps what it was given.
#[derive(Default)]
struct Script {
    fates: Mutex<VecDeque<Fate>>,
    seen: Mutex<Vec<(String, Vec<u8>)>>,
    /// Held by whatever is under way.
    under_way: Arc<()>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Carrier for Script {
    fn carry(
        &self,
        endpoint: &Endpoint,
        request: Request<Payload>,
        mut taken: Taken,
    ) -> BoxFuture<'static, Result<Response<CarriedBody>, CarryError>> {
        let line = format!("{endpoint} {} {}", request.method(), request.uri());
        let body: Vec<u8> = request.into_body().flatten().collect();
        let length = body.len();
        self.seen.lock().unwrap().push((line, body));
        let fate = self.fates.lock().unwrap().pop_front().unwrap();
        let held = Arc::clone(&self.under_way);
        Box::pin(async move {
            let _held = &held;
            match fate {
                Fate::Answer(pieces) => {
                    taken.add(length);
                    let pieces = pieces
                        .into_iter()
                        .map(|piece| Ok(Bytes::from_static(piece)));
                    Ok(Response::new(stream::iter(pieces).boxed()))
                }
                Fate::Taken(bytes) => loop {
                    sleep(Duration::from_secs(1)).await;
                    taken.add(bytes);
                },
                Fate::Stall => {
                    let first = stream::iter([Ok(Bytes::from_static(b"first"))]);
                    let stalled = first.chain(stream::once(pending()));
                    Ok(Response::new(stalled.boxed()))
                }
                Fate::Head(bytes) => {
                    let value = HeaderValue::try_from("a".repeat(bytes)).unwrap();
                    let mut answer = Response::new(stream::empty().boxed());
                    answer
                        .headers_mut()
                        .insert(HeaderName::from_static("x-long"), value);
                    Ok(answer)
                }
                Fate::Fail(error) => Err(error),
            }
        })
    }
}

fn dialer(fates: impl IntoIterator<Item = Fate>) -> (Dialer, Arc<Script>) {
    let script = Arc::new(Script {
        fates: Mutex::new(fates.into_iter().collect()),
        ..Script::default()
    });
    let limits = DialerLimits {
        per_endpoint_max: 1,
        ..DialerLimits::default()
    };
    (Dialer::over(Arc::clone(&script) as _, limits), script)
}

fn bridge() -> Endpoint {
    Endpoint::Bridge("https://bridge.example.org".parse().unwrap())
}

fn gone() -> Cause {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

#[tokio::test]
async fn a_request_is_carried_whole_and_its_answer_read() {
    let (dialer, script) = dialer([Fate::Answer(vec![b"[1,", b"2]"])]);
    let answer: Vec<u8> = dialer
        .post_json(&bridge(), "/v1/sum", &[3, 4])
        .await
        .unwrap();
    assert_eq!(answer, [1, 2]);
    let seen = script.seen.lock().unwrap();
    let line = "bridge bridge.example.org:443 POST /v1/sum".to_owned();
    assert_eq!(*seen, [(line, b"[3,4]".to_vec())]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_taken_is_a_stall_and_one_that_goes_slowly_is_not() {
    let (dialer, _) = dialer([Fate::Taken(0), Fate::Taken(10)]);
    let call = Call::put("/", vec![0; 100])
        .stall_within(Duration::from_secs(5))
        .answer_within(Duration::from_secs(7));
    for (expected, seconds) in [(Step::Send, 5), (Step::Answer, 20)] {
        let began = Instant::now();
        let error = dialer.send(&bridge(), &call).await.unwrap_err();
        assert!(
            matches!(error, CallError::Timeout { step, .. } if step == expected),
            "{error:?}"
        );
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_go_on_is_given_up() {
    let (dialer, script) = dialer([Fate::Stall]);
    let mut reply = dialer.send(&bridge(), &Call::get("/")).await.unwrap();
    assert_eq!(reply.chunk().await.unwrap().unwrap(), "first");
    let error = reply.chunk().await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::Timeout {
                step: Step::Body,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(Arc::strong_count(&script.under_way), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_turn_until_the_answer_before_it_is_read() {
    let answer = || Fate::Answer(vec![b"all"]);
    let (dialer, script) = dialer([answer(), answer()]);
    let call = Call::get("/").answer_within(Duration::from_secs(3));
    let mut first = dialer.send(&bridge(), &call).await.unwrap();
    let error = dialer.send(&bridge(), &call).await.unwrap_err();
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
    assert_eq!(script.seen.lock().unwrap().len(), 1, "it was not carried");
    first.collect_limited(3).await.unwrap();
    dialer.send(&bridge(), &call).await.unwrap();
}

#[tokio::test]
async fn more_than_the_caller_takes_is_refused() {
    let (dialer, _) = dialer([Fate::Answer(vec![b"four", b"more"])]);
    let mut reply = dialer.send(&bridge(), &Call::get("/")).await.unwrap();
    let error = reply.collect_limited(7).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { limit_bytes: 7, .. }));
}

#[tokio::test]
async fn a_head_has_a_limit() {
    let (dialer, _) = dialer([Fate::Head(60_000), Fate::Head(70_000)]);
    dialer.send(&bridge(), &Call::get("/")).await.unwrap();
    let error = dialer.send(&bridge(), &Call::get("/")).await.unwrap_err();
    assert!(matches!(error, CallError::Answer { .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_not_sent_is_told_from_what_may_have_arrived() {
    let (dialer, _) = dialer([
        Fate::Fail(CarryError::Unsent(gone())),
        Fate::Fail(CarryError::Broken(gone())),
    ]);
    let send = async || dialer.send(&bridge(), &Call::get("/")).await.unwrap_err();
    assert!(matches!(
        send().await,
        CallError::Connect {
            source: ConnectError::Carrier(_),
            ..
        }
    ));
    assert!(matches!(send().await, CallError::Answer { .. }));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_gives_the_request_up() {
    let (dialer, script) = dialer([Fate::Taken(1)]);
    let (peer, call) = (bridge(), Call::put("/", vec![0; 9_000]));
    let sending = dialer.send(&peer, &call);
    let hour = Duration::from_secs(3_600);
    let cut = tasks::time::timeout(hour, sending).await;
    assert!(cut.is_err(), "a byte a second is no stall");
    assert_eq!(Arc::strong_count(&script.under_way), 1);
}
