//! A part of one trace: the spans that a filter picks, and those that they hang on or that hang on
//! them.
//!
//! Of a trace of a hundred thousand spans few are looked at, and those have to be shown where they
//! stand. What a filter says is asked of the whole trace, so it may ask for its root or its children
//! too.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::ast::{Query, Spanset, Stage};
use super::batch::Batch;
use super::error::TraceqlError;
use super::eval::places;
use super::trace::{Place, Row, Trace};
use super::{Limits, by_id};

/// Which spans of a trace are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Picks spans: `{ … }`.
    pub filter: String,
    /// How many levels above those come with them; `None` is all, up to the root.
    pub n_above_max: Option<usize>,
    /// How many levels below them; `None` is all.
    pub n_below_max: Option<usize>,
}

/// A part whose filter was read.
#[derive(Debug)]
pub(in crate::query) struct Picking {
    query: Query,
    n_above_max: usize,
    n_below_max: usize,
}

impl Picking {
    /// Reads the filter; anything more than one is refused.
    pub(in crate::query) fn of(part: &Part, limits: &Limits) -> Result<Self, TraceqlError> {
        let query = super::parse(&part.filter, limits)?;
        let is_filter = matches!(query.stages[..], [Stage::Spans(Spanset::Filter(_))]);
        if !is_filter || query.is_metrics() {
            let message = "of one trace a single filter picks spans, such as { status = error }: \
                no relations, pipelines or functions over time";
            return Err(TraceqlError::Invalid(message.to_owned()));
        }
        Ok(Self {
            query,
            n_above_max: part.n_above_max.unwrap_or(usize::MAX),
            n_below_max: part.n_below_max.unwrap_or(usize::MAX),
        })
    }

    /// Leaves out the spans that are not wanted.
    pub(in crate::query) fn part_of(&self, whole: by_id::Trace) -> by_id::Trace {
        let kept = self.kept(&whole.batches);
        if !kept.contains(&false) {
            return whole;
        }
        let (mut batches, mut kept) = (Vec::new(), kept.as_slice());
        for batch in &whole.batches {
            let (of_batch, rest) = kept.split_at(batch.num_rows());
            kept = rest;
            if of_batch.contains(&true) {
                let rows = BooleanArray::from(of_batch.to_vec());
                batches.push(filter_record_batch(batch, &rows).expect("a boolean a row"));
            }
        }
        by_id::Trace { batches, is_part: true, ..whole }
    }

    /// Returns for each span, in the order of the batches, whether it is wanted.
    fn kept(&self, batches: &[RecordBatch]) -> Vec<bool> {
        let rows_of =
            |batch: Arc<Batch>| (0..batch.n_rows()).map(move |row| (Arc::clone(&batch), row));
        let rows: Vec<Row> = batches.iter().map(Batch::of).flat_map(rows_of).collect();
        let n_rows = rows.len();
        let trace = Trace::of(rows);
        assert_eq!(trace.len(), n_rows, "a trace by its id has each span once");
        let picked = places(&self.query.stages, &trace);
        let mut kept = vec![false; n_rows];
        picked.iter().for_each(|&place| kept[place] = true);
        reach(&mut kept, &picked, self.n_above_max, |place, to| to.extend(trace.parent(place)));
        reach(&mut kept, &picked, self.n_below_max, |place, to| to.extend(trace.children(place)));
        kept
    }
}

/// Notes what is reached from some spans in so many steps, each once: a ring has an end as well.
fn reach(
    kept: &mut [bool],
    from: &[Place],
    n_steps_max: usize,
    step: impl Fn(Place, &mut Vec<Place>),
) {
    let mut seen = vec![false; kept.len()];
    from.iter().for_each(|&place| seen[place] = true);
    let mut here = from.to_vec();
    for _ in 0..n_steps_max {
        let mut next = Vec::new();
        here.iter().for_each(|&place| step(place, &mut next));
        next.retain(|&place| !std::mem::replace(&mut seen[place], true));
        if next.is_empty() {
            return;
        }
        next.iter().for_each(|&place| kept[place] = true);
        here = next;
    }
}
