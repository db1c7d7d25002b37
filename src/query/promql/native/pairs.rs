//! Operators where a side is a histogram.

use super::super::error::PromqlError;
use super::super::eval::Eval;
use super::super::grid::{ABSENT, is_absent};
use super::super::plan::Op;
use super::add::{divide, is_same, join, scale};

impl Eval<'_> {
    /// Applies an operator to two values when one of them is a histogram; `None` when none is. What
    /// does not go together leaves nothing, and an info.
    pub(in super::super) fn native_pair(
        &self,
        op: Op,
        is_bool: bool,
        (left, right): (f64, f64),
        kept: f64,
    ) -> Result<Option<f64>, PromqlError> {
        if is_absent(left) || is_absent(right) {
            return Ok(None);
        }
        let pool = &self.pool;
        let made = match (pool.get(left), pool.get(right)) {
            (None, None) => return Ok(None),
            (Some(left), Some(right)) => match op {
                Op::Add | Op::Sub => {
                    let sign = if op == Op::Add { 1.0 } else { -1.0 };
                    match join(&left, &right, sign) {
                        Ok(joined) => {
                            if joined.were_reconciled {
                                let what = if op == Op::Add { "addition" } else { "subtraction" };
                                self.inform_plainly(&format!(
                                    "mismatched custom buckets were reconciled during {what}"
                                ));
                            }
                            Some(joined.histogram)
                        }
                        Err(_) => {
                            self.warn_plainly("vector contains a mix of histograms with exponential and custom buckets schemas");
                            None
                        }
                    }
                }
                Op::Eq | Op::Ne => {
                    let holds = is_same(&left, &right) == (op == Op::Eq);
                    return Ok(Some(match (is_bool, holds) {
                        (true, holds) => f64::from(u8::from(holds)),
                        (false, true) => kept,
                        (false, false) => ABSENT,
                    }));
                }
                _ => self.mismatch("histogram", op, "histogram"),
            },
            (Some(histogram), None) => match op {
                Op::Mul => Some(scale(&histogram, right)),
                Op::Div => Some(divide(&histogram, right)),
                _ => self.mismatch("histogram", op, "float"),
            },
            (None, Some(histogram)) => match op {
                Op::Mul => Some(scale(&histogram, left)),
                _ => self.mismatch("float", op, "histogram"),
            },
        };
        Ok(Some(pool.keep_some(made)?))
    }

    fn mismatch<T>(&self, left: &str, op: Op, right: &str) -> Option<T> {
        self.inform_plainly(&format!(
            "incompatible sample types encountered for binary operator \"{}\": {left} {} {right}",
            op.as_str(),
            op.as_str()
        ));
        None
    }
}
