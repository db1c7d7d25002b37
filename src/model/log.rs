//! Log records, and the Arrow schema of the `logs` table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Int32Builder, RecordBatch, StringBuilder, StringDictionaryBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};

use super::metric::dictionary_utf8;
use super::tags::Tags;

/// A timestamp column in ns since 1970 UTC.
pub(super) fn timestamp_ns() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("timestamp", timestamp_ns(), false),
        Field::new("observed_timestamp", timestamp_ns(), true),
        Field::new("service", dictionary_utf8(), true),
        Field::new("env", dictionary_utf8(), true),
        Field::new("cluster", dictionary_utf8(), true),
        Field::new("severity_number", DataType::Int32, false),
        Field::new("severity_text", dictionary_utf8(), true),
        Field::new("body", DataType::Utf8, false),
        Field::new("attributes", DataType::Utf8, false),
        Field::new("resource", dictionary_utf8(), false),
        Field::new("scope_name", dictionary_utf8(), true),
        Field::new("event_name", dictionary_utf8(), true),
        Field::new("trace_id", DataType::Utf8, true),
        Field::new("span_id", DataType::Utf8, true),
        Field::new("flags", DataType::Int32, false),
        Field::new("tag_rule", dictionary_utf8(), false),
    ]))
});

/// Returns the schema of log batches and files; files are sorted by (service, timestamp).
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// One log record, borrowed from the request that brought it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogRow<'a> {
    /// When it happened, ns since 1970 UTC.
    pub timestamp_ns: i64,
    /// When the collector saw it, ns since 1970 UTC; 0 is unknown.
    pub observed_ns: i64,
    /// OTLP severity, 1 to 24; 0 is unknown.
    pub severity_number: i32,
    /// The severity in the sender's words, or empty.
    pub severity_text: &'a str,
    /// The text; bodies of other kinds as JSON.
    pub body: &'a str,
    /// The record's attributes (Loki: structured metadata), a JSON object.
    pub attributes: &'a str,
    /// The resource's attributes (Loki: stream labels), a JSON object.
    pub resource: &'a str,
    /// The instrumentation scope's name, or empty.
    pub scope_name: &'a str,
    /// OTLP `event_name`, or empty.
    pub event_name: &'a str,
    /// 32 lower-case hex digits, or empty.
    pub trace_id: &'a str,
    /// 16 lower-case hex digits, or empty.
    pub span_id: &'a str,
    /// W3C trace flags as sent.
    pub flags: u32,
}

/// Collects records of one commons into an Arrow batch.
pub struct LogsBuilder {
    timestamp: TimestampNanosecondBuilder,
    observed: TimestampNanosecondBuilder,
    tags: TagColumns,
    severity_number: Int32Builder,
    severity_text: StringDictionaryBuilder<Int32Type>,
    body: StringBuilder,
    attributes: StringBuilder,
    resource: StringDictionaryBuilder<Int32Type>,
    scope_name: StringDictionaryBuilder<Int32Type>,
    event_name: StringDictionaryBuilder<Int32Type>,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    flags: Int32Builder,
    n_rows: usize,
}

// Arrow's dictionary builders do not print themselves.
impl std::fmt::Debug for LogsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogsBuilder").field("n_rows", &self.n_rows).finish_non_exhaustive()
    }
}

impl Default for LogsBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl LogsBuilder {
    /// Returns an empty builder.
    pub fn new() -> Self {
        Self {
            timestamp: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            observed: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            tags: TagColumns::default(),
            severity_number: Int32Builder::new(),
            severity_text: StringDictionaryBuilder::new(),
            body: StringBuilder::new(),
            attributes: StringBuilder::new(),
            resource: StringDictionaryBuilder::new(),
            scope_name: StringDictionaryBuilder::new(),
            event_name: StringDictionaryBuilder::new(),
            trace_id: StringBuilder::new(),
            span_id: StringBuilder::new(),
            flags: Int32Builder::new(),
            n_rows: 0,
        }
    }

    /// Appends a record with its tags; the commons is the batch's, so it is not a column.
    pub fn push(&mut self, tags: &Tags, row: &LogRow<'_>) {
        self.timestamp.append_value(row.timestamp_ns);
        self.observed.append_option((row.observed_ns != 0).then_some(row.observed_ns));
        self.tags.push(tags);
        self.severity_number.append_value(row.severity_number);
        self.severity_text.append_option(non_empty(row.severity_text));
        self.body.append_value(row.body);
        self.attributes.append_value(row.attributes);
        self.resource.append_value(row.resource);
        self.scope_name.append_option(non_empty(row.scope_name));
        self.event_name.append_option(non_empty(row.event_name));
        self.trace_id.append_option(non_empty(row.trace_id));
        self.span_id.append_option(non_empty(row.span_id));
        self.flags.append_value(row.flags.cast_signed());
        self.n_rows += 1;
    }

    /// Returns the number of rows so far.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Returns true when nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Returns the batch, in arrival order, and empties the builder.
    pub fn finish(&mut self) -> RecordBatch {
        self.n_rows = 0;
        let [service, env, cluster, rule] = self.tags.finish();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.timestamp.finish()),
            Arc::new(self.observed.finish()),
            service,
            env,
            cluster,
            Arc::new(self.severity_number.finish()),
            Arc::new(self.severity_text.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.resource.finish()),
            Arc::new(self.scope_name.finish()),
            Arc::new(self.event_name.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.flags.finish()),
            rule,
        ];
        RecordBatch::try_new(schema(), columns).expect("every column got one value a row")
    }
}

/// The four tag columns that logs and spans share.
#[derive(Default)]
pub(super) struct TagColumns {
    service: StringDictionaryBuilder<Int32Type>,
    env: StringDictionaryBuilder<Int32Type>,
    cluster: StringDictionaryBuilder<Int32Type>,
    rule: StringDictionaryBuilder<Int32Type>,
}

impl TagColumns {
    pub(super) fn push(&mut self, tags: &Tags) {
        self.service.append_option(tags.service.as_deref());
        self.env.append_option(tags.env.as_deref());
        self.cluster.append_option(tags.cluster.as_deref());
        self.rule.append_value(tags.rule);
    }

    pub(super) fn finish(&mut self) -> [ArrayRef; 4] {
        [
            Arc::new(self.service.finish()),
            Arc::new(self.env.finish()),
            Arc::new(self.cluster.finish()),
            Arc::new(self.rule.finish()),
        ]
    }
}

pub(super) fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_batch_of_the_schema() {
        let mut builder = LogsBuilder::new();
        let row = LogRow {
            timestamp_ns: 7,
            body: "hello",
            attributes: "{}",
            resource: "{}",
            ..LogRow::default()
        };

        builder.push(&Tags::unassigned(), &row);
        builder.push(&Tags::unassigned(), &row);

        let batch = builder.finish();
        assert_eq!((batch.num_rows(), batch.schema()), (2, schema()));
        assert_eq!(builder.finish().num_rows(), 0);
    }
}
