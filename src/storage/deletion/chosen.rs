//! Rows chosen by labels: series with their exemplars and points, and spans by what stands in their columns.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type};

use super::Judge;
use crate::model::{Commons, Matcher, Signal};
use crate::storage::exemplars;

/// Columns that say which series a row is of.
const SERIES_COLUMNS: [&str; 6] = ["timestamp", "metric", "labels", "service", "env", "cluster"];

/// Chooses series, their exemplars, and the points that they were made of.
#[derive(Debug)]
pub struct SeriesJudge {
    sets: Vec<Vec<Matcher>>,
}

impl SeriesJudge {
    /// Chooses the series that all matchers of any of the sets mean.
    pub fn new(sets: Vec<Vec<Matcher>>) -> Self {
        Self { sets }
    }
}

impl Judge for SeriesJudge {
    fn signals(&self) -> &[Signal] {
        &[Signal::Metrics, Signal::Exemplars, Signal::Points]
    }

    fn may_mean(&self, commons: &Commons) -> bool {
        may_mean(&self.sets, commons)
    }

    fn columns(&self, _: Signal) -> &[&'static str] {
        &SERIES_COLUMNS
    }

    fn mark(&mut self, commons: &Commons, _: Signal, batch: &RecordBatch, marks: &mut [bool]) {
        let columns = exemplars::Columns::new(batch);
        // Keys are those of the batch's dictionaries, so what was decided is good for the batch.
        let mut decided: HashMap<[Option<usize>; 5], bool> = HashMap::new();
        let mut last = None;
        for (row, mark) in marks.iter_mut().enumerate() {
            let key = columns.series_key(row);
            *mark = match last {
                Some((last_key, is_meant)) if last_key == key => is_meant,
                _ => *decided.entry(key).or_insert_with(|| {
                    let labels = columns.series(row, commons);
                    let fits = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
                    self.sets.iter().any(|matchers| matchers.iter().all(fits))
                }),
            };
            last = Some((key, *mark));
        }
    }
}

/// What a span can be chosen by, beside its commons.
const SPAN_COLUMNS: [&str; 9] = [
    "start_time",
    "trace_id",
    "span_id",
    "service",
    "env",
    "cluster",
    "name",
    "kind",
    "status_code",
];

/// Chooses spans.
#[derive(Debug)]
pub struct SpansJudge {
    sets: Vec<Vec<Matcher>>,
}

impl SpansJudge {
    /// Chooses the spans that all matchers of any of the sets mean; fails with the name of a label
    /// that no span has.
    pub fn new(sets: Vec<Vec<Matcher>>) -> Result<Self, String> {
        let is_known = |name: &str| name == "commons" || SPAN_COLUMNS[1..].contains(&name);
        let unknown = sets.iter().flatten().find(|matcher| !is_known(&matcher.name));
        match unknown {
            Some(matcher) => Err(matcher.name.clone()),
            None => Ok(Self { sets }),
        }
    }

    /// Returns what a span can be chosen by.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        std::iter::once("commons").chain(SPAN_COLUMNS.into_iter().skip(1))
    }
}

impl Judge for SpansJudge {
    fn signals(&self) -> &[Signal] {
        &[Signal::Spans]
    }

    fn may_mean(&self, commons: &Commons) -> bool {
        may_mean(&self.sets, commons)
    }

    fn columns(&self, _: Signal) -> &[&'static str] {
        &SPAN_COLUMNS
    }

    fn mark(&mut self, commons: &Commons, _: Signal, batch: &RecordBatch, marks: &mut [bool]) {
        let fits = |matcher: &Matcher, row: usize| match batch.column_by_name(&matcher.name) {
            Some(column) => matcher.matches(text(column, row)),
            None => matcher.matches(label_of(commons)),
        };
        for (row, mark) in marks.iter_mut().enumerate() {
            *mark = self.sets.iter().any(|matchers| matchers.iter().all(|m| fits(m, row)));
        }
    }
}

fn may_mean(sets: &[Vec<Matcher>], commons: &Commons) -> bool {
    let fits = |m: &&Matcher| m.name == "commons";
    sets.iter().any(|set| set.iter().filter(fits).all(|m| m.matches(label_of(commons))))
}

fn label_of(commons: &Commons) -> &str {
    if commons.is_unassigned() { "" } else { commons.as_str() }
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
