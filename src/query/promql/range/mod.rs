//! Functions over a window of one series, for all steps in one pass.
//!
//! Whatever can be had from the window's ends, from counts of events before them, or from a sliding
//! merge costs each sample a constant; only what needs the whole window in hand (quantiles,
//! regressions, deviations) walks it again for each step.

mod extrapolate;
mod reach;
mod regress;
mod spread;

use crate::model::Labels;

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, seconds};
use super::kahan::{Mean, Sum};
use super::parse::ast::Edges;
use super::parse::place::Place;
use super::parse::quoting::quoted;
use super::plan::{RangeCall, RangeFn};
use super::table::Column;
use super::value::format_g;
use super::window::{Samples, Window, Windows, slide};

pub(super) use extrapolate::stretch;
pub(super) use reach::{Reached, smoothed_at};
pub(super) use spread::quantile;

/// The most quantiles that one call warns of: a query may have millions of steps, and its answer tells of
/// ten.
const QUANTILES_TOLD_MAX: usize = 100;

/// Writes the function's value at every step, absent where it has none.
pub(super) fn column(
    func: RangeFn,
    params: &[&[f64]],
    samples: Samples<'_>,
    windows: &Windows,
    out: &mut Vec<f64>,
    work: &mut Work<'_>,
) -> Result<(), PromqlError> {
    let n_steps = windows.grid.n;
    work.spend(n_steps + samples.values.len())?;
    if windows.shift.at_ms.is_some() && !func.depends_on_step() && n_steps > 1 {
        // Every step sees the same window.
        let once = Windows { grid: Grid { n: 1, ..windows.grid }, ..*windows };
        column(func, params, samples, &once, out, work)?;
        out.resize(n_steps, out[0]);
        return Ok(());
    }
    if windows.edges != Edges::Extrapolated {
        reach::column(func, samples, windows, out);
        return Ok(());
    }
    match func {
        RangeFn::Rate | RangeFn::Increase | RangeFn::Delta => {
            extrapolate::column(func, samples, windows, out);
        }
        RangeFn::Irate | RangeFn::Idelta => {
            let is_rate = func == RangeFn::Irate;
            each_window(samples, windows, out, |w| extrapolate::instant(is_rate, samples, w));
        }
        RangeFn::Changes => {
            count_events(samples, windows, out, |a, b| a != b && !(a.is_nan() && b.is_nan()));
        }
        RangeFn::Resets => count_events(samples, windows, out, |before, after| after < before),
        RangeFn::SumOverTime | RangeFn::AvgOverTime => {
            sum_or_avg(func == RangeFn::AvgOverTime, samples, windows, out);
        }
        RangeFn::MinOverTime
        | RangeFn::MaxOverTime
        | RangeFn::TsOfMinOverTime
        | RangeFn::TsOfMaxOverTime => extreme(func, samples, windows, out),
        RangeFn::CountOverTime => each_window(samples, windows, out, |w| w.len() as f64),
        RangeFn::PresentOverTime => each_window(samples, windows, out, |_| 1.0),
        RangeFn::FirstOverTime => each_window(samples, windows, out, |w| samples.values[w.lo]),
        RangeFn::LastOverTime => each_window(samples, windows, out, |w| samples.values[w.hi - 1]),
        RangeFn::TsOfFirstOverTime => {
            each_window(samples, windows, out, |w| seconds(samples.timestamps_ms[w.lo]));
        }
        RangeFn::TsOfLastOverTime => {
            each_window(samples, windows, out, |w| seconds(samples.timestamps_ms[w.hi - 1]));
        }
        _ => return whole_windows(func, params, samples, windows, out, work),
    }
    Ok(())
}

/// The functions that need every sample of every window.
fn whole_windows(
    func: RangeFn,
    params: &[&[f64]],
    samples: Samples<'_>,
    windows: &Windows,
    out: &mut Vec<f64>,
    work: &mut Work<'_>,
) -> Result<(), PromqlError> {
    let mut scratch = Vec::new();
    out.clear();
    for window in windows.over(samples.timestamps_ms) {
        work.spend(window.len())?;
        if window.len() == 0 {
            out.push(ABSENT);
            continue;
        }
        let values = &samples.values[window.lo..window.hi];
        let times = &samples.timestamps_ms[window.lo..window.hi];
        let param = |idx: usize| params.get(idx).map_or(f64::NAN, |column| column[window.step]);
        out.push(match func {
            RangeFn::Deriv => regress::deriv(times, values),
            RangeFn::PredictLinear => {
                regress::predict(times, values, windows.grid.at(window.step), param(0))
            }
            RangeFn::DoubleExponentialSmoothing => regress::smooth(values, param(0), param(1)),
            RangeFn::QuantileOverTime => spread::quantile_of(param(0), values, &mut scratch),
            RangeFn::MadOverTime => spread::median_deviation(values, &mut scratch),
            RangeFn::StddevOverTime => spread::variance(values).sqrt(),
            _ => spread::variance(values),
        });
    }
    Ok(())
}

