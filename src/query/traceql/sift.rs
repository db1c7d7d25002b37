//! How little of the store a question has to look at: only spans that pass its [`Sieve`], or only the
//! traces that have one.
//!
//! A question about single spans is answered from those that pass alone: the others are not even
//! read whole. Any other needs the traces of those that pass, whose ids are collected first, unless
//! it names them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;

use super::ast::{Field, Function, Query, Spanset, SpansetOp, Stage};
use super::attribute::{Attribute, Intrinsic};
use super::named::named_by_any;
use super::needs::Needs;
use super::sieve::{Sieve, is_root};
use crate::model::Signal;
use crate::query::QueryError;
use crate::query::promql::Budget;
use crate::storage::{FileEntry, HeadBatch, Snapshot, SpanRange, SpanSift};

/// Bytes that a trace's id takes where it is noted, beside its text.
pub(super) const ID_BYTES: usize = 64;
/// More traces than this are not looked for one by one: all of the range are read as fast.
const IDS_MAX: usize = 200_000;

/// Where spans lie, and how new they are at most.
pub(super) enum Place {
    /// In memory.
    Head,
    /// In a file.
    File(Arc<FileEntry>),
}

impl Place {
    /// Returns the places that may have spans of a range, those with the newest first.
    pub(super) fn all(snapshot: &Snapshot, min_ns: i64, max_ns: i64) -> Vec<Self> {
        let files = snapshot.span_files(min_ns, max_ns);
        let mut places: Vec<Place> = files.into_iter().map(Place::File).collect();
        places.push(Place::Head);
        places.sort_by_key(|place| std::cmp::Reverse(place.max_ns()));
        places
    }

    pub(super) fn max_ns(&self) -> i64 {
        match self {
            Place::Head => i64::MAX,
            Place::File(file) => file.max_ns,
        }
    }
}

/// Notes the trace and the start of a span; returns false when there are enough.
pub(super) type Note<'n> = dyn FnMut(&str, i64) -> bool + 'n;

/// Hands the spans of a place on that are in the range, whose columns are those of the sieve, and
/// pass it.
pub(super) fn sift(
    snapshot: &Snapshot,
    sieve: &Sieve,
    range: &SpanRange,
    place: &Place,
    budget: &Budget,
    note: &mut Note<'_>,
) -> Result<(), QueryError> {
    match place {
        Place::Head => sift_head(snapshot, range, sieve, note),
        Place::File(file) => {
            let mut passes = |batch: &RecordBatch| match budget.check() {
                Ok(()) => sieve.passes(batch),
                // The check behind this ends the question.
                Err(_) => vec![false; batch.num_rows()],
            };
            match snapshot.sift_spans(file, range, &mut passes, note) {
                Err(error) => {
                    snapshot.leave_out(error)?;
                    snapshot.note_missing(Signal::Spans);
                }
                Ok(read) => read,
            }
        }
    }
    Ok(budget.check()?)
}

fn sift_head(snapshot: &Snapshot, range: &SpanRange, sieve: &Sieve, note: &mut Note<'_>) {
    for HeadBatch { batch, .. } in snapshot.span_batches(range.min_ns, range.max_ns) {
        let passes = sieve.passes(&batch);
        let column = |name| batch.column_by_name(name).expect("the spans' schema has it");
        let ids = column("trace_id").as_string::<i32>();
        let starts = column("start_time").as_primitive::<TimestampNanosecondType>();
        for row in (0..batch.num_rows()).filter(|&row| passes[row]) {
            let start_ns = starts.value(row);
            let is_in_range = (range.min_ns..=range.max_ns).contains(&start_ns);
            if is_in_range && !note(ids.value(row), start_ns) {
                return;
            }
        }
    }
}

/// Returns a range with as little in it as some queries allow that look at these attributes too; the
/// needs are those of all.
pub(super) fn narrowed(
    range: SpanRange,
    queries: &[&Query],
    needs: &Needs,
    attributes: &[Attribute],
    snapshot: &Snapshot,
    budget: &Budget,
) -> Result<SpanRange, QueryError> {
    let traces = named_by_any(queries).map(Arc::new);
    let are_of_single_spans = queries.iter().all(|query| is_of_single_spans(query));
    if are_of_single_spans && attributes.iter().all(is_of_span) {
        let columns = needs.columns_of_single_spans();
        return Ok(SpanRange { columns, traces, sift: sift_of(queries), ..range });
    }
    if traces.is_some() {
        return Ok(SpanRange { traces, ..range });
    }
    let Some(sieve) = Sieve::of_any(queries) else { return Ok(range) };
    let traces = ids(snapshot, &sieve, &range, budget)?.map(Arc::new);
    Ok(SpanRange { traces, ..range })
}

