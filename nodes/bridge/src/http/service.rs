//! What the Bridge says of itself.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use metastore::StoreError;
use model::wire::ProblemCode;
use model::wire::api::{self, About};
use model::wire::control::ProtocolVersions;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Answer, ApiError, problem};
use crate::bridge::Bridge;

pub(super) fn endpoints() -> OpenApiRouter<Bridge> {
    OpenApiRouter::new()
        .routes(routes!(about))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(openapi))
}

/// What the Bridge says of itself.
#[utoipa::path(
    get, path = api::ABOUT,
    security(()),
    responses((status = 200, description = "", body = About)),
)]
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

/// This description, in OpenAPI 3.1.
#[utoipa::path(
    get, path = api::OPENAPI,
    security(()),
    responses((status = 200, description = "", body = Object)),
)]
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], super::openapi())
}

/// The process serves.
#[utoipa::path(
    get, path = "/healthz",
    security(()),
    responses((status = 200, description = "", body = String)),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// The store answers and the Bridge is not shutting down.
#[utoipa::path(
    get, path = "/readyz",
    security(()),
    responses((status = 200, description = "", body = String)),
)]
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

/// Metrics in Prometheus's text format.
#[utoipa::path(
    get, path = "/metrics",
    security(()),
    responses((status = 200, description = "", body = String), problem::NotFound),
)]
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
