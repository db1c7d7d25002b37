//! What became of the items of one request.
//!
//! Bad items are data, not exceptions: a walker collects them here by reason, with the words for
//! the first one, while the good ones go on to be stored. The edges turn a `Rejected` into their
//! dialect: a 400 with a readable text, or a partial success.

use std::fmt::Write as _;
use std::sync::Arc;

use super::limits::OutOfBounds;
use super::metrics::Ending;
use crate::model::{Commons, Labels, SeriesMeta};
use crate::storage::RegisterError;

/// Why one item (sample, record, span) was not stored. The names are label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A label or attribute set that breaks a rule of the protocol.
    InvalidLabels,
    /// One label name twice.
    DuplicateLabel,
    /// No metric name, or an empty one.
    NoMetricName,
    /// More labels, or longer ones, than a limit.
    LabelLimit,
    /// More attributes, longer or deeper ones, than a limit.
    AttributeLimit,
    /// More buckets or quantiles than a limit.
    BucketLimit,
    /// A log line past its limit.
    LineLimit,
    /// The commons has as many series as it may.
    SeriesLimit,
    /// The metric has as many series as it may.
    MetricSeriesLimit,
    /// There are as many commons as there may be.
    CommonsLimit,
    /// Further ahead than clocks differ.
    Future,
    /// Past the retention.
    TooOld,
    /// A Prometheus native histogram whose parts do not fit together.
    NativeHistogram,
    /// An exemplar past the number that is kept, or a broken one of a sender that is not told.
    Exemplar,
    /// A difference that comes late, twice, or from an earlier life of its series.
    DeltaOutOfOrder,
    /// The commons has as many series whose differences are added up as it may.
    DeltaLimit,
    /// Otherwise not a valid item of its protocol.
    Invalid,
    /// The credential may not write to the commons that was decided.
    Forbidden,
    /// A rule of the operator drops it; not the sender's fault, and not reported to it.
    Policy(&'static str),
    /// The server takes no more right now; the sender was told to come back.
    Overloaded,
    /// The server cannot store right now (disk full, stopping).
    Unavailable,
    /// The client went away before the answer; the items may or may not be stored.
    Abandoned,
}

impl Reason {
    /// Returns the label value of the counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidLabels => "invalid_labels",
            Reason::DuplicateLabel => "duplicate_label",
            Reason::NoMetricName => "no_metric_name",
            Reason::LabelLimit => "label_limit",
            Reason::AttributeLimit => "attribute_limit",
            Reason::BucketLimit => "bucket_limit",
            Reason::LineLimit => "line_limit",
            Reason::SeriesLimit => "series_limit",
            Reason::MetricSeriesLimit => "metric_series_limit",
            Reason::CommonsLimit => "commons_limit",
            Reason::Future => "future",
            Reason::TooOld => "too_old",
            Reason::NativeHistogram => "native_histogram",
            Reason::Exemplar => "exemplar",
            Reason::DeltaOutOfOrder => "delta_out_of_order",
            Reason::DeltaLimit => "delta_limit",
            Reason::Invalid => "invalid",
            Reason::Forbidden => "forbidden",
            Reason::Policy(rule) => rule,
            Reason::Overloaded => "overloaded",
            Reason::Unavailable => "unavailable",
            Reason::Abandoned => "abandoned",
        }
    }

    /// Returns true when the sender must hear of it; what an operator drops on purpose, and
    /// exemplars past the number that is kept, are only counted.
    pub fn is_told(self) -> bool {
        !matches!(self, Reason::Policy(_) | Reason::Exemplar)
    }
}

impl From<&RegisterError> for Reason {
    fn from(error: &RegisterError) -> Self {
        match error {
            RegisterError::TooManySeries { .. } => Reason::SeriesLimit,
            RegisterError::TooManyOfMetric { .. } => Reason::MetricSeriesLimit,
        }
    }
}

impl From<OutOfBounds> for Reason {
    fn from(side: OutOfBounds) -> Self {
        match side {
            OutOfBounds::Past => Reason::TooOld,
            OutOfBounds::Future => Reason::Future,
        }
    }
}

/// Why one item is not stored, with words for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason; it is counted.
    pub reason: Reason,
    /// What was wrong with this one, which number against which limit.
    pub message: Arc<str>,
    /// The series that its samples are added to, when a limit of series refused it.
    pub overflow: Option<Arc<Overflow>>,
}

/// The one series that stands for all of a metric that a limit refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The commons.
    pub commons: Commons,
    /// Its labels: the metric, the commons, and `__overflow__`.
    pub labels: Labels,
    /// What the numbers are.
    pub meta: SeriesMeta,
}

impl Refusal {
    /// Returns the refusal of what a rule of the operator drops; nobody is told.
    pub fn policy(rule: &'static str) -> Self {
        Self::new(Reason::Policy(rule), "")
    }

