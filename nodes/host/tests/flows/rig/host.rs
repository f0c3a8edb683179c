//! A Host that runs, and a client of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use host::{Environment, Host, HostConfig, JoinState, Settings};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RANGE};
use http::{HeaderMap, StatusCode};
use model::crypto::{Secret, SigningKey, hash_shard};
use model::units::{HostId, ShardId};
use model::wire::{Problem, ticket_header};
use net::{Call, Dialer, DialerLimits, Endpoint};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{MONDAY, PATIENCE, TestBridge, TestClock};

/// A Host that runs, and a client to talk to it.
pub(crate) struct TestHost {
    pub(crate) id: HostId,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) endpoint: Endpoint,
    dialer: Dialer,
    join_states: Vec<tokio::sync::watch::Receiver<JoinState>>,
    stop: CancellationToken,
    ran: JoinHandle<()>,
}

impl TestHost {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::start_metered(settings, None)
    }

    pub(crate) fn start_metered(settings: Settings, metrics: Option<runtime::Metrics>) -> Self {
        Self::start_with_key(settings, 2, metrics)
    }

    pub(crate) fn start_with_key(
        settings: Settings,
        seed: u8,
        metrics: Option<runtime::Metrics>,
    ) -> Self {
        let key = SigningKey::from_seed(&Secret::new([seed; 32]));
        let clock = Arc::new(TestClock(AtomicU64::new(MONDAY.0)));
        let config = HostConfig::new(settings).unwrap();
        let environment = Arc::clone(&clock) as Arc<dyn Environment>;
        let host = Host::open(config, key, environment, metrics).unwrap();
        let (id, join_states) = (host.id(), host.join_states());
        let endpoint = Endpoint::Host {
            id,
            addrs: vec![host.bound()],
        };
        let stop = CancellationToken::new();
        let ran = tokio::spawn(host.run(stop.clone()));
        let dialer = Dialer::new(DialerLimits::default()).unwrap();
        Self {
            id,
            clock,
            endpoint,
            dialer,
            join_states,
            stop,
            ran,
        }
    }

    /// Waits until it is joined to every Bridge.
    pub(crate) async fn joined(&mut self) {
        for number in 0..self.join_states.len() {
            self.join_of(number, |state| matches!(state, JoinState::Joined { .. }))
                .await;
        }
    }

    pub(crate) async fn join_becomes(&mut self, wanted: impl Fn(&JoinState) -> bool) -> JoinState {
        self.join_of(0, wanted).await
    }

    /// How the channel to Bridge `number` stands, once it is as wanted.
    pub(crate) async fn join_of(
        &mut self,
        number: usize,
        wanted: impl Fn(&JoinState) -> bool,
    ) -> JoinState {
        let state = timeout(PATIENCE, self.join_states[number].wait_for(wanted)).await;
        state.expect("the host gets there").unwrap().clone()
    }

    pub(crate) async fn end(self) {
        drop(self.dialer);
        self.stop.cancel();
        self.ran.await.unwrap();
    }

    pub(crate) async fn put(&self, ticket: &[u8], bytes: &Bytes) -> Answer {
        self.put_as(ticket, &hash_shard(bytes), bytes).await
    }

    pub(crate) async fn put_as(&self, ticket: &[u8], id: &ShardId, bytes: &Bytes) -> Answer {
        let id = HeaderValue::try_from(id.to_string()).unwrap();
        let call = Call::put("/v1/shards", bytes.clone());
        self.send(
            call.header(HeaderName::from_static("shard-id"), id),
            Some(ticket),
        )
        .await
    }

    pub(crate) async fn get(&self, ticket: &[u8], id: &ShardId) -> Answer {
        self.send(Call::get(format!("/v1/shards/{id}")), Some(ticket))
            .await
    }

    /// Whether a shard of the Bridge can be read here.
    pub(crate) async fn serves(&self, bridge: &TestBridge, bytes: &Bytes) -> bool {
        let id = hash_shard(bytes);
        let read = self.get(&bridge.get_ticket(self.id, 200, id), &id).await;
        read.status.as_u16() == 200 && read.body == *bytes
    }

    pub(crate) async fn get_range(&self, ticket: &[u8], id: &ShardId, range: &str) -> Answer {
        let call = Call::get(format!("/v1/shards/{id}"));
        let range = HeaderValue::try_from(range).unwrap();
        self.send(call.header(RANGE, range), Some(ticket)).await
    }

    pub(crate) async fn send(&self, call: Call, ticket: Option<&[u8]>) -> Answer {
        let ticket = ticket.map(|ticket| HeaderValue::try_from(ticket_header(ticket)).unwrap());
        let call = match ticket {
            Some(ticket) => call.header(AUTHORIZATION, ticket),
            None => call,
        };
        let mut reply = self.dialer.send(&self.endpoint, &call).await.unwrap();
        let (status, headers) = (reply.status(), reply.headers().clone());
        let body = reply.collect_limited(4_000_000).await.unwrap();
        Answer {
            status,
            headers,
            body,
        }
    }
}

/// What the Host answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The text of a header, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `status code`, as a test states it.
    pub(crate) fn problem(&self) -> String {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        format!("{} {}", problem.status, problem.code)
    }
}
