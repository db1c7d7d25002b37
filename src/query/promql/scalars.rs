//! Scalars: one number a step, whatever series there are.

use super::error::PromqlError;
use super::eval::Eval;
use super::grid::{ABSENT, Grid, is_absent, seconds};
use super::plan::{ScalarNode, VectorNode};
use super::table::Column;
use super::{binary, elements};

impl Eval<'_> {
    /// Returns a scalar's value at every step.
    pub(super) fn scalar(&self, node: &ScalarNode, grid: &Grid) -> Result<Column, PromqlError> {
        self.budget.check()?;
        Ok(match node {
            ScalarNode::Number(number) => Column::filled(&self.meter, grid.n, *number)?,
            ScalarNode::Time => {
                let mut column = Column::room(&self.meter, grid.n)?;
                column.extend((0..grid.n).map(|step| seconds(grid.at(step))));
                column
            }
            ScalarNode::Negate(inner) => {
                let mut column = self.scalar(inner, grid)?;
                column.iter_mut().for_each(|value| *value = -*value);
                column
            }
            ScalarNode::Binary(op, left, right) => self.pairs(left, right, grid, |a, b| {
                binary::apply_bool(*op, a, self.divisor(*op, b))
            })?,
            ScalarNode::MinOf(left, right) => self.pairs(left, right, grid, elements::min)?,
            ScalarNode::MaxOf(left, right) => self.pairs(left, right, grid, elements::max)?,
            ScalarNode::Of(inner) => self.scalar_of(inner, grid)?,
        })
    }

    fn pairs(
        &self,
        left: &ScalarNode,
        right: &ScalarNode,
        grid: &Grid,
        apply: impl Fn(f64, f64) -> f64,
    ) -> Result<Column, PromqlError> {
        let mut column = self.scalar(left, grid)?;
        for (left, right) in column.iter_mut().zip(self.scalar(right, grid)?.iter()) {
            *left = apply(*left, *right);
        }
        Ok(column)
    }

    /// `scalar(v)`: the value where there is exactly one series, else NaN.
    fn scalar_of(&self, inner: &VectorNode, grid: &Grid) -> Result<Column, PromqlError> {
        let mut column = Column::filled(&self.meter, grid.n, ABSENT)?;
        self.feed(inner, grid, &mut |row| {
            for (seen, value) in column.iter_mut().zip(row.values) {
                let value = &self.pool.float(*value);
                if !is_absent(*value) {
                    *seen = if is_absent(*seen) { *value } else { f64::NAN };
                }
            }
            Ok(())
        })?;
        for value in column.iter_mut().filter(|value| is_absent(**value)) {
            *value = f64::NAN;
        }
        Ok(column)
    }
}
