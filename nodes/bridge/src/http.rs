//! The Bridge's HTTP interface: endpoints that read a request, call a rule and answer.

mod accounts;
mod blobs;
mod control;
mod openapi;
mod problem;
mod request;
mod service;
mod uploads;
mod volumes;

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use model::wire::{PROTOCOL_HEADER, Problem, ProblemCode, Program, ProtocolVersions, api};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::bridge::Bridge;
use crate::refusal::{Refusal, chain, internal};

/// An answer that is a problem document.
#[derive(Debug)]
pub(crate) struct ApiError(Problem);

impl<E: Refusal> From<E> for ApiError {
    fn from(error: E) -> Self {
        let problem = error.problem();
        if problem.code == ProblemCode::Internal {
            tracing::error!(error = chain(&error), "request failed");
        }
        Self(problem)
    }
}

impl ApiError {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }

    pub(crate) const fn of(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let code = problem.code.as_str();
        metrics::counter!("xcloud_bridge_http_problems_total", "code" => code).increment(1);
        let status = StatusCode::from_u16(problem.status);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response =
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body).into_response();
        let media = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, media);
        if problem.code == ProblemCode::Busy {
            let after = HeaderValue::from_static("5");
            response
                .headers_mut()
                .insert(http::header::RETRY_AFTER, after);
        }
        response
    }
}

/// What an endpoint answers.
pub(crate) type Answer<T> = Result<T, ApiError>;

/// All endpoints of the Bridge. Each is described where it is written, and served where it is
/// described, so that there is one list of them.
fn endpoints() -> OpenApiRouter<Bridge> {
    service::endpoints()
        .merge(control::endpoints())
        .merge(accounts::endpoints())
        .merge(uploads::endpoints())
        .merge(volumes::endpoints())
        .merge(blobs::endpoints())
}

/// The description of all endpoints in OpenAPI 3.1, as JSON.
#[must_use]
pub fn openapi() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi::document(endpoints().into_openapi()));
    &TEXT
}

/// Serves all endpoints.
pub fn router(bridge: Bridge) -> Router {
    let (router, _described) = endpoints().split_for_parts();
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(|_| {
            ApiError(internal()).into_response()
        }))
        .layer(middleware::from_fn(speak))
        .layer(middleware::from_fn(count))
        .with_state(bridge)
}

async fn count(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let class = match response.status().as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("xcloud_bridge_http_requests_total", "status" => class).increment(1);
    response
}

/// Agrees with the client on a protocol version before anything is read or changed. Whoever is
/// refused may still ask what the Bridge is; Hosts agree on their channel.
async fn speak(request: Request, next: Next) -> Response {
    let header = request.headers().get(PROTOCOL_HEADER);
    let theirs = ProtocolVersions::of_header(header.map(HeaderValue::as_bytes));
    let versioned = is_versioned(request.uri().path());
    let ours = ProtocolVersions::OURS;
    let agreed = theirs
        .map_err(|error| ApiError::new(ProblemCode::BadRequest, error.to_string()))
        .and_then(|theirs| {
            ours.agree(Program::Bridge, (Program::Client, theirs))
                .map_err(|refused| ApiError(refused.problem()))
        });
    let mut response = match agreed {
        Err(refused) if versioned => refused.into_response(),
        Ok(_) | Err(_) => next.run(request).await,
    };
    if let Ok(ours) = HeaderValue::from_str(&ours.to_string()) {
        response.headers_mut().insert(PROTOCOL_HEADER, ours);
    }
    response
}

/// Whether a path is answered only to those who speak a version of ours.
fn is_versioned(path: &str) -> bool {
    path.starts_with("/v1/") && path != api::ABOUT && path != api::CONTROL
}

async fn unknown_path() -> ApiError {
    ApiError::new(ProblemCode::NotFound, "there is nothing at this path")
}

async fn wrong_method() -> ApiError {
    let problem = Problem::new(
        ProblemCode::BadRequest,
        "this path does not take this method",
    );
    ApiError(Problem {
        status: StatusCode::METHOD_NOT_ALLOWED.as_u16(),
        ..problem
    })
}
