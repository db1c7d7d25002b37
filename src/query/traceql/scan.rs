//! All traces of a time range, one whole trace after the other, or the spans of many at a time.
//!
//! Files are sorted by trace id, and the head's rows are sorted here; the sources are merged, so that
//! no more is held than one batch of each and the trace under way.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Limits;
use super::batch::Batch;
use super::repeated::drop_repeated;
use super::trace::{Row, Trace};
use crate::query::QueryError;
use crate::query::promql::{Budget, Held, PromqlError};
use crate::storage::{HeadBatch, ReadError, Snapshot, SpanRange, SpanRows};

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Traces looked at.
    pub n_traces: u64,
    /// Spans looked at.
    pub n_spans: u64,
    /// Bytes of the files that may have spans of the range, and of the head.
    pub n_bytes: u64,
    /// Traces of which only a part was looked at, because they have too many spans.
    pub n_cut: u64,
}

/// Hands every trace with spans in the range to `take`, until it says that it has enough.
pub(super) fn traces(
    snapshot: &Snapshot,
    range: &SpanRange,
    limits: &Limits,
    budget: &Budget,
    take: &mut dyn FnMut(Trace) -> Result<bool, QueryError>,
) -> Result<Inspected, QueryError> {
    let mut merge = Merge::open(snapshot, range)?;
    let mut inspected = Inspected { n_bytes: merge.n_bytes, ..Inspected::default() };
    let mut memory = merge.memory(budget);
    loop {
        budget.check()?;
        memory.begin()?;
        let mut rows = Vec::new();
        let Some(is_cut) = merge.next_trace(limits, &mut memory, &mut rows)? else { break };
        inspected.add_trace(rows.len(), is_cut);
        if !take(Trace::of(rows))? {
            break;
        }
    }
    Ok(inspected)
}

/// So many spans are looked at together, about.
const SPANS_TOGETHER: usize = if cfg!(test) { 9 } else { 4_096 };
/// Batches that only spans behind which others came keep in memory: past this they are looked at
/// before more are read.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Hands the spans in the range to `take` in the order of their traces, each once, those of many
/// traces together: for questions that each span answers by itself.
pub(super) fn spans(
    snapshot: &Snapshot,
    range: &SpanRange,
    limits: &Limits,
    budget: &Budget,
    take: &mut dyn FnMut(&Trace) -> Result<(), QueryError>,
) -> Result<Inspected, QueryError> {
    let mut merge = Merge::open(snapshot, range)?;
    let mut inspected = Inspected { n_bytes: merge.n_bytes, ..Inspected::default() };
    let mut memory = merge.memory(budget);
    let mut is_over = false;
    while !is_over {
        budget.check()?;
        memory.begin()?;
        let mut rows = Vec::with_capacity(SPANS_TOGETHER);
        while rows.len() < SPANS_TOGETHER && memory.n_kept < KEPT_BYTES_MAX && !is_over {
            let first = rows.len();
            match merge.next_trace(limits, &mut memory, &mut rows)? {
                Some(is_cut) => inspected.add_trace(rows.len() - first, is_cut),
                None => is_over = true,
            }
            drop_repeated(&mut rows, first);
        }
        take(&Trace::of_strangers(rows))?;
    }
    Ok(inspected)
}

impl Inspected {
    /// Returns what two scans of the same time have read.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            n_traces: self.n_traces + other.n_traces,
            n_spans: self.n_spans + other.n_spans,
            n_bytes: self.n_bytes + other.n_bytes,
            // Both look at the same traces.
            n_cut: self.n_cut.max(other.n_cut),
        }
    }

    fn add_trace(&mut self, n_spans: usize, is_cut: bool) {
        self.n_traces += 1;
        self.n_spans += n_spans as u64;
        self.n_cut += u64::from(is_cut);
    }
}

/// What a merge holds.
struct Memory<'b> {
    held: Held<'b>,
    /// A batch of each source.
    n_current: usize,
    /// Batches that only rows of what is under way keep.
    n_kept: usize,
    failed: Option<PromqlError>,
}

