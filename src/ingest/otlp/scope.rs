//! The instrumentation scope of spans, whole: all spans of a `ScopeSpans` share it, so its texts are
//! made once.

use super::json_text::JsonText;
use super::logs::find;
use super::resource::Resource;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{RowError, Rules};
use crate::ingest::wire::{Field, WireError};
use crate::model::span_rest::{ColumnRest, SpanRest};

/// A scope as its spans' columns hold it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Its name, or empty.
    pub(super) name: String,
    /// Its version, or empty.
    pub(super) version: String,
    /// Its attributes, a JSON object, or empty.
    pub(super) attributes: String,
    /// What is left to say of scope and resource.
    pub(super) rest: SpanRest,
    /// The same as text, for the many spans that add nothing.
    pub(super) rest_text: String,
}

impl Scope {
    /// Reads the scope of a `ScopeSpans`; the resource's part goes into what is left to say.
    pub(super) fn read(
        field: &Field<'_>,
        resource: &Resource,
        resource_url: &str,
        rules: &Rules<'_>,
    ) -> Result<Self, RowError> {
        let mut scope = match find(field.message()?, 1)? {
            Some(scope) => Self::read_message(&scope, rules)?,
            None => Self::default(),
        };
        scope.rest.scope.schema_url = schema_url(field, rules)?;
        scope.rest.resource =
            ColumnRest { schema_url: resource_url.to_owned(), ..resource.rest.clone() };
        scope.rest_text = scope.rest.to_text();
        Ok(scope)
    }

    fn read_message(scope: &Field<'_>, rules: &Rules<'_>) -> Result<Self, RowError> {
        let mut read = Self::default();
        let mut attributes = JsonText::default();
        attributes.begin();
        let (mut has_attributes, mut dropped) = (false, 0);
        let mut reader = scope.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => read.name = short_text(&field, "the name of a scope", rules)?,
                2 => read.version = short_text(&field, "the version of a scope", rules)?,
                3 => {
                    attributes.attribute(&field, rules)?;
                    has_attributes = true;
                }
                4 => dropped = field.uint32()?,
                _ => {}
            }
        }
        if has_attributes {
            attributes.end().clone_into(&mut read.attributes);
        }
        read.rest.scope = ColumnRest { dropped, ..attributes.rest().clone() };
        Ok(read)
    }
}

/// Returns the `schema_url` of a `ResourceSpans` or `ScopeSpans`, or the empty text.
pub(super) fn schema_url(field: &Field<'_>, rules: &Rules<'_>) -> Result<String, RowError> {
    match find(field.message()?, 3)? {
        Some(url) => short_text(&url, "a schema URL", rules),
        None => Ok(String::new()),
    }
}

/// These are written once for all spans, but a text has the length that an attribute may have.
fn short_text(field: &Field<'_>, what: &str, rules: &Rules<'_>) -> Result<String, RowError> {
    let bytes = field.bytes()?;
    let max = rules.limits.attribute_value;
    if bytes.len() > max.bytes() {
        let n_bytes = bytes.len();
        let message =
            format!("{what} has {n_bytes} bytes of at most {max} (limits.attribute_value)");
        return Err(RowError::Refused(Refusal::new(Reason::AttributeLimit, message)));
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Returns a refusal apart from bytes that are no protobuf.
pub(super) fn apart<T>(read: Result<T, RowError>) -> Result<Result<T, Refusal>, WireError> {
    match read {
        Ok(read) => Ok(Ok(read)),
        Err(RowError::Refused(refusal)) => Ok(Err(refusal)),
        Err(RowError::Wire(error)) => Err(error),
    }
}
