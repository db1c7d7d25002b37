//! `topk bottomk limitk limit_ratio`: some of the series, as they are.

use std::cmp::Ordering;

use super::super::error::PromqlError;
use super::super::eval::{Eval, Work};
use super::super::grid::{ABSENT, Grid, is_absent, to_index};
use super::super::labelling::order_of_values;
use super::super::parse::place::Place;
use super::super::plan::{Aggregate, PickOp, ScalarNode};
use super::super::table::{Row, Table};
use super::super::value::format_g;
use super::{extremes, members_of};

impl Eval<'_> {
    pub(super) fn pick(
        &self,
        op: PickOp,
        (param, place): (&ScalarNode, Place),
        aggregate: &Aggregate,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let params = self.scalar(param, grid)?;
        self.check_pick(op, &params, place)?;
        let mut rows = self.rows(&aggregate.inner, grid)?;
        match op {
            PickOp::Top => self.only_floats(&mut rows, "topk", aggregate.place),
            PickOp::Bottom => self.only_floats(&mut rows, "bottomk", aggregate.place),
            PickOp::Limit | PickOp::LimitRatio => {}
        }
        let (_, members) = members_of(&rows, &aggregate.grouping);
        let mut picked = Picked { rows: &rows.rows, columns: vec![None; rows.rows.len()], grid };
        let mut order = Vec::new();
        let mut share = self.meter.share();
        let mut work = Work::new(self.budget);
        share.grow::<f64>(rows.rows.len().saturating_mul(grid.n))?;
        for members in &members {
            let mut candidates: Vec<usize> = Vec::with_capacity(members.len());
            for (step, param) in params.iter().enumerate() {
                work.spend(members.len())?;
                candidates.clear();
                candidates
                    .extend(members.iter().filter(|row| !is_absent(picked.value(**row, step))));
                picked.choose(op, *param, step, &mut candidates);
                candidates.iter().for_each(|row| picked.take(*row, step));
            }
            // The last step's order is that of an instant answer.
            order.extend_from_slice(&candidates);
        }
        if grid.n > 1 {
            order = (0..rows.rows.len()).collect();
        }
        let mut table = Table::new(&self.meter);
        for row in order {
            if let Some(column) = picked.columns[row].take() {
                table.push(rows.rows[row].labels.clone(), column)?;
            }
        }
        Ok(table)
    }

    fn check_pick(&self, op: PickOp, params: &[f64], place: Place) -> Result<(), PromqlError> {
        let (least, most) = extremes(params);
        if least.is_nan() {
            let what = if op == PickOp::LimitRatio { "Ratio" } else { "Parameter" };
            return Err(PromqlError::execution(format!("{what} value is NaN")));
        }
        if op == PickOp::LimitRatio {
            let past_the_ends =
                [most.clamp(-1.0, f64::INFINITY), least.clamp(f64::NEG_INFINITY, 1.0)];
            for ratio in past_the_ends.into_iter().filter(|ratio| ratio.abs() > 1.0) {
                let (got, capped) = (format_g(ratio, None), ratio.clamp(-1.0, 1.0));
                self.warn(
                    place,
                    &format!(
                        "ratio value should be between -1 and 1, got {got}, capping to {capped}"
                    ),
                );
            }
        } else if most >= 1.0 {
            check_fits(least, most)?;
        }
        Ok(())
    }
}

/// Refuses what is no number of series. The bounds are Prometheus', of which the upper is the greatest
/// double below 2^63.
fn check_fits(least: f64, most: f64) -> Result<(), PromqlError> {
    let (bad, what) = match (least, most) {
        (least, _) if least <= -9_223_372_036_854_775_808.0 => (least, "underflows"),
        (_, most) if most >= 9_223_372_036_854_774_784.0 => (most, "overflows"),
        _ => return Ok(()),
    };
    let bad = format_g(bad, None);
    Err(PromqlError::execution(format!("Scalar value {bad} {what} int64")))
}

/// Rows of which single steps are taken over.
struct Picked<'a> {
    rows: &'a [Row],
    columns: Vec<Option<Vec<f64>>>,
    grid: &'a Grid,
}

impl Picked<'_> {
    fn value(&self, row: usize, step: usize) -> f64 {
        self.rows[row].values[step]
    }

    fn take(&mut self, row: usize, step: usize) {
        let value = self.value(row, step);
        self.columns[row].get_or_insert_with(|| vec![ABSENT; self.grid.n])[step] = value;
    }

    /// Leaves the chosen candidates, the first choice first.
    fn choose(&self, op: PickOp, param: f64, step: usize, candidates: &mut Vec<usize>) {
        let k = to_index(param);
        match op {
            PickOp::Limit => candidates.truncate(k),
            PickOp::LimitRatio => {
                candidates.retain(|row| is_in_ratio(param, self.rows[*row].labels.series_id()));
            }
            PickOp::Top | PickOp::Bottom if k == 0 => candidates.clear(),
            PickOp::Top | PickOp::Bottom => {
                // Of equal values the earlier row wins, so that the answer is stable.
                let order = |a: &usize, b: &usize| -> Ordering {
                    let (left, right) = (self.value(*a, step), self.value(*b, step));
                    order_of_values(left, right, op == PickOp::Top).then(a.cmp(b))
                };
                if k < candidates.len() {
                    candidates.select_nth_unstable_by(k, order);
                    candidates.truncate(k);
                }
                candidates.sort_unstable_by(order);
            }
        }
    }
}

/// A ratio of 0.1 takes a tenth of all series, one of -0.9 the other nine tenths.
fn is_in_ratio(ratio: f64, series_id: u64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    let place = series_id as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}
