//! What owners and Hosts do with a Bridge, call by call.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bridge::bridge::BridgeConfig;
use bridge::context::Policy;
use bridge::server::{Server, ServerConfig};
use http::{HeaderValue, Method};
use model::units::{BlobId, OwnerTag, PayerKey, RootHash};
use model::wire::api::{
    About, BlobChange, BlobRequest, Commit, Committed, Layout, NodeBody, Nodes, Plan, RootAnswer,
    SlotPage, UploadRequest, Usage,
};
use model::wire::control::{DeleteReason, OrderKind};
use model::wire::{Base64, PROTOCOL_HEADER, ProblemCode, ProtocolVersions};
use net::{BridgeUrl, Call, Dialer, DialerLimits, Endpoint};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fake_host::{self, FakeHost};
use crate::owner::{Owner, VOLUME, problem};

/// A Bridge that serves from a task.
struct Running {
    endpoint: Endpoint,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(data: &Path, tls: bool) -> Self {
        let stop = CancellationToken::new();
        let policy = Policy {
            trust_zones: true,
            ..Policy::default()
        };
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bridge = BridgeConfig {
            policy,
            behind_proxy: false,
            metrics: None,
            environment: std::sync::Arc::new(bridge::environment::SystemEnvironment),
        };
        let config = ServerConfig {
            data: data.to_path_buf(),
            listen,
            tls,
            bridge,
        };
        let server = Server::start(config, stop.clone()).await.unwrap();
        let url: BridgeUrl = server.url().parse().unwrap();
        Self {
            endpoint: url.into(),
            stop,
            task: tokio::spawn(server.serve()),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    async fn about(&self, dialer: &Dialer) -> About {
        dialer.get_json(&self.endpoint, "/v1/bridge").await.unwrap()
    }

    /// Waits until the Bridge counts so many Hosts as online.
    async fn wait_for_hosts(&self, dialer: &Dialer, hosts: u64) -> About {
        let wait = async {
            loop {
                let about = self.about(dialer).await;
                if about.hosts_online == hosts {
                    return about;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("hosts come online")
    }
}

fn dialer() -> Dialer {
    Dialer::new(DialerLimits::default()).unwrap()
}

async fn connect_hosts(bridge: &Running, dialer: &Dialer, count: u8) -> Vec<FakeHost> {
    let mut hosts = Vec::new();
    for number in 0..count {
        hosts.push(FakeHost::join(&bridge.endpoint, dialer, number).await);
    }
    bridge.wait_for_hosts(dialer, u64::from(count)).await;
    hosts
}

fn request(blobs: &[(u8, u64)]) -> UploadRequest {
    let blob = |(number, length): &(u8, u64)| BlobRequest {
        blob: BlobId([*number; 16]),
        length: *length,
        owner_tag: OwnerTag([*number; 32]),
    };
    UploadRequest {
        volume: VOLUME,
        payer: PayerKey([6; 32]),
        class: None,
        blobs: blobs.iter().map(blob).collect(),
    }
}

fn change(number: u8, references: i64) -> BlobChange {
    BlobChange {
        blob: BlobId([number; 16]),
        references,
        live_bytes: references,
    }
}

fn page(text: &str) -> NodeBody {
    let bytes = text.as_bytes().to_vec();
    NodeBody {
        hash: model::units::NodeHash(model::crypto::sha256(&bytes)),
        body: Base64(bytes),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_up_and_its_layout_comes_back_also_after_a_restart() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), false).await;
    let hosts = connect_hosts(&bridge, &dialer, 8).await;
    let about = bridge.about(&dialer).await;
    assert_eq!(about.class.unwrap().to_string(), "coded:4/8");
    let owner = Owner::sign_up(&dialer, &bridge.endpoint, about.bridge).await;

    let root = upload(&owner, &hosts).await;
    drop(hosts);
    bridge.wait_for_hosts(&dialer, 0).await;
    bridge.stop().await;

    // Everything acknowledged is there again; Hosts are known, though none is connected.
    let bridge = Running::start(data.path(), false).await;
    let owner = owner.moved_to(&bridge.endpoint);
    download(&owner, &root).await;
    bridge.stop().await;
}

/// Bytes of blob 1: 70 segments, which take two pages of slots.
const LENGTH: u64 = 70 * 4 * 1_966_080;

/// Stores blobs 1 and 2 and commits them with two pages.
async fn upload(owner: &Owner, hosts: &[FakeHost]) -> RootHash {
    let plan: Plan = owner
        .send(
            Method::POST,
            "/v1/uploads",
            &request(&[(1, LENGTH), (2, 99)]),
        )
        .await
        .unwrap();
    let next = plan.slots.next.clone().unwrap();
    let path = format!("/v1/uploads/{}/slots?cursor={next}", plan.upload);
    let last: SlotPage = owner.get(&path).await.unwrap();
    assert_eq!(
        (plan.slots.segments.len(), last.segments.len(), &last.next),
        (64, 7, &None)
    );
    let receipts = format!("/v1/uploads/{}/receipts", plan.upload);
    for slots in [&plan.slots, &last] {
        let stored = fake_host::store_all(hosts, slots);
        let () = owner.send(Method::PUT, &receipts, &stored).await.unwrap();
    }
    let nodes = Nodes {
        nodes: vec![page("put before")],
    };
    let () = owner.send(Method::PUT, "/v1/nodes", &nodes).await.unwrap();
    let root = owner.root(None);
    let commit = Commit {
        root: Base64(root.bytes().to_vec()),
        uploads: vec![plan.upload],
        nodes: vec![page("in the commit")],
        pending: vec![page("put before").hash],
        blobs: vec![change(1, 1), change(2, 1)],
        ..Commit::default()
    };
    let path = format!("/v1/volumes/{VOLUME}/root");
    let committed: Committed = owner.send(Method::PUT, &path, &commit).await.unwrap();
    assert_eq!(committed.hash, root.hash());

    let usage: Usage = owner.get("/v1/usage").await.unwrap();
    assert_eq!(usage.blob_bytes, LENGTH + 99);
    assert_eq!(usage.shard_bytes, 2 * LENGTH + 8 * 64);
    assert_eq!(usage.reserved_bytes, 0);
    root.hash()
}

/// Finds all that [`upload`] stored.
async fn download(owner: &Owner, root: &RootHash) {
    let path = format!(
        "/v1/blobs/{}/layout?first=60&limit=64&payer={}",
        BlobId([1; 16]),
        "06".repeat(32)
    );
    let layout: Layout = owner.get(&path).await.unwrap();
    assert_eq!(layout.length, LENGTH);
    let numbers: Vec<u64> = layout
        .segments
        .iter()
        .map(|segment| segment.segment)
        .collect();
    assert_eq!(numbers, (60..70).collect::<Vec<_>>());
    assert_eq!(layout.hosts.len(), 8);
    assert!(layout.hosts.iter().all(|host| !host.online));
    assert!(layout.segments.iter().all(|segment| {
        segment
            .shards
            .iter()
            .all(|place| place.host.is_some() && place.ticket.is_some())
    }));
    let path = format!(
        "/v1/nodes?hash={}&hash={}",
        page("in the commit").hash,
        page("put before").hash
    );
    let nodes: Nodes = owner.get(&path).await.unwrap();
    assert_eq!(nodes.nodes, [page("in the commit"), page("put before")]);
    let current: RootAnswer = owner
        .get(&format!("/v1/volumes/{VOLUME}/root"))
        .await
        .unwrap();
    assert_eq!(current.hash, *root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_up_upload_is_ordered_away_until_the_host_has_done_it() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), true).await;
    let mut hosts = connect_hosts(&bridge, &dialer, 3).await;
    let id = bridge.about(&dialer).await.bridge;
    let owner = Owner::sign_up(&dialer, &bridge.endpoint, id).await;
    let plan: Plan = owner
        .send(Method::POST, "/v1/uploads", &request(&[(1, 10)]))
        .await
        .unwrap();
    let path = format!("/v1/uploads/{}", plan.upload);

    let () = owner.send(Method::DELETE, &path, &()).await.unwrap();
    let () = owner.send(Method::DELETE, &path, &()).await.unwrap();

    let first = hosts[0].next_order().await;
    let OrderKind::Delete { serials, reason } = &first.kind;
    assert_eq!(
        (first.seq, serials.len(), *reason),
        (1, 1, DeleteReason::NotCommitted)
    );
    // Not done yet, so it comes again over the next channel.
    let number = hosts[0].number;
    hosts[0] = FakeHost::join(&bridge.endpoint, &dialer, number).await;
    assert_eq!(hosts[0].next_order().await, first);
    hosts[0].done(1).await;
    // The next welcome tells that it arrived.
    let welcome = async {
        loop {
            let host = FakeHost::join(&bridge.endpoint, &dialer, number).await;
            if host.orders_done == 1 {
                return host;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), welcome)
        .await
        .expect("the order is done");
    drop(hosts);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_without_proof_or_reachability_get_nothing() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), false).await;

    let refused = FakeHost::try_join(&bridge.endpoint, &dialer, 1, |hello| {
        hello.nonce = "0".repeat(64);
    });
    assert_eq!(refused.await.err(), Some(ProblemCode::Forbidden));
    let newer = FakeHost::try_join(&bridge.endpoint, &dialer, 1, |hello| {
        hello.protocol.version = 9;
        hello.protocol.oldest = 9;
    });
    assert_eq!(newer.await.err(), Some(ProblemCode::VersionRefused));
    // Offers the address of another Host: the key that answers there is not its own.
    let honest = FakeHost::join(&bridge.endpoint, &dialer, 2).await;
    let elsewhere = honest.address();
    let mut liar = FakeHost::try_join(&bridge.endpoint, &dialer, 3, move |hello| {
        hello.offer.addresses = vec![elsewhere.to_string()];
    })
    .await
    .unwrap();
    let (reachable, detail) = liar.next_reachability().await;
    assert!(!reachable && detail.contains("expected key"), "{detail}");
    let about = bridge.wait_for_hosts(&dialer, 1).await;
    assert_eq!((about.zones_online, about.class), (1, None));
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_malformed_requests_get_problems() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), false).await;
    let id = bridge.about(&dialer).await.bridge;
    let owner = Owner::sign_up(&dialer, &bridge.endpoint, id).await;

