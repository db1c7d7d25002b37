//! A range function over many series: the columns of a block of series are made on all cores, and
//! then handed on one after the other, in order. So what takes them need not know of threads, and an
//! answer does not depend on how many there are.

use crate::base::n_cores;
use crate::model::SeriesData;

use super::error::PromqlError;
use super::eval::Work;
use super::limits::Budget;
use super::plan::RangeFn;
use super::range;
use super::range_call::each_fresh;
use super::window::Windows;

/// The most series whose columns are made before the first of them is handed on.
pub(super) const SERIES_A_BLOCK: usize = 256;
/// Threads that one query uses; others want to be answered too.
const THREADS_MAX: usize = 4;
/// Samples and steps that are worth a thread: starting one takes as long as a few thousand.
const WORK_A_THREAD: usize = 1 << 16;

/// What is computed of each series.
#[derive(Clone, Copy)]
pub(super) struct Task<'t> {
    pub(super) func: RangeFn,
    pub(super) params: &'t [&'t [f64]],
    pub(super) windows: &'t Windows,
    pub(super) budget: &'t Budget,
}

/// Returns the column of each series.
pub(super) fn columns(series: &[SeriesData], task: Task<'_>) -> Result<Vec<Vec<f64>>, PromqlError> {
    let n_threads = n_threads(series, task.windows.grid.n);
    let mut parts = series.chunks(series.len().div_ceil(n_threads).max(1));
    let own = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> =
            parts.map(|part| scope.spawn(move || one_by_one(part, task))).collect();
        let mut columns = one_by_one(own, task)?;
        for other in others {
            let made = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            columns.append(&mut made?);
        }
        Ok(columns)
    })
}

fn n_threads(series: &[SeriesData], n_steps: usize) -> usize {
    let work: usize = series.iter().map(|one| one.values.len() + n_steps).sum();
    (work / WORK_A_THREAD).clamp(1, n_cores().min(THREADS_MAX))
}

fn one_by_one(series: &[SeriesData], task: Task<'_>) -> Result<Vec<Vec<f64>>, PromqlError> {
    let Task { func, params, windows, budget } = task;
    let mut work = Work::new(budget);
    let mut columns = Vec::with_capacity(series.len());
    for one in series {
        let mut column = Vec::with_capacity(windows.grid.n);
        each_fresh(one, &mut |_, samples| {
            range::column(func, params, samples, windows, &mut column, &mut work)
        })?;
        columns.push(column);
    }
    Ok(columns)
}