    /// Returns the refusal of what is added up with others.
    pub fn folded() -> Self {
        Self::policy("folded")
    }

    /// Returns a refusal.
    pub fn new(reason: Reason, message: impl Into<Arc<str>>) -> Self {
        Self { reason, message: message.into(), overflow: None }
    }

    /// Returns about how much memory it takes.
    pub fn n_bytes(&self) -> usize {
        let of_overflow = self
            .overflow
            .as_ref()
            .map_or(0, |overflow| size_of::<Overflow>() + overflow.labels.packed().len());
        size_of::<Self>() + self.message.len() + of_overflow
    }
}

/// The items of one request that were not stored: counts by reason, and the first one's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    counts: Vec<(Reason, u64)>,
    first: Option<String>,
}

impl Rejected {
    /// Counts `n` items; `message` is asked only for the first that the sender is told of.
    pub fn add(&mut self, reason: Reason, n: u64, message: impl FnOnce() -> String) {
        if n == 0 {
            return;
        }
        match self.counts.iter_mut().find(|(counted, _)| *counted == reason) {
            Some((_, count)) => *count += n,
            None => self.counts.push((reason, n)),
        }
        if self.first.is_none() && reason.is_told() {
            self.first = Some(message());
        }
    }

    /// Counts `n` items under a refusal.
    pub fn add_refusal(&mut self, refusal: Refusal, n: u64) {
        self.add(refusal.reason, n, || refusal.message.to_string());
    }

    /// Takes over what another part of the request counted.
    pub fn merge(&mut self, other: Rejected) {
        for (reason, n) in other.counts {
            let first = other.first.clone();
            self.add(reason, n, || first.unwrap_or_default());
        }
    }

    /// Returns the counts by reason.
    pub fn counts(&self) -> &[(Reason, u64)] {
        &self.counts
    }

    /// Returns how many items were not stored.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|(_, n)| n).sum()
    }

    /// Returns how many of them the sender must hear of.
    pub fn told(&self) -> u64 {
        self.counts.iter().filter(|(reason, _)| reason.is_told()).map(|(_, n)| n).sum()
    }

    /// Returns about how much memory it takes.
    pub fn n_bytes(&self) -> usize {
        let n_first = self.first.as_ref().map_or(0, String::len);
        size_of::<Self>() + size_of_val(self.counts.as_slice()) + n_first
    }

    /// Returns the text for the sender, or `None` when there is nothing to tell:
    /// `3 of 2000 samples refused (future 2, native_histogram 1); the first: …`.
    pub fn message(&self, n_received: u64, items: &str) -> Option<String> {
        let first = self.first.as_ref()?;
        let mut text = format!("{} of {n_received} {items} refused (", self.told());
        let told = self.counts.iter().filter(|(reason, _)| reason.is_told());
        for (idx, (reason, n)) in told.enumerate() {
            let separator = if idx == 0 { "" } else { ", " };
            let _ = write!(text, "{separator}{} {n}", reason.as_str());
        }
        let _ = write!(text, "); the first: {first}");
        Some(text)
    }
}

/// What became of one request that could be decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Items that are synced and visible.
    pub n_stored: u64,
    /// Those that are not.
    pub rejected: Rejected,
}

impl Outcome {
    /// Returns how many items came.
    pub fn n_received(&self) -> u64 {
        self.n_stored + self.rejected.total()
    }

    /// Returns how the request ended, for the counters.
    pub fn ending(&self) -> Ending {
        match (self.rejected.told(), self.n_stored) {
            (0, _) => Ending::Stored,
            (_, 0) => Ending::Refused,
            _ => Ending::Partial,
        }
    }

    /// Returns the text for the sender, or `None` when all went well.
    pub fn message(&self, items: &str) -> Option<String> {
        self.rejected.message(self.n_received(), items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_counts_and_the_first_reason() {
        let mut rejected = Rejected::default();
        rejected.add(Reason::Exemplar, 7, || unreachable!("nobody is told of exemplars"));
        rejected.add(Reason::Future, 1, || "up{}: ahead".to_owned());
        rejected.add(Reason::NativeHistogram, 1, || unreachable!("only the first is asked"));
        rejected.add(Reason::Future, 1, || unreachable!("only the first is asked"));

        let outcome = Outcome { n_stored: 10, rejected };

        assert_eq!(outcome.n_received(), 20);
        assert_eq!(
            outcome.message("samples").as_deref(),
            Some("3 of 20 samples refused (future 2, native_histogram 1); the first: up{}: ahead")
        );
    }

    #[test]
    fn what_policy_drops_is_counted_and_not_told() {
        let mut rejected = Rejected::default();
        rejected.add(Reason::Policy("drop_go_metrics"), 5, String::new);

        assert_eq!((rejected.total(), rejected.told()), (5, 0));
        assert_eq!(rejected.message(5, "samples"), None);
    }
}
