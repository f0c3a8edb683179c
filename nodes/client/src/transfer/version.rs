//! Every request says which protocol versions we speak.

use http::header::{HeaderName, HeaderValue};
use model::wire::{PROTOCOL_HEADER, ProtocolVersions};
use net::Call;

/// The call with what we speak.
pub(crate) fn speaking(call: Call) -> Call {
    match HeaderValue::from_str(&ProtocolVersions::OURS.to_string()) {
        Ok(ours) => call.header(HeaderName::from_static(PROTOCOL_HEADER), ours),
        Err(_) => call,
    }
}
