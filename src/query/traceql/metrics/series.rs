//! A series under way: what is known of its points, and the spans that are shown of it.

use std::collections::BTreeMap;

use super::super::ast::Aggregate;
use super::super::trace::{Place, Trace};
use super::super::value::Value;
use super::{Exemplar, MS_NS};

/// The label of a histogram's buckets.
pub(super) const BUCKET: &str = "__bucket";

/// What is known of a point so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cell {
    pub(super) n: f64,
    pub(super) folded: f64,
}

/// A series under way.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) labels: Vec<(String, Value<'static>)>,
    pub(super) cells: Vec<Cell>,
    /// Counts by the power of two that bounds them, of each point; for quantiles.
    pub(super) buckets: BTreeMap<usize, BTreeMap<u64, u64>>,
    pub(super) exemplars: Vec<Exemplar>,
    pub(super) exemplars_max: usize,
    pub(super) n_seen: usize,
}

/// A number of a span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// A duration in ns.
    pub(super) number: f64,
    pub(super) is_duration: bool,
}

impl Measured {
    /// Returns the number as answers show it: durations in seconds.
    pub(super) fn shown(self) -> f64 {
        if self.is_duration { self.number / 1e9 } else { self.number }
    }
}

impl Series {
    pub(super) fn count(&mut self, point: usize, number: f64, fold: Aggregate) {
        let cell = &mut self.cells[point];
        cell.folded = match fold {
            _ if cell.n == 0.0 => number,
            Aggregate::Min => cell.folded.min(number),
            Aggregate::Max => cell.folded.max(number),
            _ => cell.folded + number,
        };
        cell.n += 1.0;
    }

    /// Returns where the exemplar of a span that comes now is kept, if it is. Those that are kept are
    /// spread over all that were seen: of `n` that come, each is as likely to stay, decided by a hash
    /// so that the same question has the same answer.
    pub(super) fn exemplar_place(&mut self) -> Option<usize> {
        let max = self.exemplars_max;
        if max == 0 {
            return None;
        }
        self.n_seen += 1;
        if self.exemplars.len() < max {
            return Some(self.exemplars.len());
        }
        let hash = xxhash_rust::xxh3::xxh3_64(&self.n_seen.to_le_bytes());
        let place = usize::try_from(hash % (self.n_seen as u64)).unwrap_or(usize::MAX);
        (place < self.exemplars.len()).then_some(place)
    }

    pub(super) fn keep(&mut self, place: usize, exemplar: Exemplar) {
        match self.exemplars.get_mut(place) {
            Some(kept) => *kept = exemplar,
            None => self.exemplars.push(exemplar),
        }
    }
}

impl Exemplar {
    /// Returns a span of a series with these labels. Of a count the span has no value: it is shown
    /// where its point is.
    pub(super) fn of(trace: &Trace, place: Place, labels: &[(String, Value<'static>)]) -> Self {
        let id = Value::Text(trace.trace_id(place).to_owned().into());
        let own = labels.iter().filter(|(name, value)| name != BUCKET && *value != Value::Nil);
        let labels = std::iter::once(("trace:id".to_owned(), id)).chain(own.cloned()).collect();
        let timestamp_ms = trace.start(place) / MS_NS;
        Self { labels, value: f64::NAN, timestamp_ms, point_ms: 0 }
    }

    /// Returns about how many bytes it takes.
    pub(super) fn n_bytes(&self) -> usize {
        let of_label = |(name, value): &(String, Value<'_>)| 64 + name.len() + value.plain().len();
        size_of::<Self>() + self.labels.iter().map(of_label).sum::<usize>()
    }
}
