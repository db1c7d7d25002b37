//! Whether a difference follows on a total, and what the two make; by the rules of OpenTelemetry's
//! deltatocumulative processor:
//!
//! | | |
//! |---|---|
//! | nothing was added up yet | the difference is the total, and counting begins where it begins |
//! | it begins before counting did | left out: it is of an earlier life of the series |
//! | it ends when the last one did, or before | left out: it comes late or a second time |
//! | it overlaps the last one, or leaves a gap | added: only its end tells its place |
//! | a histogram has other bounds, or a sum where there was none | counting begins anew with it |
//!
//! And by one of our own: what is not finite is left out. Their totals live as long as a process; ours
//! outlive ours, and one NaN would make all that follow NaN.

use super::{Delta, Difference, State, Total, histogram};

/// Why a difference is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// It ends when the last one did, or before.
    OutOfOrder = 0,
    /// It begins before counting did.
    OlderStart = 1,
    /// The commons has as many totals as it may.
    NoRoom = 2,
    /// It is no finite number.
    NotFinite = 3,
}

impl Why {
    /// All of them, each at the index of its number.
    pub const ALL: [Why; 4] = [Why::OutOfOrder, Why::OlderStart, Why::NoRoom, Why::NotFinite];

    /// Returns the label value of the counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::OutOfOrder => "out_of_order",
            Why::OlderStart => "older_start",
            Why::NoRoom => "limit",
            Why::NotFinite => "not_finite",
        }
    }
}

/// Adds a difference to a total.
pub fn add(before: Option<&State>, delta: Delta) -> Result<State, Why> {
    if !is_finite(&delta.difference) {
        return Err(Why::NotFinite);
    }
    let Some(before) = before else { return Ok(first(delta)) };
    if delta.start_ns < before.start_ns {
        return Err(Why::OlderStart);
    }
    if delta.time_ns <= before.time_ns {
        return Err(Why::OutOfOrder);
    }
    if delta.shape != before.shape {
        return Ok(first(delta));
    }
    let total = match (&before.total, &delta.difference) {
        (Total::Number(total), Difference::Number(more)) => Total::Number(total + more),
        (Total::Histogram(total), Difference::Histogram(more)) => {
            Total::Histogram(Box::new(histogram::add(total, more)))
        }
        _ => return Ok(first(delta)),
    };
    Ok(State { time_ns: delta.time_ns, total, ..*before })
}

fn is_finite(difference: &Difference) -> bool {
    match difference {
        Difference::Number(number) => number.is_finite(),
        Difference::Histogram(histogram) => histogram.sum.is_none_or(f64::is_finite),
        Difference::End => true,
    }
}

fn first(delta: Delta) -> State {
    let Delta { start_ns, time_ns, shape, difference, .. } = delta;
    let total = match difference {
        Difference::Number(number) => Total::Number(number),
        Difference::Histogram(mut histogram) => {
            histogram.start_ns = start_ns;
            Total::Histogram(histogram)
        }
        Difference::End => unreachable!("an end is no difference"),
    };
    State { start_ns, time_ns, shape, total }
}
