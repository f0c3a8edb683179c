//! Layouts, and which blobs have become sparse.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use model::units::{BlobId, PayerKey};
use model::wire::ProblemCode;
use model::wire::api::{self, Layout, SparseBlobs};
use model::wire::limits::{SEGMENTS_PER_PAGE_MAX, SPARSE_BLOBS_PER_PAGE_MAX};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::request::{SignedIn, id, number, parameters};
use super::{Answer, ApiError, problem};
use crate::bridge::Bridge;
use crate::delete::sparse;
use crate::download::layout::{self, Purpose};

pub(super) fn endpoints() -> OpenApiRouter<Bridge> {
    OpenApiRouter::new()
        .routes(routes!(sparse))
        .routes(routes!(layout))
}

/// Blobs of which less than half is referred to, by their ids.
#[utoipa::path(
    get, path = api::SPARSE_BLOBS,
    params(
        ("after" = Option<BlobId>, Query, description = "The last one of the page before"),
        ("limit" = Option<u64>, Query, description = "Most blobs"),
    ),
    responses((status = 200, description = "", body = SparseBlobs)),
)]
pub(crate) async fn sparse(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    RawQuery(query): RawQuery,
) -> Answer<Json<SparseBlobs>> {
    let query = query.as_deref();
    let after = parameters(query, "after").next().map(id).transpose()?;
    let limit = number(query, "limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.unwrap_or(SPARSE_BLOBS_PER_PAGE_MAX);
    let account = owner.account;
    let listed = bridge
        .store()
        .read(move |tx| sparse::after(tx, &account, after.as_ref(), limit))
        .await?;
    Ok(Json(listed))
}

/// Where a blob's shards lie, with tickets to read them.
///
/// Tickets are for Hosts online and offline, and good for 6 hours.
#[utoipa::path(
    get, path = api::LAYOUT,
    params(
        ("blob" = BlobId, Path, description = "A committed blob, also a retired one"),
        ("first" = Option<u64>, Query, description = "The first segment; 0 where left out"),
        ("limit" = Option<u64>, Query, description = "Most segments"),
        ("payer" = PayerKey, Query, description = "Who signs receipts for the transfers"),
        ("purpose" = Option<String>, Query, description = "`audit` for tickets to have shards proved instead of read"),
    ),
    responses((status = 200, description = "", body = Layout), problem::NotFound),
)]
pub(crate) async fn layout(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(blob): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<Layout>> {
    let blob: BlobId = id(&blob)?;
    let query = query.as_deref();
    let first = number(query, "first")?.unwrap_or(0);
    let limit = number(query, "limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let limit = limit.unwrap_or(SEGMENTS_PER_PAGE_MAX);
    let payer = parameters(query, "payer").next();
    let none = || ApiError::new(ProblemCode::BadRequest, "`payer` is missing");
    let payer: PayerKey = id(payer.ok_or_else(none)?)?;
    let purpose = match parameters(query, "purpose").next() {
        None | Some("read") => Purpose::Read,
        Some("audit") => Purpose::Audit,
        Some(_) => {
            let detail = "`purpose` is `read` or `audit`";
            return Err(ApiError::new(ProblemCode::BadRequest, detail));
        }
    };
    let (context, account, mut rng) = (bridge.context(), owner.account, bridge.fresh_rng()?);
    let places = bridge
        .store()
        .read(move |tx| layout::places(tx, &account, &blob, first, limit))
        .await?;
    let layout = bridge
        .slowly(move || layout::layout(&context, &mut rng, &places, (payer, purpose)))
        .await
        .map_err(ApiError::of)?;
    metrics::counter!("xcloud_bridge_download_layouts_total").increment(1);
    Ok(Json(layout))
}
