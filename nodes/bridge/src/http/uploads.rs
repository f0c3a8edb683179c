//! Uploads: plan, slots, spares, receipts, commit, giving up.

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use http::StatusCode;
use metastore::HostAlias;
use model::units::UploadId;
use model::wire::api::{
    Commit, Committed, More, MoreRequest, Plan, ReceiptPage, SlotPage, UploadRequest,
};

use super::request::{OWNER_BYTES_MAX, STRANGER_BYTES_MAX, SignedIn, id, json, parameters};
use super::{Answer, ApiError};
use crate::account::session::Owner;
use crate::bridge::Bridge;
use crate::context::Context;
use crate::random;
use crate::upload::commit::{CommitOutcome, CommitTarget};
use crate::upload::record::OpenUpload;
use crate::upload::slots::{PlannedPage, SlotCursor, SlotsError};
use crate::upload::tickets;
use crate::upload::{OpenUploadError, abandon, commit, find_open, more, plan, receipts, slots};

/// `POST /v1/uploads`.
pub(crate) async fn plan(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<Json<Plan>> {
    let request: UploadRequest = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (context, account, mut rng) = (bridge.context(), owner.account, random::fresh()?);
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

/// `GET /v1/uploads/{upload}/slots?cursor=…`.
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
    let (context, account, mut rng) = (bridge.context(), owner.account, random::fresh()?);
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

/// `POST /v1/uploads/{upload}/more`.
pub(crate) async fn more(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
    request: Request,
) -> Answer<Json<More>> {
    let upload: UploadId = id(&upload)?;
    let request: MoreRequest = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (context, account, mut rng) = (bridge.context(), owner.account, random::fresh()?);
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

/// `PUT /v1/uploads/{upload}/receipts`.
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

/// `POST /v1/uploads/{upload}/commit`.
pub(crate) async fn commit(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    Path(upload): Path<String>,
    request: Request,
) -> Answer<Json<Committed>> {
    let upload = id(&upload)?;
    let commit: Commit = json(&bridge, request, OWNER_BYTES_MAX).await?;
    commit_to(&bridge, owner, CommitTarget::Upload(upload), commit).await
}

/// Commits to an upload or a volume.
pub(crate) async fn commit_to(
    bridge: &Bridge,
    owner: Owner,
    target: CommitTarget,
    commit: Commit,
) -> Answer<Json<Committed>> {
    let checked = bridge
        .slowly(move || commit::check(commit))
        .await
        .map_err(ApiError::of)??;
    let (context, account) = (bridge.context(), owner.account);
    let outcome = bridge
        .store()
        .write(move |tx| commit::commit(tx, &context, &account, target, &checked))
        .await?;
    if let CommitOutcome::Done { poked, .. } = &outcome {
        ring(bridge, poked);
        metrics::counter!("xcloud_bridge_upload_commits_total").increment(1);
    }
    outcome.into_answer().map(Json).map_err(ApiError::of)
}

/// `DELETE /v1/uploads/{upload}`.
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
    ring(&bridge, &poked);
    bridge.endings().notify_one();
    Ok(StatusCode::NO_CONTENT)
}

fn ring(bridge: &Bridge, poked: &[HostAlias]) {
    bridge.directory().ring(poked);
}
