//! Accounts, devices, sessions, usage, reports, purges.

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use model::wire::api::{
    DeviceListAnswer, NewAccount, Purge, PurgeAnswer, PutDeviceList, Reports, Session, SignIn,
    Usage,
};
use model::wire::{ProblemCode, Signed};

use super::request::{OWNER_BYTES_MAX, Peer, STRANGER_BYTES_MAX, SignedIn, json};
use super::{Answer, ApiError};
use crate::account::{devices, session, sign_up, usage};
use crate::bridge::Bridge;
use crate::delete::purge;
use crate::{random, report};

/// `POST /v1/accounts`.
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

/// `POST /v1/sessions`.
pub(crate) async fn sign_in(
    State(bridge): State<Bridge>,
    Peer(peer): Peer,
    request: Request,
) -> Answer<Json<Session>> {
    admit(&bridge, peer)?;
    let signed: Signed<SignIn> = json(&bridge, request, STRANGER_BYTES_MAX).await?;
    let (context, mut rng) = (bridge.context(), random::fresh()?);
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

/// `GET /v1/devices`.
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

/// `PUT /v1/devices`.
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

/// `GET /v1/usage`.
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

/// `POST /v1/reports`.
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
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /v1/purge`.
pub(crate) async fn purge(
    State(bridge): State<Bridge>,
    SignedIn(owner): SignedIn,
    request: Request,
) -> Answer<Json<PurgeAnswer>> {
    let signed: Signed<Purge> = json(&bridge, request, OWNER_BYTES_MAX).await?;
    let (context, account) = (bridge.context(), owner.account);
    let answer = bridge
        .store()
        .write(move |tx| purge::purge(tx, &context, &account, &signed))
        .await?;
    bridge.endings().notify_one();
    Ok(Json(answer))
}