impl Memory<'_> {
    /// Begins a trace, or some that are looked at together.
    fn begin(&mut self) -> Result<(), PromqlError> {
        self.n_kept = 0;
        self.held.set(self.n_current)
    }

    /// Notes that a source went on to its next batch; returns false when that was one too many.
    fn note(&mut self, old_bytes: usize, new_bytes: usize) -> bool {
        self.n_current = self.n_current - old_bytes + new_bytes;
        self.n_kept += old_bytes;
        self.failed = self.held.set(self.n_current + self.n_kept).err();
        self.failed.is_none()
    }
}

struct Merge<'s> {
    snapshot: &'s Snapshot,
    range: &'s SpanRange,
    sources: Vec<Source>,
    n_bytes: u64,
    /// The id of the trace under way.
    least: String,
}

/// Rows in the order of their traces.
enum Source {
    File { rows: SpanRows, batch: Option<Arc<Batch>>, at: usize },
    Head { rows: Vec<Row>, at: usize },
}

impl<'s> Merge<'s> {
    fn open(snapshot: &'s Snapshot, range: &'s SpanRange) -> Result<Self, QueryError> {
        let (sources, least) = (Vec::new(), String::new());
        let mut merge = Self { snapshot, range, sources, n_bytes: 0, least };
        merge.open_head();
        for file in snapshot.span_files(range.min_ns, range.max_ns) {
            let opened = snapshot.open_spans(&file, range).and_then(|rows| {
                let mut source = Source::File { rows, batch: None, at: 0 };
                source.advance(range)?;
                Ok(source)
            });
            if let Some(source) = merge.intact(opened)? {
                merge.n_bytes += file.size_bytes;
                merge.sources.push(source);
            }
        }
        Ok(merge)
    }

    /// Returns what the merge holds before its first trace.
    fn memory<'b>(&self, budget: &'b Budget) -> Memory<'b> {
        let n_current = self.sources.iter().map(Source::n_bytes).sum();
        Memory { held: budget.hold(), n_current, n_kept: 0, failed: None }
    }

    /// Leaves out what turns out to be damaged, and notes that the answer lacks it.
    fn intact<T>(&self, read: Result<T, ReadError>) -> Result<Option<T>, QueryError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => {
                self.snapshot.leave_out(error)?;
                self.snapshot.note_missing(crate::model::Signal::Spans);
                Ok(None)
            }
        }
    }

    fn open_head(&mut self) {
        let mut rows: Vec<Row> = Vec::new();
        for HeadBatch { batch, .. } in
            self.snapshot.span_batches(self.range.min_ns, self.range.max_ns)
        {
            self.n_bytes += batch.get_array_memory_size() as u64;
            let passes = self.range.sift.as_ref().map(|sift| (sift.passes)(&batch));
            let batch = Batch::of(&projected(&batch, self.range));
            let wanted = (0..batch.n_rows()).filter(|&row| {
                passes.as_ref().is_none_or(|passes| passes[row])
                    && is_wanted(&batch, row, self.range)
                    && is_of_trace(&batch, row, self.range)
            });
            rows.extend(wanted.map(|row| (Arc::clone(&batch), row)));
        }
        rows.sort_by(|(a, x), (b, y)| {
            let by_id = a.trace_id.get(*x).cmp(b.trace_id.get(*y));
            by_id.then_with(|| a.start.value(*x).cmp(&b.start.value(*y)))
        });
        self.sources.push(Source::Head { rows, at: 0 });
    }

    /// Appends the rows of the next trace, in the order of their start; returns whether some were
    /// left out, and `None` behind the last trace.
    fn next_trace(
        &mut self,
        limits: &Limits,
        memory: &mut Memory<'_>,
        rows: &mut Vec<Row>,
    ) -> Result<Option<bool>, QueryError> {
        let Some(least) = self.sources.iter().filter_map(Source::trace_id).min() else {
            return Ok(None);
        };
        self.least.clear();
        self.least.push_str(least);
        let (first, mut is_cut) = (rows.len(), false);
        let n_max = first.saturating_add(limits.trace_spans_max);
        let mut idx = 0;
        while idx < self.sources.len() {
            let source = &mut self.sources[idx];
            let taken = take_rows(source, &self.least, self.range, n_max, rows, memory);
            if let Some(error) = memory.failed.take() {
                return Err(error.into());
            }
            match self.intact(taken)? {
                Some(source_cut) => {
                    is_cut |= source_cut;
                    idx += 1;
                }
                None => {
                    let source = self.sources.swap_remove(idx);
                    memory.n_current -= source.n_bytes();
                }
            }
        }
        rows[first..].sort_by_key(|(batch, row)| batch.start.value(*row));
        Ok(Some(is_cut))
    }
}

