//! What users are told of the histograms of one series, and where in the query it stands.

use crate::model::{Histogram, Labels};

use super::super::eval::Eval;
use super::super::parse::place::Place;
use super::super::parse::quoting::quoted;
use super::add::{join, reconciliation};

/// One series of a query.
#[derive(Clone, Copy)]
pub(super) struct Told<'s> {
    pub(super) eval: &'s Eval<'s>,
    pub(super) place: Place,
    pub(super) labels: &'s Labels,
}

impl Told<'_> {
    fn warn(self, what: &str) {
        let metric = quoted(self.labels.metric());
        self.eval.warn(self.place, &format!("{what} for metric name {metric}"));
    }

    /// Warns that there are numbers among the histograms.
    pub(super) fn warn_of_mixture(self) {
        self.warn("encountered a mix of histograms and floats");
    }

    /// Warns that some histograms have listed bounds and others powers.
    pub(super) fn warn_of_schemas(self) {
        self.warn(
            "vector contains a mix of histograms with exponential and custom buckets schemas",
        );
    }

    /// Warns that the metric is not of the kind that a function is for.
    pub(super) fn warn_of_kind(self, kind: &str) {
        let metric = quoted(self.labels.metric());
        let what = format!("this native histogram metric is not a {kind}: {metric}");
        self.eval.warn(self.place, &what);
    }

    /// Returns `left + sign * right`; what cannot be joined leaves nothing and a warning.
    pub(super) fn join(
        self,
        left: &Histogram,
        right: &Histogram,
        sign: f64,
        during: &str,
    ) -> Option<Histogram> {
        match join(left, right, sign) {
            Ok(joined) => {
                if joined.were_reconciled {
                    self.eval.inform(self.place, &reconciliation(during));
                }
                Some(joined.histogram)
            }
            Err(_) => {
                self.warn_of_schemas();
                None
            }
        }
    }
}
