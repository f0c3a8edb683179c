//! A Bridge in memory: plans in small pages, spares, receipts that are checked, layouts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use model::crypto::{Secret, SigningKey, sha256};
use model::formats::shape::{Class, Shape};
use model::units::{
    BlobId, BridgeId, HostId, NodeHash, OwnerTag, PayerKey, Serial, ShardId, UploadId,
};
use model::wire::api::{
    AUDIT_PURPOSE, BlobRequest, Layout, More, MoreRequest, NodeBody, Nodes, Plan, ReceiptPage,
    Report, Reports, SegmentLayout, SegmentReceipts, SegmentSlots, Session, ShardPlace, Slot,
    SlotPage, UploadRequest,
};
use model::wire::{
    Action, Base64, PROTOCOL_HEADER, ProblemCode, ProtocolVersions, SerialKey, StoreReceipt, Ticket,
};
use net::{BridgeUrl, Listener, Router, Security, ServeLimits};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_util::sync::CancellationToken;

use super::host::{Host, now, problem};

/// Pages are small here, so that little content has several.
pub(crate) const SEGMENTS_PER_PAGE: usize = 2;
/// Replacements one slot may get.
const REPLACEMENTS_MAX: u32 = 2;

pub(crate) struct Bridge {
    key: SigningKey,
    serials: SerialKey,
    url: BridgeUrl,
    hosts: Vec<Arc<Host>>,
    state: Mutex<Books>,
}

/// The shards of a segment, and who has them.
type Stored = Vec<(ShardId, Option<HostId>)>;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) sessions: u64,
    pub(crate) refuse_sessions_below: u64,
    pub(crate) class: Option<Class>,
    pub(crate) reports: Vec<Report>,
    pub(crate) more_calls: u32,
    pub(crate) layout_calls: u32,
    pub(crate) abandoned: u32,
    pub(crate) nodes: BTreeMap<NodeHash, Vec<u8>>,
    pub(crate) receipts: BTreeMap<(BlobId, u64), Stored>,
    pub(crate) volume: super::volume::Volume,
    /// Open uploads and those that ended.
    uploads: BTreeMap<UploadId, Vec<BlobRequest>>,
    /// Hosts that were given a ticket for a slot.
    given: BTreeMap<(BlobId, u64, u16), Vec<HostId>>,
    shapes: BTreeMap<BlobId, (Shape, OwnerTag)>,
}

/// Says what the Bridge speaks; the first version did not say.
async fn say(State(bridge): State<Arc<Bridge>>, request: Request, next: Next) -> Response {
    let versions = bridge.books().volume.versions();
    let mut response = next.run(request).await;
    if versions != ProtocolVersions::FIRST {
        let text = versions.to_string().parse().unwrap();
        response.headers_mut().insert(PROTOCOL_HEADER, text);
    }
    response
}

