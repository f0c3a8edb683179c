//! Uploads: plan, slots, spares, receipts, giving up. A root ends them: `volumes`.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use http::StatusCode;
use model::units::UploadId;
use model::wire::api::{
    self, Commit, Committed, More, MoreRequest, Plan, ReceiptPage, SlotPage, UploadRequest,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::request::{OWNER_BYTES_MAX, STRANGER_BYTES_MAX, SignedIn, id, json, parameters};
use super::volumes::commit_root;
use super::{Answer, ApiError, problem};
use crate::bridge::Bridge;
use crate::context::Context;
use crate::upload::record::OpenUpload;
use crate::upload::slots::{PlannedPage, SlotCursor, SlotsError};
use crate::upload::tickets;
use crate::upload::{OpenUploadError, abandon, find_open, more, plan, receipts, slots};

pub(super) fn endpoints() -> OpenApiRouter<Bridge> {
    OpenApiRouter::new()
        .routes(routes!(plan))
        .routes(routes!(abandon))
        .routes(routes!(slots))
        .routes(routes!(more))
        .routes(routes!(receipts))
        .routes(routes!(commit))
}

/// Plans an upload: class, Hosts and tickets.
///
/// Reserves n shards per segment of the quota. The same request again while the upload is open: the
/// same plan.
#[utoipa::path(
    post, path = api::UPLOADS,
    request_body = UploadRequest,
    responses((status = 200, description = "", body = Plan), problem::NotFound, problem::Conflict, problem::QuotaExceeded, problem::TooFewHosts),
)]
pub(crate) async fn plan(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<Json<Plan>> {
    let request: UploadRequest = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (context, account, mut rng) = (bridge.context(), owner.account, bridge.fresh_rng()?);
    let rule = context.clone();
    let planned = bridge
        .store()
        .write(move |tx| plan::plan(tx, &rule, &mut rng, &account, &request))
        .await?;
    metrics::counter!("xcloud_bridge_upload_plans_total").increment(1);
    let (upload, open) = (planned.upload, planned.open);
    let (class, expires) = (open.class, tickets::expires(&open));
    let slots = slot_page(&bridge, context, open, planned.page).await?;
    Ok(Json(Plan {
        upload,
        expires,
        class,
        slots,
    }))
}

/// A page of the slots of an upload.
///
/// Hosts are durable before they are answered; the same page again has the same Hosts.
#[utoipa::path(
    get, path = api::UPLOAD_SLOTS,
    params(
        ("upload" = UploadId, Path, description = "The upload"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "", body = SlotPage), problem::Conflict, problem::UploadState, problem::TooFewHosts),
)]
pub(crate) async fn slots(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Json<SlotPage>> {
    let upload: UploadId = id(&upload)?;
    let cursor = parameters(query.as_deref(), "cursor")
        .next()
        .unwrap_or("0.0");
    let cursor = SlotCursor::parse(cursor).map_err(SlotsError::from)?;
    let (context, account, mut rng) = (bridge.context(), owner.account, bridge.fresh_rng()?);
    let rule = context.clone();
    let (open, page) = bridge
        .store()
        .write(move |tx| {
            let open = find_open(&*tx, &account, &upload)?;
            let page = slots::page(tx, &rule, &mut rng, (&account, &open), cursor)?;
            Ok::<_, PageError>((open, page))
        })
        .await?;
    Ok(Json(slot_page(&bridge, context, open, page).await?))
}

/// Why there is no page of an upload's slots.
#[derive(Debug, thiserror::Error)]
enum PageError {
    #[error("the upload cannot be used")]
    Upload(#[from] OpenUploadError),
    #[error("the slots could not be planned")]
    Slots(#[from] SlotsError),
}

impl crate::refusal::Refusal for PageError {
    fn problem(&self) -> model::wire::Problem {
        match self {
            Self::Upload(error) => error.problem(),
            Self::Slots(error) => error.problem(),
        }
    }
}

/// Signs the tickets of a page, and counts what it sends to each Host.
async fn slot_page(
    bridge: &Bridge,
    context: Context,
    open: OpenUpload,
    page: PlannedPage,
) -> Answer<SlotPage> {
    let planned = page.segments.iter().flat_map(|segment| {
        let bytes = u64::from(segment.shard_size.bytes());
        segment.hosts.iter().map(move |host| (*host, bytes))
    });
    bridge.directory().plan_bytes(planned);
    let signed = bridge
        .slowly(move || tickets::slot_page(&context, &open, &page))
        .await;
    signed.map_err(ApiError::of)
}

/// Spare Hosts for slots whose Host failed or is late.
///
/// Outside the zones the segment uses; at most 2 per slot. Naming a Host that was replaced already
/// gives its replacement again.
#[utoipa::path(
    post, path = api::UPLOAD_MORE,
    request_body = MoreRequest,
    params(("upload" = UploadId, Path, description = "The upload")),
    responses((status = 200, description = "", body = More), problem::UploadState),
)]
pub(crate) async fn more(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
    request: Request,
) -> Answer<Json<More>> {
    let upload: UploadId = id(&upload)?;
    let request: MoreRequest = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (context, account, mut rng) = (bridge.context(), owner.account, bridge.fresh_rng()?);
    let rule = context.clone();
    let spares = bridge
        .store()
        .write(move |tx| more::more(tx, &rule, &mut rng, (&account, &upload), &request))
        .await?;
    let replaced = u64::try_from(spares.spares.len()).unwrap_or(u64::MAX);
    metrics::counter!("xcloud_bridge_upload_slots_replaced_total").increment(replaced);
    bridge.directory().lower(spares.failed.iter().copied());
    let signed = bridge
        .slowly(move || tickets::spares(&context, &spares))
        .await;
    Ok(Json(signed.map_err(ApiError::of)?))
}

/// What was stored.
///
/// Repeating is no error; receipts may be added later, ids never change. The first receipt of a slot
/// counts.
#[utoipa::path(
    put, path = api::UPLOAD_RECEIPTS,
    request_body = ReceiptPage,
    params(("upload" = UploadId, Path, description = "The upload")),
    responses((status = 204, description = ""), problem::Conflict, problem::UploadState, problem::ReceiptRefused),
)]
pub(crate) async fn receipts(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
    request: Request,
) -> Answer<StatusCode> {
    let upload: UploadId = id(&upload)?;
    let page: ReceiptPage = json(&bridge, request, OWNER_BYTES_MAX).await?;
    let checked = bridge
        .slowly(move || receipts::check_signatures(page))
        .await;
    let checked = checked.map_err(ApiError::of)??;
    let (context, account) = (bridge.context(), owner.account);
    bridge
        .store()
        .write(move |tx| receipts::receipts(tx, &context, (&account, &upload), &checked))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one upload by a root: a commit of protocol version 1.
#[utoipa::path(
    post, path = api::UPLOAD_COMMIT,
    request_body = Commit,
    params(("upload" = UploadId, Path, description = "The upload")),
    responses((status = 200, description = "", body = Committed), problem::OfCommits),
)]
pub(crate) async fn commit(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
    request: Request,
) -> Answer<Json<Committed>> {
    let upload: UploadId = id(&upload)?;
    let commit: Commit = json(&bridge, request, OWNER_BYTES_MAX).await?;
    let uploads = vec![upload];
    commit_root(&bridge, owner, None, Commit { uploads, ..commit }).await
}

/// Gives an upload up.
///
/// Hosts are told "not committed". One that is not open is left as it is.
#[utoipa::path(
    delete, path = api::UPLOAD,
    params(("upload" = UploadId, Path, description = "The upload")),
    responses((status = 204, description = "")),
)]
pub(crate) async fn abandon(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
) -> Answer<StatusCode> {
    let upload: UploadId = id(&upload)?;
    let (context, account) = (bridge.context(), owner.account);
    let poked = bridge
        .store()
        .write(move |tx| abandon::abandon(tx, &context, &account, &upload))
        .await?;
    bridge.directory().ring(&poked);
    bridge.endings().notify_one();
    Ok(StatusCode::NO_CONTENT)
}
