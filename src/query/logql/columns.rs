//! Arrow columns as a walk over records reads them: what says which stream a row is of, and what a
//! pipeline looks at.

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};

use super::pipeline::Metadata;
use super::stream::{Parts, Stream};
use crate::model::Commons;

/// Columns that say which stream and time a row is of.
pub(super) const KEY_COLUMNS: [&str; 5] = ["timestamp", "service", "env", "cluster", "resource"];
/// The column of the lines.
pub(super) const BODY: &str = "body";

/// The small columns of a batch.
pub(super) struct Keys<'b> {
    pub(super) timestamps: &'b [i64],
    columns: [&'b dyn Array; 4],
}

impl<'b> Keys<'b> {
    pub(super) fn of(batch: &'b RecordBatch) -> Self {
        let column = |name| column(batch, name);
        Self {
            timestamps: column("timestamp").as_primitive::<TimestampNanosecondType>().values(),
            columns: ["service", "env", "cluster", "resource"].map(column),
        }
    }

    /// Returns what rows of one stream share, and no others of the batch.
    pub(super) fn key(&self, row: usize) -> [i32; 4] {
        self.columns.map(|column| {
            let dictionary = column.as_dictionary::<Int32Type>();
            if dictionary.is_null(row) { -1 } else { dictionary.keys().value(row) }
        })
    }

    /// Returns what the store keeps of a row's stream.
    pub(super) fn parts(&self, row: usize, commons: &'b Commons) -> Parts<'b> {
        let [service, env, cluster, resource] = self.columns.map(|column| text(column, row));
        Parts { commons, service, env, cluster, resource }
    }
}

/// The lines of a batch, and the columns of metadata that were read.
pub(super) struct Lines<'b> {
    bodies: StringArray,
    /// In the order of [`TEXTS`].
    columns: [Option<&'b dyn Array>; 5],
    severities: Option<&'b Int32Array>,
}

const TEXTS: [&str; 5] = ["attributes", "trace_id", "span_id", "severity_text", "scope_name"];

impl<'b> Lines<'b> {
    pub(super) fn of(bodies: StringArray, batch: Option<&'b RecordBatch>) -> Self {
        let column = |name| Some(batch?.column_by_name(name)?.as_ref());
        Self {
            bodies,
            columns: TEXTS.map(column),
            severities: column("severity_number").map(|column| column.as_primitive()),
        }
    }

    /// Returns a row's line.
    pub(super) fn body(&self, row: usize) -> &str {
        self.bodies.value(row)
    }

    /// Returns what a row has beside its line.
    pub(super) fn metadata<'l>(&'l self, row: usize, stream: &'l Stream) -> Metadata<'l> {
        let [attributes, trace_id, span_id, severity_text, scope_name] =
            self.columns.map(|column| column.map_or("", |column| text(column, row)));
        Metadata {
            attributes,
            trace_id,
            span_id,
            severity_text,
            severity_number: self.severities.map_or(0, |column| column.value(row)),
            scope_name,
            of_resource: &stream.metadata,
        }
    }
}

/// Returns a column that was asked for.
pub(super) fn column<'b>(batch: &'b RecordBatch, name: &str) -> &'b dyn Array {
    batch.column_by_name(name).expect("the column was asked for").as_ref()
}

/// Returns a text of a column, empty for null.
fn text(column: &dyn Array, row: usize) -> &str {
    match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            dictionary.key(row).map_or("", |key| dictionary.values().as_string::<i32>().value(key))
        }
        _ if column.is_null(row) => "",
        _ => column.as_string::<i32>().value(row),
    }
}

/// Takes a batch of the head apart for a follower of the log: its streams and lines.
pub(super) fn rows_of<'b>(
    commons: &'b Commons,
    batch: &'b RecordBatch,
) -> (impl Fn(usize) -> (i64, Stream) + 'b, Lines<'b>) {
    let keys = Keys::of(batch);
    let lines = Lines::of(column(batch, BODY).as_string().clone(), Some(batch));
    let row = move |row: usize| (keys.timestamps[row], Stream::new(&keys.parts(row, commons)));
    (row, lines)
}
