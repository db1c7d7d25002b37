//! Exemplars, and the Arrow schema of the `exemplars` table: one observation each, of a series, with
//! the trace it was made in.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::dictionary::DictionaryColumn;
use super::json;
use super::labels::{Labels, METRIC_NAME};
use super::log::{SPAN_ID_DIGITS, TRACE_ID_DIGITS, fitted, non_empty, timestamp_ns, timestamps};
use super::metric::dictionary_utf8;

/// The labels of an exemplar that have columns of their own.
pub const TRACE_ID: &str = "trace_id";
/// See [`TRACE_ID`].
pub const SPAN_ID: &str = "span_id";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("timestamp", timestamp_ns(), false),
        Field::new("metric", dictionary_utf8(), false),
        Field::new("value", DataType::Float64, false),
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("exemplar_labels", DataType::Utf8, false),
        Field::new("service", dictionary_utf8(), true),
        Field::new("env", dictionary_utf8(), true),
        Field::new("cluster", dictionary_utf8(), true),
        Field::new("labels", dictionary_utf8(), false),
        Field::new("series_id", DataType::UInt64, false),
        Field::new("tag_rule", dictionary_utf8(), true),
    ]))
});

/// Returns the schema of exemplar batches and files; files are sorted by (metric, timestamp).
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// One exemplar, as a question sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// When it was observed, ns since 1970 UTC.
    pub timestamp_ns: i64,
    /// What was observed.
    pub value: f64,
    /// What tells the observation: `trace_id`, `span_id`, and others.
    pub labels: Labels,
}

/// The exemplars of one series, by time.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    /// The series' labels.
    pub labels: Labels,
    /// Its exemplars, each once.
    pub exemplars: Vec<Exemplar>,
}

/// Collects exemplars of one commons into an Arrow batch.
#[derive(Default)]
pub struct ExemplarsBuilder {
    timestamp: Option<TimestampNanosecondBuilder>,
    metric: DictionaryColumn,
    value: Float64Builder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    exemplar_labels: StringBuilder,
    service: DictionaryColumn,
    env: DictionaryColumn,
    cluster: DictionaryColumn,
    labels: DictionaryColumn,
    series_id: UInt64Builder,
    rule: DictionaryColumn,
    n_rows: usize,
}

// Arrow's dictionary builders do not print themselves.
impl std::fmt::Debug for ExemplarsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExemplarsBuilder").field("n_rows", &self.n_rows).finish_non_exhaustive()
    }
}

impl ExemplarsBuilder {
    /// Appends an exemplar of a series; the commons is the batch's, so it is not a column.
    pub fn push(&mut self, series: &Labels, rule: &str, exemplar: &Exemplar) {
        let times = self.timestamp.get_or_insert_with(|| timestamps(0));
        times.append_value(exemplar.timestamp_ns);
        self.value.append_value(exemplar.value);
        let id =
            |name, digits| exemplar.labels.get(name).filter(|id: &&str| id.len() <= 2 * digits);
        let (trace_id, span_id) = (id(TRACE_ID, TRACE_ID_DIGITS), id(SPAN_ID, SPAN_ID_DIGITS));
        self.trace_id.append_option(trace_id);
        self.span_id.append_option(span_id);
        let others = exemplar.labels.iter().filter(|&(name, _)| {
            !(name == TRACE_ID && trace_id.is_some() || name == SPAN_ID && span_id.is_some())
        });
        let mut text = String::new();
        json::push_object(&mut text, others);
        self.exemplar_labels.append_value(&text);
        self.series(series);
        self.rule.push(non_empty(rule));
        self.n_rows += 1;
    }

    fn series(&mut self, series: &Labels) {
        let tag = |name| series.get(name);
        self.metric.push(Some(series.metric()));
        self.service.push(tag("service"));
        self.env.push(tag("env"));
        self.cluster.push(tag("cluster"));
        let with_column = [METRIC_NAME, "commons", "service", "env", "cluster"];
        let mut text = String::new();
        json::push_object(&mut text, series.iter().filter(|(name, _)| !with_column.contains(name)));
        self.labels.push(Some(&text));
        self.series_id.append_value(series.series_id());
    }

    /// Returns true when nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Returns the batch, in arrival order, and empties the builder.
    pub fn finish(&mut self) -> RecordBatch {
        self.n_rows = 0;
        let mut times = self.timestamp.take().unwrap_or_else(|| timestamps(0));
        let columns: Vec<ArrayRef> = vec![
            fitted(times.finish()),
            self.metric.finish(),
            fitted(self.value.finish()),
            fitted(self.trace_id.finish()),
            fitted(self.span_id.finish()),
            fitted(self.exemplar_labels.finish()),
            self.service.finish(),
            self.env.finish(),
            self.cluster.finish(),
            self.labels.finish(),
            fitted(self.series_id.finish()),
            self.rule.finish(),
        ];
        RecordBatch::try_new(schema(), columns).expect("every column got one value a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_become_a_batch_of_the_schema() {
        let series = Labels::from_pairs([("__name__", "h"), ("service", "fence"), ("le", "1")]);
        let labels = Labels::from_pairs([("trace_id", "abc"), ("user", "a\"b")]);
        let mut builder = ExemplarsBuilder::default();

        builder.push(&series, "rule", &Exemplar { timestamp_ns: 7, value: 0.5, labels });

        let batch = builder.finish();
        assert_eq!((batch.num_rows(), batch.schema()), (1, schema()));
        let text = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
        for part in [r#"{"user":"a\"b"}"#, "abc", r#"{"le":"1"}"#, "fence"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(builder.is_empty() && builder.finish().num_rows() == 0);
    }
}
