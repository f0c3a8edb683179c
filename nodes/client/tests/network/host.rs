//! A Host in memory that fails as it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use model::crypto::{LeafRange, Secret, SigningKey, hash_shard, leaf_hash};
use model::units::{BridgeId, HostId, Serial, ShardId, ShardSize, UnixMs};
use model::wire::api::HostAddress;
use model::wire::audit::{AuditAnswer, ChainValue, Challenge, Finding, Proof};
use model::wire::{
    Base64, LEAF_PROOF, LeafHeaderError, PROTOCOL_HEADER, Problem, ProblemCode, ProtocolVersions,
    Signed, StoreReceipt, Ticket, TicketPurpose, content_range, encode_proof, parse_range_header,
    split_ticket_header,
};
use net::{Identity, Listener, Router, Security, ServeLimits};
use tokio_util::sync::CancellationToken;

/// How a Host fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not.
    None,
    /// Its port is closed.
    Dead,
    /// It takes no more than the heads of requests and never answers.
    Silent,
    /// It takes whole requests and never answers.
    Mute,
    /// It gives other bytes than it stored, and receipts for another shard.
    Garbage,
    /// It cuts every connection half-way.
    Cut,
    /// It moves 10 KB per second.
    Slow,
    /// It has no space, and lost what it had.
    Full,
    /// It always has too much to do.
    Busy,
    /// It is of the first protocol version and knows no ranges.
    Old,
    /// It finds that what it had has rotted.
    Rotten,
    /// A volume of it is away.
    Unseen,
    /// Its answers to audits are signed by somebody else.
    Forging,
}

pub(crate) struct Host {
    pub(crate) number: u8,
    key: SigningKey,
    bridge: BridgeId,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    state: Mutex<Shelf>,
}

struct Shelf {
    fault: Fault,
    shards: BTreeMap<ShardId, Bytes>,
    serials: BTreeMap<Serial, ShardId>,
    puts: u32,
    gets: u32,
    audits: u32,
    /// Bytes of shards that were promised to readers.
    sent: u64,
}