    let ask = async |call: Call| {
        let reply = dialer.send(&bridge.endpoint, &call).await.unwrap();
        problem(reply).await
    };
    let code = async |call: Call| ask(call).await.code;
    assert_eq!(
        code(Call::get("/v1/usage")).await,
        ProblemCode::Unauthorized
    );
    assert_eq!(
        code(owner.call(Method::GET, "/v1/nothing")).await,
        ProblemCode::NotFound
    );
    assert_eq!(
        ask(owner.call(Method::DELETE, "/v1/usage")).await.status,
        405
    );
    let malformed = owner.call(Method::POST, "/v1/uploads").body(b"{".to_vec());
    assert_eq!(code(malformed).await, ProblemCode::BadRequest);
    let large = owner
        .call(Method::POST, "/v1/uploads")
        .body(vec![b' '; (1 << 20) + 1]);
    assert_eq!(code(large).await, ProblemCode::TooLarge);
    for path in [
        "/v1/uploads/xyz/slots",
        "/v1/volumes/1/root",
        "/v1/nodes",
        "/v1/nodes?hash=1",
    ] {
        assert_eq!(
            code(owner.call(Method::GET, path)).await,
            ProblemCode::BadRequest,
            "{path}"
        );
    }
    let hashes = vec![format!("hash={}", "0".repeat(64)); 65].join("&");
    let many = owner.call(Method::GET, &format!("/v1/nodes?{hashes}"));
    assert_eq!(code(many).await, ProblemCode::TooLarge);
    let none = owner.call(Method::GET, &format!("/v1/volumes/{VOLUME}/root"));
    assert_eq!(code(none).await, ProblemCode::NotFound);
    let plan = owner
        .send::<Plan>(Method::POST, "/v1/uploads", &request(&[(1, 10)]))
        .await;
    let refused = plan.unwrap_err().problem().unwrap().clone();
    assert_eq!(
        (refused.code, refused.status),
        (ProblemCode::TooFewHosts, 503)
    );

    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_counts_once() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), false).await;
    let id = bridge.about(&dialer).await.bridge;
    let owner = Owner::sign_up(&dialer, &bridge.endpoint, id).await;
    let call = Call::new(Method::POST, "/v1/sessions")
        .json(&owner.sign_in_body())
        .unwrap();

    let first = dialer.send(&bridge.endpoint, &call).await.unwrap();
    let second = dialer.send(&bridge.endpoint, &call).await.unwrap();

    assert!(first.status().is_success());
    assert_eq!(problem(second).await.code, ProblemCode::Forbidden);
    for path in ["/healthz", "/readyz"] {
        let reply = dialer
            .send(&bridge.endpoint, &Call::get(path))
            .await
            .unwrap();
        assert!(reply.status().is_success());
    }
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_version_before_is_served_as_it_was() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), false).await;
    let _hosts = connect_hosts(&bridge, &dialer, 3).await;
    let about = bridge.about(&dialer).await;
    let owner = Owner::sign_up(&dialer, &bridge.endpoint, about.bridge).await;
    let request = request(&[(1, 99)]);
    let plan: Plan = owner
        .send(Method::POST, "/v1/uploads", &request)
        .await
        .unwrap();
    let root = owner.root(None);
    let commit = Commit {
        root: Base64(root.bytes().to_vec()),
        ..Commit::default()
    };

    // It commits to the upload, which is ended by this, so its receipts are asked for.
    let path = format!("/v1/uploads/{}/commit", plan.upload);
    let early = owner.send::<Committed>(Method::POST, &path, &commit).await;
    let code = early.unwrap_err().problem().unwrap().code;
    assert_eq!(code, ProblemCode::TooFewReceipts);
    let volume = format!("/v1/volumes/{VOLUME}/root");
    let committed: Committed = owner.send(Method::PUT, &volume, &commit).await.unwrap();
    assert_eq!(committed.hash, root.hash());
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_version_in_common_is_told_who_is_behind() {
    let (data, dialer) = (tempfile::tempdir().unwrap(), dialer());
    let bridge = Running::start(data.path(), false).await;
    let about = bridge.about(&dialer).await;
    let owner = Owner::sign_up(&dialer, &bridge.endpoint, about.bridge).await;
    let ask = async |path: &str, speaks: &'static str| {
        let name = http::HeaderName::from_static(PROTOCOL_HEADER);
        let call = owner.call(Method::GET, path);
        let call = call.header(name, HeaderValue::from_static(speaks));
        dialer.send(&bridge.endpoint, &call).await.unwrap()
    };

    for speaks in ["1-1", "1-2", "2-3", "1-9"] {
        assert_eq!(
            ask("/v1/usage", speaks).await.status().as_u16(),
            200,
            "{speaks}"
        );
    }
    let ours = ProtocolVersions::OURS;
    let refused = problem(ask("/v1/usage", "8-9").await).await;
    assert_eq!(refused.code, ProblemCode::VersionRefused);
    let (oldest, version) = (ours.oldest, ours.version);
    let told = format!("the bridge speaks protocol {oldest} to {version}, xcloud 8 to 9: ");
    assert_eq!(refused.detail, told + "update the bridge");
    let unread = problem(ask("/v1/usage", "2").await).await;
    assert_eq!(unread.code, ProblemCode::BadRequest);
    let about = ask("/v1/bridge", "8-9").await;
    assert_eq!(about.headers()[PROTOCOL_HEADER], ours.to_string());
    assert_eq!(about.status().as_u16(), 200, "anybody may ask who it is");
    bridge.stop().await;
}
