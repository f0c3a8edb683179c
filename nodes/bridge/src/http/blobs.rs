//! Layouts.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use model::units::{BlobId, PayerKey};
use model::wire::ProblemCode;
use model::wire::api::Layout;
use model::wire::limits::SEGMENTS_PER_PAGE_MAX;

use super::request::{SignedIn, id, number, parameters};
use super::{Answer, ApiError};
use crate::bridge::Bridge;
use crate::download::layout;
use crate::random;

/// `GET /v1/blobs/{blob}/layout?first=S&limit=N&payer=K`.
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
    let (context, account, mut rng) = (bridge.context(), owner.account, random::fresh()?);
    let places = bridge
        .store()
        .read(move |tx| layout::places(tx, &account, &blob, first, limit))
        .await?;
    let layout = bridge
        .slowly(move || layout::layout(&context, &mut rng, &places, payer))
        .await
        .map_err(ApiError::of)?;
    metrics::counter!("xcloud_bridge_download_layouts_total").increment(1);
    Ok(Json(layout))
}
