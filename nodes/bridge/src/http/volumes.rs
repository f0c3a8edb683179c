//! Roots and pages.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use http::StatusCode;
use model::units::{NodeHash, VolumeId};
use model::wire::ProblemCode;
use model::wire::api::{self, Commit, Committed, Nodes, RootAnswer, Roots};
use model::wire::limits::{NODES_PER_GET_MAX, ROOTS_PER_PAGE_MAX};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::request::{OWNER_BYTES_MAX, SignedIn, id, json, number, parameters};
use super::{Answer, ApiError, problem};
use crate::account::session::Owner;
use crate::bridge::Bridge;
use crate::download::{nodes, roots};
use crate::upload::commit::{self, CommitOutcome};

pub(super) fn endpoints() -> OpenApiRouter<Bridge> {
    OpenApiRouter::new()
        .routes(routes!(root, put_root))
        .routes(routes!(roots))
        .routes(routes!(nodes, put_nodes))
}

/// The current root of a volume.
#[utoipa::path(
    get, path = api::VOLUME_ROOT,
    params(("volume" = VolumeId, Path, description = "The volume")),
    responses((status = 200, description = "", body = RootAnswer), problem::NotFound),
)]
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

/// Puts a new root in place and ends the uploads it names, in one transaction.
///
/// A commit whose root is current or in the history already is answered as before.
#[utoipa::path(
    put, path = api::VOLUME_ROOT,
    request_body = Commit,
    params(("volume" = VolumeId, Path, description = "The volume")),
    responses((status = 200, description = "", body = Committed), problem::OfCommits),
)]
pub(crate) async fn put_root(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(volume): Path<String>,
    request: Request,
) -> Answer<Json<Committed>> {
    let volume = id(&volume)?;
    let commit: Commit = json(&bridge, request, OWNER_BYTES_MAX).await?;
    commit_root(&bridge, owner, Some(volume), commit).await
}

/// Commits to `volume`, or where none is named to the root's own.
pub(super) async fn commit_root(
    bridge: &Bridge,
    owner: Owner,
    volume: Option<VolumeId>,
    commit: Commit,
) -> Answer<Json<Committed>> {
    let checked = bridge
        .slowly(move || commit::check(commit))
        .await
        .map_err(ApiError::of)??;
    let ended = u64::try_from(checked.uploads()).unwrap_or(u64::MAX);
    let (account, context) = (owner.account, bridge.context());
    let volume = volume.unwrap_or_else(|| checked.volume());
    let outcome = bridge
        .store()
        .write(move |tx| commit::commit(tx, &context, &account, &volume, &checked))
        .await?;
    if let CommitOutcome::Done { poked, .. } = &outcome {
        bridge.directory().ring(poked);
        metrics::counter!("xcloud_bridge_upload_roots_total").increment(1);
        metrics::counter!("xcloud_bridge_upload_commits_total").increment(ended);
    }
    outcome.into_answer().map(Json).map_err(ApiError::of)
}

/// Roots of a volume, newest first.
#[utoipa::path(
    get, path = api::VOLUME_ROOTS,
    params(
        ("volume" = VolumeId, Path, description = "The volume"),
        ("before" = Option<u64>, Query, description = "Only roots with lower numbers"),
        ("limit" = Option<u64>, Query, description = "Most roots"),
    ),
    responses((status = 200, description = "", body = Roots)),
)]
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

/// Sealed pages by their hashes.
///
/// Unknown ones are left out; so is, beyond 8 MiB, the rest: ask again.
#[utoipa::path(
    get, path = api::NODES,
    params(("hash" = Vec<NodeHash>, Query, min_items = 1, max_items = 64, description = "The pages' hashes")),
    responses((status = 200, description = "", body = Nodes), problem::TooLarge),
)]
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

/// Puts pages that a commit will name.
///
/// They are pending for an hour.
#[utoipa::path(
    put, path = api::NODES,
    request_body = Nodes,
    responses((status = 204, description = ""), problem::HashMismatch, problem::QuotaExceeded),
)]
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
