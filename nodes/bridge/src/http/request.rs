//! What endpoints take from a request: who it is from, its ids, its JSON; all bounded.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use futures_util::StreamExt as _;
use http::header::AUTHORIZATION;
use http::request::Parts;
use model::wire::ProblemCode;
use model::wire::limits::JSON_BYTES_MAX;
use serde::de::DeserializeOwned;
use tokio::sync::SemaphorePermit;

use super::{Answer, ApiError};
use crate::account::session::{Owner, owner, token_hash};
use crate::bridge::{BODY_UNIT_BYTES, Bridge};

/// Body of a request of somebody who is not signed in: a device list and its frame.
pub(crate) const STRANGER_BYTES_MAX: usize = 1 << 20;
/// Body of a signed-in request that carries no content.
pub(crate) const OWNER_BYTES_MAX: usize = JSON_BYTES_MAX;
/// Longest token.
const TOKEN_CHARS_MAX: usize = 128;

/// The signed-in owner of a request. It stands before the body among an endpoint's arguments, so
/// that no byte of a stranger's body is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedIn(pub(crate) Owner);

impl FromRequestParts<Bridge> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, bridge: &Bridge) -> Answer<Self> {
        let refused = || {
            ApiError::new(
                ProblemCode::Unauthorized,
                "no session, or one that ended; sign in",
            )
        };
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(refused)?;
        let token = header
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "));
        let token = token
            .filter(|token| token.len() <= TOKEN_CHARS_MAX)
            .ok_or_else(refused)?;
        let (hash, context) = (token_hash(token), bridge.context());
        let owner = bridge
            .store()
            .read(move |tx| owner(tx, &context, &hash))
            .await?;
        owner.map(Self).ok_or_else(refused)
    }
}

/// The address a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<Bridge> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, bridge: &Bridge) -> Answer<Self> {
        let ConnectInfo(addr) = ConnectInfo::<SocketAddr>::from_request_parts(parts, bridge)
            .await
            .map_err(|_| ApiError::new(ProblemCode::Internal, "the connection has no address"))?;
        let forwarded = bridge
            .config()
            .behind_proxy
            .then(|| forwarded_for(parts))
            .flatten();
        Ok(Self(forwarded.unwrap_or_else(|| addr.ip().to_canonical())))
    }
}

/// The address that the operator's own proxy saw: the last one of the last header.
fn forwarded_for(parts: &Parts) -> Option<IpAddr> {
    let last = parts
        .headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()?;
    let address = last.to_str().ok()?.rsplit(',').next()?.trim();
    address.parse().ok()
}

/// Reads a JSON body of at most `limit` bytes. Memory grows with what arrives, not with what is
/// announced, and all bodies together have a limit.
pub(crate) async fn json<T: DeserializeOwned>(
    bridge: &Bridge,
    request: Request,
    limit: usize,
) -> Answer<T> {
    let (bytes, _memory) = read(bridge, request.into_body(), limit).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::new(ProblemCode::BadRequest, format!("not the json: {error}")))
}

async fn read<'a>(
    bridge: &'a Bridge,
    body: Body,
    limit: usize,
) -> Answer<(Vec<u8>, SemaphorePermit<'a>)> {
    let too_large = || {
        ApiError::new(
            ProblemCode::TooLarge,
            format!("the body is larger than {limit} bytes"),
        )
    };
    if http_body_hint(&body) > limit as u64 {
        return Err(too_large());
    }
    let mut memory = take_memory(bridge, 0)?;
    let mut bytes = Vec::new();
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        let total = bytes.len() + chunk.len();
        if total > limit {
            return Err(too_large());
        }
        let units = total.div_ceil(BODY_UNIT_BYTES);
        if units > memory.num_permits() {
            memory.merge(take_memory(bridge, units - memory.num_permits())?);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, memory))
}

fn take_memory(bridge: &Bridge, units: usize) -> Answer<SemaphorePermit<'_>> {
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let busy = |_| {
        ApiError::new(
            ProblemCode::Busy,
            "too many large requests at once; try again",
        )
    };
    bridge.body_units().try_acquire_many(units).map_err(busy)
}

fn http_body_hint(body: &Body) -> u64 {
    axum::body::HttpBody::size_hint(body).lower()
}

fn broken(error: &axum::Error) -> ApiError {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    if causes.any(|cause| cause.is::<net::TooSlow>()) {
        return ApiError::new(
            ProblemCode::TooSlow,
            "the body came slower than the minimum rate",
        );
    }
    ApiError::new(ProblemCode::BadRequest, "the body broke off")
}

/// An id in the path.
pub(crate) fn id<T: FromStr>(text: &str) -> Answer<T>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| ApiError::new(ProblemCode::BadRequest, error.to_string()))
}

/// The values of a query's parameter, in order. Ids, numbers and cursors need no escapes.
pub(crate) fn parameters<'a>(
    query: Option<&'a str>,
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    let pairs = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A number in the query.
pub(crate) fn number(query: Option<&str>, name: &str) -> Answer<Option<u64>> {
    let wrong = || ApiError::new(ProblemCode::BadRequest, format!("`{name}` is no number"));
    parameters(query, name)
        .next()
        .map(|text| text.parse().map_err(|_| wrong()))
        .transpose()
}
