//! Walking the records of a snapshot that a selector may mean.
//!
//! Pieces are pruned by commons, time and service before anything is read. Of a piece the small
//! columns come first: they say which rows are of a wanted stream and time. The lines and what
//! belongs to them are read for those rows alone.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};

use super::error::LogqlError;
use super::pipeline::Metadata;
use super::stream::{Parts, Stream};
use crate::model::{Commons, MatchOp, Matcher};
use crate::query::promql::Budget;
use crate::storage::{LogPiece, LogsWanted, Snapshot};

/// Columns that say which stream and time a row is of.
pub(super) const KEY_COLUMNS: [&str; 5] = ["timestamp", "service", "env", "cluster", "resource"];
/// Columns that a pipeline looks at.
const LINE_COLUMNS: [&str; 8] = [
    "timestamp",
    "severity_number",
    "severity_text",
    "body",
    "attributes",
    "scope_name",
    "trace_id",
    "span_id",
];
/// Rows decoded at a time.
const KEY_ROWS: usize = 65_536;
const LINE_ROWS: usize = 8_192;

/// What a walk has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanStats {
    /// Lines that a pipeline looked at.
    pub n_lines: u64,
    /// Their bytes.
    pub n_bytes: u64,
    /// Batches of the head and row groups of files that were opened.
    pub n_pieces: u64,
    /// Of them, those that were in memory.
    pub n_in_memory: u64,
    /// Lines of the answer before its limit.
    pub n_kept: u64,
}

/// A row of a wanted stream and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ts_ns: i64,
    pub(super) row_idx: usize,
    pub(super) stream_idx: usize,
}

/// The walk of one query.
pub(super) struct Scan<'s> {
    snapshot: &'s Snapshot,
    budget: &'s Budget,
    /// First ns wanted.
    min_ns: i64,
    /// Last ns wanted.
    max_ns: i64,
    sets: &'s [Vec<Matcher>],
    streams: Streams,
    pub(super) stats: ScanStats,
}

/// Takes some places and their lines; returns whether it wants more.
pub(super) type EachLines<'e> = dyn FnMut(&[Place], &Lines<'_>) -> Result<bool, LogqlError> + 'e;

impl<'s> Scan<'s> {
    /// Returns a walk over the streams that any of the sets of matchers means, from `min_ns` to
    /// `max_ns`, both included.
    pub(super) fn new(
        snapshot: &'s Snapshot,
        budget: &'s Budget,
        sets: &'s [Vec<Matcher>],
        (min_ns, max_ns): (i64, i64),
    ) -> Self {
        let stats = ScanStats::default();
        Self { snapshot, budget, min_ns, max_ns, sets, streams: Streams::default(), stats }
    }

    /// Returns the pieces that may hold wanted rows, in no particular order.
    pub(super) fn pieces(&self) -> Result<Vec<LogPiece>, LogqlError> {
        if self.max_ns < self.min_ns {
            return Ok(Vec::new());
        }
        let any = |holds: &dyn Fn(&Matcher) -> bool| {
            self.sets.iter().any(|matchers| matchers.iter().all(holds))
        };
        let commons = |commons: &Commons| {
            any(&|matcher| {
                matcher.name != "commons"
                    // What no rule could place may still say where it thinks it belongs.
                    || commons.is_unassigned()
                    || matcher.matches(commons.as_str())
            })
        };
        let services = |bounds: Option<(&[u8], &[u8])>| {
            any(&|matcher| match bounds {
                Some((min, max)) if matcher.name == "service" && matcher.op == MatchOp::Eq => {
                    let wanted = matcher.value.as_bytes();
                    wanted.is_empty() || (min <= wanted && wanted <= max)
                }
                _ => true,
            })
        };
        let wanted = LogsWanted {
            min_ns: self.min_ns,
            max_ns: self.max_ns,
            commons: &commons,
            services: &services,
        };
        Ok(self.snapshot.log_pieces(&wanted)?)
    }

    /// Returns a stream by its index.
    pub(super) fn stream(&self, stream_idx: usize) -> Rc<Stream> {
        Rc::clone(&self.streams.all[stream_idx])
    }

    /// Returns the streams of some places by their indexes.
    pub(super) fn streams_of(&self, places: &[Place]) -> HashMap<usize, Rc<Stream>> {
        let mut found = HashMap::new();
        for place in places {
            found.entry(place.stream_idx).or_insert_with(|| self.stream(place.stream_idx));
        }
        found
    }

    /// Returns the wanted rows of a piece, in the piece's order.
    pub(super) fn places(&mut self, piece: &LogPiece) -> Result<Vec<Place>, LogqlError> {
        self.stats.n_pieces += 1;
        self.stats.n_in_memory += u64::from(piece.is_in_memory());
        let mut found = Vec::new();
        let all = 0..piece.n_rows;
        let ranges = piece.rows.as_deref().unwrap_or(std::slice::from_ref(&all));
        let mut rows = ranges.iter().cloned().flatten();
        let mut ended = Ok(());
        let (sets, streams, budget) = (self.sets, &mut self.streams, self.budget);
        let (min_ns, max_ns) = (self.min_ns, self.max_ns);
        let mut each = |batch: RecordBatch| {
            if let Err(error) = budget.check() {
                ended = Err(error);
                return false;
            }
            let keys = Keys::of(&batch);
            let mut known: HashMap<[i32; 4], Option<usize>> = HashMap::new();
            let mut last: Option<([i32; 4], Option<usize>)> = None;
            for (row, &ts_ns) in keys.timestamps.iter().enumerate() {
                let row_idx = rows.next().expect("no more rows come than were asked for");
                if ts_ns < min_ns || ts_ns > max_ns {
                    continue;
                }
                let key = keys.key(row);
                let stream_idx = match last {
                    Some((last, stream_idx)) if last == key => stream_idx,
                    _ => *known
                        .entry(key)
                        .or_insert_with(|| streams.find(&keys.parts(row, &piece.commons), sets)),
                };
                last = Some((key, stream_idx));
                if let Some(stream_idx) = stream_idx {
                    found.push(Place { ts_ns, row_idx, stream_idx });
                }
            }
            true
        };
        let rows = piece.rows.as_deref();
        self.snapshot.read_log_piece(piece, &KEY_COLUMNS, rows, KEY_ROWS, &mut each)?;
        ended?;
        Ok(found)
    }

