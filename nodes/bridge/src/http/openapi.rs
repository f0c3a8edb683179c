//! The description of the Bridge's calls in OpenAPI 3.1. Calls and types describe themselves
//! where they are written; here is what follows from that: the problems of everybody who takes a
//! session, a body or parameters, tags, and doc comments turned into prose.

use std::collections::{BTreeMap, BTreeSet};

use model::wire::{PROTOCOL_HEADER, Problem, ProblemCode};
use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Response,
    ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::is_versioned;

/// The name of the scheme by which owners are known.
const SESSION: &str = "session";
const PROBLEM_MEDIA: &str = "application/problem+json";

/// Completes what the endpoints say of themselves, and writes it as JSON.
pub(super) fn document(mut openapi: OpenApi) -> String {
    openapi.info = InfoBuilder::new()
        .title("X Cloud Bridge")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Connects owners with the Hosts that keep their shards. Ids are lower-case \
             hexadecimal, bytes base64url without padding, times milliseconds since 1970, sizes \
             bytes. Unknown fields are ignored. Every refusal is a problem of RFC 9457.",
        ))
        .license(Some(
            LicenseBuilder::new().name("AGPL-3.0-or-later").build(),
        ))
        .build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The token of a session."))
        .build();
    let components = openapi.components.get_or_insert_with(Components::new);
    components.add_security_scheme(SESSION, SecurityScheme::Http(bearer));
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    openapi.security = Some(vec![SecurityRequirement::new(SESSION, NO_SCOPES)]);
    for (path, item) in &mut openapi.paths.paths {
        let calls = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for call in calls.into_iter().flatten() {
            call.tags = Some(vec![tag(path)]);
            complete(call, is_versioned(path));
        }
    }
    let mut document = serde_json::to_value(&openapi).unwrap_or_default();
    prose(&mut document);
    bounded(&mut document);
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

const NO_SCOPES: [&str; 0] = [];

/// Calls are sorted by the first word of their path.
fn tag(path: &str) -> String {
    let mut words = path.split('/').filter(|word| !word.is_empty());
    match words.next() {
        Some("v1") => words.next().unwrap_or("service").to_owned(),
        _ => "service".to_owned(),
    }
}

/// Adds the problems that follow from what the call takes, and puts all under their statuses.
fn complete(call: &mut Operation, versioned: bool) {
    let anyone = call.security.is_some();
    let mut codes = BTreeSet::from([ProblemCode::Internal, ProblemCode::Unavailable]);
    if call.parameters.is_some() {
        codes.insert(ProblemCode::BadRequest);
    }
    if !anyone {
        codes.insert(ProblemCode::Unauthorized);
    }
    if call.request_body.is_some() {
        codes.extend(OF_BODIES);
    }
    if versioned {
        codes.extend([ProblemCode::VersionRefused, ProblemCode::BadRequest]);
        call.parameters
            .get_or_insert_default()
            .push(versions().into());
    }
    let named = |text: &str| ProblemCode::ALL.iter().find(|code| code.as_str() == text);
    let responses = std::mem::take(&mut call.responses.responses);
    for (key, mut response) in responses {
        if let Some(code) = named(&key) {
            codes.insert(*code);
            continue;
        }
        if let RefOr::T(response) = &mut response
            && response.description.is_empty()
        {
            "Done.".clone_into(&mut response.description);
        }
        call.responses.responses.insert(key, response);
    }
    let mut by_status = BTreeMap::<u16, Vec<ProblemCode>>::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let answer = refusal(&codes).into();
        call.responses.responses.insert(status.to_string(), answer);
    }
}

/// The header by which client and Bridge agree on a version.
fn versions() -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$"));
    ParameterBuilder::new()
        .name(PROTOCOL_HEADER)
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "The oldest protocol version that the client accepts and the one it speaks; `1-1` \
             where left out.",
        ))
        .schema(Some(schema))
        .build()
}

/// What every body can be refused for.
const OF_BODIES: [ProblemCode; 4] = [
    ProblemCode::BadRequest,
    ProblemCode::TooLarge,
    ProblemCode::TooSlow,
    ProblemCode::Busy,
];

