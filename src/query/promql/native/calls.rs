//! Functions of one histogram: its count, sum, spread, quantiles and fractions.

use super::super::error::PromqlError;
use super::super::eval::Eval;
use super::super::grid::{ABSENT, Grid, is_absent, seconds};
use super::super::histogram::of_metric;
use super::super::parse::place::Place;
use super::super::plan::ElementFn;
use super::super::table::{Row, Table, nameless};
use super::add::scale;
use super::quantile::{Skew, fraction, has_nan, quantile, variance};

impl Eval<'_> {
    /// Applies a function of one value to a column with histograms in it: those of floats leave
    /// nothing of a histogram, and those of histograms nothing of a float.
    pub(in super::super) fn native_map(
        &self,
        func: ElementFn,
        values: &[f64],
        grid: &Grid,
        of_float: impl Fn(usize, f64) -> f64,
    ) -> Result<Vec<f64>, PromqlError> {
        let mut column = Vec::with_capacity(values.len());
        for (step, value) in values.iter().enumerate() {
            let Some(histogram) = self.pool.get(*value) else {
                let is_float = !is_absent(*value) && !func.is_of_histograms();
                column.push(if is_float { of_float(step, *value) } else { ABSENT });
                continue;
            };
            column.push(match func {
                ElementFn::HistogramCount => histogram.count,
                ElementFn::HistogramSum => histogram.sum,
                ElementFn::HistogramAvg => histogram.sum / histogram.count,
                ElementFn::HistogramStdvar => variance(&histogram),
                ElementFn::HistogramStddev => variance(&histogram).sqrt(),
                ElementFn::Negate => self.pool.keep_some(Some(scale(&histogram, -1.0)))?,
                ElementFn::StepTime => seconds(grid.at(step)),
                _ => ABSENT,
            });
        }
        Ok(column)
    }

    /// Takes the rows that have histograms out of a table.
    pub(in super::super) fn take_natives(&self, table: &mut Table) -> Vec<Row> {
        if self.pool.is_empty() {
            return Vec::new();
        }
        let rows = std::mem::take(&mut table.rows);
        let is_native = |row: &Row| self.pool.has_one(&row.values);
        let (natives, others) = rows.into_iter().partition(is_native);
        table.rows = others;
        natives
    }

    /// Adds the quantiles of histograms.
    pub(in super::super) fn native_quantiles(
        &self,
        quantiles: &[f64],
        natives: &[Row],
        place: Place,
        table: &mut Table,
    ) -> Result<(), PromqlError> {
        for row in natives {
            let column = row.values.iter().zip(quantiles).map(|(value, q)| {
                let Some(histogram) = self.pool.get(*value) else { return ABSENT };
                let found = quantile(*q, &histogram);
                let result = match found.skew {
                    Skew::None => return found.value,
                    Skew::Higher => "result is skewed higher",
                    Skew::AmongNan => "result is NaN",
                };
                let of_metric = of_metric(row.labels.metric());
                self.inform(
                    place,
                    &format!(
                        "input to histogram_quantile has NaN observations, {result}{of_metric}"
                    ),
                );
                found.value
            });
            table.push(nameless(&row.labels), column.collect())?;
        }
        Ok(())
    }

    /// Adds the fractions of histograms between two values.
    pub(in super::super) fn native_fractions(
        &self,
        (lower, upper): (&[f64], &[f64]),
        natives: &[Row],
        place: Place,
        table: &mut Table,
    ) -> Result<(), PromqlError> {
        for row in natives {
            let column = row.values.iter().enumerate().map(|(step, value)| {
                let Some(histogram) = self.pool.get(*value) else { return ABSENT };
                if lower[step] < upper[step] && has_nan(&histogram) {
                    let of_metric = of_metric(row.labels.metric());
                    self.inform(place, &format!("input to histogram_fraction has NaN observations, which are excluded from all fractions{of_metric}"));
                }
                fraction(lower[step], upper[step], &histogram)
            });
            table.push(nameless(&row.labels), column.collect())?;
        }
        Ok(())
    }

    /// Leaves the floats of rows to an aggregation that knows no histograms.
    pub(in super::super) fn only_floats(&self, table: &mut Table, aggregation: &str, place: Place) {
        if self.leave_floats(table) {
            self.inform(place, &format!("ignored histogram in {aggregation} aggregation"));
        }
    }

    /// Leaves the floats of rows; returns whether there was a histogram.
    pub(in super::super) fn leave_floats(&self, table: &mut Table) -> bool {
        let mut had_one = false;
        if self.pool.is_empty() {
            return had_one;
        }
        for value in table.rows.iter_mut().flat_map(|row| &mut row.values) {
            if self.pool.is_one(*value) {
                *value = ABSENT;
                had_one = true;
            }
        }
        table.rows.retain(|row| row.values.iter().any(|value| !is_absent(*value)));
        had_one
    }
}