impl Host {
    pub(crate) fn start(number: u8, bridge: BridgeId) -> Arc<Self> {
        let key = SigningKey::from_seed(&Secret::new([number; 32]));
        let security = Security::Tls(Identity::new(&key).unwrap());
        let limits = ServeLimits {
            drain_within: Duration::ZERO,
            ..ServeLimits::default()
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), security, limits).unwrap();
        let host = Arc::new(Self {
            number,
            key,
            bridge,
            address: listener.local_addr(),
            stop: CancellationToken::new(),
            state: Mutex::new(Shelf {
                fault: Fault::None,
                shards: BTreeMap::new(),
                serials: BTreeMap::new(),
                puts: 0,
                gets: 0,
                audits: 0,
                sent: 0,
            }),
        });
        let router = Router::new()
            .route("/v1/shards", put(put_shard))
            .route("/v1/shards/{id}", get(get_shard))
            .route("/v1/receipts/{id}", get(get_receipt))
            .route("/v1/audit", post(audit))
            .with_state(Arc::clone(&host));
        tokio::spawn(listener.serve(router, host.stop.clone()));
        host
    }

    pub(crate) fn id(&self) -> HostId {
        HostId(self.key.public())
    }

    pub(crate) fn address(&self) -> HostAddress {
        HostAddress {
            host: self.id(),
            name: format!("h{}", self.number),
            addresses: vec![self.address.to_string()],
            zone: format!("z{}", self.number),
            region: None,
            online: true,
            proved: None,
        }
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.shelf().fault = fault;
        if fault == Fault::Dead {
            self.stop.cancel();
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.shelf().shards.len()
    }

    /// Flips one bit of everything stored.
    pub(crate) fn rot(&self) {
        for bytes in self.shelf().shards.values_mut() {
            let mut bent = bytes.to_vec();
            let middle = bent.len() / 2;
            bent[middle] ^= 1;
            *bytes = bent.into();
        }
    }

    /// How many shards were asked to be stored, and how many to be read.
    pub(crate) fn asked(&self) -> (u32, u32) {
        let shelf = self.shelf();
        (shelf.puts, shelf.gets)
    }

    /// How many proofs were asked for.
    pub(crate) fn audits(&self) -> u32 {
        self.shelf().audits
    }

    /// Bytes of shards that were promised to readers.
    pub(crate) fn sent(&self) -> u64 {
        self.shelf().sent
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(&self, headers: &HeaderMap, purpose: TicketPurpose) -> Result<Ticket, Box<Response>> {
        let refuse = |why: &str| Box::new(problem(ProblemCode::TicketRefused, why));
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let signed =
            split_ticket_header(value.unwrap_or_default()).map_err(|e| refuse(&e.to_string()))?;
        let known = |bridge: &BridgeId| *bridge == self.bridge;
        let ticket = Ticket::check(&signed, now(), &self.id(), known, purpose);
        ticket
            .map(|valid| valid.ticket().clone())
            .map_err(|error| refuse(&error.to_string()))
    }
}

async fn put_shard(State(host): State<Arc<Host>>, headers: HeaderMap, body: Body) -> Response {
    let ticket = match host.ticket(&headers, TicketPurpose::Store) {
        Ok(ticket) => ticket,
        Err(refusal) => return *refusal,
    };
    let id: ShardId = headers["shard-id"].to_str().unwrap().parse().unwrap();
    let fault = host.shelf().fault;
    host.shelf().puts += 1;
    match fault {
        Fault::Silent => std::future::pending().await,
        Fault::Full => return problem(ProblemCode::NoSpace, "full"),
        Fault::Busy => return problem(ProblemCode::Busy, "busy"),
        Fault::None
        | Fault::Old
        | Fault::Dead
        | Fault::Mute
        | Fault::Garbage
        | Fault::Cut
        | Fault::Slow
        | Fault::Rotten
        | Fault::Unseen
        | Fault::Forging => {}
    }
    let bytes = match receive(body, fault).await {
        Ok(bytes) => bytes,
        Err(refusal) => return *refusal,
    };
    if fault == Fault::Mute {
        return std::future::pending().await;
    }
    if hash_shard(&bytes) != id {
        return problem(ProblemCode::HashMismatch, "other bytes");
    }
    let mut shelf = host.shelf();
    if *shelf.serials.entry(ticket.serial).or_insert(id) != id {
        return problem(ProblemCode::SerialBound, "bound");
    }
    let size = ShardSize::new(bytes.len().try_into().unwrap()).unwrap();
    shelf.shards.insert(id, bytes);
    let shard = if fault == Fault::Garbage {
        ShardId([0xbad_u32.to_le_bytes()[0]; 32])
    } else {
        id
    };
    let receipt = StoreReceipt {
        serial: ticket.serial,
        bridge: ticket.bridge,
        host: host.id(),
        shard,
        size,
        stored: now(),
    };
    receipt.sign(&host.key).into_response()
}

async fn get_receipt(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let ticket = match host.ticket(&headers, TicketPurpose::Store) {
        Ok(ticket) => ticket,
        Err(refusal) => return *refusal,
    };
    let id: ShardId = id.parse().unwrap();
    let shelf = host.shelf();
    let bound = shelf.serials.get(&ticket.serial).copied();
    let Some(bytes) = shelf.shards.get(&id).filter(|_| bound == Some(id)) else {
        return problem(ProblemCode::NotFound, "not here");
    };
    let receipt = StoreReceipt {
        serial: ticket.serial,
        bridge: ticket.bridge,
        host: host.id(),
        shard: id,
        size: ShardSize::new(bytes.len().try_into().unwrap()).unwrap(),
        stored: now(),
    };
    receipt.sign(&host.key).into_response()
}

async fn receive(body: Body, fault: Fault) -> Result<Bytes, Box<Response>> {
    let mut bytes = Vec::new();
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| Box::new(problem(ProblemCode::BadRequest, "broken off")))?;
        if fault == Fault::Cut {
            // Ends the task that serves the connection, and so the connection, without a word.
            std::panic::resume_unwind(Box::new("cut"));
        }
        if fault == Fault::Slow {
            crawl(frame.len()).await;
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.into())
}

async fn get_shard(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let id: ShardId = id.parse().unwrap();
    if let Err(refusal) = host.ticket(&headers, TicketPurpose::Read(id)) {
        return *refusal;
    }
    let (fault, found) = {
        let mut shelf = host.shelf();
        shelf.gets += 1;
        (shelf.fault, shelf.shards.get(&id).cloned())
    };
    let Some(bytes) = found else {
        return problem(ProblemCode::NotFound, "not here");
    };
    let asked = if fault == Fault::Old {
        Ok(None)
    } else {
        leaves(&headers, &bytes)
    };
    let Ok(leaves) = asked else {
        return problem(ProblemCode::BadRequest, "no such leaves");
    };
    let (status, mut headers, bytes) = match leaves {
        Some(leaves) => {
            let range = leaves.bytes().start as usize..leaves.bytes().end as usize;
            let headers = proven(&leaves, &bytes);
            (StatusCode::PARTIAL_CONTENT, headers, bytes.slice(range))
        }
        None => (StatusCode::OK, HeaderMap::new(), bytes),
    };
    host.shelf().sent += bytes.len() as u64;
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    let head = (status, headers);
    let answer = |body: Body| (head.0, head.1, body).into_response();
    match fault {
        Fault::None | Fault::Dead | Fault::Old | Fault::Forging => answer(bytes.into()),
        Fault::Rotten => problem(ProblemCode::ShardRotten, "rotten"),
        Fault::Unseen => problem(ProblemCode::ShardUnseen, "away"),
        Fault::Silent | Fault::Mute => std::future::pending().await,
        Fault::Full => problem(ProblemCode::NotFound, "lost"),
        Fault::Busy => problem(ProblemCode::Busy, "busy"),
        Fault::Garbage => {
            let bent: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x55).collect();
            answer(bent.into())
        }
        Fault::Cut => {
            let half = Ok(bytes.slice(..bytes.len() / 2));
            let cut = Err(std::io::Error::other("cut"));
            answer(Body::from_stream(stream::iter([half, cut])))
        }
        Fault::Slow => {
            let pieces: Vec<Bytes> = bytes.chunks(1_000).map(Bytes::copy_from_slice).collect();
            let crawling = stream::iter(pieces).then(|piece| async move {
                crawl(piece.len()).await;
                Ok::<_, Infallible>(piece)
            });
            answer(Body::from_stream(crawling))
        }
    }
}

