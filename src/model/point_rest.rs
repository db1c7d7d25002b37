//! What an OTLP metric data point says that no column of its row can, so that it goes out as it came in.
//!
//! The `otlp_rest` column holds this as a JSON object, and most points have none. As in
//! [`SpanRest`](super::span_rest::SpanRest), strings that stand for bytes or for doubles that JSON cannot
//! write are told by their places.

use serde::{Deserialize, Serialize};

use super::span_rest::{ColumnRest, from_text, to_text};

/// What is left to say about one point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PointRest {
    /// About `attributes`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub attributes: ColumnRest,
    /// About the attributes in `exemplars`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub exemplars: ColumnRest,
    /// About `resource`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub resource: ColumnRest,
    /// About `scope_attributes`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub scope: ColumnRest,
    /// The metric's metadata, a JSON object, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// About `metadata`.
    #[serde(skip_serializing_if = "ColumnRest::is_empty")]
    pub metadata_rest: ColumnRest,
    /// Whether the sender gave no time.
    #[serde(skip_serializing_if = "is_false")]
    pub no_time: bool,
    /// A start that no timestamp column holds, ns since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_start_ns: Option<u64>,
    /// A temporality that is neither delta nor cumulative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temporality: Option<i32>,
}

impl PointRest {
    /// Returns the text of the column, empty when there is nothing to say.
    pub fn to_text(&self) -> String {
        to_text(self)
    }

    /// Reads the text of the column; one that cannot be read says nothing.
    pub fn from_text(text: &str) -> Self {
        from_text(text)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_back() {
        assert_eq!(PointRest::default().to_text(), "");
        let rest = PointRest { no_time: true, temporality: Some(7), ..PointRest::default() };

        assert_eq!(rest.to_text(), r#"{"no_time":true,"temporality":7}"#);
        assert_eq!(PointRest::from_text(&rest.to_text()), rest);
        assert_eq!(PointRest::from_text("[oops"), PointRest::default());
    }
}