impl Bridge {
    pub(crate) fn start(key: SigningKey, hosts: Vec<Arc<Host>>) -> Arc<Self> {
        let limits = ServeLimits::default();
        let address = ([127, 0, 0, 1], 0).into();
        let listener = Listener::bind(address, Security::PlainLoopback, limits).unwrap();
        let bridge = Arc::new(Self {
            key,
            serials: SerialKey::new(&Secret::new([0x5e; 32])),
            url: format!("http://{}", listener.local_addr()).parse().unwrap(),
            hosts,
            state: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/sessions", post(sign_in))
            .route("/v1/uploads", post(plan))
            .route("/v1/uploads/{id}", delete(abandon))
            .route("/v1/uploads/{id}/slots", get(slots))
            .route("/v1/uploads/{id}/more", post(more))
            .route("/v1/uploads/{id}/receipts", put(receipts))
            .merge(super::volume::routes())
            .route("/v1/nodes", get(nodes).put(put_nodes))
            .route("/v1/blobs/{id}/layout", get(layout))
            .route("/v1/reports", post(reports))
            .layer(middleware::from_fn_with_state(Arc::clone(&bridge), say))
            .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
            .with_state(Arc::clone(&bridge));
        tokio::spawn(listener.serve(router, CancellationToken::new()));
        bridge
    }

    pub(crate) fn id(&self) -> BridgeId {
        BridgeId(self.key.public())
    }

    pub(crate) fn url(&self) -> BridgeUrl {
        self.url.clone()
    }

    pub(crate) fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(&self, host: HostId, serial: Serial, (action, payer): (Action, PayerKey)) -> Base64 {
        let ticket = Ticket {
            serial,
            bridge: self.id(),
            host,
            action,
            bytes_max: 1 << 30,
            payer,
            price_version: 1,
            created: now(),
            expires: now().plus_ms(3_600_000),
        };
        Base64(ticket.sign(&self.key))
    }

    fn slot(&self, host: u16, place: (BlobId, u64, u16), owner_tag: OwnerTag) -> Slot {
        let id = self.hosts[usize::from(host)].id();
        let serial = self.serials.serial(&place.0, place.1, place.2, &id);
        Slot {
            host,
            ticket: self.ticket(id, serial, (Action::Put { owner_tag }, PayerKey::default())),
        }
    }

    fn addresses(&self) -> Vec<model::wire::api::HostAddress> {
        self.hosts.iter().map(|host| host.address()).collect()
    }

    /// The page of slots that begins at segment number `first`, counted over all blobs.
    fn page(&self, upload: UploadId, first: usize) -> SlotPage {
        let mut books = self.books();
        let all = books.uploads[&upload].iter().flat_map(|blob| {
            let segments = books.shapes[&blob.blob].0.segments();
            (0..segments).map(|segment| (blob.blob, segment))
        });
        let all: Vec<_> = all.collect();
        let mut segments = Vec::new();
        for (number, (blob, segment)) in all
            .iter()
            .copied()
            .enumerate()
            .skip(first)
            .take(SEGMENTS_PER_PAGE)
        {
            let (shape, tag) = books.shapes[&blob];
            let slots = (0..shape.class().n()).map(|index| {
                let host = (number * 3 + usize::from(index)) % self.hosts.len();
                let place = (blob, segment, index);
                books
                    .given
                    .entry(place)
                    .or_default()
                    .push(self.hosts[host].id());
                self.slot(host.try_into().unwrap(), place, tag)
            });
            segments.push(SegmentSlots {
                blob,
                segment,
                slots: slots.collect(),
            });
        }
        let end = first + segments.len();
        let next = (end < all.len()).then(|| format!("at&{end}"));
        SlotPage {
            hosts: self.addresses(),
            segments,
            next,
        }
    }

    /// Whether every segment of an upload has enough receipts.
    pub(super) fn is_stored(books: &Books, upload: UploadId) -> bool {
        let enough = |blob: &BlobRequest| {
            let (shape, _) = books.shapes[&blob.blob];
            let class = shape.class();
            let needed = class.k() + (class.n() - class.k()).div_ceil(2);
            (0..shape.segments()).all(|segment| {
                let stored = books.receipts.get(&(blob.blob, segment));
                let have =
                    stored.map_or(0, |s| s.iter().filter(|(_, host)| host.is_some()).count());
                have >= usize::from(needed)
            })
        };
        books.uploads[&upload].iter().all(enough)
    }

    /// Who signed a receipt for shard `index` of a segment.
    fn holder(
        &self,
        segment: &SegmentReceipts,
        index: u16,
        id: ShardId,
        signed: &[u8],
    ) -> Result<HostId, String> {
        let receipt = StoreReceipt::open(signed).map_err(|error| error.to_string())?;
        let (blob, number) = (segment.blob, segment.segment);
        let serial = self.serials.serial(&blob, number, index, &receipt.host);
        if receipt.serial == serial && receipt.shard == id {
            return Ok(receipt.host);
        }
        Err("a receipt for something else".to_owned())
    }

    pub(super) fn take_receipts(&self, page: &ReceiptPage) -> Result<(), String> {
        let mut books = self.books();
        for segment in &page.segments {
            let (shape, _) = books.shapes[&segment.blob];
            let class = shape.class();
            if segment.receipts.len() != usize::from(class.n())
                || segment.ids.len() != usize::from(class.ids())
            {
                return Err("wrong counts".to_owned());
            }
            let mut stored = Vec::new();
            for (index, receipt) in (0..).zip(&segment.receipts) {
                let id = segment.ids[if class.k() == 1 {
                    0
                } else {
                    usize::from(index)
                }];
                let host = match receipt {
                    Some(signed) => Some(self.holder(segment, index, id, &signed.0)?),
                    None => None,
                };
                stored.push((id, host));
            }
            books
                .receipts
                .insert((segment.blob, segment.segment), stored);
        }
        Ok(())
    }
}

async fn sign_in(State(bridge): State<Arc<Bridge>>, Json(_): Json<IgnoredAny>) -> Json<Session> {
    let mut books = bridge.books();
    books.sessions += 1;
    let token = books.sessions.to_string();
    Json(Session {
        token,
        expires: now().plus_ms(3_600_000),
    })
}

fn is_signed_in(bridge: &Bridge, headers: &HeaderMap) -> bool {
    let value = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let number = value.and_then(|value| value.strip_prefix("Bearer ")?.parse::<u64>().ok());
    number.is_some_and(|number| number >= bridge.books().refuse_sessions_below)
}

async fn plan(
    State(bridge): State<Arc<Bridge>>,
    headers: HeaderMap,
    Json(request): Json<UploadRequest>,
) -> Response {
    if !is_signed_in(&bridge, &headers) {
        return problem(ProblemCode::Unauthorized, "sign in");
    }
    let class = request
        .class
        .or(bridge.books().class)
        .unwrap_or(Class::coded(4, 8).unwrap());
    if usize::from(class.n()) > bridge.hosts.len() {
        return problem(ProblemCode::TooFewHosts, "too few");
    }
    let upload;
    {
        let mut books = bridge.books();
        for blob in &request.blobs {
            let shape = Shape::new(blob.length, class).unwrap();
            books.shapes.insert(blob.blob, (shape, blob.owner_tag));
        }
        let number = u8::try_from(books.uploads.len() + 1).unwrap();
        upload = UploadId([number; 16]);
        books.uploads.insert(upload, request.blobs);
    }
    let expires = now().plus_ms(3_600_000);
    Json(Plan {
        upload,
        expires,
        class,
        slots: bridge.page(upload, 0),
    })
    .into_response()
}

#[derive(Deserialize)]
struct Cursor {
    cursor: String,
}

async fn slots(
    State(bridge): State<Arc<Bridge>>,
    Path(upload): Path<UploadId>,
    Query(query): Query<Cursor>,
) -> Json<SlotPage> {
    let first = query.cursor.strip_prefix("at&").unwrap().parse().unwrap();
    Json(bridge.page(upload, first))
}

async fn more(State(bridge): State<Arc<Bridge>>, Json(request): Json<MoreRequest>) -> Json<More> {
    bridge.books().more_calls += 1;
    let mut slots = Vec::new();
    for slot in request.slots {
        let mut books = bridge.books();
        let place = (slot.blob, slot.segment, slot.index);
        let of_segment = books
            .given
            .range((place.0, place.1, 0)..=(place.0, place.1, u16::MAX));
        let used: BTreeSet<HostId> = of_segment.flat_map(|(_, hosts)| hosts.clone()).collect();
        let had = books.given.get(&place).map_or(0, Vec::len);
        let free = (0_u16..)
            .zip(&bridge.hosts)
            .find(|(_, host)| !used.contains(&host.id()));
        let spare = free
            .filter(|_| had <= REPLACEMENTS_MAX as usize)
            .map(|(host, _)| host);
        slots.push(spare.map(|host| {
            let id = bridge.hosts[usize::from(host)].id();
            books.given.entry(place).or_default().push(id);
            bridge.slot(host, place, OwnerTag::default())
        }));
    }
    Json(More {
        hosts: bridge.addresses(),
        slots,
    })
}

async fn receipts(State(bridge): State<Arc<Bridge>>, Json(page): Json<ReceiptPage>) -> Response {
    match bridge.take_receipts(&page) {
        Ok(()) => Json(()).into_response(),
        Err(why) => problem(ProblemCode::ReceiptRefused, &why),
    }
}

async fn abandon(State(bridge): State<Arc<Bridge>>) -> Json<()> {
    bridge.books().abandoned += 1;
    Json(())
}

async fn nodes(
    State(bridge): State<Arc<Bridge>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Json<Nodes> {
    let books = bridge.books();
    let hashes = query.iter().map(|(_, hash)| hash.parse().unwrap());
    let found = hashes.filter_map(|hash: NodeHash| {
        Some(NodeBody {
            hash,
            body: Base64(books.nodes.get(&hash)?.clone()),
        })
    });
    Json(Nodes {
        nodes: found.collect(),
    })
}

async fn put_nodes(State(bridge): State<Arc<Bridge>>, Json(nodes): Json<Nodes>) -> Response {
    for node in nodes.nodes {
        if sha256(&node.body.0) != node.hash.0 {
            return problem(ProblemCode::HashMismatch, "node");
        }
        bridge.books().nodes.insert(node.hash, node.body.0);
    }
    Json(()).into_response()
}

#[derive(Deserialize)]
struct Window {
    first: u64,
    limit: u64,
    payer: PayerKey,
    purpose: Option<String>,
}

async fn layout(
    State(bridge): State<Arc<Bridge>>,
    Path(blob): Path<BlobId>,
    Query(window): Query<Window>,
) -> Response {
    let mut books = bridge.books();
    books.layout_calls += 1;
    let Some((shape, _)) = books.shapes.get(&blob).copied() else {
        return problem(ProblemCode::NotFound, "blob");
    };
    let end = shape
        .segments()
        .min(window.first + window.limit.min(SEGMENTS_PER_PAGE as u64));
    let segments = (window.first..end).map(|segment| {
        let stored = &books.receipts[&(blob, segment)];
        let shards = stored.iter().map(|(id, host)| {
            let at = host.and_then(|id| bridge.hosts.iter().position(|host| host.id() == id));
            let ticket = host.map(|host| {
                let action = match window.purpose.as_deref() {
                    Some(AUDIT_PURPOSE) => Action::Audit { shard: *id },
                    _ => Action::Get { shard: *id },
                };
                bridge.ticket(host, Serial::default(), (action, window.payer))
            });
            ShardPlace {
                id: *id,
                host: at.map(|at| at.try_into().unwrap()),
                ticket,
            }
        });
        SegmentLayout {
            inconsistent: false,
            segment,
            shards: shards.collect(),
        }
    });
    let segments = segments.collect();
    let (length, class) = (shape.length(), shape.class());
    Json(Layout {
        length,
        class,
        hosts: bridge.addresses(),
        segments,
    })
    .into_response()
}

async fn reports(State(bridge): State<Arc<Bridge>>, Json(reports): Json<Reports>) -> Json<()> {
    bridge.books().reports.extend(reports.reports);
    Json(())
}
