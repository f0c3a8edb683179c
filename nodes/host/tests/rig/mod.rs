//! A Bridge that says what a test tells it to, a Host over real sockets, and a client.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a rig of tests may panic"
)]

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use bytes::Bytes;
use host::{BridgeSettings, Environment, Host, HostConfig, JoinState, Settings, VolumeSettings};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RANGE};
use http::{HeaderMap, StatusCode};
use model::crypto::{Secret, SigningKey, hash_shard};
use model::units::{BridgeId, HostId, OwnerTag, PayerKey, Serial, ShardId, UnixMs};
use model::wire::control::{
    DeleteReason, FromBridge, FromHost, Order, OrderKind, ProtocolVersions,
};
use model::wire::{Action, Problem, Schedule, Signed, Ticket, ticket_header};
use net::{Call, Dialer, DialerLimits, Endpoint, Listener, Router, Security, ServeLimits};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes longer, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const NONCE: &str = "00ff";

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn set(&self, now: UnixMs) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Environment for TestClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }

    fn draw(&self) -> u64 {
        7
    }
}

/// 2024-01-01 00:00 UTC, a Monday.
pub(crate) const MONDAY: UnixMs = UnixMs(1_704_067_200_000);

/// What a test says to the Host, and hears from it.
pub(crate) struct TestBridge {
    pub(crate) key: SigningKey,
    pub(crate) port: u16,
    heard: mpsc::Receiver<FromHost>,
    say: mpsc::Sender<FromBridge>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

#[derive(Clone)]
struct Wires {
    bridge: BridgeId,
    protocol: ProtocolVersions,
    heard: mpsc::Sender<FromHost>,
    say: Arc<Mutex<mpsc::Receiver<FromBridge>>>,
}

impl TestBridge {
    pub(crate) fn start(port: u16) -> Self {
        Self::start_with_key(port, 1)
    }

    pub(crate) fn start_with_key(port: u16, seed: u8) -> Self {
        Self::start_speaking(port, seed, ProtocolVersions::OURS)
    }

    pub(crate) fn start_speaking(port: u16, seed: u8, protocol: ProtocolVersions) -> Self {
        let key = SigningKey::from_seed(&Secret::new([seed; 32]));
        let (heard, hear) = mpsc::channel(64);
        let (say, said) = mpsc::channel(64);
        let bridge = BridgeId(key.public());
        let wires = Wires {
            bridge,
            protocol,
            heard,
            say: Arc::new(Mutex::new(said)),
        };
        let router = Router::new()
            .route("/v1/hosts/control", any(upgrade))
            .with_state(wires);
        let addr = ([127, 0, 0, 1], port).into();
        let limits = ServeLimits {
            drain_within: Duration::ZERO,
            ..ServeLimits::default()
        };
        let listener = Listener::bind(addr, Security::PlainLoopback, limits).unwrap();
        let port = listener.local_addr().port();
        let stop = CancellationToken::new();
        let served = tokio::spawn(listener.serve(router, stop.clone()));
        Self {
            key,
            port,
            heard: hear,
            say,
            stop,
            served,
        }
    }

    pub(crate) fn id(&self) -> BridgeId {
        BridgeId(self.key.public())
    }

    /// The next message that `wanted` picks out.
    pub(crate) async fn hear<T>(&mut self, wanted: impl Fn(FromHost) -> Option<T>) -> T {
        timeout(PATIENCE, async {
            loop {
                let message = self.heard.recv().await.expect("the bridge serves");
                if let Some(found) = wanted(message) {
                    return found;
                }
            }
        })
        .await
        .expect("the host speaks")
    }

    pub(crate) async fn say(&self, message: FromBridge) {
        self.say.send(message).await.unwrap();
    }

    pub(crate) async fn order(&self, host: HostId, seq: u64, serials: Vec<Serial>) {
        let kind = OrderKind::Delete {
            serials,
            reason: DeleteReason::Retired,
        };
        let order = Order {
            bridge: self.id(),
            host,
            seq,
            at: MONDAY,
            kind,
        };
        self.say(FromBridge::Order {
            order: Signed::new(&self.key, &order),
        })
        .await;
    }

