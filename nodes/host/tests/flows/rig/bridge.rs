//! A Bridge of which every word is a test's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use model::crypto::{Secret, SigningKey};
use model::units::{BridgeId, HostId, OwnerTag, PayerKey, Serial, ShardId};
use model::wire::audit::{Challenge, Proof};
use model::wire::control::{
    DeleteReason, FromBridge, FromHost, Hello, HostState, Order, OrderKind, ProtocolVersions,
};
use model::wire::repair::{RepairOrder, Repaired};
use model::wire::upkeep::{
    HostEvent, HostEventKind, Inventory, Leave, LeaveProgress, LeaveWish, Mark, RetainSet,
};
use model::wire::{Action, Base64, Signed, Ticket};
use net::{Listener, Router, Security, ServeLimits};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{MONDAY, NONCE, PATIENCE};

/// Words of Hosts that wait for a test.
const HEARD_MAX: usize = 64;

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
        let (heard, hear) = mpsc::channel(HEARD_MAX);
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
        self.order_for(host, seq, serials, DeleteReason::Retired)
            .await;
    }

    pub(crate) async fn order_for(
        &self,
        host: HostId,
        seq: u64,
        serials: Vec<Serial>,
        reason: DeleteReason,
    ) {
        let kind = OrderKind::Delete { serials, reason };
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
            _ => None,
        })
        .await
    }

    /// The next hello, opened.
    pub(crate) async fn hello(&mut self) -> Hello {
        let hello = self.hear(|message| match message {
            FromHost::Hello { hello } => Some(hello),
            _ => None,
        });
        let hello = hello.await;
        let host = hello.peek().unwrap().host;
        hello.open(&host.0).unwrap()
    }

    /// The next heartbeat that is as wanted.
    pub(crate) async fn beat(&mut self, wanted: impl Fn(&HostState) -> bool) -> HostState {
        self.hear(|message| match message {
            FromHost::Heartbeat { state } => wanted(&state).then_some(state),
            _ => None,
        })
        .await
    }

    /// Asks a Host for a leaf, and returns the question with what it answers.
    pub(crate) async fn audit(&mut self, asked: &Challenge) -> (Signed<Challenge>, Proof) {
        let challenge = Signed::new(&self.key, asked);
        self.say(FromBridge::Audit {
            challenge: challenge.clone(),
        })
        .await;
        let proof = self.hear(|message| match message {
            FromHost::Proof { proof } => Some(proof),
            _ => None,
        });
        (challenge, proof.await)
    }

    /// Gives a repair order, and returns what becomes of it.
    pub(crate) async fn repair(&mut self, order: &RepairOrder) -> Repaired {
        let order = Signed::new(&self.key, order);
        self.say(FromBridge::Repair { order }).await;
        self.hear(|message| match message {
            FromHost::Repaired { repaired } => Some(repaired),
            _ => None,
        })
        .await
    }

    /// Asks which records are gone.
    pub(crate) async fn inventory(&mut self, serials: &[u8]) -> Vec<u32> {
        let serials = serials.iter().flat_map(|serial| [*serial; 16]).collect();
        let (id, serials) = (Serial([0xee; 16]), Base64(serials));
        let inventory = Inventory { id, serials };
        self.say(FromBridge::Inventory { inventory }).await;
        let holdings = self.hear(|message| match message {
            FromHost::Holdings { holdings } => Some(holdings),
            _ => None,
        });
        let holdings = holdings.await;
        assert_eq!(holdings.id, id);
        holdings.gone
    }

    /// Says how far its memory reaches.
    pub(crate) async fn mark(&self, mark: u64) {
        let (bridge, at) = (self.id(), MONDAY);
        let mark = Mark { bridge, mark, at };
        let mark = Signed::new(&self.key, &mark);
        self.say(FromBridge::Mark { mark }).await;
    }

    /// Says which records are to stay, and returns how many went and why none did.
    pub(crate) async fn retain(&mut self, set: &RetainSet) -> Result<u64, String> {
        let set = Signed::new(&self.key, set);
        self.say(FromBridge::Retain { set }).await;
        self.hear(|message| match message {
            FromHost::Retained { trashed, refused } => Some(refused.map_or(Ok(trashed), Err)),
            _ => None,
        })
        .await
    }

    /// Says what was decided about a Host.
    pub(crate) async fn event(&self, host: HostId, seq: u64, reason: &str) {
        let event = HostEvent {
            bridge: self.id(),
            host,
            seq,
            at: MONDAY,
            kind: HostEventKind::Vetted,
            reason: reason.to_owned(),
        };
        let event = Signed::new(&self.key, &event);
        self.say(FromBridge::Event { event }).await;
    }

    /// The next wish to leave, opened.
    pub(crate) async fn leave(&mut self, host: HostId) -> Leave {
        let leave = self.hear(|message| match message {
            FromHost::Leave { leave } => Some(leave),
            _ => None,
        });
        leave.await.open(&host.0).unwrap()
    }

    /// Says how leaving goes.
    pub(crate) async fn leaving(&self, wish: LeaveWish, moved_bytes: u64, done: bool) {
        let progress = LeaveProgress {
            wish,
            moved_bytes,
            moved_shards: 1,
            left_bytes: u64::from(!done),
            left_shards: u64::from(!done),
            done,
        };
        self.say(FromBridge::Leaving { progress }).await;
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
                // Where nobody listens, heartbeats are the first not to be heard.
                Some(FromHost::Heartbeat { .. }) if wires.heard.capacity() < HEARD_MAX / 2 => {}
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
