//! What an OTLP span says that no column of its row can, so that a trace goes out as it came in.
//!
//! The `otlp_rest` column holds this as a JSON object, and most spans have none. JSON has no bytes,
//! no NaN and no infinities: the JSON columns hold such values as strings, and here stands which
//! strings those are, by their place among all string values of the column, counted from 0 in
//! reading order, keys left out.
//!
//! ```text
//! {"attributes": {"bytes": [0], "doubles": [3], "dropped": 2}, "scope": {"schema_url": "…"}}
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What is left to say about one column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnRest {
    /// Which string values are base64 of bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<u32>,
    /// Which string values are doubles that JSON cannot write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubles: Vec<u32>,
    /// How many the sender dropped (OTLP `dropped_…_count`).
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u32,
    /// OTLP `schema_url`; only resource and scope have one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema_url: String,
}

/// What is left to say about one span.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpanRest {
    /// About `attributes`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub attributes: ColumnRest,
    /// About the attributes in `events`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub events: ColumnRest,
    /// About the attributes in `links`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub links: ColumnRest,
    /// About `resource`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub resource: ColumnRest,
    /// About `scope_attributes`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub scope: ColumnRest,
}

impl ColumnRest {
    /// Returns true when the column says it all.
    pub fn is_empty(&self) -> bool {
        let Self { bytes, doubles, dropped, schema_url } = self;
        bytes.is_empty() && doubles.is_empty() && *dropped == 0 && schema_url.is_empty()
    }
}

impl SpanRest {
    /// Returns the text of the column, empty when there is nothing to say.
    pub fn to_text(&self) -> String {
        to_text(self)
    }

    /// Reads the text of the column; one that cannot be read says nothing.
    pub fn from_text(text: &str) -> Self {
        from_text(text)
    }
}

/// Returns what is left to say as text, empty when that is nothing.
pub(super) fn to_text<T: Default + PartialEq + Serialize>(rest: &T) -> String {
    if *rest == T::default() {
        return String::new();
    }
    serde_json::to_string(rest).expect("numbers and texts are JSON")
}

/// Reads what [`to_text`] wrote; a text that cannot be read says nothing.
pub(super) fn from_text<T: Default + DeserializeOwned>(text: &str) -> T {
    if text.is_empty() { T::default() } else { serde_json::from_str(text).unwrap_or_default() }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_spans_have_nothing_left_to_say() {
        assert_eq!(SpanRest::default().to_text(), "");
        assert_eq!(SpanRest::from_text(""), SpanRest::default());
        assert_eq!(SpanRest::from_text("[oops"), SpanRest::default());
    }

    #[test]
    fn what_is_said_is_read_back() {
        let bytes = ColumnRest { bytes: vec![0, 7], dropped: 2, ..ColumnRest::default() };
        let rest = SpanRest { attributes: bytes, ..SpanRest::default() };

        let text = rest.to_text();

        assert_eq!(text, r#"{"attributes":{"bytes":[0,7],"dropped":2}}"#);
        assert_eq!(SpanRest::from_text(&text), rest);
    }
}
