//! Rows chosen by labels: series with their exemplars and points, and spans by what stands in their columns.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::Judge;
use crate::model::dictionary::text_at;
use crate::model::labels::METRIC_NAME;
use crate::model::point::PointKind;
use crate::model::{Commons, Labels, Matcher, Signal};
use crate::storage::exemplars;

/// Columns that say which series a row is of; of a data point, which several can be made of, with its kind.
const SERIES_COLUMNS: [&str; 6] = ["timestamp", "metric", "labels", "service", "env", "cluster"];
const POINT_COLUMNS: [&str; 7] =
    ["timestamp", "metric", "labels", "service", "env", "cluster", "kind"];

/// Chooses series, their exemplars, and the points that any of them was made of.
#[derive(Debug)]
pub struct SeriesJudge {
    sets: Vec<Vec<Matcher>>,
}

impl SeriesJudge {
    /// Chooses the series that all matchers of any of the sets mean.
    pub fn new(sets: Vec<Vec<Matcher>>) -> Self {
        Self { sets }
    }

    /// Tells whether a series is meant, or one of those that a data point of this kind becomes. Those are
    /// told apart by name alone: who means one bucket (`le`) does not mean the point.
    fn means(&self, labels: &Labels, kind: &str) -> bool {
        let fits = |matcher: &Matcher, ending: &str| {
            let value = labels.get(&matcher.name).unwrap_or("");
            match matcher.name == METRIC_NAME && !ending.is_empty() {
                true => matcher.matches(&format!("{value}{ending}")),
                false => matcher.matches(value),
            }
        };
        let means_one = |ending: &str| {
            self.sets.iter().any(|matchers| matchers.iter().all(|m| fits(m, ending)))
        };
        endings(kind).iter().any(|ending| means_one(ending))
    }
}

/// Returns what the names of a data point's series end in.
fn endings(kind: &str) -> &'static [&'static str] {
    if kind == PointKind::Histogram.as_str() {
        &["", "_bucket", "_sum", "_count"]
    } else if kind == PointKind::Summary.as_str() {
        &["", "_sum", "_count"]
    } else {
        &[""]
    }
}

impl Judge for SeriesJudge {
    fn signals(&self) -> &[Signal] {
        &[Signal::Metrics, Signal::Exemplars, Signal::Points]
    }

    fn may_mean(&self, commons: &Commons) -> bool {
        may_mean(&self.sets, commons)
    }

    fn columns(&self, signal: Signal) -> &[&'static str] {
        if signal == Signal::Points { &POINT_COLUMNS } else { &SERIES_COLUMNS }
    }

    fn mark(&mut self, commons: &Commons, signal: Signal, batch: &RecordBatch, marks: &mut [bool]) {
        let columns = exemplars::Columns::new(batch);
        let kinds = batch.column_by_name("kind").filter(|_| signal == Signal::Points);
        // Keys are those of the batch's dictionaries, so what was decided is good for the batch.
        let mut decided: HashMap<([Option<usize>; 5], &str), bool> = HashMap::new();
        let mut last = None;
        for (row, mark) in marks.iter_mut().enumerate() {
            let kind = kinds.map_or("", |kinds| text_at(kinds, row));
            let key = (columns.series_key(row), kind);
            *mark = match last {
                Some((last_key, is_meant)) if last_key == key => is_meant,
                _ => *decided
                    .entry(key)
                    .or_insert_with(|| self.means(&columns.series(row, commons), kind)),
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
            Some(column) => matcher.matches(text_at(column, row)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::point::{PointNumbers, PointOrigin, PointRow, PointsBuilder};

    /// A point of each kind, of one metric.
    fn points() -> RecordBatch {
        let series = Labels::from_pairs([("__name__", "x"), ("job", "a")]);
        let origin = PointOrigin { name: "x", resource: "{}", ..PointOrigin::default() };
        let mut builder = PointsBuilder::default();
        for kind in PointKind::ALL {
            let row = PointRow {
                timestamp_ns: 7,
                start_ns: 0,
                kind,
                numbers: &PointNumbers::default(),
                flags: 0,
                attributes: "{}",
                exemplars: "",
                rest: "",
            };
            builder.push(("x", &series, "rule"), &origin, &row);
        }
        builder.finish()
    }

    /// Checks which kinds of points go with a series.
    #[track_caller]
    fn check(metric: &str, want: &[PointKind]) {
        let set = vec![Matcher::equal("__name__", metric), Matcher::equal("job", "a")];
        let mut judge = SeriesJudge::new(vec![set]);
        let mut marks = [false; 5];

        judge.mark(&Commons::unassigned(), Signal::Points, &points(), &mut marks);

        let all = PointKind::ALL.into_iter().zip(marks);
        let gone: Vec<_> = all.filter(|(_, is_gone)| *is_gone).map(|(kind, _)| kind).collect();
        assert_eq!(gone, want, "{metric}");
    }

    #[test]
    fn a_point_goes_with_any_of_the_series_that_were_made_of_it() {
        check("x", &PointKind::ALL);
        check("x_bucket", &[PointKind::Histogram]);
        check("x_sum", &[PointKind::Histogram, PointKind::Summary]);
        check("x_count", &[PointKind::Histogram, PointKind::Summary]);
        check("x_total", &[]);
    }
}