/// Writes `of` each window that has samples.
fn each_window(
    samples: Samples<'_>,
    windows: &Windows,
    out: &mut Vec<f64>,
    of: impl Fn(Window) -> f64,
) {
    out.clear();
    let all = windows.over(samples.timestamps_ms);
    out.extend(all.map(|window| if window.len() == 0 { ABSENT } else { of(window) }));
}

/// Writes how many neighbours in each window are an event.
fn count_events(
    samples: Samples<'_>,
    windows: &Windows,
    out: &mut Vec<f64>,
    is_event: impl Fn(f64, f64) -> bool,
) {
    // counts[i]: events between samples up to i.
    let mut counts = Vec::with_capacity(samples.values.len());
    let mut n_events = 0_u64;
    for (idx, value) in samples.values.iter().enumerate() {
        if idx > 0 && is_event(samples.values[idx - 1], *value) {
            n_events += 1;
        }
        counts.push(n_events);
    }
    each_window(samples, windows, out, |w| (counts[w.hi - 1] - counts[w.lo]) as f64);
}

fn sum_or_avg(is_avg: bool, samples: Samples<'_>, windows: &Windows, out: &mut Vec<f64>) {
    let lift = |idx: usize| Sum { sum: samples.values[idx], compensation: 0.0 };
    let merge = |mut left: Sum, right: Sum| {
        left.merge(right);
        left
    };
    slide(samples.timestamps_ms, windows, out, lift, merge, |sum, window| {
        if !is_avg {
            return sum.value();
        }
        if sum.sum.is_infinite() {
            // Perhaps only the sum overflows: the careful mean decides.
            let mut mean = Mean::default();
            samples.values[window.lo..window.hi].iter().for_each(|value| mean.add(*value));
            return mean.value();
        }
        let n = window.len() as f64;
        sum.sum / n + sum.compensation / n
    });
}

/// Minimum or maximum, NaN only where there is nothing else; or the time of its last occurrence.
fn extreme(func: RangeFn, samples: Samples<'_>, windows: &Windows, out: &mut Vec<f64>) {
    let is_max = matches!(func, RangeFn::MaxOverTime | RangeFn::TsOfMaxOverTime);
    let wants_time = matches!(func, RangeFn::TsOfMinOverTime | RangeFn::TsOfMaxOverTime);
    let values = samples.values;
    let merge = |older: usize, newer: usize| {
        let (old, new) = (values[older], values[newer]);
        let is_better = if is_max { new >= old } else { new <= old };
        if is_better || old.is_nan() { newer } else { older }
    };
    slide(
        samples.timestamps_ms,
        windows,
        out,
        |idx| idx,
        merge,
        |idx, _| if wants_time { seconds(samples.timestamps_ms[idx]) } else { values[idx] },
    );
}

impl Eval<'_> {
    /// Checks what a function demands of its numbers.
    pub(super) fn check_params(
        &self,
        call: &RangeCall,
        params: &[Column],
    ) -> Result<(), PromqlError> {
        match (call.func, params) {
            (RangeFn::QuantileOverTime, [quantiles, ..]) => {
                self.warn_of_quantiles(quantiles, call.param_place);
            }
            (RangeFn::DoubleExponentialSmoothing, [smoothing, trend, ..]) => {
                let is_factor = |factor: &f64| *factor > 0.0 && *factor < 1.0;
                for (name, short, factors) in
                    [("smoothing", "sf", smoothing), ("trend", "tf", trend)]
                {
                    if let Some(bad) = factors.iter().find(|factor| !is_factor(factor)) {
                        return Err(PromqlError::execution(format!(
                            "invalid {name} factor. Expected: 0 < {short} < 1, got: {bad:.6}"
                        )));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Warns of each quantile outside of 0 to 1, whose result is an infinity.
    pub(super) fn warn_of_quantiles(&self, quantiles: &[f64], place: Place) {
        let mut bad: Vec<f64> = Vec::new();
        for quantile in quantiles.iter().copied().filter(|q| !(0.0..=1.0).contains(q)) {
            let is_new = bad.last().is_none_or(|last| last.to_bits() != quantile.to_bits());
            if is_new && bad.len() < QUANTILES_TOLD_MAX {
                bad.push(quantile);
            }
        }
        for quantile in bad {
            let number = format_g(quantile, None);
            self.warn(place, &format!("quantile value should be between 0 and 1, got {number}"));
        }
    }

    /// Tells when a counter's function is used on what does not look like a counter.
    pub(super) fn inform_of_gauge(&self, call: &RangeCall, labels: &Labels) {
        if !matches!(call.func, RangeFn::Rate | RangeFn::Increase) {
            return;
        }
        let name = labels.metric();
        let is_counter = name.is_empty()
            || ["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end));
        if !is_counter {
            let name = quoted(name);
            self.inform(
                call.place,
                &format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name}"),
            );
        }
    }
}
