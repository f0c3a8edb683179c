//! Agrees with whoever asks on a protocol version, before a byte of a body is read.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use model::wire::{PROTOCOL_HEADER, Problem, ProblemCode, Program, ProtocolVersions};

use crate::refusal::Refusal;

/// Anybody may ask what the Host is.
const ABOUT_PATH: &str = "/v1/about";

/// Refuses transfers of programs that speak no version of ours; every answer says what we speak.
pub(crate) async fn speak(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let open = !path.starts_with("/v1/") || path == ABOUT_PATH;
    let mut response = match agree(&request) {
        Err(problem) if !open => Refusal::from(problem).into_response(),
        Ok(_) | Err(_) => next.run(request).await,
    };
    if let Ok(ours) = HeaderValue::from_str(&ProtocolVersions::OURS.to_string()) {
        response.headers_mut().insert(PROTOCOL_HEADER, ours);
    }
    response
}

fn agree(request: &Request) -> Result<u16, Problem> {
    let header = request.headers().get(PROTOCOL_HEADER);
    let theirs = ProtocolVersions::of_header(header.map(HeaderValue::as_bytes))
        .map_err(|error| Problem::new(ProblemCode::BadRequest, error.to_string()))?;
    ProtocolVersions::OURS
        .agree(Program::Host, (Program::Client, theirs))
        .map_err(|refused| refused.problem())
}
