//! Functions of one value.

use std::f64::consts::PI;

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, is_absent, seconds, to_i64};
use super::plan::{ElementFn, ScalarNode, VectorNode};
use super::table::{Column, RowRef, Sink};

impl Eval<'_> {
    pub(super) fn map(
        &self,
        func: ElementFn,
        params: &[ScalarNode],
        inner: &VectorNode,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let params = params.iter().map(|param| self.scalar(param, grid));
        let params = params.collect::<Result<Vec<_>, _>>()?;
        let param = |idx: usize, step: usize| params.get(idx).map(|column| column[step]);
        let mut column = Column::room(&self.meter, grid.n)?;
        let mut work = Work::new(self.budget);
        self.feed(inner, grid, &mut |row| {
            work.spend(grid.n)?;
            column.clear();
            let of_float = |step: usize, value: f64| {
                let value = &value;
                if is_absent(*value) {
                    return ABSENT;
                }
                match func {
                    ElementFn::StepTime => seconds(grid.at(step)),
                    ElementFn::Round => round(*value, param(0, step).unwrap_or(1.0)),
                    ElementFn::Clamp => {
                        let (low, high) = (param(0, step), param(1, step));
                        clamp(*value, low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN))
                    }
                    ElementFn::ClampMin => max(*value, param(0, step).unwrap_or(f64::NAN)),
                    ElementFn::ClampMax => min(*value, param(0, step).unwrap_or(f64::NAN)),
                    other => apply(other, *value),
                }
            };
            if func.is_of_histograms() || self.pool.has_one(row.values) {
                column.extend(self.native_map(func, row.values, grid, of_float)?);
            } else {
                let values = row.values.iter().enumerate();
                column.extend(values.map(|(step, value)| of_float(step, *value)));
            }
            if column.iter().all(|value| is_absent(*value)) {
                return Ok(());
            }
            sink(RowRef { labels: row.labels, is_nameless: true, values: &column })
        })
    }
}

/// Applies a function without parameters.
fn apply(func: ElementFn, value: f64) -> f64 {
    match func {
        ElementFn::Negate => -value,
        ElementFn::Abs => value.abs(),
        ElementFn::Ceil => value.ceil(),
        ElementFn::Floor => value.floor(),
        ElementFn::Exp => value.exp(),
        ElementFn::Ln => value.ln(),
        ElementFn::Log2 => value.log2(),
        ElementFn::Log10 => value.log10(),
        ElementFn::Sqrt => value.sqrt(),
        ElementFn::Sgn if value > 0.0 => 1.0,
        ElementFn::Sgn if value < 0.0 => -1.0,
        ElementFn::Sgn => value,
        ElementFn::Sin => value.sin(),
        ElementFn::Cos => value.cos(),
        ElementFn::Tan => value.tan(),
        ElementFn::Asin => value.asin(),
        ElementFn::Acos => value.acos(),
        ElementFn::Atan => value.atan(),
        ElementFn::Sinh => value.sinh(),
        ElementFn::Cosh => value.cosh(),
        ElementFn::Tanh => value.tanh(),
        ElementFn::Asinh => value.asinh(),
        ElementFn::Acosh => value.acosh(),
        ElementFn::Atanh => value.atanh(),
        ElementFn::Deg => value * 180.0 / PI,
        ElementFn::Rad => value * PI / 180.0,
        calendar => match DateTime::from_timestamp(to_i64(value), 0) {
            Some(time) if !value.is_nan() => of_calendar(calendar, &time),
            // A time that no calendar has.
            _ => f64::NAN,
        },
    }
}

fn of_calendar(func: ElementFn, time: &DateTime<Utc>) -> f64 {
    match func {
        ElementFn::Minute => f64::from(time.minute()),
        ElementFn::Hour => f64::from(time.hour()),
        ElementFn::DayOfWeek => f64::from(time.weekday().num_days_from_sunday()),
        ElementFn::DayOfMonth => f64::from(time.day()),
        ElementFn::DayOfYear => f64::from(time.ordinal()),
        ElementFn::DaysInMonth => f64::from(time.num_days_in_month()),
        ElementFn::Month => f64::from(time.month()),
        ElementFn::Year => f64::from(time.year()),
        _ => f64::NAN,
    }
}

/// Rounds to the nearest multiple, halves up.
fn round(value: f64, to_nearest: f64) -> f64 {
    // Dividing by the inverse keeps 0.1 and its like exact.
    let inverse = 1.0 / to_nearest;
    (value * inverse + 0.5).floor() / inverse
}

fn clamp(value: f64, low: f64, high: f64) -> f64 {
    if low > high { ABSENT } else { max(low, min(high, value)) }
}

/// The smaller one, as Go has it: NaN when either is, unless the other is the smallest there is.
pub(super) fn min(left: f64, right: f64) -> f64 {
    if left == f64::NEG_INFINITY || right == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.min(right) }
}

/// The larger one, as Go has it: NaN when either is, unless the other is the largest there is.
pub(super) fn max(left: f64, right: f64) -> f64 {
    if left == f64::INFINITY || right == f64::INFINITY {
        return f64::INFINITY;
    }
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.max(right) }
}
