//! One trace by its id.
//!
//! A trace larger than the limits is answered in part, and says so: what is there is better than
//! nothing for whoever looks at a trace that went wrong. A span that a sender sent twice is given
//! once; as in Tempo, spans are the same when id and kind are.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int32Type;
use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_128;

use super::Limits;
use crate::base::units::HumanSize;
use crate::model::dictionary::text_at;
use crate::query::QueryError;
use crate::query::promql::Budget;
use crate::storage::{HeadBatch, ReadError, Snapshot, TraceRequest};

/// Bytes that a span takes in an answer beside its texts.
const SPAN_BYTES: usize = 128;
/// Texts that each span has for itself.
const OWN: [&str; 7] =
    ["name", "status_message", "attributes", "events", "links", "trace_state", "otlp_rest"];
/// Texts that spans have in common: an answer has a resource once, and in it each scope once. What no
/// column can say of a resource makes it another one.
const SHARED: [&str; 5] =
    ["resource", "otlp_rest", "scope_name", "scope_version", "scope_attributes"];

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
    let mut collected = Collected::new(limits);
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
    /// Resources that were counted, by their hash.
    resources: HashSet<u128>,
    /// Scopes that were counted, by the hash of their resource and their own.
    scopes: HashSet<(u128, u128)>,
}

impl<'a> Collected<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            trace: Trace::default(),
            seen: HashSet::new(),
            resources: HashSet::new(),
            scopes: HashSet::new(),
        }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Halt> {
        let mut rows = Rows::of(batch);
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let is_new = self.trace.partial.is_none() && self.seen.insert(rows.key(row));
            let n_bytes =
                if is_new { rows.n_bytes(row) + self.shared_bytes(&mut rows, row) } else { 0 };
            keep.push(is_new && self.has_room(n_bytes));
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

    /// Returns how many bytes a span adds of what others may have as well.
    fn shared_bytes(&mut self, rows: &mut Rows<'_>, row: usize) -> usize {
        let keys = rows.shared_keys(row);
        if !rows.met.insert(keys) {
            return 0;
        }
        let hash = |texts: &[&str]| xxh3_128(texts.join("\0").as_bytes());
        let [resource, rest, scope @ ..] = SHARED.map(|name| rows.text(name, row));
        let (of_resource, of_scope) = (hash(&[resource, rest]), hash(&scope));
        let mut n_bytes = 0;
        if self.resources.insert(of_resource) {
            n_bytes += resource.len();
        }
        if self.scopes.insert((of_resource, of_scope)) {
            n_bytes += scope.iter().map(|text| text.len()).sum::<usize>();
        }
        n_bytes
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
    /// The keys of shared texts that were met: to hash them for each span would be slow.
    met: HashSet<[Option<usize>; SHARED.len()]>,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        Self { batch, met: HashSet::new() }
    }

    /// Returns what is equal for rows of the batch whose shared texts are.
    fn shared_keys(&self, row: usize) -> [Option<usize>; SHARED.len()] {
        SHARED.map(|name| {
            let texts = self.batch.column_by_name(name).expect("the spans' schema has it");
            match texts.as_dictionary_opt::<Int32Type>() {
                Some(dictionary) => dictionary.key(row),
                None => Some(row),
            }
        })
    }

    fn text(&self, name: &str, row: usize) -> &'a str {
        let column = self.batch.column_by_name(name).expect("the spans' schema has it");
        text_at(column, row)
    }

    fn key(&self, row: usize) -> (String, String) {
        (self.text("span_id", row).to_owned(), self.text("kind", row).to_owned())
    }

    fn n_bytes(&self, row: usize) -> usize {
        SPAN_BYTES + OWN.iter().map(|name| self.text(name, row).len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SpanRow, SpansBuilder, Tags};

    /// Returns how many of a hundred spans are answered within 64 KiB, and which limit was met. `texts_of`
    /// returns a span's resource and the attributes of its scope.
    fn answered(texts_of: impl Fn(usize) -> (String, String)) -> (usize, Option<&'static str>) {
        let mut builder = SpansBuilder::new();
        for number in 0..100 {
            let (id, (resource, scope)) = (number.to_string(), texts_of(number));
            let row = SpanRow {
                trace_id: "1",
                span_id: &id,
                attributes: "{}",
                resource: &resource,
                scope_attributes: &scope,
                events: "[]",
                links: "[]",
                ..SpanRow::default()
            };
            builder.push(&Tags::unassigned(), &row);
        }
        let limits = Limits { trace_bytes_max: 64 << 10, ..Limits::default() };
        let mut collected = Collected::new(&limits);
        let is_full = collected.take(&builder.finish()).is_err();
        let trace = collected.trace;
        assert_eq!(is_full, trace.partial.is_some());
        let n_spans = trace.batches.iter().map(RecordBatch::num_rows).sum();
        (n_spans, trace.partial.map(|(_, key)| key))
    }

    #[test]
    fn a_resource_counts_once_and_a_scope_once_in_each_however_many_spans_have_them() {
        let text = |number: usize| format!(r#"{{"a":"{number}{}"}}"#, "x".repeat(4 << 10));
        let small = |number: usize| format!(r#"{{"a":"{number}"}}"#);
        let is_full = Some("query.trace_bytes_max");

        assert_eq!(answered(|_| (text(0), text(0))), (100, None));
        assert_eq!(answered(|number| (text(number), String::new())), (15, is_full));
        assert_eq!(answered(|number| (small(number), text(0))), (15, is_full));
        assert_eq!(answered(|number| (small(0), text(number))), (15, is_full));
    }
}
