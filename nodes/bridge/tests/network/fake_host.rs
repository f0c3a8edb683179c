//! A Host that joins, is reachable and signs receipts, but stores nothing.

use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::get;
use model::crypto::{Secret, SigningKey, sha256};
use model::units::BridgeId;
use model::units::{HostId, ShardId, ShardSize, UnixMs};
use model::wire::api::{ReceiptPage, SegmentReceipts, SlotPage};
use model::wire::control::{
    FromBridge, FromHost, Hello, HostState, Offer, Order, ProtocolVersions,
};
use model::wire::{
    Action, Base64, ProblemCode, Schedule, Signed, StoreReceipt, Ticket, TicketPurpose,
};
use net::{Channel, Dialer, Endpoint, Identity, Listener, Security, ServeLimits};
use tokio_util::sync::{CancellationToken, DropGuard};

const WITHIN: Duration = Duration::from_secs(30);

/// A Host with an open control channel. Dropping it closes channel and listener.
pub(crate) struct FakeHost {
    pub(crate) number: u8,
    pub(crate) orders_done: u64,
    key: SigningKey,
    bridge: BridgeId,
    address: SocketAddr,
    channel: Channel,
    _serving: DropGuard,
}

impl FakeHost {
    /// Joins and waits until the Bridge has reached it.
    pub(crate) async fn join(endpoint: &Endpoint, dialer: &Dialer, number: u8) -> Self {
        Self::try_join(endpoint, dialer, number, |_| {})
            .await
            .expect("the bridge takes it")
    }

    /// Joins with a changed hello; the refusal's code where the Bridge refuses.
    pub(crate) async fn try_join(
        endpoint: &Endpoint,
        dialer: &Dialer,
        number: u8,
        change: impl FnOnce(&mut Hello),
    ) -> Result<Self, ProblemCode> {
        let key = SigningKey::from_seed(&Secret::new([100 + number; 32]));
        let (address, serving) = serve(&key);
        let mut channel = dialer
            .channel(endpoint, "/v1/hosts/control", &http::HeaderMap::new())
            .await
            .unwrap();
        let FromBridge::Challenge { bridge, nonce, .. } = receive(&mut channel).await else {
            panic!("no challenge");
        };
        let mut hello = hello(&key, number, address);
        (hello.bridge, hello.nonce) = (bridge, nonce);
        change(&mut hello);
        say(
            &mut channel,
            &FromHost::Hello {
                hello: Signed::new(&key, &hello),
            },
        )
        .await;
        match receive(&mut channel).await {
            FromBridge::Welcome {
                orders_done, zone, ..
            } => {
                assert_eq!(zone, format!("z{number}"));
                let _serving = serving;
                Ok(Self {
                    number,
                    orders_done,
                    key,
                    bridge,
                    address,
                    channel,
                    _serving,
                })
            }
            FromBridge::Refused { problem } => Err(problem.code),
            other => panic!("neither welcome nor refused: {other:?}"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next order, whose signature was checked.
    pub(crate) async fn next_order(&mut self) -> Order {
        loop {
            if let FromBridge::Order { order } = receive(&mut self.channel).await {
                let order = order.open(&self.bridge.0).unwrap();
                assert_eq!(order.host, HostId(self.key.public()));
                return order;
            }
        }
    }

    pub(crate) async fn next_reachability(&mut self) -> (bool, String) {
        loop {
            if let FromBridge::Reachability { reachable, detail } = receive(&mut self.channel).await
            {
                return (reachable, detail);
            }
        }
    }

    pub(crate) async fn done(&mut self, seq: u64) {
        say(&mut self.channel, &FromHost::OrdersDone { seq }).await;
    }

    /// Takes a shard as a real Host does: by a ticket that it checks, for a receipt that it signs.
    fn store(&self, ticket: &[u8], shard: ShardId) -> Base64 {
        let (id, bridge) = (HostId(self.key.public()), self.bridge);
        let signed_at = UnixMs(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_millis()
                .try_into()
                .unwrap(),
        );
        let known = |asked: &BridgeId| *asked == bridge;
        let ticket = Ticket::check(ticket, signed_at, &id, known, TicketPurpose::Store).unwrap();
        let ticket = ticket.ticket();
        assert!(matches!(ticket.action, Action::Put { .. }));
        let size = ShardSize::new(u32::try_from(ticket.bytes_max).unwrap()).unwrap();
        let receipt = StoreReceipt {
            serial: ticket.serial,
            bridge,
            host: id,
            shard,
            size,
            stored: signed_at,
        };
        Base64(receipt.sign(&self.key))
    }
}

/// Stores every shard of a page of slots.
pub(crate) fn store_all(hosts: &[FakeHost], page: &SlotPage) -> ReceiptPage {
    let host_of = |at: u16| {
        let id = page.hosts[usize::from(at)].host;
        hosts
            .iter()
            .find(|host| host.key.public() == id.0)
            .expect("a host of ours")
    };
    let segments = page.segments.iter().map(|segment| {
        let id = |index: usize| {
            let place = format!("{} {} {index}", segment.blob, segment.segment);
            ShardId(sha256(place.as_bytes()))
        };
        let store = |(index, slot): (usize, &model::wire::api::Slot)| {
            Some(host_of(slot.host).store(&slot.ticket.0, id(index)))
        };
        SegmentReceipts {
            blob: segment.blob,
            segment: segment.segment,
            ids: (0..segment.slots.len()).map(id).collect(),
            receipts: segment.slots.iter().enumerate().map(store).collect(),
        }
    });
    ReceiptPage {
        segments: segments.collect(),
    }
}

fn serve(key: &SigningKey) -> (SocketAddr, DropGuard) {
    let security = Security::Tls(Identity::new(key).unwrap());
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(any, security, ServeLimits::default()).unwrap();
    let (address, stop) = (listener.local_addr(), CancellationToken::new());
    let router = axum::Router::new().route("/v1/about", get(|| async { "{}" }));
    tokio::spawn(listener.serve(router, stop.clone()));
    (address, stop.drop_guard())
}

fn hello(key: &SigningKey, number: u8, address: SocketAddr) -> Hello {
    Hello {
        host: HostId(key.public()),
        bridge: BridgeId([0; 32]),
        nonce: String::new(),
        protocol: ProtocolVersions::OURS,
        agent: "fake/1".to_owned(),
        offer: Offer {
            name: format!("h{number}"),
            addresses: vec![address.to_string()],
            space_bytes: 1 << 40,
            bandwidth_up: None,
            bandwidth_down: None,
            schedule: Schedule::ALWAYS,
            zone: Some(format!("z{number}")),
            region: None,
            until: None,
        },
        state: HostState {
            free_bytes: 1 << 40,
            ..HostState::default()
        },
        events_seen: 0,
        mark: None,
        orders_done: 0,
    }
}

async fn receive(channel: &mut Channel) -> FromBridge {
    let text = channel
        .reader
        .next(WITHIN)
        .await
        .unwrap()
        .expect("the channel is open");
    serde_json::from_str(&text).unwrap()
}

async fn say(channel: &mut Channel, message: &FromHost) {
    channel
        .writer
        .send(serde_json::to_string(message).unwrap())
        .await
        .unwrap();
}
