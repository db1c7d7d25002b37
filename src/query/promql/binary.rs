//! Operators between numbers, and between series and numbers; those between series are `matching`'s.

use super::error::PromqlError;
use super::eval::{Eval, Work, loses_name};
use super::grid::{ABSENT, Grid, is_absent};
use super::parse::place::Place;
use super::plan::{Op, VectorNode};
use super::table::{Column, RowRef, Sink};

/// Applies an arithmetic operator, or a comparison with the result 0 or 1.
pub(super) fn apply_bool(op: Op, left: f64, right: f64) -> f64 {
    match op {
        Op::Add => left + right,
        Op::Sub => left - right,
        Op::Mul => left * right,
        Op::Div => left / right,
        Op::Mod => left % right,
        Op::Pow => pow(left, right),
        Op::Atan2 => left.atan2(right),
        Op::TrimUpper | Op::TrimLower => unreachable!("numbers are not trimmed"),
        comparison => f64::from(u8::from(holds(comparison, left, right))),
    }
}

fn pow(left: f64, right: f64) -> f64 {
    left.powf(right)
}

fn holds(op: Op, left: f64, right: f64) -> bool {
    match op {
        Op::Eq => left == right,
        Op::Ne => left != right,
        Op::Lt => left < right,
        Op::Le => left <= right,
        Op::Gt => left > right,
        Op::Ge => left >= right,
        _ => true,
    }
}

/// Applies an operator as vectors do: a comparison lets `kept` pass or leaves nothing.
pub(super) fn apply(op: Op, is_bool: bool, left: f64, right: f64, kept: f64) -> f64 {
    if is_absent(left) || is_absent(right) {
        return ABSENT;
    }
    if is_bool || !op.is_comparison() {
        return apply_bool(op, left, right);
    }
    if holds(op, left, right) { kept } else { ABSENT }
}

/// An operator between a vector and a scalar.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScalarForm {
    pub(super) op: Op,
    pub(super) is_bool: bool,
    pub(super) scalar_is_left: bool,
    /// Where the operation stands in the query.
    pub(super) place: Place,
}

impl Eval<'_> {
    /// Returns the right side of an operator as it counts: where 0 is no divisor, what is divided by it is
    /// no number either.
    pub(super) fn divisor(&self, op: Op, right: f64) -> f64 {
        let is_none = self.zero_is_no_divisor && right == 0.0 && matches!(op, Op::Div | Op::Mod);
        if is_none { f64::NAN } else { right }
    }

    pub(super) fn vector_scalar(
        &self,
        form: ScalarForm,
        scalar: &[f64],
        vector: &VectorNode,
        grid: &Grid,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let ScalarForm { op, is_bool, scalar_is_left, place } = form;
        let mut column = Column::room(&self.meter, grid.n)?;
        let mut work = Work::new(self.budget);
        self.feed(vector, grid, &mut |row| {
            work.spend(grid.n)?;
            column.clear();
            // That numbers cannot be trimmed is told there, too.
            let has_natives = op.is_trim() || self.pool.has_one(row.values);
            for (value, scalar) in row.values.iter().zip(scalar) {
                let (left, right) =
                    if scalar_is_left { (*scalar, *value) } else { (*value, *scalar) };
                let native = match has_natives {
                    true => self.native_pair((op, is_bool), (left, right), *value, place)?,
                    false => None,
                };
                column.push(
                    native.unwrap_or_else(|| {
                        apply(op, is_bool, left, self.divisor(op, right), *value)
                    }),
                );
            }
            if column.iter().all(|value| is_absent(*value)) {
                return Ok(());
            }
            let is_nameless = row.is_nameless || loses_name(op, is_bool);
            sink(RowRef { labels: row.labels, is_nameless, values: &column })
        })
    }
}
