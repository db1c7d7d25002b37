//! Operators where a side is a histogram.

use crate::model::Histogram;

use super::super::error::PromqlError;
use super::super::eval::Eval;
use super::super::grid::{ABSENT, is_absent};
use super::super::parse::place::Place;
use super::super::plan::Op;
use super::add::{Hints, collision, divide, is_same, join, reconciliation, scale};
use super::trim::{Side, trim};

impl Eval<'_> {
    /// Applies an operator to two values when one of them is a histogram; `None` when none is, unless
    /// the operator is for histograms only. What does not go together leaves nothing, and an info.
    pub(in super::super) fn native_pair(
        &self,
        (op, is_bool): (Op, bool),
        (left, right): (f64, f64),
        kept: f64,
        place: Place,
    ) -> Result<Option<f64>, PromqlError> {
        if is_absent(left) || is_absent(right) {
            return Ok(None);
        }
        let pool = &self.pool;
        let mismatch = |left, right| self.mismatch(left, op, right, place);
        let made = match (pool.get(left), pool.get(right)) {
            (None, None) if op.is_trim() => mismatch("float", "float"),
            (None, None) => return Ok(None),
            (Some(left), Some(right)) => match op {
                Op::Add | Op::Sub => self.sum_or_difference(op, &left, &right, place),
                Op::Eq | Op::Ne => {
                    let holds = is_same(&left, &right) == (op == Op::Eq);
                    return Ok(Some(match (is_bool, holds) {
                        (true, holds) => f64::from(u8::from(holds)),
                        (false, true) => kept,
                        (false, false) => ABSENT,
                    }));
                }
                _ => mismatch("histogram", "histogram"),
            },
            (Some(histogram), None) => {
                with_number(op, &histogram, right).or_else(|| mismatch("histogram", "float"))
            }
            (None, Some(histogram)) => match op {
                Op::Mul => Some(scale(&histogram, left)),
                _ => mismatch("float", "histogram"),
            },
        };
        Ok(Some(pool.keep_some(made)?))
    }

    fn sum_or_difference(
        &self,
        op: Op,
        left: &Histogram,
        right: &Histogram,
        place: Place,
    ) -> Option<Histogram> {
        let (sign, during) = match op {
            Op::Add => (1.0, "addition"),
            _ => (-1.0, "subtraction"),
        };
        let Ok(joined) = join(left, right, sign) else {
            let what = "incompatible bucket layout encountered for binary operator";
            self.warn(place, &format!("{what} {}", op.as_str()));
            return None;
        };
        if joined.were_reconciled {
            self.inform(place, &reconciliation(during));
        }
        let mut hints = Hints::default();
        [left, right].into_iter().for_each(|one| hints.add(one));
        if hints.collide() {
            self.warn(place, &collision(during));
        }
        Some(joined.histogram)
    }

    fn mismatch(&self, left: &str, op: Op, right: &str, place: Place) -> Option<Histogram> {
        let op = op.as_str();
        let what = "incompatible sample types encountered for binary operator";
        self.inform(place, &format!("{what} \"{op}\": {left} {op} {right}"));
        None
    }
}

/// Applies an operator to a histogram and a number, if it goes with them.
fn with_number(op: Op, histogram: &Histogram, number: f64) -> Option<Histogram> {
    Some(match op {
        Op::Mul => scale(histogram, number),
        Op::Div => divide(histogram, number),
        Op::TrimUpper => trim(histogram, Side::Below, number),
        Op::TrimLower => trim(histogram, Side::Above, number),
        _ => return None,
    })
}
