//! Functions over a window in which histograms are.
//!
//! What counts or picks samples works on both kinds; what adds them up works on windows of one kind, and
//! a window of both leaves nothing and a warning; the rest looks at the floats alone.

use std::sync::Arc;

use crate::model::{Histogram, Labels, ResetHint};

use super::super::error::PromqlError;
use super::super::eval::{Eval, Work};
use super::super::grid::{ABSENT, is_absent, seconds};
use super::super::parse::quoting::quoted;
use super::super::plan::{RangeCall, RangeFn};
use super::super::range;
use super::super::window::{Samples, Window, Windows};
use super::Pool;
use super::add::{Hints, collision, divide, is_same, scale};
use super::reset::is_reset;
use super::told::Told;

impl Eval<'_> {
    /// Writes the function's value at every step for a series with histograms.
    pub(in super::super) fn native_range(
        &self,
        call: &RangeCall,
        params: &[&[f64]],
        (labels, samples): (&Labels, Samples<'_>),
        windows: &Windows,
        out: &mut Vec<f64>,
    ) -> Result<(), PromqlError> {
        let mut work = Work::new(self.budget);
        if takes_floats_only(call.func) {
            return self.floats_of_range(call, params, (labels, samples), windows, out, &mut work);
        }
        let series = Series { eval: self, call, labels, samples };
        out.clear();
        for window in windows.over(samples.timestamps_ms) {
            work.spend(8 * window.len())?;
            out.push(if window.len() == 0 { ABSENT } else { series.value(window, windows)? });
        }
        Ok(())
    }

    fn floats_of_range(
        &self,
        call: &RangeCall,
        params: &[&[f64]],
        (labels, samples): (&Labels, Samples<'_>),
        windows: &Windows,
        out: &mut Vec<f64>,
        work: &mut Work<'_>,
    ) -> Result<(), PromqlError> {
        let all = samples.timestamps_ms.iter().zip(samples.values);
        let floats = all.filter(|(_, value)| !self.pool.is_one(**value));
        let (times, values): (Vec<i64>, Vec<f64>) = floats.unzip();
        if self.has_mixed_window(samples, windows) {
            let metric = quoted(labels.metric());
            self.inform(call.place, &format!("ignored histograms in a range containing both floats and histograms for metric name {metric}"));
        }
        let samples = Samples { timestamps_ms: &times, values: &values };
        range::column(call.func, params, samples, windows, out, work)
    }

    /// Returns true when there are samples of both kinds in one window.
    fn has_mixed_window(&self, samples: Samples<'_>, windows: &Windows) -> bool {
        let mut n_histograms = 0;
        // How many histograms there are before each sample.
        let mut before = vec![0];
        for value in samples.values {
            n_histograms += usize::from(self.pool.is_one(*value));
            before.push(n_histograms);
        }
        windows.over(samples.timestamps_ms).any(|window| {
            let n = before[window.hi] - before[window.lo];
            0 < n && n < window.len()
        })
    }
}

fn takes_floats_only(func: RangeFn) -> bool {
    !matches!(
        func,
        RangeFn::Rate
            | RangeFn::Increase
            | RangeFn::Delta
            | RangeFn::Irate
            | RangeFn::Idelta
            | RangeFn::Changes
            | RangeFn::Resets
            | RangeFn::SumOverTime
            | RangeFn::AvgOverTime
            | RangeFn::CountOverTime
            | RangeFn::PresentOverTime
            | RangeFn::FirstOverTime
            | RangeFn::LastOverTime
            | RangeFn::TsOfFirstOverTime
            | RangeFn::TsOfLastOverTime
    )
}

/// One series under one function.
struct Series<'s> {
    eval: &'s Eval<'s>,
    call: &'s RangeCall,
    labels: &'s Labels,
    samples: Samples<'s>,
}

/// The samples of a window: histograms all, or floats all.
enum Kind {
    Histograms(Vec<Arc<Histogram>>),
    Floats,
    Both,
}

