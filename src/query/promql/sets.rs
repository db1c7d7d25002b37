//! `and`, `or`, `unless`: which series are there at a step, whatever their values.

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, is_absent};
use super::matching::Signatures;
use super::plan::{Matching, SetOp};
use super::table::{Row, SAME_LABELSET, Table};

impl Eval<'_> {
    pub(super) fn set(
        &self,
        op: SetOp,
        matching: &Matching,
        left: Table,
        right: Table,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let mut table = Table::new(&self.meter);
        match op {
            SetOp::And => self.filter(&left.rows, &right.rows, matching, true, grid, &mut table)?,
            SetOp::Unless => {
                self.filter(&left.rows, &right.rows, matching, false, grid, &mut table)?;
            }
            SetOp::Or => {
                for row in &left.rows {
                    table.push(row.labels.clone(), row.values.clone())?;
                }
                self.filter(&right.rows, &left.rows, matching, false, grid, &mut table)?;
                table.merge_equal(SAME_LABELSET)?;
            }
        }
        Ok(table)
    }

    /// Keeps the values of `rows` at steps where the other side has a match, or has none.
    fn filter(
        &self,
        rows: &[Row],
        others: &[Row],
        matching: &Matching,
        wants_match: bool,
        grid: &Grid,
        table: &mut Table,
    ) -> Result<(), PromqlError> {
        let signatures = Signatures::of(others, matching);
        let mut key = Vec::new();
        let mut has_match = vec![false; grid.n];
        let mut work = Work::new(self.budget);
        for row in rows {
            has_match.fill(false);
            for other in signatures.members(&row.labels, matching, &mut key) {
                work.spend(grid.n)?;
                for (has, value) in has_match.iter_mut().zip(&others[*other].values) {
                    *has |= !is_absent(*value);
                }
            }
            let kept = row.values.iter().zip(&has_match);
            let kept = kept.map(|(value, has)| if *has == wants_match { *value } else { ABSENT });
            table.push(row.labels.clone(), kept.collect())?;
        }
        Ok(())
    }
}
