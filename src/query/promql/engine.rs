//! The front of the room: a parsed query, a source and a time become an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::SeriesData;

use super::error::PromqlError;
use super::eval::Eval;
use super::fetch::Fetches;
use super::grid::{Grid, is_absent};
use super::limits::{Budget, Config};
use super::native::Pool;
use super::parse::{Expr, ResultType};
use super::plan::{Plan, Planner, RangeOf, RangeSource};
use super::source::SeriesSource;
use super::table::{Meter, Row, Table};
use super::tally::{Place, Tally};
use super::value::{Answer, Sample, Timings, Value};
use super::window::Windows;

/// Evaluates queries. It has no state, so one is enough for everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// How far an instant selector looks back, ms.
    pub lookback_ms: i64,
    /// The step of a sub-query that names none, ms.
    pub subquery_step_ms: i64,
    /// Whether it counts the samples that a query looks at ([`Answer::counts`]).
    pub counts_samples: bool,
    /// Whether what is divided by 0 is no number, as in LogQL; in PromQL it is infinite.
    pub zero_is_no_divisor: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(&Config::default())
    }
}

impl Engine {
    /// Returns an engine with the configured lookback and sub-query step.
    pub fn new(config: &Config) -> Self {
        Self {
            lookback_ms: config.lookback.as_ms().max(1),
            subquery_step_ms: config.subquery_step.as_ms().max(1),
            counts_samples: false,
            zero_is_no_divisor: false,
        }
    }

    /// Returns the engine with another lookback, as the HTTP parameter `lookback_delta` asks.
    pub fn with_lookback_ms(&self, lookback_ms: i64) -> Self {
        Self { lookback_ms: lookback_ms.max(1), ..self.clone() }
    }

    /// Returns the engine, counting samples or not, as the HTTP parameter `stats` asks.
    pub fn with_counts(&self, counts_samples: bool) -> Self {
        Self { counts_samples, ..self.clone() }
    }

