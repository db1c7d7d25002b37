//! Sums that keep the bits a plain sum drops (Kahan's method as improved by Neumaier).

/// A sum with its compensation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) sum: f64,
    pub(super) compensation: f64,
}

impl Sum {
    /// Adds one number.
    pub(super) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.compensation += (self.sum - total) + value;
        } else {
            self.compensation += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: Sum) {
        self.add(other.sum);
        if !self.sum.is_infinite() {
            self.compensation += other.compensation;
        }
    }

    /// Returns the result.
    pub(super) fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// A mean that is a compensated sum until that would overflow, and a running mean from there on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    total: Sum,
    n: f64,
    is_incremental: bool,
}

impl Mean {
    /// Adds one number.
    pub(super) fn add(&mut self, value: f64) {
        self.n += 1.0;
        if !self.is_incremental {
            let mut next = self.total;
            next.add(value);
            if self.n == 1.0 || !next.sum.is_infinite() {
                self.total = next;
                return;
            }
            self.is_incremental = true;
            self.total.sum /= self.n - 1.0;
            self.total.compensation /= self.n - 1.0;
        }
        if self.total.sum.is_infinite() {
            // An infinite mean stays: two infinities of one sign cannot be subtracted, and a
            // finite number does not change it. Only the opposite infinity and NaN do.
            let is_opposite = value.is_infinite() && (value > 0.0) != (self.total.sum > 0.0);
            if !is_opposite && !value.is_nan() {
                return;
            }
        }
        let share = (self.n - 1.0) / self.n;
        self.total.sum *= share;
        self.total.compensation *= share;
        self.total.add(value / self.n);
    }

    /// Returns how many numbers were added.
    pub(super) fn is_empty(&self) -> bool {
        self.n == 0.0
    }

    /// Returns the mean.
    pub(super) fn value(&self) -> f64 {
        let n = if self.is_incremental { 1.0 } else { self.n };
        if self.total.sum.is_infinite() {
            return self.total.sum;
        }
        self.total.sum / n + self.total.compensation / n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_mean(values: &[f64], want: f64) {
        let mut mean = Mean::default();
        for value in values {
            mean.add(*value);
        }
        let got = mean.value();
        assert!(got == want || got.is_nan() && want.is_nan(), "{values:?}: {got}, not {want}");
    }

    #[test]
    fn small_numbers_survive_a_large_one() {
        let mut sum = Sum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }

        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn a_mean_does_not_overflow() {
        check_mean(&[f64::MAX, f64::MAX], f64::MAX);
        check_mean(&[f64::INFINITY, 1.0, f64::INFINITY], f64::INFINITY);
        check_mean(&[f64::INFINITY, f64::NEG_INFINITY], f64::NAN);
        check_mean(&[1.0, 2.0, 6.0], 3.0);
    }
}
