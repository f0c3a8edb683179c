//! Roots and pages.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use http::StatusCode;
use model::units::{NodeHash, VolumeId};
use model::wire::ProblemCode;
use model::wire::api::{Commit, Committed, Nodes, RootAnswer, Roots};
use model::wire::limits::{NODES_PER_GET_MAX, ROOTS_PER_PAGE_MAX};

use super::request::{OWNER_BYTES_MAX, SignedIn, id, json, number, parameters};
use super::uploads::commit_to;
use super::{Answer, ApiError};
use crate::bridge::Bridge;
use crate::download::{nodes, roots};
use crate::upload::commit::CommitTarget;

/// `GET /v1/volumes/{volume}/root`.
pub(crate) async fn root(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(volume): Path<String>,
) -> Answer<Json<RootAnswer>> {
    let (account, volume): (_, VolumeId) = (owner.account, id(&volume)?);
    let root = bridge
        .store()
        .read(move |tx| roots::current(tx, &account, &volume))
        .await?;
    Ok(Json(root))
}

/// `PUT /v1/volumes/{volume}/root`.
pub(crate) async fn commit(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(volume): Path<String>,
    request: Request,
) -> Answer<Json<Committed>> {
    let volume = id(&volume)?;
    let commit: Commit = json(&bridge, request, OWNER_BYTES_MAX).await?;
    commit_to(&bridge, owner, CommitTarget::Volume(volume), commit).await
}

/// `GET /v1/volumes/{volume}/roots?before=SEQ&limit=N`.
pub(crate) async fn roots(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(volume): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Roots>> {
    let (account, volume): (_, VolumeId) = (owner.account, id(&volume)?);
    let before = number(query.as_deref(), "before")?;
    let limit = number(query.as_deref(), "limit")?;
    let limit = limit.map_or(ROOTS_PER_PAGE_MAX, |limit| {
        usize::try_from(limit).unwrap_or(0)
    });
    let roots = bridge
        .store()
        .read(move |tx| roots::before(tx, &account, &volume, before, limit))
        .await?;
    Ok(Json(roots))
}

/// `GET /v1/nodes?hash=…&hash=…`.
pub(crate) async fn nodes(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    RawQuery(query): RawQuery,
) -> Answer<Json<Nodes>> {
    let hashes = parameters(query.as_deref(), "hash").take(NODES_PER_GET_MAX + 1);
    let hashes = hashes.map(id).collect::<Answer<Vec<NodeHash>>>()?;
    if hashes.is_empty() {
        return Err(ApiError::new(ProblemCode::BadRequest, "`hash` is missing"));
    }
    let account = owner.account;
    let nodes = bridge
        .store()
        .read(move |tx| nodes::get(tx, &account, &hashes))
        .await?;
    Ok(Json(nodes))
}

/// `PUT /v1/nodes`.
pub(crate) async fn put_nodes(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<StatusCode> {
    let nodes: Nodes = json(&bridge, request, OWNER_BYTES_MAX).await?;
    let checked = bridge
        .slowly(move || nodes::check(nodes))
        .await
        .map_err(ApiError::of)??;
    let (context, account) = (bridge.context(), owner.account);
    bridge
        .store()
        .write(move |tx| nodes::put(tx, &context, &account, &checked))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
