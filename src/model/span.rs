//! Spans of traces, and the Arrow schema of the `spans` table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringBuilder, StringDictionaryBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};

use super::log::{TagColumns, non_empty, timestamp_ns};
use super::metric::dictionary_utf8;
use super::tags::Tags;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("start_time", timestamp_ns(), false),
        Field::new("end_time", timestamp_ns(), false),
        Field::new("duration_ns", DataType::Int64, false),
        Field::new("trace_id", DataType::Utf8, false),
        Field::new("span_id", DataType::Utf8, false),
        Field::new("parent_span_id", DataType::Utf8, true),
        Field::new("service", dictionary_utf8(), true),
        Field::new("env", dictionary_utf8(), true),
        Field::new("cluster", dictionary_utf8(), true),
        Field::new("name", dictionary_utf8(), false),
        Field::new("kind", dictionary_utf8(), false),
        Field::new("status_code", dictionary_utf8(), false),
        Field::new("status_message", DataType::Utf8, true),
        Field::new("attributes", DataType::Utf8, false),
        Field::new("resource", dictionary_utf8(), false),
        Field::new("scope_name", dictionary_utf8(), true),
        Field::new("trace_state", DataType::Utf8, true),
        Field::new("flags", DataType::Int32, false),
        Field::new("events", DataType::Utf8, false),
        Field::new("links", DataType::Utf8, false),
        Field::new("tag_rule", dictionary_utf8(), false),
    ]))
});

/// Returns the schema of span batches and files; files are sorted by (trace_id, start_time).
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// One span, borrowed from the request that brought it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanRow<'a> {
    /// When it began, ns since 1970 UTC.
    pub start_ns: i64,
    /// When it ended, ns since 1970 UTC.
    pub end_ns: i64,
    /// 32 lower-case hex digits.
    pub trace_id: &'a str,
    /// 16 lower-case hex digits.
    pub span_id: &'a str,
    /// 16 lower-case hex digits, or empty for a root.
    pub parent_span_id: &'a str,
    /// The operation.
    pub name: &'a str,
    /// OTLP's number: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// OTLP's number: 0 unset, 1 ok, 2 error.
    pub status_code: i32,
    /// The sender's words on the status, or empty.
    pub status_message: &'a str,
    /// A JSON object.
    pub attributes: &'a str,
    /// A JSON object.
    pub resource: &'a str,
    /// The instrumentation scope's name, or empty.
    pub scope_name: &'a str,
    /// W3C trace state, or empty.
    pub trace_state: &'a str,
    /// W3C trace flags as sent.
    pub flags: u32,
    /// A JSON array of `{"time_unix_nano":"…","name":…,"attributes":{…}}`.
    pub events: &'a str,
    /// A JSON array of `{"trace_id":…,"span_id":…,"trace_state":…,"attributes":{…}}`.
    pub links: &'a str,
}

/// Returns the text of a span kind's OTLP number; unknown numbers are `unspecified`.
pub fn kind_str(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

/// Returns the text of a status code's OTLP number; unknown numbers are `unset`.
pub fn status_str(code: i32) -> &'static str {
    match code {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}

/// Collects spans of one commons into an Arrow batch.
pub struct SpansBuilder {
    start: TimestampNanosecondBuilder,
    end: TimestampNanosecondBuilder,
    duration: Int64Builder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    parent_span_id: StringBuilder,
    tags: TagColumns,
    name: StringDictionaryBuilder<Int32Type>,
    kind: StringDictionaryBuilder<Int32Type>,
    status_code: StringDictionaryBuilder<Int32Type>,
    status_message: StringBuilder,
    attributes: StringBuilder,
    resource: StringDictionaryBuilder<Int32Type>,
    scope_name: StringDictionaryBuilder<Int32Type>,
    trace_state: StringBuilder,
    flags: Int32Builder,
    events: StringBuilder,
    links: StringBuilder,
    n_rows: usize,
}

// Arrow's dictionary builders do not print themselves.
impl std::fmt::Debug for SpansBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpansBuilder").field("n_rows", &self.n_rows).finish_non_exhaustive()
    }
}

impl Default for SpansBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SpansBuilder {
    /// Returns an empty builder.
    pub fn new() -> Self {
        Self {
            start: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            end: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            duration: Int64Builder::new(),
            trace_id: StringBuilder::new(),
            span_id: StringBuilder::new(),
            parent_span_id: StringBuilder::new(),
            tags: TagColumns::default(),
            name: StringDictionaryBuilder::new(),
            kind: StringDictionaryBuilder::new(),
            status_code: StringDictionaryBuilder::new(),
            status_message: StringBuilder::new(),
            attributes: StringBuilder::new(),
            resource: StringDictionaryBuilder::new(),
            scope_name: StringDictionaryBuilder::new(),
            trace_state: StringBuilder::new(),
            flags: Int32Builder::new(),
            events: StringBuilder::new(),
            links: StringBuilder::new(),
            n_rows: 0,
        }
    }

    /// Appends a span with its tags; the commons is the batch's, so it is not a column.
    pub fn push(&mut self, tags: &Tags, row: &SpanRow<'_>) {
        self.start.append_value(row.start_ns);
        self.end.append_value(row.end_ns);
        self.duration.append_value(row.end_ns.saturating_sub(row.start_ns));
        self.trace_id.append_value(row.trace_id);
        self.span_id.append_value(row.span_id);
        self.parent_span_id.append_option(non_empty(row.parent_span_id));
        self.tags.push(tags);
        self.name.append_value(row.name);
        self.kind.append_value(kind_str(row.kind));
        self.status_code.append_value(status_str(row.status_code));
        self.status_message.append_option(non_empty(row.status_message));
        self.attributes.append_value(row.attributes);
        self.resource.append_value(row.resource);
        self.scope_name.append_option(non_empty(row.scope_name));
        self.trace_state.append_option(non_empty(row.trace_state));
        self.flags.append_value(row.flags.cast_signed());
        self.events.append_value(row.events);
        self.links.append_value(row.links);
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
            Arc::new(self.start.finish()),
            Arc::new(self.end.finish()),
            Arc::new(self.duration.finish()),
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.parent_span_id.finish()),
            service,
            env,
            cluster,
            Arc::new(self.name.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.status_code.finish()),
            Arc::new(self.status_message.finish()),
            Arc::new(self.attributes.finish()),
            Arc::new(self.resource.finish()),
            Arc::new(self.scope_name.finish()),
            Arc::new(self.trace_state.finish()),
            Arc::new(self.flags.finish()),
            Arc::new(self.events.finish()),
            Arc::new(self.links.finish()),
            rule,
        ];
        RecordBatch::try_new(schema(), columns).expect("every column got one value a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_batch_of_the_schema() {
        let mut builder = SpansBuilder::new();
        let row = SpanRow {
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            span_id: "b7ad6b7169203331",
            attributes: "{}",
            resource: "{}",
            events: "[]",
            links: "[]",
            ..SpanRow::default()
        };

        builder.push(&Tags::unassigned(), &row);

        let batch = builder.finish();
        assert_eq!((batch.num_rows(), batch.schema()), (1, schema()));
    }
}
