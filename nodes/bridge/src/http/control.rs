//! `GET /v1/hosts/control`: becomes the control channel of a Host.

use axum::extract::{FromRequestParts as _, Request, State, WebSocketUpgrade};
use axum::response::Response;
use model::wire::limits::CONTROL_MESSAGE_BYTES_MAX;
use model::wire::{ProblemCode, api};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::request::Peer;
use super::{Answer, ApiError, problem};
use crate::bridge::Bridge;
use crate::join::channel;

pub(super) fn endpoints() -> OpenApiRouter<Bridge> {
    OpenApiRouter::new().routes(routes!(open))
}

/// Becomes the control channel of a Host: a WebSocket.
///
/// What is said on it: docs/spec/wire.md.
#[utoipa::path(
    get, path = api::CONTROL,
    security(()),
    responses((status = 101, description = "The channel"), problem::Busy),
)]
pub(crate) async fn open(
    State(bridge): State<Bridge>,
    Peer(peer): Peer,
    request: Request,
) -> Answer<Response> {
    if !bridge.admits_host(peer) {
        return Err(ApiError::of(channel::crowded()));
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &bridge).await;
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::new(
            ProblemCode::BadRequest,
            format!("not a websocket: {rejection}"),
        )
    })?;
    let upgrade = upgrade
        .max_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_frame_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_write_buffer_size(4 * CONTROL_MESSAGE_BYTES_MAX);
    let channels = bridge.channels().clone();
    Ok(upgrade
        .on_upgrade(move |socket| channels.track_future(channel::serve(bridge, socket, peer))))
}
