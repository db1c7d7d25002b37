//! What a query's conditions say about whole files and about the head, read off the plan.
//!
//! Only conditions that every row must meet are looked at, and only simple ones on the time, the
//! commons and the metric; whatever else is asked is checked on the rows, and by Parquet's own
//! statistics. To be wrong here can only mean to read too much.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::model::Signal;
use crate::storage::{FileEntry, HeadFilter};

/// What every wanted row fulfils.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Bounds {
    /// At or after, ns since 1970 UTC.
    pub(super) min_ns: Option<i64>,
    /// At or before, ns since 1970 UTC.
    pub(super) max_ns: Option<i64>,
    /// One of these.
    pub(super) commons: Option<BTreeSet<String>>,
    /// This metric.
    pub(super) metric: Option<String>,
}

/// Returns the column by which a signal's files are pruned.
pub(super) fn time_column(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics | Signal::Logs | Signal::Exemplars | Signal::Points => "timestamp",
        Signal::Spans => "start_time",
    }
}

impl Bounds {
    /// Reads the bounds off the conditions that a scan was given.
    pub(super) fn of(filters: &[Expr], signal: Signal) -> Self {
        let mut bounds = Self::default();
        for condition in filters.iter().flat_map(split_conjunction) {
            bounds.narrow(condition, signal);
        }
        bounds
    }

    /// Returns true when the file may hold a wanted row.
    pub(super) fn may_hold(&self, file: &FileEntry) -> bool {
        self.overlaps(file.min_ns, file.max_ns) && self.covers(file.commons.as_str())
    }

    /// Returns true when some wanted row may lie in the range, bounds included.
    pub(super) fn overlaps(&self, min_ns: i64, max_ns: i64) -> bool {
        self.min_ns.is_none_or(|from| from <= max_ns) && self.max_ns.is_none_or(|to| min_ns <= to)
    }

    /// Returns true when some wanted row may be of the commons.
    pub(super) fn covers(&self, commons: &str) -> bool {
        self.commons.as_ref().is_none_or(|wanted| wanted.contains(commons))
    }

    /// Returns the same for the head, which knows one commons or all.
    pub(super) fn head_filter(&self) -> HeadFilter {
        let only = self.commons.as_ref().filter(|wanted| wanted.len() == 1);
        HeadFilter {
            min_ns: self.min_ns,
            max_ns: self.max_ns,
            commons: only
                .and_then(|wanted| wanted.first())
                .and_then(|name| crate::model::Commons::from_stored(name).ok()),
            metric: self.metric.clone(),
        }
    }

    fn narrow(&mut self, condition: &Expr, signal: Signal) {
        match condition {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let Expr::Literal(value, _) = right.as_ref() {
                    self.narrow_by(left, *op, value, signal);
                } else if let (Expr::Literal(value, _), Some(op)) = (left.as_ref(), op.swap()) {
                    self.narrow_by(right, op, value, signal);
                }
            }
            Expr::Between(between) if !between.negated => {
                for (op, bound) in [(Operator::GtEq, &between.low), (Operator::LtEq, &between.high)]
                {
                    if let Expr::Literal(value, _) = bound.as_ref() {
                        self.narrow_by(&between.expr, op, value, signal);
                    }
                }
            }
            Expr::InList(list) if !list.negated && column(&list.expr) == Some("commons") => {
                let names: Option<BTreeSet<String>> = list.list.iter().map(literal_text).collect();
                if let Some(names) = names {
                    self.narrow_commons(names);
                }
            }
            _ => {}
        }
    }

    fn narrow_by(&mut self, left: &Expr, op: Operator, value: &ScalarValue, signal: Signal) {
        match column(left) {
            Some(name) if name == time_column(signal) => self.narrow_time(op, value),
            Some("commons") if op == Operator::Eq => {
                if let Some(Some(name)) = value.try_as_str() {
                    self.narrow_commons(BTreeSet::from([name.to_owned()]));
                }
            }
            Some("metric") if op == Operator::Eq && signal == Signal::Metrics => {
                if let Some(Some(name)) = value.try_as_str() {
                    self.metric = Some(name.to_owned());
                }
            }
            _ => {}
        }
    }

    fn narrow_time(&mut self, op: Operator, value: &ScalarValue) {
        let Some(time_ns) = time_ns(value) else { return };
        if matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq) {
            self.min_ns = Some(self.min_ns.map_or(time_ns, |min_ns| min_ns.max(time_ns)));
        }
        if matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq) {
            self.max_ns = Some(self.max_ns.map_or(time_ns, |max_ns| max_ns.min(time_ns)));
        }
    }

    fn narrow_commons(&mut self, names: BTreeSet<String>) {
        self.commons = Some(match self.commons.take() {
            Some(known) => known.intersection(&names).cloned().collect(),
            None => names,
        });
    }
}

/// Returns the column that the expression is, possibly cast without loss.
pub(super) fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        // A cast to anything coarser than ns could move a time across a bound.
        Expr::Cast(cast) if is_lossless(cast.field.data_type()) => column(&cast.expr),
        _ => None,
    }
}

fn is_lossless(to: &DataType) -> bool {
    matches!(to, DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Utf8 | DataType::Utf8View)
}

fn literal_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    }
}

/// Returns a time in ns since 1970 UTC; one that does not fit is no bound.
fn time_ns(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(Some(time), _) => time.checked_mul(1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(time), _) => time.checked_mul(1_000_000),
        ScalarValue::TimestampMicrosecond(Some(time), _) => time.checked_mul(1_000),
        ScalarValue::TimestampNanosecond(Some(time), _) => Some(*time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn ms(time_ms: i64) -> Expr {
        lit(ScalarValue::TimestampMillisecond(Some(time_ms), Some("UTC".into())))
    }

    #[track_caller]
    fn check(filter: Expr, want: Bounds) {
        assert_eq!(Bounds::of(&[filter], Signal::Metrics), want);
    }

    #[test]
    fn times_are_bounded_from_both_sides() {
        let want = Bounds { min_ns: Some(5_000_000), max_ns: Some(7_000_000), ..Bounds::default() };
        check(col("timestamp").gt(ms(5)).and(ms(7).gt_eq(col("timestamp"))), want.clone());
        check(col("timestamp").between(ms(5), ms(7)), want);
    }

    #[test]
    fn the_narrowest_condition_wins() {
        let filter = col("timestamp").gt_eq(ms(1)).and(col("timestamp").gt_eq(ms(3)));
        check(filter, Bounds { min_ns: Some(3_000_000), ..Bounds::default() });
    }

    #[test]
    fn commons_and_metric_are_read() {
        let filter = col("commons").eq(lit("a")).and(lit("up").eq(col("metric")));
        let commons = Some(BTreeSet::from(["a".to_owned()]));
        check(filter, Bounds { commons, metric: Some("up".to_owned()), ..Bounds::default() });
    }

    #[test]
    fn what_some_rows_may_escape_is_no_bound() {
        check(col("timestamp").gt(ms(5)).or(col("value").gt(lit(1))), Bounds::default());
        check(col("commons").not_eq(lit("a")), Bounds::default());
        check(col("value").eq(ms(5)), Bounds::default());
        check(col("timestamp").gt(ms(i64::MAX)), Bounds::default());
    }

    #[test]
    fn two_commons_at_once_hold_nothing() {
        let filter = col("commons").eq(lit("a")).and(col("commons").eq(lit("b")));

        assert!(!Bounds::of(&[filter], Signal::Logs).covers("a"));
    }
}
