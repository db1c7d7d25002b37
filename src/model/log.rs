//! Log records, and the Arrow schema of the `logs` table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, Float64Builder, Int32Builder, RecordBatch, StringBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::dictionary::DictionaryColumn;
use super::level::{self, Says};
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
        // Read from the text. Columns that came later than the others stand last, and may be null.
        Field::new("format", dictionary_utf8(), true),
        Field::new("logger", dictionary_utf8(), true),
        Field::new("http_method", dictionary_utf8(), true),
        Field::new("http_route", dictionary_utf8(), true),
        Field::new("http_status", DataType::Int32, true),
        Field::new("http_duration_s", DataType::Float64, true),
        Field::new("http_size_bytes", DataType::Float64, true),
        Field::new("http_backend", dictionary_utf8(), true),
        // Null where the record's labels have to be asked.
        Field::new("detected_level", dictionary_utf8(), true),
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
    /// What was read from the text.
    pub line: LineFields<'a>,
}

/// What was read from the text of a record; what it does not say is empty or `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LineFields<'a> {
    /// The format that the text is in; empty for none that is known.
    pub format: &'a str,
    /// Who in the service says it.
    pub logger: &'a str,
    /// The method of the request that the text is about.
    pub method: &'a str,
    /// The template of its path.
    pub route: &'a str,
    /// Its answer.
    pub status: Option<u16>,
    /// How long it took.
    pub duration_s: Option<f64>,
    /// How large the answer was.
    pub size_bytes: Option<f64>,
    /// The service that answered.
    pub backend: &'a str,
}

/// Collects records of one commons into an Arrow batch.
pub struct LogsBuilder {
    timestamp: TimestampNanosecondBuilder,
    observed: TimestampNanosecondBuilder,
    tags: TagColumns,
    severity_number: Int32Builder,
    severity_text: DictionaryColumn,
    body: StringBuilder,
    attributes: StringBuilder,
    resource: DictionaryColumn,
    scope_name: DictionaryColumn,
    event_name: DictionaryColumn,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    flags: Int32Builder,
    lines: LineColumns,
    level: LevelColumn,
    n_rows: usize,
}

/// The column of levels. The resource of a record is mostly that of the one before.
#[derive(Default)]
struct LevelColumn {
    levels: DictionaryColumn,
    last_resource: String,
    resource_says: Option<Says>,
}

impl LevelColumn {
    fn push(&mut self, row: &LogRow<'_>) {
        let resource_says = match self.resource_says {
            Some(says) if self.last_resource == row.resource => says,
            _ => {
                row.resource.clone_into(&mut self.last_resource);
                *self.resource_says.insert(Says::of(row.resource))
            }
        };
        let labels = [resource_says, Says::of(row.attributes)];
        let severity = (row.severity_text, row.severity_number);
        self.levels.push(level::of_record(severity, labels, row.body));
    }
}

/// The columns of what was read from texts.
#[derive(Default)]
struct LineColumns {
    format: DictionaryColumn,
    logger: DictionaryColumn,
    method: DictionaryColumn,
    route: DictionaryColumn,
    status: Int32Builder,
    duration_s: Float64Builder,
    size_bytes: Float64Builder,
    backend: DictionaryColumn,
}

impl LineColumns {
    fn push(&mut self, line: &LineFields<'_>) {
        self.format.push(non_empty(line.format));
        self.logger.push(non_empty(line.logger));
        self.method.push(non_empty(line.method));
        self.route.push(non_empty(line.route));
        self.status.append_option(line.status.map(i32::from));
        self.duration_s.append_option(line.duration_s);
        self.size_bytes.append_option(line.size_bytes);
        self.backend.push(non_empty(line.backend));
    }

