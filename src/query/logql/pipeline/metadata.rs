//! Structured metadata: what a record has of its own beside its line, and the level that is found.

use std::borrow::Cow;

use super::super::fields::Fields;
use super::super::level;
use super::json::{Flow, Value, leaves};

/// What a record has beside its line, as the store has it.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Metadata<'a> {
    /// A JSON object.
    pub(in super::super) attributes: &'a str,
    pub(in super::super) trace_id: &'a str,
    pub(in super::super) span_id: &'a str,
    pub(in super::super) severity_text: &'a str,
    pub(in super::super) severity_number: i32,
    pub(in super::super) scope_name: &'a str,
    /// Attributes of the resource that are not labels of the stream.
    pub(in super::super) of_resource: &'a [(String, String)],
}

impl<'a> Metadata<'a> {
    /// Adds the metadata to a line's labels. Of one name, what the record says comes first.
    pub(in super::super) fn add_to(&self, fields: &mut Fields<'a>, line: &str) {
        if self.attributes.len() > 2 {
            // We wrote the object ourselves; were it damaged, its beginning still counts.
            let _: Result<Flow, _> = leaves(self.attributes, &mut |name, value| {
                fields.add_metadata(name, value.into_label());
                Flow::On
            });
        }
        for (name, value) in [
            ("trace_id", self.trace_id),
            ("span_id", self.span_id),
            ("scope_name", self.scope_name),
        ] {
            fields.add_metadata(Cow::Borrowed(name), Cow::Borrowed(value));
        }
        for (name, value) in self.of_resource {
            fields.add_metadata(Cow::Borrowed(name), Cow::Borrowed(value));
        }
        if fields.get("detected_level").is_none() {
            let level = level::of(fields, self.severity_text, self.severity_number, line);
            fields.add_metadata(Cow::Borrowed("detected_level"), Cow::Borrowed(level));
        }
    }
}

/// Returns the pairs of a JSON object as labels have them.
pub(in super::super) fn pairs_of(object: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let _: Result<Flow, _> = super::json::members(object, &mut |name, value| {
        if value != Value::Null {
            pairs.push((name.into_owned(), value.into_label().into_owned()));
        }
        Ok(Flow::On)
    });
    pairs
}
