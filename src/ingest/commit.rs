//! The last steps of every request: one append, and the books.

use super::error::IngestError;
use super::metrics::{Lane, Tally};
use super::outcome::{Outcome, Reason, Rejected};
use super::{Ingest, Store};
use crate::model::Commons;
use crate::storage::{AppendError, Part};

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
        Part::Samples { values, .. } => values.len() * size_of::<(u32, i64, f64)>(),
        Part::ExpHistograms { points, .. } => {
            let in_heap: usize = points.iter().map(|(.., point)| point.n_heap_bytes()).sum();
            size_of_val(points.as_slice()) + in_heap
        }
        Part::Logs { batch, .. } | Part::Spans { batch, .. } | Part::Exemplars { batch, .. } => {
            batch.get_array_memory_size()
        }
        Part::Descriptions { described, .. } => {
            described.iter().map(|(metric, d)| 128 + metric.len() + d.help.len()).sum()
        }
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
        let mut samples = samples_of(&parts);
        let mut result = append(&*self.store, parts).await;
        if let Err(AppendError::SeriesRetired) = result {
            match decode_again() {
                Ok(again) => {
                    rejected = again.rejected;
                    samples = samples_of(&again.parts);
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
                Part::Logs { commons, batch }
                | Part::Spans { commons, batch }
                | Part::Exemplars { commons, batch } => (commons.clone(), batch.num_rows()),
                Part::Descriptions { .. } => continue,
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
        _ => None,
    });
    samples.collect()
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