/// Returns what lets those spans through that one of some queries about single spans may let through;
/// `None` is all of them.
pub(super) fn sift_of(queries: &[&Query]) -> Option<SpanSift> {
    let sieve = Sieve::of_any(queries)?;
    let columns = sieve.columns();
    Some(SpanSift { columns, passes: Arc::new(move |batch: &RecordBatch| sieve.passes(batch)) })
}

/// Returns the traces of the spans that pass, or `None` when they are too many.
fn ids(
    snapshot: &Snapshot,
    sieve: &Sieve,
    range: &SpanRange,
    budget: &Budget,
) -> Result<Option<BTreeSet<String>>, QueryError> {
    let range = SpanRange { columns: sieve.columns(), ..range.clone() };
    let mut held = budget.hold();
    let mut found: HashSet<String> = HashSet::new();
    let mut ended = Ok(());
    for place in Place::all(snapshot, range.min_ns, range.max_ns) {
        sift(snapshot, sieve, &range, &place, budget, &mut |id, _| {
            if !found.contains(id) {
                found.insert(id.to_owned());
                ended = held.set(2 * found.len() * (ID_BYTES + id.len()));
            }
            ended.is_ok() && found.len() <= IDS_MAX
        })?;
        std::mem::replace(&mut ended, Ok(()))?;
        if found.len() > IDS_MAX {
            return Ok(None);
        }
    }
    Ok(Some(found.into_iter().collect()))
}

/// Returns true for a query that could be asked of each span as if there were no other.
pub(super) fn is_of_single_spans(query: &Query) -> bool {
    let stages = query.stages.iter().all(|stage| match stage {
        Stage::Spans(spanset) => is_union_of_filters(spanset),
        Stage::Select(_) => true,
        Stage::Filter(_) | Stage::By(_) | Stage::Coalesce => false,
    });
    let metrics = query.metrics.as_ref().is_none_or(|metrics| {
        metrics.by.iter().all(is_of_span)
            && match &metrics.function {
                Function::Rate | Function::Count => true,
                Function::Fold(_, attribute)
                | Function::Quantiles(attribute, _)
                | Function::Histogram(attribute) => is_of_span(attribute),
                // It compares the names of roots.
                Function::Compare { .. } => false,
            }
    });
    stages && metrics
}

fn is_union_of_filters(spanset: &Spanset) -> bool {
    match spanset {
        Spanset::Filter(field) => field.as_ref().is_none_or(is_field_of_span),
        Spanset::Operation(SpansetOp::Or, a, b) => is_union_of_filters(a) && is_union_of_filters(b),
        Spanset::Operation(..) | Spanset::Pipeline(_) => false,
    }
}

fn is_field_of_span(field: &Field) -> bool {
    match field {
        Field::Static(_) => true,
        field if is_root(field) => true,
        Field::Attribute(attribute) => is_of_span(attribute),
        Field::Minus(inner)
        | Field::Not(inner)
        | Field::Matches(inner, ..)
        | Field::Cidr(inner, _) => is_field_of_span(inner),
        Field::Logic(_, a, b) | Field::Compare(_, a, b) | Field::Arithmetic(_, a, b) => {
            is_field_of_span(a) && is_field_of_span(b)
        }
    }
}

/// Returns true for what a span says of itself.
pub(super) fn is_of_span(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Named { of_parent, .. } => !of_parent,
        Attribute::Intrinsic(intrinsic) => !matches!(
            intrinsic,
            Intrinsic::ChildCount
                | Intrinsic::TraceDuration
                | Intrinsic::RootName
                | Intrinsic::RootService
                | Intrinsic::NestedSetParent
                | Intrinsic::NestedSetLeft
                | Intrinsic::NestedSetRight
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, parse};
    use super::*;

    #[track_caller]
    fn check(text: &str, want: bool) {
        let query = parse(text, &Limits::default()).unwrap();
        assert_eq!(is_of_single_spans(&query), want, "{text}");
    }

    #[test]
    fn what_looks_at_other_spans_needs_whole_traces() {
        check("{ status = error && .a > 2 } | rate() by (resource.service.name)", true);
        check("{ name = `a` } || { duration > 2s } | select(.b)", true);
        check("{ } | quantile_over_time(duration, .9)", true);
        check(
            "{ nestedSetParent < 0 && status = error } | rate() by (resource.service.name)",
            true,
        );
        check("{ nestedSetParent > 0 } | rate()", false);
        check("{ nestedSetParent < 0 } | rate() by (nestedSetLeft)", false);
        check("{ status = error } && { name = `a` } | rate()", false);
        check("{ name = `a` } >> { name = `b` }", false);
        check("{ rootName = `a` } | rate()", false);
        check("{ parent.a = 1 }", false);
        check("{ status = error } | rate() by (rootServiceName)", false);
        check("{ status = error } | avg_over_time(traceDuration)", false);
        check("{ status = error } | count() > 2", false);
        check("{ status = error } | compare({ name = `a` })", false);
    }
}