    /// Hands the lines of some places on, in the order of their rows, until `each` has enough.
    pub(super) fn lines(
        &mut self,
        piece: &LogPiece,
        places: &[Place],
        each: &mut EachLines<'_>,
    ) -> Result<(), LogqlError> {
        if places.is_empty() {
            return Ok(());
        }
        let rows = ranges(places);
        let mut at = 0;
        let mut ended = Ok(());
        let (budget, stats) = (self.budget, &mut self.stats);
        let mut take = |batch: RecordBatch| {
            let of_batch = &places[at..at + batch.num_rows()];
            at += batch.num_rows();
            let lines = Lines::of(&batch);
            stats.n_lines += of_batch.len() as u64;
            stats.n_bytes += lines.n_bytes() as u64;
            let wants_more = budget.check().map_err(LogqlError::from);
            let wants_more = wants_more.and_then(|()| each(of_batch, &lines));
            let goes_on = matches!(wants_more, Ok(true));
            ended = wants_more.map(drop);
            goes_on
        };
        self.snapshot.read_log_piece(piece, &LINE_COLUMNS, Some(&rows), LINE_ROWS, &mut take)?;
        ended
    }
}

/// Returns the rows of places, which are in the order of their rows, as ranges.
fn ranges(places: &[Place]) -> Vec<Range<usize>> {
    let mut rows: Vec<Range<usize>> = Vec::new();
    for place in places {
        match rows.last_mut() {
            Some(range) if range.end == place.row_idx => range.end += 1,
            _ => rows.push(place.row_idx..place.row_idx + 1),
        }
    }
    rows
}

/// The streams that were met, each once.
#[derive(Debug, Default)]
struct Streams {
    /// The wanted ones.
    all: Vec<Rc<Stream>>,
    known: HashMap<Vec<u8>, Option<usize>>,
}

impl Streams {
    fn find(&mut self, parts: &Parts<'_>, sets: &[Vec<Matcher>]) -> Option<usize> {
        let mut key = Vec::new();
        for text in [parts.commons.as_str(), parts.service, parts.env, parts.cluster] {
            key.extend_from_slice(text.as_bytes());
            key.push(0xff); // No UTF-8 text holds this byte.
        }
        key.extend_from_slice(parts.resource.as_bytes());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let stream = Stream::new(parts);
        let is_wanted = sets.iter().any(|matchers| stream.matches(matchers));
        let place = is_wanted.then(|| {
            // Resources that differ in what is no label are one stream for whoever groups by labels,
            // but not here: their metadata differs.
            self.all.push(Rc::new(stream));
            self.all.len() - 1
        });
        self.known.insert(key, place);
        place
    }
}

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

    /// Tells streams of one batch apart.
    pub(super) fn key(&self, row: usize) -> [i32; 4] {
        self.columns.map(|column| {
            let dictionary = column.as_dictionary::<Int32Type>();
            if dictionary.is_null(row) { -1 } else { dictionary.keys().value(row) }
        })
    }

    pub(super) fn parts(&self, row: usize, commons: &'b Commons) -> Parts<'b> {
        let [service, env, cluster, resource] = self.columns.map(|column| text(column, row));
        Parts { commons, service, env, cluster, resource }
    }
}

/// The columns of a batch that a pipeline looks at.
pub(super) struct Lines<'b> {
    bodies: &'b arrow::array::StringArray,
    columns: [&'b dyn Array; 5],
    severities: &'b arrow::array::Int32Array,
}

impl<'b> Lines<'b> {
    pub(super) fn of(batch: &'b RecordBatch) -> Self {
        let names = ["attributes", "trace_id", "span_id", "severity_text", "scope_name"];
        Self {
            bodies: column(batch, "body").as_string(),
            columns: names.map(|name| column(batch, name)),
            severities: column(batch, "severity_number").as_primitive(),
        }
    }

    /// Returns a row's line.
    pub(super) fn body(&self, row: usize) -> &'b str {
        self.bodies.value(row)
    }

    /// Returns what a row has beside its line.
    pub(super) fn metadata(&self, row: usize, stream: &'b Stream) -> Metadata<'b> {
        let [attributes, trace_id, span_id, severity_text, scope_name] =
            self.columns.map(|column| text(column, row));
        Metadata {
            attributes,
            trace_id,
            span_id,
            severity_text,
            severity_number: self.severities.value(row),
            scope_name,
            of_resource: &stream.metadata,
        }
    }

    fn n_bytes(&self) -> usize {
        let ends = self.bodies.value_offsets();
        let n_bytes = ends.last().zip(ends.first()).map_or(0, |(end, start)| end - start);
        usize::try_from(n_bytes).unwrap_or(0)
    }
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> &'b dyn Array {
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
    let lines = Lines::of(batch);
    let row = move |row: usize| (keys.timestamps[row], Stream::new(&keys.parts(row, commons)));
    (row, lines)
}