    pub(crate) async fn orders_done(&mut self) -> u64 {
        self.hear(|message| match message {
            FromHost::OrdersDone { seq } => Some(seq),
            FromHost::Hello { .. } | FromHost::Heartbeat { .. } => None,
        })
        .await
    }

    pub(crate) async fn end(self) {
        drop(self.say);
        self.stop.cancel();
        self.served.await.unwrap();
    }

    pub(crate) fn ticket(
        &self,
        host: HostId,
        serial: u8,
        action: Action,
        bytes_max: u64,
    ) -> Ticket {
        Ticket {
            serial: Serial([serial; 16]),
            bridge: self.id(),
            host,
            action,
            bytes_max,
            payer: PayerKey([5; 32]),
            price_version: 1,
            created: MONDAY,
            expires: MONDAY.plus_ms(3_600_000),
        }
    }

    pub(crate) fn put_ticket(&self, host: HostId, serial: u8) -> Vec<u8> {
        let action = Action::Put {
            owner_tag: OwnerTag([6; 32]),
        };
        self.ticket(host, serial, action, 1_966_080).sign(&self.key)
    }

    pub(crate) fn get_ticket(&self, host: HostId, serial: u8, shard: ShardId) -> Vec<u8> {
        self.ticket(host, serial, Action::Get { shard }, 10_000_000)
            .sign(&self.key)
    }
}

async fn upgrade(
    State(wires): State<Wires>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    upgrade.on_upgrade(|socket| control(wires, socket))
}

/// Greets as a Bridge does, then passes messages on until either side ends.
async fn control(wires: Wires, mut socket: WebSocket) {
    let (bridge, protocol) = (wires.bridge, wires.protocol);
    let challenge = FromBridge::Challenge {
        bridge,
        nonce: NONCE.to_owned(),
        protocol,
    };
    socket.send(text(&challenge)).await.ok();
    let Some(hello) = receive(&mut socket).await else {
        return;
    };
    wires.heard.send(hello).await.ok();
    let zone = "z1".to_owned();
    let welcome = FromBridge::Welcome {
        heartbeat_ms: 200,
        zone,
        orders_done: 0,
    };
    socket.send(text(&welcome)).await.ok();
    let mut said = wires.say.lock().await;
    loop {
        tokio::select! {
            message = receive(&mut socket) => match message {
                Some(message) => wires.heard.send(message).await.unwrap_or_default(),
                None => return,
            },
            message = said.recv() => match message {
                Some(message) => socket.send(text(&message)).await.unwrap_or_default(),
                None => return,
            },
        }
    }
}

fn text(message: &FromBridge) -> Message {
    Message::text(serde_json::to_string(message).unwrap())
}

async fn receive(socket: &mut WebSocket) -> Option<FromHost> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

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

pub(crate) fn settings(data: &Path, bridge_port: u16) -> Settings {
    Settings {
        data: data.to_owned(),
        bridges: vec![bridge(bridge_port, None)],
        listen: "127.0.0.1:0".parse().unwrap(),
        addresses: Vec::new(),
        volumes: vec![VolumeSettings {
            folder: None,
            space_bytes: 268_435_456,
        }],
        keep_free_bytes: Some(0),
        name: "h1".to_owned(),
        zone: Some("z1".to_owned()),
        region: None,
        bandwidth_up: None,
        bandwidth_down: None,
        schedule: Schedule::ALWAYS,
        scrub_within: Duration::from_secs(60),
        upkeep_bytes_per_s: 1 << 30,
    }
}

pub(crate) fn bridge(port: u16, space_bytes: Option<u64>) -> BridgeSettings {
    BridgeSettings {
        url: format!("http://127.0.0.1:{port}").parse().unwrap(),
        space_bytes,
    }
}

impl TestHost {
    pub(crate) fn start(settings: Settings) -> Self {
        Self::start_metered(settings, None)
    }

    pub(crate) fn start_metered(settings: Settings, metrics: Option<runtime::Metrics>) -> Self {
        let key = SigningKey::from_seed(&Secret::new([2; 32]));
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

/// Flips a bit where `bytes` lie in a file of the Host's store; `false` where they lie in none.
pub(crate) fn rot(data: &Path, bytes: &[u8]) -> bool {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            let found = content
                .windows(bytes.len())
                .position(|window| window == bytes);
            if let Some(at) = found {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
                return true;
            }
        }
    }
    false
}
