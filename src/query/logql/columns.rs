//! Arrow columns as a walk over records reads them: what says which stream a row is of, and what a
//! pipeline looks at.

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::is_not_null;
use arrow::datatypes::{Int32Type, TimestampNanosecondType};

use super::pipeline::Metadata;
use super::stream::{Parts, Stream};
use crate::model::Commons;
use crate::model::dictionary::text_at;
use crate::model::level::LEVELS;

/// Columns that say which stream and time a row is of; the time is the first.
pub(super) const KEY_COLUMNS: [&str; 5] = ["timestamp", "service", "env", "cluster", "resource"];
/// The column of the lines.
pub(super) const BODY: &str = "body";

/// The small columns of a batch.
pub(super) struct Keys<'b> {
    /// None when nobody asks for them.
    timestamps: Option<&'b [i64]>,
    columns: [&'b dyn Array; 4],
    /// Each column's keys, and which of them are none.
    keys: [(&'b [i32], Option<&'b NullBuffer>); 4],
}

impl<'b> Keys<'b> {
    pub(super) fn of(batch: &'b RecordBatch) -> Self {
        let column = |name| column(batch, name);
        let columns = ["service", "env", "cluster", "resource"].map(column);
        let keys = columns.map(|column| {
            let keys = column.as_dictionary::<Int32Type>().keys();
            (&**keys.values(), keys.nulls())
        });
        let timestamps = batch.column_by_name(KEY_COLUMNS[0]);
        let timestamps =
            timestamps.map(|column| &**column.as_primitive::<TimestampNanosecondType>().values());
        Self { timestamps, columns, keys }
    }

    /// Returns a row's time, ns since 1970 UTC, or what stands for it where it was not read.
    pub(super) fn ts_ns(&self, row: usize, otherwise: i64) -> i64 {
        self.timestamps.map_or(otherwise, |timestamps| timestamps[row])
    }

    /// Returns what rows of one stream share, and no others of the batch.
    pub(super) fn key(&self, row: usize) -> [i32; 4] {
        self.keys.map(|(keys, nulls)| match nulls {
            Some(nulls) if nulls.is_null(row) => -1,
            _ => keys[row],
        })
    }

    /// Returns what the store keeps of a row's stream.
    pub(super) fn parts(&self, row: usize, commons: &'b Commons) -> Parts<'b> {
        let [service, env, cluster, resource] = self.columns.map(|column| text_at(column, row));
        Parts { commons, service, env, cluster, resource }
    }
}

/// The lines of a batch, if they were read, and the columns of metadata that were.
pub(super) struct Lines<'b> {
    bodies: Option<StringArray>,
    /// In the order of [`TEXTS`].
    columns: [Option<&'b dyn Array>; 6],
    severities: Option<&'b Int32Array>,
    /// The place among the levels of each text of the column of levels.
    levels: Vec<u8>,
}

const TEXTS: [&str; 6] =
    ["attributes", "trace_id", "span_id", "severity_text", "scope_name", LEVEL_COLUMN];
/// The column of what was found of a record's level.
pub(super) const LEVEL_COLUMN: &str = "detected_level";
/// What a row without a level has in the place of one.
const NO_LEVEL: u8 = u8::MAX;

impl<'b> Lines<'b> {
    pub(super) fn of(bodies: StringArray, batch: Option<&'b RecordBatch>) -> Self {
        Self::of_some(Some(bodies), batch)
    }

    /// Returns rows of which nobody looks at the line.
    pub(super) fn without_bodies(batch: Option<&'b RecordBatch>) -> Self {
        Self::of_some(None, batch)
    }

    fn of_some(bodies: Option<StringArray>, batch: Option<&'b RecordBatch>) -> Self {
        let column = |name| Some(batch?.column_by_name(name)?.as_ref());
        let columns = TEXTS.map(column);
        let texts = columns[5].map(|column| column.as_dictionary::<Int32Type>().values());
        let texts = texts.map(|texts| texts.as_string::<i32>().iter());
        let level_of = |text: Option<&str>| {
            let place = LEVELS.iter().position(|level| Some(*level) == text);
            place.and_then(|place| u8::try_from(place).ok()).unwrap_or(NO_LEVEL)
        };
        Self {
            bodies,
            columns,
            severities: column("severity_number").map(|column| column.as_primitive()),
            levels: texts.into_iter().flatten().map(level_of).collect(),
        }
    }

    /// Returns a row's line; empty when nobody looks at it.
    pub(super) fn body(&self, row: usize) -> &str {
        self.bodies.as_ref().map_or("", |bodies| bodies.value(row))
    }

    /// Returns what a row has beside its line.
    pub(super) fn metadata<'l>(&'l self, row: usize, stream: &'l Stream) -> Metadata<'l> {
        let [attributes, trace_id, span_id, severity_text, scope_name, level] =
            self.columns.map(|column| column.map_or("", |column| text_at(column, row)));
        Metadata {
            attributes,
            trace_id,
            span_id,
            severity_text,
            severity_number: self.severities.map_or(0, |column| column.value(row)),
            scope_name,
            level,
            of_resource: &stream.metadata,
            is_of_otlp: stream.is_of_otlp,
        }
    }

    /// Returns the place of a row's level among all, or how many there are when nobody asks for it,
    /// if nothing else tells the row from others of its stream: it has no line and no attributes.
    pub(super) fn level_alone(&self, row: usize) -> Option<u8> {
        let [attributes, ..] = self.columns;
        let has_some = |column: &dyn Array| text_at(column, row).len() > 2;
        if self.bodies.is_some() || attributes.is_some_and(has_some) {
            return None;
        }
        let Some(column) = self.columns[5] else { return Some(NO_LEVEL) };
        let level = self.levels[column.as_dictionary::<Int32Type>().key(row)?];
        (level != NO_LEVEL).then_some(level)
    }
}

/// Returns which rows of a batch have a level; `None` when all have, or nobody asks.
pub(super) fn rows_with_level(batch: &RecordBatch, is_asked: bool) -> Option<BooleanArray> {
    if !is_asked {
        return None;
    }
    match batch.column_by_name(LEVEL_COLUMN) {
        Some(column) if column.null_count() == 0 => None,
        Some(column) => Some(is_not_null(column).expect("any column may be asked")),
        None => Some(BooleanArray::from(vec![false; batch.num_rows()])),
    }
}

/// Returns a column that was asked for.
pub(super) fn column<'b>(batch: &'b RecordBatch, name: &str) -> &'b dyn Array {
    batch.column_by_name(name).expect("the column was asked for").as_ref()
}

/// Takes a batch of the head apart for a follower of the log: its streams and lines.
pub(super) fn rows_of<'b>(
    commons: &'b Commons,
    batch: &'b RecordBatch,
) -> (impl Fn(usize) -> (i64, Stream) + 'b, Lines<'b>) {
    let keys = Keys::of(batch);
    let lines = Lines::of(column(batch, BODY).as_string().clone(), Some(batch));
    let row = move |row: usize| (keys.ts_ns(row, 0), Stream::new(&keys.parts(row, commons)));
    (row, lines)
}
