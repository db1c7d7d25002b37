//! The last steps of every request: one append, and the books.

use std::sync::Arc;

use super::error::IngestError;
use super::metrics::{Lane, Tally};
use super::outcome::{Outcome, Reason, Rejected};
use super::{Ingest, Store};
use crate::model::{Commons, ExpHistogram};
use crate::storage::deltas::Why;
use crate::storage::{AppendError, Difference, LeftOut, Part};

/// What one request came to, once decoded: rows for storage, and what was refused.
#[derive(Debug, Default)]
pub struct Batch {
    /// The rows, one commons and signal a part.
    pub parts: Vec<Part>,
    /// How many items came, refused ones included.
    pub n_received: u64,
    /// Those that are not in `parts`.
    pub rejected: Rejected,
}

impl Batch {
    /// Returns about how much memory the rows take.
    pub fn n_bytes(&self) -> usize {
        self.parts.iter().map(part_bytes).sum()
    }
}

fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Samples { values, starts_ns, .. } => {
            values.len() * size_of::<(u32, i64, f64)>() + size_of_val(starts_ns.as_slice())
        }
        Part::Deltas { deltas, .. } => {
            let in_heap: usize = deltas.iter().map(|delta| n_heap_bytes(&delta.difference)).sum();
            size_of_val(deltas.as_slice()) + in_heap
        }
        Part::ExpHistograms { points, .. } => {
            let in_heap: usize = points.iter().map(|(.., point)| point.n_heap_bytes()).sum();
            size_of_val(points.as_slice()) + in_heap
        }
        Part::Logs { batch, .. }
        | Part::Spans { batch, .. }
        | Part::Exemplars { batch, .. }
        | Part::Points { batch, .. } => batch.get_array_memory_size(),
        Part::Descriptions { described, .. } => {
            described.iter().map(|(metric, d)| 128 + metric.len() + d.help.len()).sum()
        }
    }
}

fn n_heap_bytes(difference: &Difference) -> usize {
    match difference {
        Difference::Histogram(histogram) => size_of::<ExpHistogram>() + histogram.n_heap_bytes(),
        Difference::Number(_) | Difference::End => 0,
    }
}

impl Ingest {
    /// Appends a batch and books its items: when this returns `Ok` they are synced and visible.
    ///
    /// Should a series have been retired between lookup and append, `decode_again` makes the batch
    /// anew, once; it registers what is gone.
    pub async fn commit(
        &self,
        lane: Lane,
        batch: Batch,
        decode_again: impl FnOnce() -> Result<Batch, IngestError>,
    ) -> Result<Outcome, IngestError> {
        let Batch { parts, n_received, mut rejected } = batch;
        let tally = self.metrics.tally(lane, n_received);
        if self.rates.is_limited()
            && let Err(error) = self.rates.take(&self.records_of(&parts))
        {
            return Err(close(tally, &rejected, error));
        }
        let (mut samples, mut left_out) = (samples_of(&parts), left_out_of(&parts));
        let mut result = append(&*self.store, parts).await;
        if let Err(AppendError::SeriesRetired) = result {
            match decode_again() {
                Ok(again) => {
                    rejected = again.rejected;
                    samples = samples_of(&again.parts);
                    left_out = left_out_of(&again.parts);
                    result = append(&*self.store, again.parts).await;
                }
                Err(error) => return Err(close(tally, &rejected, error)),
            }
        }
        match result {
            Ok(()) => {
                for (commons_idx, n_samples) in samples {
                    self.derive.observe_samples(&self.store.commons(commons_idx), n_samples);
                }
                left_out.iter().for_each(|one| self.reject_left_out(one, &mut rejected));
                let mut tally = tally;
                tally.refused(&rejected);
                Ok(Outcome { n_stored: tally.stored_rest(), rejected })
            }
            Err(error) => Err(close(tally, &rejected, error.into())),
        }
    }
}

impl Ingest {
    /// Returns how many records there are of each commons.
    fn records_of(&self, parts: &[Part]) -> Vec<(Commons, u64)> {
        let mut records: Vec<(Commons, u64)> = Vec::new();
        for part in parts {
            let (commons, n_records) = match part {
                Part::Samples { commons_idx, values, .. } => {
                    (self.store.commons(*commons_idx), values.len())
                }
                Part::ExpHistograms { commons_idx, points, .. } => {
                    (self.store.commons(*commons_idx), points.len())
                }
                Part::Deltas { commons_idx, deltas, .. } => {
                    (self.store.commons(*commons_idx), deltas.len())
                }
                Part::Logs { commons, batch }
                | Part::Spans { commons, batch }
                | Part::Exemplars { commons, batch } => (commons.clone(), batch.num_rows()),
                // Counted by their samples.
                Part::Points { .. } | Part::Descriptions { .. } => continue,
            };
            let n_records = u64::try_from(n_records).unwrap_or(u64::MAX);
            match records.iter_mut().find(|(known, _)| *known == commons) {
                Some((_, sum)) => *sum += n_records,
                None => records.push((commons, n_records)),
            }
        }
        records
    }
}

/// Returns how many samples there are of each commons.
fn samples_of(parts: &[Part]) -> Vec<(u32, usize)> {
    let samples = parts.iter().filter_map(|part| match part {
        Part::Samples { commons_idx, values, .. } => Some((*commons_idx, values.len())),
        Part::ExpHistograms { commons_idx, points, .. } => Some((*commons_idx, points.len())),
        Part::Deltas { commons_idx, deltas, .. } => Some((*commons_idx, deltas.len())),
        _ => None,
    });
    samples.collect()
}

/// Returns who hears of the differences that storage could not add up.
fn left_out_of(parts: &[Part]) -> Vec<Arc<LeftOut>> {
    let left_out = parts.iter().filter_map(|part| match part {
        Part::Deltas { left_out, .. } => Some(Arc::clone(left_out)),
        _ => None,
    });
    left_out.collect()
}

impl Ingest {
    /// Counts the differences that storage could not add up as refused.
    fn reject_left_out(&self, left_out: &LeftOut, rejected: &mut Rejected) {
        for (why, n) in left_out.counts() {
            match why {
                Why::OutOfOrder => rejected.add(Reason::DeltaOutOfOrder, n, || {
                    "a delta ends when the last one of its series did, or before: it comes late or a \
                     second time, and was not added"
                        .to_owned()
                }),
                Why::OlderStart => rejected.add(Reason::DeltaOutOfOrder, n, || {
                    "a delta begins before the first one of its series that was added up".to_owned()
                }),
                Why::NotFinite => rejected.add(Reason::Invalid, n, || {
                    "a delta is NaN or infinite, and would make the total of its series so for good"
                        .to_owned()
                }),
                Why::NoRoom => rejected.add(Reason::DeltaLimit, n, || {
                    format!(
                        "a commons has {} series whose deltas are added up, the most it may: report \
                         totals (cumulative temporality), or raise limits.delta_series_per_commons",
                        self.limits.delta_series_per_commons
                    )
                }),
            }
        }
    }
}

async fn append(store: &dyn Store, parts: Vec<Part>) -> Result<(), AppendError> {
    if parts.is_empty() { Ok(()) } else { store.append(parts).await }
}

/// Books a batch that was not stored.
fn close(mut tally: Tally, rejected: &Rejected, error: IngestError) -> IngestError {
    tally.refused(rejected);
    tally.refused_rest(match error {
        IngestError::Overloaded { .. }
        | IngestError::TooFast { .. }
        | IngestError::Append(AppendError::Overloaded { .. }) => Reason::Overloaded,
        _ => Reason::Unavailable,
    });
    error
}