    fn finish(&mut self) -> [ArrayRef; 8] {
        [
            self.format.finish(),
            self.logger.finish(),
            self.method.finish(),
            self.route.finish(),
            fitted(self.status.finish()),
            fitted(self.duration_s.finish()),
            fitted(self.size_bytes.finish()),
            self.backend.finish(),
        ]
    }
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
        Self::with_room(0, 0)
    }

    /// Returns an empty builder with room for `n_rows` rows that have `n_bytes` of text.
    pub fn with_room(n_rows: usize, n_bytes: usize) -> Self {
        let text = |n_bytes| StringBuilder::with_capacity(n_rows, n_bytes);
        Self {
            timestamp: timestamps(n_rows),
            observed: timestamps(n_rows),
            tags: TagColumns::default(),
            severity_number: Int32Builder::with_capacity(n_rows),
            severity_text: DictionaryColumn::default(),
            body: text(n_bytes / 2),
            attributes: text(n_bytes / 2),
            resource: DictionaryColumn::default(),
            scope_name: DictionaryColumn::default(),
            event_name: DictionaryColumn::default(),
            trace_id: text(n_rows * TRACE_ID_DIGITS),
            span_id: text(n_rows * SPAN_ID_DIGITS),
            flags: Int32Builder::with_capacity(n_rows),
            lines: LineColumns::default(),
            level: LevelColumn::default(),
            n_rows: 0,
        }
    }

    /// Appends a record with its tags; the commons is the batch's, so it is not a column.
    pub fn push(&mut self, tags: &Tags, row: &LogRow<'_>) {
        self.timestamp.append_value(row.timestamp_ns);
        self.observed.append_option((row.observed_ns != 0).then_some(row.observed_ns));
        self.tags.push(tags);
        self.severity_number.append_value(row.severity_number);
        self.severity_text.push(non_empty(row.severity_text));
        self.body.append_value(row.body);
        self.attributes.append_value(row.attributes);
        self.resource.push(Some(row.resource));
        self.scope_name.push(non_empty(row.scope_name));
        self.event_name.push(non_empty(row.event_name));
        self.trace_id.append_option(non_empty(row.trace_id));
        self.span_id.append_option(non_empty(row.span_id));
        self.flags.append_value(row.flags.cast_signed());
        self.lines.push(&row.line);
        self.level.push(row);
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
        let mut columns: Vec<ArrayRef> = vec![
            fitted(self.timestamp.finish()),
            fitted(self.observed.finish()),
            service,
            env,
            cluster,
            fitted(self.severity_number.finish()),
            self.severity_text.finish(),
            fitted(self.body.finish()),
            fitted(self.attributes.finish()),
            self.resource.finish(),
            self.scope_name.finish(),
            self.event_name.finish(),
            fitted(self.trace_id.finish()),
            fitted(self.span_id.finish()),
            fitted(self.flags.finish()),
            rule,
        ];
        columns.extend(self.lines.finish());
        columns.push(self.level.levels.finish());
        RecordBatch::try_new(schema(), columns).expect("every column got one value a row")
    }
}

/// The four tag columns that logs and spans share.
#[derive(Default)]
pub(super) struct TagColumns {
    service: DictionaryColumn,
    env: DictionaryColumn,
    cluster: DictionaryColumn,
    rule: DictionaryColumn,
}

impl TagColumns {
    pub(super) fn push(&mut self, tags: &Tags) {
        self.service.push(tags.service.as_deref());
        self.env.push(tags.env.as_deref());
        self.cluster.push(tags.cluster.as_deref());
        self.rule.push(Some(tags.rule));
    }

    pub(super) fn finish(&mut self) -> [ArrayRef; 4] {
        [self.service.finish(), self.env.finish(), self.cluster.finish(), self.rule.finish()]
    }
}

/// Digits of an id in hex.
pub(super) const TRACE_ID_DIGITS: usize = 32;
/// Digits of an id in hex.
pub(super) const SPAN_ID_DIGITS: usize = 16;

/// Returns a column of times in ns with room for `n_rows`.
pub(super) fn timestamps(n_rows: usize) -> TimestampNanosecondBuilder {
    TimestampNanosecondBuilder::with_capacity(n_rows).with_timezone("UTC")
}

/// Gives back the room that a column did not fill: a batch may wait an hour for its file.
pub(super) fn fitted(mut column: impl Array + 'static) -> ArrayRef {
    column.shrink_to_fit();
    Arc::new(column)
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