/// Takes the rows of one trace from a source, until there are so many; returns whether some were left
/// out.
fn take_rows(
    source: &mut Source,
    trace_id: &str,
    range: &SpanRange,
    n_max: usize,
    rows: &mut Vec<Row>,
    memory: &mut Memory<'_>,
) -> Result<bool, ReadError> {
    let mut is_cut = false;
    while source.trace_id() == Some(trace_id) {
        if rows.len() < n_max {
            rows.extend(source.row());
        } else {
            is_cut = true;
        }
        if source.step() {
            let (before, n_bytes) = (source.batch_ptr(), source.n_bytes());
            source.advance(range)?;
            if source.batch_ptr() != before && !memory.note(n_bytes, source.n_bytes()) {
                break;
            }
        }
    }
    Ok(is_cut)
}

impl Source {
    fn n_bytes(&self) -> usize {
        match self {
            Source::File { batch, .. } => batch.as_ref().map_or(0, |batch| batch.n_bytes),
            // The texts are the head's own.
            Source::Head { rows, .. } => size_of_val(rows.as_slice()),
        }
    }

    /// Tells a batch from the one after it.
    fn batch_ptr(&self) -> Option<*const Batch> {
        match self {
            Source::File { batch, .. } => batch.as_ref().map(Arc::as_ptr),
            Source::Head { .. } => None,
        }
    }

    fn row(&self) -> Option<Row> {
        match self {
            Source::File { batch, at, .. } => Some((Arc::clone(batch.as_ref()?), *at)),
            Source::Head { rows, at } => rows.get(*at).cloned(),
        }
    }

    fn trace_id(&self) -> Option<&str> {
        match self {
            Source::File { batch, at, .. } => Some(batch.as_ref()?.trace_id.get(*at)),
            Source::Head { rows, at } => rows.get(*at).map(|(batch, row)| batch.trace_id.get(*row)),
        }
    }

    /// Goes to the next row; returns true when rows may have to be read or passed over for that.
    fn step(&mut self) -> bool {
        match self {
            Source::File { at, .. } => {
                *at += 1;
                true
            }
            Source::Head { at, .. } => {
                *at += 1;
                false
            }
        }
    }

    /// Goes on to the next row in the range.
    fn advance(&mut self, range: &SpanRange) -> Result<(), ReadError> {
        let Source::File { rows, batch, at } = self else { return Ok(()) };
        loop {
            if let Some(batch) = batch {
                while *at < batch.n_rows() {
                    if is_wanted(batch, *at, range) {
                        return Ok(());
                    }
                    *at += 1;
                }
            }
            *at = 0;
            *batch = rows.next_batch()?.map(|batch| Batch::of(&batch));
            if batch.is_none() {
                return Ok(());
            }
        }
    }
}

/// Returns true for a row in the time of a range.
pub(super) fn is_wanted(batch: &Batch, row: usize, range: &SpanRange) -> bool {
    (range.min_ns..=range.max_ns).contains(&batch.start.value(row))
}

fn is_of_trace(batch: &Batch, row: usize, range: &SpanRange) -> bool {
    range.traces.as_ref().is_none_or(|traces| traces.contains(batch.trace_id.get(row)))
}

/// Returns the columns of a range.
pub(super) fn projected(batch: &RecordBatch, range: &SpanRange) -> RecordBatch {
    let places: Vec<usize> =
        range.columns.iter().filter_map(|name| batch.schema_ref().index_of(name).ok()).collect();
    batch.project(&places).expect("the places were just found")
}
