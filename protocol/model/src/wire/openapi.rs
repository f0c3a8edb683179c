//! How the types of the wire that have a text form are described in OpenAPI; the rest is derived.
//! Only with the feature `openapi`, which the Bridge turns on to describe its calls.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{Base64, ProblemCode, Schedule, Signed, SignedKind};
use crate::formats::shape::Class;

/// Says that a type is text of a pattern.
macro_rules! text_schema {
    ($type:ty, $pattern:expr, $description:expr) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                $crate::wire::openapi::text($pattern, $description)
            }
        }
        impl utoipa::ToSchema for $type {}
    };
}
pub(crate) use text_schema;

pub(crate) fn text(pattern: &str, description: &str) -> RefOr<Schema> {
    let object = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description.trim()));
    object.into()
}

/// Base64url without padding, whose last bits are zero.
const BASE64: &str =
    "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$";

text_schema!(Base64, BASE64, "Bytes as base64url without padding.");
text_schema!(
    Class,
    "^(?:mirrors:(?:[1-9]|[1-5][0-9]|6[0-4])|coded:(?:[2-9]|[1-5][0-9]|6[0-3])/(?:[3-9]|[1-5][0-9]|6[0-4]))$",
    "How a segment becomes shards: `mirrors:n`, n copies, or `coded:k/n`, any k of n restore it."
);
text_schema!(
    Schedule,
    "^(?:always|[0-9a-fA-F]{42})$",
    "The promised hours of a week, a bit each from Monday 00:00 UTC on."
);

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let codes = Self::ALL.iter().map(|code| code.as_str());
        let object = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(codes))
            .description(Some(
                "What went wrong, for programs. A code never changes its meaning.",
            ));
        object.into()
    }
}

impl ToSchema for ProblemCode {}

impl<T: SignedKind + ToSchema> PartialSchema for Signed<T> {
    fn schema() -> RefOr<Schema> {
        let body = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(BASE64))
            .content_media_type("application/json")
            .description(Some(format!("The JSON of a {}, as signed.", T::name())));
        let signature = "Ed25519 over `xcloud/v1/`, the type, a zero byte and the body's bytes.";
        let signature = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[A-Za-z0-9_-]{85}[AQgw]$"))
            .description(Some(format!("{signature} Type: `{}`.", T::KIND)));
        let object = ObjectBuilder::new()
            .property("body", body)
            .required("body")
            .property("signature", signature)
            .required("signature")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        object.into()
    }
}

impl<T: SignedKind + ToSchema> ToSchema for Signed<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("Signed{}", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}