    /// Evaluates a query at one time.
    pub fn instant(
        &self,
        source: &dyn SeriesSource,
        expr: &Expr,
        time_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, PromqlError> {
        self.evaluate(source, expr, (Grid::instant(time_ms), 0), budget, |eval, plan, grid| {
            Ok(match plan {
                Plan::Scalar(node) => {
                    let value = eval.scalar(node, grid)?[0];
                    Value::Scalar { timestamp_ms: time_ms, value }
                }
                Plan::Text(text) => Value::String { timestamp_ms: time_ms, value: text.clone() },
                Plan::Vector(node) => {
                    let rows = eval.rows(node, grid)?;
                    Value::Vector(samples_of(&eval.pool, rows, time_ms))
                }
                Plan::Matrix(source) => Value::Matrix(raw_samples(eval, source, grid)?),
            })
        })
    }

    /// Evaluates a query at `start_ms`, then every `step_ms` up to and including `end_ms`.
    pub fn range(
        &self,
        source: &dyn SeriesSource,
        expr: &Expr,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        budget: &Budget,
    ) -> Result<Answer, PromqlError> {
        let result_type = expr.result_type();
        if matches!(result_type, ResultType::Matrix | ResultType::String) {
            let got = match result_type {
                ResultType::Matrix => "range vector",
                _ => "string",
            };
            return Err(PromqlError::parse(format!(
                "invalid expression type {got:?} for range query, must be Scalar or instant Vector"
            )));
        }
        if step_ms <= 0 || end_ms < start_ms {
            return Err(PromqlError::parse(
                "a range query needs a step above 0 and an end that is not before its start",
            ));
        }
        let max = budget.limits.points_max;
        // As Prometheus counts: the first point comes free.
        let grid = Grid::range(start_ms, end_ms, step_ms).filter(|grid| grid.n - 1 <= max);
        let grid = grid.ok_or(PromqlError::Points { max })?;
        self.evaluate(source, expr, (grid, step_ms), budget, |eval, plan, grid| {
            let table = match plan {
                Plan::Scalar(node) => {
                    let mut table = Table::new(&eval.meter);
                    table.push(
                        crate::model::Labels::empty(),
                        eval.scalar(node, grid)?.into_values(),
                    )?;
                    table
                }
                Plan::Vector(node) => eval.rows(node, grid)?,
                Plan::Matrix(_) | Plan::Text(_) => Table::new(&eval.meter),
            };
            Ok(Value::Matrix(columns_of(eval, table, grid)))
        })
    }

    fn evaluate(
        &self,
        source: &dyn SeriesSource,
        expr: &Expr,
        (grid, step_ms): (Grid, i64),
        budget: &Budget,
        answer: impl Fn(&Eval<'_>, &Plan, &Grid) -> Result<Value, PromqlError>,
    ) -> Result<Answer, PromqlError> {
        loop {
            match self.evaluate_once(source, expr, (grid, step_ms), budget, &answer) {
                // The source has noted the file, and does without it the next time.
                Err(PromqlError::Read(error)) if error.leaves_out() => {}
                answered => return answered,
            }
        }
    }

    fn evaluate_once(
        &self,
        source: &dyn SeriesSource,
        expr: &Expr,
        (grid, step_ms): (Grid, i64),
        budget: &Budget,
        answer: impl Fn(&Eval<'_>, &Plan, &Grid) -> Result<Value, PromqlError>,
    ) -> Result<Answer, PromqlError> {
        budget.check()?;
        let begun_ns = budget.now_ns();
        let steps = (self.lookback_ms, self.subquery_step_ms);
        let mut planner = Planner::new(expr, grid, step_ms, steps, &budget.limits);
        let plan = planner.plan(&expr.node)?;
        let planned_ns = budget.now_ns();
        let meter = Meter::new(budget.limits.memory_bytes_max, Arc::clone(&budget.shared));
        let fetches = Fetches::new(source, budget, meter, planner.fetches);
        let tally = Tally::new(&grid, self.counts_samples);
        let eval = Eval {
            zero_is_no_divisor: self.zero_is_no_divisor,
            ..Eval::new(fetches, budget, self.lookback_ms, tally)
        };
        let value = answer(&eval, &plan, &grid)?;
        budget.limits.check_result(value.likely_bytes())?;
        let sorted_ns = eval.sorted_ns.get();
        let timings = Timings {
            queued_ns: 0,
            prepared_ns: planned_ns.saturating_sub(begun_ns),
            evaluated_ns: budget.now_ns().saturating_sub(planned_ns).saturating_sub(sorted_ns),
            sorted_ns,
        };
        Ok(Answer { timings, ..answer_of(value, eval, &grid) })
    }
}

fn answer_of(value: Value, eval: Eval<'_>, grid: &Grid) -> Answer {
    let (warnings, infos) = eval.notes.into_inner().told();
    Answer {
        value,
        warnings: capped(warnings, "warning"),
        infos: capped(infos, "info"),
        n_samples: eval.fetches.n_samples(),
        counts: eval.tally.told(grid, eval.meter.n_peak_samples()),
        timings: Timings::default(),
    }
}

/// The most warnings, and the most infos, that an answer tells.
const NOTES_MAX: usize = 10;

fn capped(notes: BTreeSet<String>, kind: &str) -> Vec<String> {
    let n_omitted = notes.len().saturating_sub(NOTES_MAX);
    let mut told: Vec<String> = notes.into_iter().take(NOTES_MAX).collect();
    if n_omitted > 0 {
        told.push(format!("{n_omitted} more {kind} annotations omitted"));
    }
    told
}

fn samples_of(pool: &Pool, mut table: Table, timestamp_ms: i64) -> Vec<Sample> {
    let rows = std::mem::take(&mut table.rows).into_iter();
    let sample = |row: Row| {
        let histogram = pool.get(row.values[0]);
        let value = if histogram.is_some() { 0.0 } else { row.values[0] };
        Sample { labels: row.labels, timestamp_ms, value, histogram }
    };
    rows.map(sample).collect()
}

/// Returns a range answer, sorted by labels, without the steps that have no value.
fn columns_of(eval: &Eval<'_>, mut table: Table, grid: &Grid) -> Vec<SeriesData> {
    let mut rows = std::mem::take(&mut table.rows);
    eval.sort_result(&mut rows, |row| &row.labels);
    let series = rows.into_iter().map(|row| {
        let present = row.values.into_iter().enumerate().filter(|(_, value)| !is_absent(*value));
        let (timestamps_ms, values) = present.map(|(step, value)| (grid.at(step), value)).unzip();
        let mut series =
            SeriesData { labels: row.labels, timestamps_ms, values, ..SeriesData::default() };
        eval.pool.part(&mut series);
        series
    });
    series.collect()
}

/// Returns the samples of a range vector, as an instant query for it shows them.
fn raw_samples(
    eval: &Eval<'_>,
    source: &RangeSource,
    grid: &Grid,
) -> Result<Vec<SeriesData>, PromqlError> {
    let windows = Windows::new(*grid, source.shift, source.range_ms);
    let mut found = Vec::new();
    let mut share = eval.meter.share();
    eval.each_series(source, Place::Answer, &mut |labels, samples| {
        if matches!(source.of, RangeOf::Selector(_)) {
            eval.tally.windows(samples, &windows);
        }
        for window in windows.over(samples.timestamps_ms).filter(|window| window.len() > 0) {
            share.grow::<(i64, f64)>(window.len())?;
            let mut series = SeriesData {
                labels: labels.clone(),
                timestamps_ms: samples.timestamps_ms[window.lo..window.hi].to_vec(),
                values: samples.values[window.lo..window.hi].to_vec(),
                ..SeriesData::default()
            };
            eval.pool.part(&mut series);
            found.push(series);
        }
        Ok(())
    })?;
    eval.sort_result(&mut found, |series| &series.labels);
    Ok(found)
}