/// A problem with one of `codes`.
fn refusal(codes: &[ProblemCode]) -> Response {
    let list = |code: &ProblemCode| format!("`{code}`: {}", code.title());
    let description: Vec<_> = codes.iter().map(list).collect();
    let code = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.as_str())));
    let narrowed = AllOfBuilder::new()
        .item(Ref::from_schema_name(Problem::name()))
        .item(ObjectBuilder::new().property("code", code));
    ResponseBuilder::new()
        .description(description.join("; "))
        .content(
            PROBLEM_MEDIA,
            ContentBuilder::new().schema(Some(narrowed)).build(),
        )
        .build()
}

/// Numbers go as far as their types, which the generator names in a way of its own.
fn bounded(value: &mut Value) {
    if let Value::Object(fields) = value {
        let bits = fields.get("format").and_then(Value::as_str);
        let bits = bits.and_then(|format| format.strip_prefix("u-int")?.parse::<u32>().ok());
        if let Some(bits) = bits.filter(|bits| *bits <= u64::BITS) {
            let maximum = u64::MAX >> (u64::BITS - bits);
            fields.insert("format".to_owned(), format!("uint{bits}").into());
            fields.insert("maximum".to_owned(), maximum.into());
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(bounded),
        Value::Array(items) => items.iter_mut().for_each(bounded),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Doc comments link to code; readers of the description have none.
fn prose(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if matches!(key.as_str(), "description" | "summary") => {
                        *text = without_links(text);
                    }
                    _ => prose(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(prose),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `[text](target)` and ``[`text`]`` become their text.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let Some((inner, after)) = after.split_once(']') else {
            out.push('[');
            rest = after;
            continue;
        };
        out.push_str(inner);
        let target = after
            .strip_prefix('(')
            .and_then(|link| link.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    out.push_str(rest);
    out.replace('\n', " ")
        .replace("  ", "\n\n")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use model::wire::limits;

    use super::*;

    fn written() -> Value {
        serde_json::from_str(super::super::openapi()).unwrap()
    }

    #[test]
    fn the_copy_beside_the_spec_is_what_the_code_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/openapi.json");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let again = "cargo run -q -p xbridge -- openapi > docs/spec/openapi.json";
        assert!(
            kept == super::super::openapi(),
            "out of date; write it again: {again}"
        );
    }

    #[test]
    fn lists_have_the_limits_that_are_checked() {
        let schemas = &written()["components"]["schemas"];
        for (schema, field, limit) in [
            ("UploadRequest", "blobs", limits::BLOBS_PER_UPLOAD_MAX),
            ("SlotPage", "segments", limits::SEGMENTS_PER_PAGE_MAX),
            ("MoreRequest", "slots", limits::MORE_SLOTS_MAX),
            (
                "ReceiptPage",
                "segments",
                limits::RECEIPT_SEGMENTS_PER_PAGE_MAX,
            ),
            ("Roots", "roots", limits::ROOTS_PER_PAGE_MAX),
            ("Layout", "segments", limits::SEGMENTS_PER_PAGE_MAX),
            ("Reports", "reports", limits::REPORTS_MAX),
            ("SparseBlobs", "blobs", limits::SPARSE_BLOBS_PER_PAGE_MAX),
        ] {
            let said = &schemas[schema]["properties"][field]["maxItems"];
            assert_eq!(said.as_u64(), Some(limit as u64), "{schema}.{field}");
        }
    }

    #[test]
    fn every_reference_is_defined_and_every_text_is_prose() {
        let document = written();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            if let Some(target) = value["$ref"].as_str() {
                let defined = document.pointer(target.trim_start_matches('#'));
                assert!(defined.is_some(), "{target}");
            }
            if let Some(text) = value["description"].as_str() {
                assert!(!text.is_empty() && !text.contains("]("), "{text}");
            }
            match value {
                Value::Object(fields) => open.extend(fields.values()),
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
    }

    #[test]
    fn numbers_go_as_far_as_their_types() {
        let document = written();
        let schemas = &document["components"]["schemas"];
        let index = &schemas["FailedSlot"]["properties"]["index"];
        assert_eq!(index["maximum"], u64::from(u16::MAX));
        let segment = &schemas["FailedSlot"]["properties"]["segment"];
        assert_eq!(
            (&segment["maximum"], &segment["format"]),
            (&u64::MAX.into(), &"uint64".into())
        );
    }

    #[test]
    fn links_become_their_text() {
        let text = "At most\n[`X`](super::X), as [`Y`] says [so.";
        assert_eq!(without_links(text), "At most `X`, as `Y` says [so.");
    }
}
