//! Spans of traces, and the Arrow schema of the `spans` table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::dictionary::DictionaryColumn;
use super::log::{
    SPAN_ID_DIGITS, TRACE_ID_DIGITS, TagColumns, fitted, non_empty, timestamp_ns, timestamps,
};
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
        Field::new("scope_version", dictionary_utf8(), true),
        Field::new("scope_attributes", dictionary_utf8(), true),
        Field::new("otlp_rest", dictionary_utf8(), true),
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
    /// Its version, or empty.
    pub scope_version: &'a str,
    /// Its attributes, a JSON object, or empty.
    pub scope_attributes: &'a str,
    /// W3C trace state, or empty.
    pub trace_state: &'a str,
    /// W3C trace flags as sent.
    pub flags: u32,
    /// A JSON array of `{"time_unix_nano":"…","name":…,"attributes":{…}}`.
    pub events: &'a str,
    /// A JSON array of `{"trace_id":…,"span_id":…,"trace_state":…,"attributes":{…}}`.
    pub links: &'a str,
    /// The text of a [`SpanRest`](super::span_rest::SpanRest), or empty.
    pub rest: &'a str,
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

/// `[]`: most spans have no events and no links.
const EMPTY_LIST_BYTES: usize = 2;

/// Collects spans of one commons into an Arrow batch.
pub struct SpansBuilder {
    start: TimestampNanosecondBuilder,
    end: TimestampNanosecondBuilder,
    duration: Int64Builder,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    parent_span_id: StringBuilder,
    tags: TagColumns,
    name: DictionaryColumn,
    kind: DictionaryColumn,
    status_code: DictionaryColumn,
    status_message: StringBuilder,
    attributes: StringBuilder,
    resource: DictionaryColumn,
    scope_name: DictionaryColumn,
    trace_state: StringBuilder,
    flags: Int32Builder,
    events: StringBuilder,
    links: StringBuilder,
    scope_version: DictionaryColumn,
    scope_attributes: DictionaryColumn,
    rest: DictionaryColumn,
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
        Self::with_room(0, 0)
    }

    /// Returns an empty builder with room for `n_rows` rows that have `n_bytes` of text.
    pub fn with_room(n_rows: usize, n_bytes: usize) -> Self {
        let text = |n_bytes| StringBuilder::with_capacity(n_rows, n_bytes);
        Self {
            start: timestamps(n_rows),
            end: timestamps(n_rows),
            duration: Int64Builder::with_capacity(n_rows),
            trace_id: text(n_rows * TRACE_ID_DIGITS),
            span_id: text(n_rows * SPAN_ID_DIGITS),
            parent_span_id: text(n_rows * SPAN_ID_DIGITS),
            tags: TagColumns::default(),
            name: DictionaryColumn::default(),
            kind: DictionaryColumn::default(),
            status_code: DictionaryColumn::default(),
            status_message: text(0),
            attributes: text(n_bytes),
            resource: DictionaryColumn::default(),
            scope_name: DictionaryColumn::default(),
            trace_state: text(0),
            flags: Int32Builder::with_capacity(n_rows),
            events: text(n_rows * EMPTY_LIST_BYTES),
            links: text(n_rows * EMPTY_LIST_BYTES),
            scope_version: DictionaryColumn::default(),
            scope_attributes: DictionaryColumn::default(),
            rest: DictionaryColumn::default(),
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
        self.name.push(Some(row.name));
        self.kind.push(Some(kind_str(row.kind)));
        self.status_code.push(Some(status_str(row.status_code)));
        self.status_message.append_option(non_empty(row.status_message));
        self.attributes.append_value(row.attributes);
        self.resource.push(Some(row.resource));
        self.scope_name.push(non_empty(row.scope_name));
        self.trace_state.append_option(non_empty(row.trace_state));
        self.flags.append_value(row.flags.cast_signed());
        self.events.append_value(row.events);
        self.links.append_value(row.links);
        self.scope_version.push(non_empty(row.scope_version));
        self.scope_attributes.push(non_empty(row.scope_attributes));
        self.rest.push(non_empty(row.rest));
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
            fitted(self.start.finish()),
            fitted(self.end.finish()),
            fitted(self.duration.finish()),
            fitted(self.trace_id.finish()),
            fitted(self.span_id.finish()),
            fitted(self.parent_span_id.finish()),
            service,
            env,
            cluster,
            self.name.finish(),
            self.kind.finish(),
            self.status_code.finish(),
            fitted(self.status_message.finish()),
            fitted(self.attributes.finish()),
            self.resource.finish(),
            self.scope_name.finish(),
            fitted(self.trace_state.finish()),
            fitted(self.flags.finish()),
            fitted(self.events.finish()),
            fitted(self.links.finish()),
            rule,
            self.scope_version.finish(),
            self.scope_attributes.finish(),
            self.rest.finish(),
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
