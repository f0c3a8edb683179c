//! What the Bridge says of itself.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use metastore::StoreError;
use model::wire::ProblemCode;
use model::wire::api::About;
use model::wire::control::ProtocolVersions;

use super::{Answer, ApiError};
use crate::bridge::Bridge;

/// `GET /v1/bridge`.
pub(crate) async fn about(State(bridge): State<Bridge>) -> Json<About> {
    let context = bridge.context();
    Json(About {
        bridge: context.keys.id,
        agent: concat!("xbridge/", env!("CARGO_PKG_VERSION")).to_owned(),
        protocol: ProtocolVersions::OURS,
        now: context.now,
        hosts_online: context.roster.online(),
        zones_online: u64::try_from(context.roster.zones()).unwrap_or(u64::MAX),
        class: context.roster.class().ok(),
    })
}

/// `GET /healthz`: the process serves.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the store answers and the Bridge is not shutting down.
pub(crate) async fn readyz(State(bridge): State<Bridge>) -> Answer<&'static str> {
    if bridge.stopping().is_cancelled() {
        return Err(ApiError::new(
            ProblemCode::Unavailable,
            "the bridge is shutting down",
        ));
    }
    let read = bridge
        .store()
        .read(|tx| tx.meta("schema_version").map(|_| ()))
        .await;
    read.map_err(|error: metastore::TxError<StoreError>| ApiError::from(error))?;
    Ok("ready\n")
}

/// `GET /metrics`, in Prometheus's text format.
pub(crate) async fn metrics(State(bridge): State<Bridge>) -> Answer<impl IntoResponse> {
    let text = bridge
        .config()
        .metrics
        .as_ref()
        .map(runtime::Metrics::render);
    let none = || ApiError::new(ProblemCode::NotFound, "this bridge records no metrics");
    Ok((
        [(CONTENT_TYPE, runtime::Metrics::media_type())],
        text.ok_or_else(none)?,
    ))
}
