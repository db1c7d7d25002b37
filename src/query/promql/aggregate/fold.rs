//! `sum avg min max count group stddev stdvar`: a few numbers a group and step.

use super::super::error::PromqlError;
use super::super::eval::{Eval, Work};
use super::super::grid::{ABSENT, Grid, is_absent};
use super::super::kahan::{Mean, Sum};
use super::super::native::NativeTotals;
use super::super::plan::{Aggregate, FoldOp};
use super::super::table::{Share, Table};
use super::Groups;

impl Eval<'_> {
    pub(super) fn fold(
        &self,
        op: FoldOp,
        aggregate: &Aggregate,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let mut groups = Groups::new(&aggregate.grouping);
        let mut totals = Totals::new(op, grid.n);
        let mut natives = NativeTotals::new(self, op, aggregate.place);
        let mut floats = Vec::new();
        let mut share = self.meter.share();
        let mut work = Work::new(self.budget);
        self.feed(&aggregate.inner, grid, &mut |row| {
            work.spend(grid.n)?;
            let group = groups.id_of(&row);
            if group == totals.n_groups {
                totals.add_group(&mut share)?;
            }
            if self.pool.has_one(row.values) {
                natives.take(self, group, &row, &mut floats)?;
                totals.add(group, &floats);
            } else {
                totals.add(group, row.values);
            }
            Ok(())
        })?;
        let mut table = Table::new(&self.meter);
        for (group, labels) in groups.labels.into_iter().enumerate() {
            let mut column = totals.column(group);
            natives.put(self, group, &mut column)?;
            table.push(labels, column)?;
        }
        Ok(table)
    }
}

/// The running totals of all groups, group after group.
#[derive(Debug)]
struct Totals {
    op: FoldOp,
    n_steps: usize,
    n_groups: usize,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    Sums(Vec<Sum>),
    Means(Vec<Mean>),
    /// Minimum, maximum, count, or 1.
    Numbers(Vec<f64>),
    Spreads(Vec<Spread>),
}

/// Welford's running variance.
#[derive(Debug, Clone, Copy, Default)]
struct Spread {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.n += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.n;
        self.squares += delta * (value - self.mean);
    }

    fn variance(&self) -> f64 {
        if self.n == 0.0 { ABSENT } else { self.squares / self.n }
    }
}

const NO_SUM: Sum = Sum { sum: ABSENT, compensation: 0.0 };

impl Totals {
    fn new(op: FoldOp, n_steps: usize) -> Self {
        let cells = match op {
            FoldOp::Sum => Cells::Sums(Vec::new()),
            FoldOp::Avg => Cells::Means(Vec::new()),
            FoldOp::Min | FoldOp::Max | FoldOp::Count | FoldOp::Group => Cells::Numbers(Vec::new()),
            FoldOp::Stddev | FoldOp::Stdvar => Cells::Spreads(Vec::new()),
        };
        Self { op, n_steps, n_groups: 0, cells }
    }

    fn add_group(&mut self, share: &mut Share) -> Result<(), PromqlError> {
        self.n_groups += 1;
        let n_cells = self.n_groups * self.n_steps;
        match &mut self.cells {
            Cells::Sums(cells) => {
                share.grow::<Sum>(self.n_steps)?;
                cells.resize(n_cells, NO_SUM);
            }
            Cells::Means(cells) => {
                share.grow::<Mean>(self.n_steps)?;
                cells.resize(n_cells, Mean::default());
            }
            Cells::Numbers(cells) => {
                share.grow::<f64>(self.n_steps)?;
                cells.resize(n_cells, ABSENT);
            }
            Cells::Spreads(cells) => {
                share.grow::<Spread>(self.n_steps)?;
                cells.resize(n_cells, Spread::default());
            }
        }
        Ok(())
    }

    /// Adds a column to a group's totals.
    fn add(&mut self, group: usize, values: &[f64]) {
        let at = group * self.n_steps..(group + 1) * self.n_steps;
        match &mut self.cells {
            Cells::Sums(cells) => each(&mut cells[at], values, |cell, value| {
                if is_absent(cell.sum) { cell.sum = value } else { cell.add(value) }
            }),
            Cells::Means(cells) => each(&mut cells[at], values, Mean::add),
            Cells::Spreads(cells) => each(&mut cells[at], values, Spread::add),
            Cells::Numbers(cells) => match self.op {
                FoldOp::Min => each(&mut cells[at], values, |cell, value| {
                    if cell.is_nan() || value < *cell {
                        *cell = value;
                    }
                }),
                FoldOp::Max => each(&mut cells[at], values, |cell, value| {
                    if cell.is_nan() || value > *cell {
                        *cell = value;
                    }
                }),
                FoldOp::Count => each(&mut cells[at], values, |cell, _| {
                    *cell = if is_absent(*cell) { 1.0 } else { *cell + 1.0 };
                }),
                _ => each(&mut cells[at], values, |cell, _| *cell = 1.0),
            },
        }
    }

    /// Returns a group's result at every step.
    fn column(&self, group: usize) -> Vec<f64> {
        let at = group * self.n_steps..(group + 1) * self.n_steps;
        match &self.cells {
            Cells::Sums(cells) => cells[at]
                .iter()
                .map(|sum| if is_absent(sum.sum) { ABSENT } else { sum.value() })
                .collect(),
            Cells::Means(cells) => cells[at]
                .iter()
                .map(|mean| if mean.is_empty() { ABSENT } else { mean.value() })
                .collect(),
            Cells::Numbers(cells) => cells[at].to_vec(),
            Cells::Spreads(cells) if self.op == FoldOp::Stdvar => {
                cells[at].iter().map(Spread::variance).collect()
            }
            Cells::Spreads(cells) => cells[at]
                .iter()
                .map(|spread| match spread.variance() {
                    variance if is_absent(variance) => ABSENT,
                    variance => variance.sqrt(),
                })
                .collect(),
        }
    }
}

fn each<T>(cells: &mut [T], values: &[f64], mut add: impl FnMut(&mut T, f64)) {
    for (cell, value) in cells.iter_mut().zip(values) {
        if !is_absent(*value) {
            add(cell, *value);
        }
    }
}