async fn audit(
    State(host): State<Arc<Host>>,
    headers: HeaderMap,
    Json(challenge): Json<Signed<Challenge>>,
) -> Response {
    let asked = challenge.peek().unwrap();
    let ticket = match host.ticket(&headers, TicketPurpose::Prove(asked.shard)) {
        Ok(ticket) => ticket,
        Err(refusal) => return *refusal,
    };
    if challenge.open(&ticket.payer.0).is_err() || asked.bridge != ticket.bridge {
        return problem(ProblemCode::Forbidden, "not asked by the ticket's payer");
    }
    let (fault, bytes) = {
        let mut shelf = host.shelf();
        shelf.audits += 1;
        (shelf.fault, shelf.shards.get(&asked.shard).cloned())
    };
    match fault {
        Fault::Silent | Fault::Mute => std::future::pending().await,
        Fault::Busy => return problem(ProblemCode::Busy, "busy"),
        // Says by its silence about versions that it is of the first one.
        Fault::Old => return StatusCode::NOT_FOUND.into_response(),
        Fault::Cut => std::panic::resume_unwind(Box::new("cut")),
        _ => {}
    }
    let (finding, leaf) = find(fault, &asked, bytes);
    let answer = AuditAnswer::new(&challenge, &asked, ChainValue::default(), finding, now());
    let stranger = SigningKey::from_seed(&Secret::new([0xfe; 32]));
    let key = if fault == Fault::Forging {
        &stranger
    } else {
        &host.key
    };
    let answer = Signed::new(key, &answer);
    let leaf = Base64(leaf);
    let ours = [(PROTOCOL_HEADER, ProtocolVersions::OURS.to_string())];
    (ours, Json(Proof { answer, leaf })).into_response()
}

/// What a Host with this fault finds.
fn find(fault: Fault, asked: &Challenge, bytes: Option<Bytes>) -> (Finding, Vec<u8>) {
    let bytes = match (fault, bytes) {
        (Fault::Rotten, _) => return (Finding::Rotten, Vec::new()),
        (Fault::Unseen, _) => return (Finding::Unseen, Vec::new()),
        (Fault::Full, _) | (_, None) => return (Finding::Missing, Vec::new()),
        (_, Some(bytes)) => bytes,
    };
    let range = asked.leaf_range().unwrap();
    let hashes: Vec<[u8; 32]> = bytes.chunks(65_536).map(leaf_hash).collect();
    let mut leaf = bytes[range.bytes().start as usize..range.bytes().end as usize].to_vec();
    if fault == Fault::Garbage {
        leaf[0] ^= 1;
    }
    let finding = Finding::Leaf {
        hash: Base64(leaf_hash(&leaf).to_vec()),
        path: Base64(range.proof(&hashes).unwrap().concat()),
    };
    (finding, leaf)
}

/// The leaves that are asked for, if not all.
fn leaves(headers: &HeaderMap, shard: &[u8]) -> Result<Option<LeafRange>, LeafHeaderError> {
    let Some(range) = headers.get(header::RANGE) else {
        return Ok(None);
    };
    let size = u32::try_from(shard.len()).unwrap_or(0);
    parse_range_header(range.to_str().unwrap_or_default(), size).map(Some)
}

fn proven(leaves: &LeafRange, shard: &[u8]) -> HeaderMap {
    let hashes: Vec<[u8; 32]> = shard.chunks(65_536).map(leaf_hash).collect();
    let proof = leaves.proof(&hashes).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_RANGE,
        content_range(leaves).parse().unwrap(),
    );
    headers.insert(LEAF_PROOF, encode_proof(&proof).parse().unwrap());
    headers
}

/// 10 KB per second.
async fn crawl(bytes: usize) {
    tokio::time::sleep(Duration::from_micros(100 * bytes as u64)).await;
}

pub(crate) fn now() -> UnixMs {
    use client::transfer::Environment as _;
    client::transfer::SystemEnvironment.now()
}

pub(crate) fn problem(code: ProblemCode, detail: &str) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    (status, Json(Problem::new(code, detail))).into_response()
}
