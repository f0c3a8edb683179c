//! The Bridge's account, its devices and its volume: one of each, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use model::formats::root::{Lineage, SignedRoot};
use model::formats::shape::Class;
use model::units::{BlobId, DeviceId, RootHash, UploadId};
use model::wire::api::{
    About, Commit, Committed, DeviceListAnswer, NewAccount, PutDeviceList, RootAnswer, Roots,
};
use model::wire::control::ProtocolVersions;
use model::wire::{Base64, Problem, ProblemCode};
use net::Router;
use serde::Deserialize;
use tokio::sync::{Barrier, Mutex};

use super::bridge::Bridge;
use super::host::{now, problem};

/// What is kept of them.
#[derive(Default)]
pub(crate) struct Volume {
    pub(crate) roots: Vec<SignedRoot>,
    /// How many uploads each root ended.
    pub(crate) ended: Vec<usize>,
    pub(crate) conflicts: usize,
    pub(crate) references: BTreeMap<BlobId, i64>,
    /// Whoever asks for the root waits until all of them did.
    pub(crate) meeting: Option<Arc<Barrier>>,
    /// Commits wait while somebody holds it.
    pub(crate) barrier: Arc<Mutex<()>>,
    /// No commit that ends this upload is taken.
    pub(crate) refused: Option<UploadId>,
    /// What the Bridge says that it speaks, where it is not of our version.
    pub(crate) speaks: Option<ProtocolVersions>,
    /// Commits made the way of the first version.
    pub(crate) commits_of_first: usize,
    identity: DeviceId,
    devices: Base64,
}

impl Volume {
    /// What the Bridge speaks.
    pub(crate) fn versions(&self) -> ProtocolVersions {
        self.speaks.unwrap_or(ProtocolVersions::OURS)
    }
}

pub(super) fn routes() -> Router<Arc<Bridge>> {
    Router::new()
        .route("/v1/bridge", get(about))
        .route("/v1/accounts", post(sign_up))
        .route("/v1/devices", get(devices).put(put_devices))
        .route("/v1/volumes/{id}/root", get(root).put(commit))
        .route("/v1/volumes/{id}/roots", get(roots))
        .route("/v1/uploads/{id}/commit", post(commit_of_first))
}

async fn about(State(bridge): State<Arc<Bridge>>) -> Json<About> {
    Json(About {
        bridge: bridge.id(),
        agent: "test".to_owned(),
        protocol: bridge.books().volume.versions(),
        now: now(),
        hosts_online: 8,
        zones_online: 8,
        class: Class::coded(4, 8).ok(),
    })
}

async fn sign_up(State(bridge): State<Arc<Bridge>>, Json(account): Json<NewAccount>) -> Json<()> {
    let volume = &mut bridge.books().volume;
    volume.identity = account.identity;
    volume.devices = account.device_list;
    Json(())
}

async fn devices(State(bridge): State<Arc<Bridge>>) -> Json<DeviceListAnswer> {
    let volume = &bridge.books().volume;
    Json(DeviceListAnswer {
        device_list: volume.devices.clone(),
        identity: volume.identity,
    })
}

async fn put_devices(
    State(bridge): State<Arc<Bridge>>,
    Json(list): Json<PutDeviceList>,
) -> Json<()> {
    bridge.books().volume.devices = list.device_list;
    Json(())
}

async fn root(State(bridge): State<Arc<Bridge>>) -> Response {
    let (found, meeting) = {
        let volume = &bridge.books().volume;
        let found = volume.roots.last().map(answer);
        (found, volume.meeting.clone())
    };
    if let Some(meeting) = meeting
        && meeting.wait().await.is_leader()
    {
        bridge.books().volume.meeting = None;
    }
    match found {
        Some(root) => Json(root).into_response(),
        None => problem(ProblemCode::NotFound, "no root"),
    }
}

#[derive(Deserialize)]
struct Page {
    before: u64,
    limit: usize,
}

async fn roots(State(bridge): State<Arc<Bridge>>, Query(page): Query<Page>) -> Json<Roots> {
    let books = bridge.books();
    let roots = books.volume.roots.iter().rev().map(answer);
    let roots = roots.filter(|root| root.seq < page.before).take(page.limit);
    Json(Roots {
        roots: roots.collect(),
    })
}

/// As a Bridge of the first version takes it: to an upload, and of a body that names none.
async fn commit_of_first(
    state: State<Arc<Bridge>>,
    Path(upload): Path<String>,
    Json(body): Json<Commit>,
) -> Response {
    state.books().volume.commits_of_first += 1;
    let uploads = vec![upload.parse().unwrap()];
    commit(state, Json(Commit { uploads, ..body })).await
}

async fn commit(State(bridge): State<Arc<Bridge>>, Json(commit): Json<Commit>) -> Response {
    let barrier = Arc::clone(&bridge.books().volume.barrier);
    let _open = barrier.lock().await;
    if let Err(why) = bridge.take_receipts(&commit.receipts) {
        return problem(ProblemCode::ReceiptRefused, &why);
    }
    let mut books = bridge.books();
    let refused = books.volume.refused;
    let stored = |id: &UploadId| Bridge::is_stored(&books, *id) && refused != Some(*id);
    if !commit.uploads.iter().all(stored) {
        return problem(ProblemCode::TooFewReceipts, "too few");
    }
    // Tests of transfers alone have no tree.
    let root = (!commit.root.0.is_empty()).then(|| SignedRoot::parse(&commit.root.0).unwrap());
    if let Some(root) = &root
        && !follows(root, books.volume.roots.last())
    {
        books.volume.conflicts += 1;
        return conflict(books.volume.roots.last());
    }
    for node in commit.nodes {
        books.nodes.insert(node.hash, node.body.0);
    }
    let mut pending = commit.pending.iter();
    if !pending.all(|hash| books.nodes.contains_key(hash)) {
        return problem(ProblemCode::NotFound, "a pending page");
    }
    for change in &commit.blobs {
        let sum = books.volume.references.entry(change.blob).or_default();
        *sum += change.references;
        assert!(*sum >= 0, "more references are taken than there are");
    }
    let (seq, hash) = root.as_ref().map_or((1, RootHash::default()), |root| {
        (root.unverified().lineage.seq(), root.hash())
    });
    books.volume.ended.push(commit.uploads.len());
    books.volume.roots.extend(root);
    Json(Committed { seq, hash }).into_response()
}

fn follows(root: &SignedRoot, current: Option<&SignedRoot>) -> bool {
    let lineage = root.unverified().lineage;
    current.map_or(lineage == Lineage::first(), |current| {
        lineage.follows(&current.unverified().lineage, current.hash())
    })
}

fn conflict(current: Option<&SignedRoot>) -> Response {
    let facts = serde_json::to_value(current.map(answer)).unwrap();
    let problem = Problem::new(ProblemCode::RootConflict, "overtaken").with_facts(facts);
    (StatusCode::CONFLICT, Json(problem)).into_response()
}

fn answer(root: &SignedRoot) -> RootAnswer {
    RootAnswer {
        root: Base64(root.bytes().to_vec()),
        seq: root.unverified().lineage.seq(),
        hash: root.hash(),
    }
}
