//! One trace by its id.
//!
//! A trace larger than the limits is answered in part, and says so: what is there is better than
//! nothing for whoever looks at a trace that went wrong. A span that a sender sent twice is given
//! once; as in Tempo, spans are the same when id and kind are.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int32Type;
use hashbrown::HashSet;

use super::Limits;
use crate::base::units::HumanSize;
use crate::query::QueryError;
use crate::query::promql::Budget;
use crate::storage::{HeadBatch, ReadError, Snapshot, TraceRequest};

/// Bytes that a span takes in an answer beside its texts.
const SPAN_BYTES: usize = 128;

/// The spans of one trace.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The spans, in the schema of `model::span`.
    pub batches: Vec<RecordBatch>,
    /// About how many bytes they are.
    pub n_bytes: usize,
    /// Why there are more spans than these, and the limit's key.
    pub partial: Option<(String, &'static str)>,
    /// True when a filter left spans out.
    pub is_part: bool,
}

enum Halt {
    Full,
    Failed(QueryError),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        Halt::Failed(error.into())
    }
}

/// Returns a trace; one that nobody sent has no spans.
pub(in crate::query) fn find(
    snapshot: &Snapshot,
    request: TraceRequest<'_>,
    limits: &Limits,
    budget: &Budget,
) -> Result<Trace, QueryError> {
    let mut collected = Collected { limits, trace: Trace::default(), seen: HashSet::new() };
    let found = snapshot.trace(request, &mut |HeadBatch { batch, .. }| {
        budget.check().map_err(|error| Halt::Failed(error.into()))?;
        collected.take(&batch)
    });
    match found {
        Ok(_) | Err(Halt::Full) => Ok(collected.trace),
        Err(Halt::Failed(error)) => Err(error),
    }
}

struct Collected<'a> {
    limits: &'a Limits,
    trace: Trace,
    seen: HashSet<(String, String)>,
}

impl Collected<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<(), Halt> {
        let rows = Rows::of(batch);
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let is_new = self.trace.partial.is_none() && self.seen.insert(rows.key(row));
            keep.push(is_new && self.has_room(rows.n_bytes(row)));
        }
        let kept = BooleanArray::from(keep);
        if kept.true_count() == batch.num_rows() {
            self.trace.batches.push(batch.clone());
        } else if kept.true_count() > 0 {
            let batch = filter_record_batch(batch, &kept).expect("a boolean a row");
            self.trace.batches.push(batch);
        }
        if self.trace.partial.is_some() { Err(Halt::Full) } else { Ok(()) }
    }

    fn has_room(&mut self, n_bytes: usize) -> bool {
        let Limits { trace_spans_max, trace_bytes_max, .. } = *self.limits;
        if self.seen.len() > trace_spans_max {
            let message = format!(
                "the trace has more than {trace_spans_max} spans, as many as are answered \
                 (query.trace_spans_max): this is a part of it"
            );
            self.trace.partial = Some((message, "query.trace_spans_max"));
            return false;
        }
        if self.trace.n_bytes + n_bytes > trace_bytes_max {
            let max = HumanSize(trace_bytes_max as u64);
            let message = format!(
                "the trace has more than {max}, as much as is answered \
                 (query.trace_bytes_max): this is a part of it"
            );
            self.trace.partial = Some((message, "query.trace_bytes_max"));
            return false;
        }
        self.trace.n_bytes += n_bytes;
        true
    }
}

/// The texts of a batch that tell spans apart and make them large.
struct Rows<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    fn text(&self, name: &str, row: usize) -> &'a str {
        let column = self.batch.column_by_name(name).expect("the spans' schema has it");
        if let Some(texts) = column.as_string_opt::<i32>() {
            return if texts.is_null(row) { "" } else { texts.value(row) };
        }
        let dictionary = column.as_dictionary::<Int32Type>();
        dictionary.key(row).map_or("", |key| dictionary.values().as_string::<i32>().value(key))
    }

    fn key(&self, row: usize) -> (String, String) {
        (self.text("span_id", row).to_owned(), self.text("kind", row).to_owned())
    }

    fn n_bytes(&self, row: usize) -> usize {
        let texts = ["name", "status_message", "attributes", "events", "links", "trace_state"];
        SPAN_BYTES + texts.iter().map(|name| self.text(name, row).len()).sum::<usize>()
    }
}
