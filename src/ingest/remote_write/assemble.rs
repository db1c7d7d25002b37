//! The columns of a request become parts for the store: series are looked up, those that are not known
//! registered, and their points grouped by commons.

use std::collections::BTreeMap;

use super::columns::{Columns, RawExemplar};
use crate::ingest::outcome::{Reason, Refusal, Rejected};
use crate::ingest::{Batch, Ingest, NewSeries, NotStored, SampleParts, Sender};
use crate::model::exemplar::{Exemplar, ExemplarsBuilder};
use crate::model::{ExpHistogram, Labels};
use crate::storage::{Epoch, Part, SeriesRef};

/// How many items of each kind are stored, once the batch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) samples: u64,
    pub(super) histograms: u64,
    pub(super) exemplars: u64,
}

/// A request made ready.
pub(super) struct Assembled {
    pub(super) batch: Batch,
    pub(super) written: Written,
    /// The series of each entry.
    pub(super) series: Vec<Option<SeriesRef>>,
}

/// What differs between the versions of the protocol.
pub(super) struct Dialect<'d> {
    /// Describes the series of an entry.
    pub(super) describe: &'d dyn Fn(usize) -> Result<NewSeries, Refusal>,
    /// Reads the labels of an exemplar.
    pub(super) exemplar_labels: &'d dyn Fn(&RawExemplar<'_>) -> Result<Labels, Refusal>,
    /// Whether the sender must hear of a broken exemplar: 1.0 does not ask for them to be kept.
    pub(super) tells_of_exemplars: bool,
}

/// Makes the parts.
pub(super) fn assemble(
    ingest: &Ingest,
    sender: Sender<'_>,
    mut columns: Columns<'_>,
    dialect: &Dialect<'_>,
) -> Assembled {
    let mut rejected = std::mem::take(&mut columns.rejected);
    let n_found = columns.values.len() + columns.histograms.len() + columns.exemplars.len();
    let n_received = n_items(n_found) + rejected.total();
    let (epoch, series) = ingest.resolve(sender, &columns.keys, dialect.describe, |idx, why| {
        let refusal = match why {
            NotStored::Refused(refusal) => {
                columns.to_fold(idx).for_each(|sample| ingest.overflow(&refusal, sample));
                for (histogram, count) in columns.histograms_to_fold(idx) {
                    ingest.overflow_histogram(&refusal, histogram, count);
                }
                refusal
            }
            NotStored::Folded(folded) => {
                columns.to_fold(idx).for_each(|sample| ingest.fold(&folded, sample));
                Refusal::folded()
            }
        };
        rejected.add_refusal(refusal, n_items(columns.n_items_of(idx)));
    });
    let mut written = Written::default();
    let mut parts = samples(&columns, &series, epoch, &mut written);
    let exemplars = ExemplarsOf { ingest, dialect, epoch, rejected: &mut rejected };
    parts.extend(exemplars.parts(&columns, &series, &mut written));
    parts.extend(histograms(columns.histograms, &series, epoch, &mut written));
    Assembled { batch: Batch { parts, n_received, rejected }, written, series }
}

fn samples(
    columns: &Columns<'_>,
    series: &[Option<SeriesRef>],
    epoch: Epoch,
    written: &mut Written,
) -> Vec<Part> {
    let mut parts = SampleParts::with_capacity(columns.values.len());
    parts.looked_up(epoch);
    for (idx, series) in series.iter().enumerate() {
        if let Some(series) = series {
            let samples = columns.samples_of(idx);
            if samples.is_empty() {
                continue;
            }
            written.samples += n_items(samples.len());
            let values = &columns.values[samples.clone()];
            let timestamps_ms = &columns.timestamps_ms[samples.clone()];
            match columns.starts_ns(samples) {
                None => parts.push(*series, timestamps_ms, values),
                Some(starts) => parts.push_started(*series, timestamps_ms, values, starts),
            }
        }
    }
    let ends = columns.stale_histograms.iter().filter(|&&entry| series[entry].is_some());
    let n_ends = n_items(ends.count());
    written.samples -= n_ends;
    written.histograms += n_ends;
    parts.into_parts()
}

fn histograms(
    histograms: Vec<(usize, i64, ExpHistogram)>,
    series: &[Option<SeriesRef>],
    epoch: Epoch,
    written: &mut Written,
) -> Vec<Part> {
    let mut by_commons: BTreeMap<u32, Vec<(u32, i64, ExpHistogram)>> = BTreeMap::new();
    for (entry, ms, histogram) in histograms {
        if let Some(SeriesRef { commons_idx, series_idx }) = series[entry] {
            written.histograms += 1;
            by_commons.entry(commons_idx).or_default().push((series_idx, ms, histogram));
        }
    }
    let part = |(commons_idx, points)| Part::ExpHistograms { commons_idx, epoch, points };
    by_commons.into_iter().map(part).collect()
}

struct ExemplarsOf<'e> {
    ingest: &'e Ingest,
    dialect: &'e Dialect<'e>,
    epoch: Epoch,
    rejected: &'e mut Rejected,
}

impl ExemplarsOf<'_> {
    fn parts(
        self,
        columns: &Columns<'_>,
        series: &[Option<SeriesRef>],
        written: &mut Written,
    ) -> Vec<Part> {
        let mut by_commons: BTreeMap<u32, ExemplarsBuilder> = BTreeMap::new();
        // Those of one series follow each other.
        let mut last = None;
        for raw in &columns.exemplars {
            let Some(found) = series[raw.entry] else { continue };
            if last.as_ref().is_none_or(|(entry, _)| *entry != raw.entry) {
                last = Some((raw.entry, self.ingest.store.labels_of(found, self.epoch)));
            }
            let made = self.exemplar(raw, found);
            match (&last, made) {
                (Some((_, Some((labels, rule)))), Ok(exemplar)) => {
                    written.exemplars += 1;
                    by_commons.entry(found.commons_idx).or_default().push(labels, rule, &exemplar);
                }
                // It left while we looked; a sample of it would be refused and sent again.
                (_, Ok(_)) => self.rejected.add(Reason::Exemplar, 1, String::new),
                (_, Err(refusal)) => self.rejected.add_refusal(refusal, 1),
            }
        }
        let part = |(commons_idx, mut rows): (u32, ExemplarsBuilder)| Part::Exemplars {
            commons: self.ingest.store.commons(commons_idx),
            batch: rows.finish(),
        };
        by_commons.into_iter().map(part).collect()
    }

    fn exemplar(&self, raw: &RawExemplar<'_>, series: SeriesRef) -> Result<Exemplar, Refusal> {
        let labels = (self.dialect.exemplar_labels)(raw).map_err(|refusal| {
            if self.dialect.tells_of_exemplars {
                refusal
            } else {
                Refusal::new(Reason::Exemplar, refusal.message)
            }
        })?;
        self.ingest.exemplars.admit(series, self.ingest.clock.monotonic_ns())?;
        let labels = self.ingest.clean_exemplar(&labels);
        let timestamp_ns = raw.timestamp_ms.saturating_mul(1_000_000);
        Ok(Exemplar { timestamp_ns, value: raw.value, labels })
    }
}

fn n_items(len: usize) -> u64 {
    u64::try_from(len).expect("a length fits u64")
}
