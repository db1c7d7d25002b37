//! `sum` and `avg` of histograms, beside those of floats; what other aggregations leave out.

use hashbrown::HashMap;

use crate::model::{Histogram, Labels};

use super::super::error::PromqlError;
use super::super::eval::Eval;
use super::super::grid::{ABSENT, is_absent};
use super::super::parse::place::Place;
use super::super::plan::FoldOp;
use super::super::table::{RowRef, Share};
use super::add::{Hints, collision, divide};
use super::told::Told;

const MIXED: &str = "encountered a mix of histograms and floats for aggregation";

/// The histograms of groups and steps, added up.
pub(in super::super) struct NativeTotals {
    op: FoldOp,
    /// Where what is added up stands in the query.
    place: Place,
    cells: HashMap<(usize, usize), Cell>,
    share: Share,
}

#[derive(Default)]
struct Cell {
    sum: Option<Histogram>,
    n: f64,
    hints: Hints,
    is_broken: bool,
}

impl NativeTotals {
    pub(in super::super) fn new(eval: &Eval<'_>, op: FoldOp, place: Place) -> Self {
        Self { op, place, cells: HashMap::new(), share: eval.meter.share() }
    }

    /// Takes the histograms out of a row of a group; `floats` gets what is left.
    pub(in super::super) fn take(
        &mut self,
        eval: &Eval<'_>,
        group: usize,
        row: &RowRef<'_>,
        floats: &mut Vec<f64>,
    ) -> Result<(), PromqlError> {
        floats.clear();
        let labels = row.owned_labels();
        for (step, value) in row.values.iter().enumerate() {
            let Some(histogram) = eval.pool.get(*value) else {
                floats.push(*value);
                continue;
            };
            match self.op {
                FoldOp::Count | FoldOp::Group => floats.push(*value),
                FoldOp::Sum | FoldOp::Avg => {
                    floats.push(ABSENT);
                    self.add(eval, (group, step), &labels, &histogram)?;
                }
                other => {
                    floats.push(ABSENT);
                    let what = format!("ignored histogram in {} aggregation", name(other));
                    eval.inform(self.place, &what);
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        eval: &Eval<'_>,
        at: (usize, usize),
        labels: &Labels,
        histogram: &Histogram,
    ) -> Result<(), PromqlError> {
        let cell = self.cells.entry(at).or_default();
        cell.n += 1.0;
        cell.hints.add(histogram);
        let Some(sum) = &cell.sum else {
            self.share.grow::<u8>(histogram.n_bytes())?;
            cell.sum = Some(histogram.clone());
            return Ok(());
        };
        let told = Told { eval, place: self.place, labels };
        match told.join(sum, histogram, 1.0, "aggregation") {
            Some(joined) => cell.sum = Some(joined),
            None => cell.is_broken = true,
        }
        Ok(())
    }

    /// Puts the sums of a group into its column, where there is no float.
    pub(in super::super) fn put(
        &mut self,
        eval: &Eval<'_>,
        group: usize,
        column: &mut [f64],
    ) -> Result<(), PromqlError> {
        if self.cells.is_empty() {
            return Ok(());
        }
        for (step, value) in column.iter_mut().enumerate() {
            let Some(cell) = self.cells.remove(&(group, step)) else { continue };
            if !is_absent(*value) {
                eval.warn(self.place, MIXED);
                *value = ABSENT;
            } else if let (Some(sum), false) = (cell.sum, cell.is_broken) {
                if cell.hints.collide() {
                    eval.warn(self.place, &collision("aggregation"));
                }
                let total = if self.op == FoldOp::Avg { divide(&sum, cell.n) } else { sum };
                *value = eval.pool.keep_some(Some(total))?;
            }
        }
        Ok(())
    }
}

fn name(op: FoldOp) -> &'static str {
    match op {
        FoldOp::Sum => "sum",
        FoldOp::Avg => "avg",
        FoldOp::Min => "min",
        FoldOp::Max => "max",
        FoldOp::Count => "count",
        FoldOp::Group => "group",
        FoldOp::Stddev => "stddev",
        FoldOp::Stdvar => "stdvar",
    }
}
