//! Spans of one moment: a trace by its id, or all of a time range in the order of their traces.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use super::files::read_spans::{SpanRange, SpanRows, read_trace};
use super::files::sift_spans::{SpanTest, sift};
use super::head::CommonsHead;
use super::shared::Shared;
use super::{FileEntry, HeadBatch, ReadError, Snapshot};
use crate::model::{Commons, Signal, span};

/// Which trace is wanted.
#[derive(Debug, Clone, Copy)]
pub struct TraceRequest<'a> {
    /// 32 lower-case hex digits.
    pub trace_id: &'a str,
    /// Files and batches whose spans all began before are left out, ns since 1970 UTC.
    pub min_ns: i64,
    /// Files and batches whose spans all began after are left out.
    pub max_ns: i64,
}

/// What was looked at to find a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looked {
    /// Files in the range.
    pub n_files: usize,
    /// Those of them that hold a part of the trace.
    pub n_files_with_rows: usize,
}

/// Whether to go on after some rows.
pub type Taken<E> = Result<(), E>;

impl Snapshot {
    /// Hands the spans of one trace to `take`, a batch at a time, each of one commons, until it
    /// fails; files first, in no particular order.
    pub fn trace<E: From<ReadError>>(
        &self,
        request: TraceRequest<'_>,
        take: &mut dyn FnMut(HeadBatch) -> Taken<E>,
    ) -> Result<Looked, E> {
        let mut looked = Looked::default();
        for file in self.span_files(request.min_ns, request.max_ns) {
            looked.n_files += 1;
            let batches = match self.read_trace(&file, request.trace_id) {
                Err(error) => {
                    self.leave_out(error)?;
                    self.note_missing(Signal::Spans);
                    continue;
                }
                Ok(batches) => batches,
            };
            looked.n_files_with_rows += usize::from(!batches.is_empty());
            for batch in batches {
                take(HeadBatch { commons: file.commons.clone(), batch })?;
            }
        }
        self.trace_in_head(request, take)?;
        Ok(looked)
    }

    fn read_trace(&self, file: &FileEntry, id: &str) -> Result<Vec<RecordBatch>, ReadError> {
        let Shared { disk, footers, .. } = &*self.shared;
        read_trace(&**disk, footers, file, id, &span::schema())
    }

    fn trace_in_head<E>(
        &self,
        request: TraceRequest<'_>,
        take: &mut dyn FnMut(HeadBatch) -> Taken<E>,
    ) -> Taken<E> {
        for HeadBatch { commons, batch } in self.span_batches(request.min_ns, request.max_ns) {
            let ids = batch.column_by_name("trace_id").expect("the spans' schema has it");
            let ids = ids.as_string::<i32>();
            let is_it: BooleanArray =
                ids.iter().map(|id| Some(id == Some(request.trace_id))).collect();
            if is_it.true_count() > 0 {
                let batch = filter_record_batch(&batch, &is_it).expect("a boolean a row");
                take(HeadBatch { commons, batch })?;
            }
        }
        Ok(())
    }

    /// Returns the intact span files that may have spans which began in a time range.
    pub fn span_files(&self, min_ns: i64, max_ns: i64) -> Vec<Arc<FileEntry>> {
        let overlaps = |file: &&Arc<FileEntry>| file.min_ns <= max_ns && min_ns <= file.max_ns;
        let (intact, damaged) = self.part(self.of_signal(Signal::Spans).filter(overlaps));
        let intact = intact.into_iter().cloned().collect();
        self.missing.note(damaged);
        intact
    }

    /// Opens one of them for the rows of a range.
    pub fn open_spans(&self, file: &FileEntry, range: &SpanRange) -> Result<SpanRows, ReadError> {
        let Shared { disk, footers, .. } = &*self.shared;
        SpanRows::open(&**disk, footers, file, range, &projected(&range.columns))
    }

    /// Hands the trace and the start of every span of a file on that is in the range and passes a
    /// test of the range's columns, until `each` has enough.
    pub fn sift_spans(
        &self,
        file: &FileEntry,
        range: &SpanRange,
        passes: &mut SpanTest<'_>,
        each: &mut dyn FnMut(&str, i64) -> bool,
    ) -> Result<(), ReadError> {
        let Shared { disk, footers, .. } = &*self.shared;
        sift(&**disk, footers, file, range, passes, each)
    }

    /// Returns the head's batches that may have spans which began in a time range, in arrival
    /// order; cloning them copies no rows.
    pub fn span_batches(&self, min_ns: i64, max_ns: i64) -> Vec<HeadBatch> {
        let mut found = Vec::new();
        for commons in self.commons() {
            for head in self.heads(&commons) {
                push_batches(&head, &commons, (min_ns, max_ns), &mut found);
            }
        }
        found
    }
}

fn push_batches(
    head: &CommonsHead,
    commons: &Commons,
    (min_ns, max_ns): (i64, i64),
    found: &mut Vec<HeadBatch>,
) {
    for rows in head.spans.read().batches() {
        if rows.min_ns <= max_ns && min_ns <= rows.max_ns {
            found.push(HeadBatch { commons: commons.clone(), batch: rows.batch.clone() });
        }
    }
}

/// Returns today's schema of some columns, in the order of the whole.
fn projected(columns: &[&str]) -> SchemaRef {
    let whole = span::schema();
    let fields = whole.fields().iter().filter(|field| columns.contains(&field.name().as_str()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}