impl Series<'_> {
    fn value(&self, window: Window, windows: &Windows) -> Result<f64, PromqlError> {
        let values = &self.samples.values[window.lo..window.hi];
        let times = &self.samples.timestamps_ms[window.lo..window.hi];
        let pool = &self.eval.pool;
        Ok(match self.call.func {
            RangeFn::CountOverTime => values.len() as f64,
            RangeFn::PresentOverTime => 1.0,
            RangeFn::FirstOverTime => values[0],
            RangeFn::LastOverTime => values[values.len() - 1],
            RangeFn::TsOfFirstOverTime => seconds(times[0]),
            RangeFn::TsOfLastOverTime => seconds(times[times.len() - 1]),
            RangeFn::Changes => count(values, |a, b| differ(pool, a, b)),
            RangeFn::Resets => count(values, |a, b| was_reset(pool, a, b)),
            RangeFn::SumOverTime | RangeFn::AvgOverTime => self.total(window, windows)?,
            RangeFn::Irate | RangeFn::Idelta => self.last_two(window, windows)?,
            _ => self.change(window, windows)?,
        })
    }

    fn kind(&self, window: Window) -> Kind {
        let values = &self.samples.values[window.lo..window.hi];
        let found: Vec<_> = values.iter().filter_map(|value| self.eval.pool.get(*value)).collect();
        match found.len() {
            0 => Kind::Floats,
            n if n == values.len() => Kind::Histograms(found),
            _ => {
                self.told().warn_of_mixture();
                Kind::Both
            }
        }
    }

    fn told(&self) -> Told<'_> {
        Told { eval: self.eval, place: self.call.place, labels: self.labels }
    }

    /// What the function is where all samples are floats.
    fn of_floats(&self, window: Window, windows: &Windows) -> Result<f64, PromqlError> {
        let samples = Samples {
            timestamps_ms: &self.samples.timestamps_ms[window.lo..window.hi],
            values: &self.samples.values[window.lo..window.hi],
        };
        let mut grid = windows.grid;
        (grid.start_ms, grid.n) = (windows.grid.at(window.step), 1);
        let (mut out, mut work) = (Vec::new(), Work::new(self.eval.budget));
        let once = Windows { grid, ..*windows };
        range::column(self.call.func, &[], samples, &once, &mut out, &mut work)?;
        Ok(out[0])
    }

    fn total(&self, window: Window, windows: &Windows) -> Result<f64, PromqlError> {
        let histograms = match self.kind(window) {
            Kind::Floats => return self.of_floats(window, windows),
            Kind::Both => return Ok(ABSENT),
            Kind::Histograms(histograms) => histograms,
        };
        let mut sum = Histogram::clone(&histograms[0]);
        let mut hints = Hints::default();
        hints.add(&sum);
        for histogram in &histograms[1..] {
            let joined = self.told().join(&sum, histogram, 1.0, "aggregation");
            let Some(joined) = joined else { return Ok(ABSENT) };
            hints.add(histogram);
            sum = joined;
        }
        if hints.collide() {
            self.eval.warn(self.call.place, &collision("aggregation"));
        }
        let is_avg = self.call.func == RangeFn::AvgOverTime;
        let total = if is_avg { divide(&sum, histograms.len() as f64) } else { sum };
        self.eval.pool.keep_some(Some(total))
    }

    /// `rate`, `increase`, `delta`.
    fn change(&self, window: Window, windows: &Windows) -> Result<f64, PromqlError> {
        if window.len() < 2 {
            return Ok(ABSENT);
        }
        let histograms = match self.kind(window) {
            Kind::Floats => return self.of_floats(window, windows),
            Kind::Both => return Ok(ABSENT),
            Kind::Histograms(histograms) => histograms,
        };
        let is_counter = self.call.func != RangeFn::Delta;
        self.warn_of_hints(&histograms, is_counter);
        let Some(change) = self.change_of(&histograms, is_counter) else { return Ok(ABSENT) };
        let counter = is_counter.then_some((histograms[0].count, change.count));
        let factor = range::stretch(self.samples, window, counter);
        let is_rate = self.call.func == RangeFn::Rate;
        let per = if is_rate { seconds(windows.range_ms) } else { 1.0 };
        let mut change = scale(&change, factor / per);
        change.reset_hint = ResetHint::Gauge;
        self.eval.pool.keep_some(Some(change))
    }

    fn change_of(&self, histograms: &[Arc<Histogram>], is_counter: bool) -> Option<Histogram> {
        let (first, last) = (&histograms[0], &histograms[histograms.len() - 1]);
        let begins_anew = is_counter && is_reset(first, &histograms[1]);
        let nothing;
        let mut before: &Histogram = first;
        if begins_anew {
            // What was before the reset is not part of the change.
            nothing = Histogram {
                schema: histograms[1].schema,
                custom_bounds: Arc::clone(&histograms[1].custom_bounds),
                ..Histogram::default()
            };
            before = &nothing;
        }
        let mut change = self.told().join(last, before, -1.0, "subtraction")?;
        if is_counter {
            for now in &histograms[1..] {
                if is_reset(before, now) {
                    change = self.told().join(&change, before, 1.0, "addition")?;
                }
                before = now;
            }
        }
        Some(change)
    }

    fn warn_of_hints(&self, histograms: &[Arc<Histogram>], is_counter: bool) {
        let is_gauge = |histogram: &Arc<Histogram>| histogram.reset_hint == ResetHint::Gauge;
        let (first, last) = (&histograms[0], &histograms[histograms.len() - 1]);
        if is_counter && histograms.iter().any(is_gauge) {
            self.told().warn_of_kind("counter");
        } else if !(is_counter || is_gauge(first) && is_gauge(last)) {
            self.told().warn_of_kind("gauge");
        }
    }

    /// `irate`, `idelta`.
    fn last_two(&self, window: Window, windows: &Windows) -> Result<f64, PromqlError> {
        if window.len() < 2 {
            return Ok(ABSENT);
        }
        let window = Window { lo: window.hi - 2, ..window };
        let histograms = match self.kind(window) {
            Kind::Floats => return self.of_floats(window, windows),
            Kind::Both => return Ok(ABSENT),
            Kind::Histograms(histograms) => histograms,
        };
        let is_rate = self.call.func == RangeFn::Irate;
        self.warn_of_hints(&histograms, is_rate);
        let (before, last) = (&histograms[0], &histograms[1]);
        let mut change = if is_rate && is_reset(before, last) {
            Histogram::clone(last)
        } else {
            let change = self.told().join(last, before, -1.0, "subtraction");
            let Some(change) = change else { return Ok(ABSENT) };
            change
        };
        if is_rate {
            let times = self.samples.timestamps_ms;
            change = scale(&change, 1.0 / seconds(times[window.lo + 1] - times[window.lo]));
        }
        change.reset_hint = ResetHint::Gauge;
        self.eval.pool.keep_some(Some(change))
    }
}

pub(super) fn count(values: &[f64], is_event: impl Fn(f64, f64) -> bool) -> f64 {
    values.windows(2).filter(|pair| is_event(pair[0], pair[1])).count() as f64
}

pub(super) fn differ(pool: &Pool, before: f64, after: f64) -> bool {
    match (pool.get(before), pool.get(after)) {
        (Some(before), Some(after)) => !is_same(&before, &after),
        (None, None) => before != after && !(before.is_nan() && after.is_nan()),
        _ => true,
    }
}

pub(super) fn was_reset(pool: &Pool, before: f64, after: f64) -> bool {
    match (pool.get(before), pool.get(after)) {
        (Some(before), Some(after)) => is_reset(&before, &after),
        (None, None) => !is_absent(before) && after < before,
        _ => true,
    }
}
