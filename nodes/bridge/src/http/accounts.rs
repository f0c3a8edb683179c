//! Accounts, devices, sessions, usage, reports, purges.

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use model::wire::api::{
    self, DeviceListAnswer, NewAccount, Purge, PurgeAnswer, PutDeviceList, Reports, Session,
    SignIn, Usage,
};
use model::wire::{ProblemCode, Signed};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::request::{OWNER_BYTES_MAX, Peer, STRANGER_BYTES_MAX, SignedIn, json};
use super::{Answer, ApiError, problem};
use crate::account::{devices, session, sign_up, usage};
use crate::bridge::Bridge;
use crate::delete::purge;
use crate::report;

pub(super) fn endpoints() -> OpenApiRouter<Bridge> {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(sign_in))
        .routes(routes!(devices, replace_devices))
        .routes(routes!(usage))
        .routes(routes!(report))
        .routes(routes!(purge))
}

type SignedSignIn = Signed<SignIn>;
type SignedPurge = Signed<Purge>;

/// Opens an account.
///
/// The device list is the first one, signed by the identity key. The same again is no error.
#[utoipa::path(
    post, path = api::ACCOUNTS,
    security(()),
    request_body = NewAccount,
    responses((status = 204, description = ""), problem::Conflict),
)]
pub(crate) async fn sign_up(
    State(bridge): State<Bridge>,
    Peer(peer): Peer,
    request: Request,
) -> Answer<StatusCode> {
    admit(&bridge, peer)?;
    let account: NewAccount = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let now = bridge.now();
    let account = bridge
        .store()
        .write(move |tx| sign_up::sign_up(tx, &account, now))
        .await?;
    tracing::info!(account = %account.short(), "account opened");
    Ok(StatusCode::NO_CONTENT)
}

/// Signs in.
///
/// With a key on the current device list for 7 days, with the identity key for 15 minutes. A nonce
/// counts once.
#[utoipa::path(
    post, path = api::SESSIONS,
    security(()),
    request_body = SignedSignIn,
    responses((status = 200, description = "", body = Session), problem::Unauthorized, problem::Forbidden),
)]
pub(crate) async fn sign_in(
    State(bridge): State<Bridge>,
    Peer(peer): Peer,
    request: Request,
) -> Answer<Json<Session>> {
    admit(&bridge, peer)?;
    let signed: SignedSignIn = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (context, mut rng) = (bridge.context(), bridge.fresh_rng()?);
    let session = bridge
        .store()
        .write(move |tx| session::sign_in(tx, &context, &mut rng, &signed))
        .await?;
    Ok(Json(session))
}

fn admit(bridge: &Bridge, peer: std::net::IpAddr) -> Answer<()> {
    if bridge.admits_newcomer(peer) {
        return Ok(());
    }
    Err(ApiError::new(
        ProblemCode::Busy,
        "too many sign-ins from this address; wait a minute",
    ))
}

/// The current device list.
#[utoipa::path(
    get, path = api::DEVICES,
    responses((status = 200, description = "", body = DeviceListAnswer), problem::NotFound),
)]
pub(crate) async fn devices(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
) -> Answer<Json<DeviceListAnswer>> {
    let account = owner.account;
    let list = bridge
        .store()
        .read(move |tx| devices::device_list(tx, &account))
        .await?;
    Ok(Json(list))
}

/// Replaces the device list by its successor.
///
/// Its number is the current one plus one, and it names the hash of the current one. A device that
/// leaves the list is signed out.
#[utoipa::path(
    put, path = api::DEVICES,
    request_body = PutDeviceList,
    responses((status = 204, description = ""), problem::NotFound, problem::Conflict),
)]
pub(crate) async fn replace_devices(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<StatusCode> {
    let list: PutDeviceList = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (account, bytes) = (owner.account, list.device_list.0);
    bridge
        .store()
        .write(move |tx| devices::replace_device_list(tx, &account, &bytes))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the account uses, and may.
#[utoipa::path(
    get, path = api::USAGE,
    responses((status = 200, description = "", body = Usage)),
)]
pub(crate) async fn usage(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
) -> Answer<Json<Usage>> {
    let (account, policy) = (owner.account, *bridge.policy());
    let usage = bridge
        .store()
        .read(move |tx| usage::usage(tx, &policy, &account))
        .await?;
    Ok(Json(usage))
}

/// What a client saw of Hosts.
///
/// Convicts nobody; lowers their standing for a while.
#[utoipa::path(
    post, path = api::REPORTS,
    request_body = Reports,
    responses((status = 204, description = "")),
)]
pub(crate) async fn report(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<StatusCode> {
    let reports: Reports = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let count = u32::try_from(reports.reports.len()).unwrap_or(u32::MAX);
    if !bridge.admits_reports(owner.account, count.max(1)) {
        return Err(ApiError::new(
            ProblemCode::Busy,
            "too many reports; wait a minute",
        ));
    }
    let roster = bridge.directory().roster();
    report::report(bridge.directory(), &roster, &reports)?;
    for (alias, place) in report::suspects(&roster, owner.account, &reports) {
        bridge.healing().suspect(alias, place);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Destroys before retention is over.
///
/// Signed by the identity key. Blobs without references go with their shards, retired pages go; the
/// rest stays.
#[utoipa::path(
    post, path = api::PURGE,
    request_body = SignedPurge,
    responses((status = 200, description = "", body = PurgeAnswer), problem::NotFound, problem::Forbidden),
)]
pub(crate) async fn purge(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<Json<PurgeAnswer>> {
    let signed: SignedPurge = json(&bridge, request, OWNER_BYTES_MAX).await?;
    let (context, account) = (bridge.context(), owner.account);
    let answer = bridge
        .store()
        .write(move |tx| purge::purge(tx, &context, &account, &signed))
        .await?;
    bridge.endings().notify_one();
    Ok(Json(answer))
}
