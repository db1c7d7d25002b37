//! Reading exemplars: rows of their own signal, in files and in the head, found by the labels of their
//! series.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type};

use super::files::read::AllRows;
use super::head::rows::times_ns;
use super::snapshot::Snapshot;
use super::{HeadFilter, ReadError};
use crate::model::dictionary::text_at;
use crate::model::exemplar::{self, Exemplar, SPAN_ID, SeriesExemplars, TRACE_ID};
use crate::model::{Commons, Labels, LabelsBuilder, Matcher, Signal};

/// Which exemplars to read.
#[derive(Debug, Clone, Copy)]
pub struct ExemplarRequest<'a> {
    /// A series is wanted when all matchers of one of these match.
    pub selectors: &'a [Vec<Matcher>],
    /// First ms wanted, inclusive.
    pub start_ms: i64,
    /// Last ms wanted, inclusive.
    pub end_ms: i64,
    /// At most this many exemplars (`query.samples_max`).
    pub exemplars_max: usize,
    /// At most so many bytes of them (`query.result_bytes_max`).
    pub bytes_max: usize,
}

/// Bytes that an exemplar takes in memory and in an answer beside its labels.
const EXEMPLAR_BYTES: usize = 64;

impl ExemplarRequest<'_> {
    fn range_ns(&self) -> (i64, i64) {
        let to_ns = |ms: i64| ms.saturating_mul(1_000_000);
        (to_ns(self.start_ms), to_ns(self.end_ms).saturating_add(999_999))
    }

    fn wants(&self, labels: &Labels) -> bool {
        let fits = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
        self.selectors.iter().any(|matchers| matchers.iter().all(fits))
    }
}

impl Snapshot {
    /// Returns the exemplars of the matching series, sorted by labels and time, each once.
    ///
    /// A file that turns out to be damaged is left out whole, and [`Snapshot::warnings`] names it.
    pub fn exemplars(
        &self,
        request: &ExemplarRequest<'_>,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        loop {
            match self.try_exemplars(request) {
                Err(error) => self.leave_out(error)?,
                found => return found,
            }
        }
    }

    fn try_exemplars(
        &self,
        request: &ExemplarRequest<'_>,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        let (min_ns, max_ns) = request.range_ns();
        let mut found = Found { request, series: BTreeMap::new(), n_exemplars: 0, n_bytes: 0 };
        self.note_missing(Signal::Exemplars);
        let disk = self.disk();
        for file in self.files(Signal::Exemplars) {
            if file.max_ns < min_ns || max_ns < file.min_ns {
                continue;
            }
            self.go_on()?;
            let mut rows = AllRows::open(disk, &file, &exemplar::schema())?;
            while let Some(batch) = rows.next_batch()? {
                found.take(&file.commons, &batch)?;
                self.go_on()?;
            }
        }
        let filter =
            HeadFilter { min_ns: Some(min_ns), max_ns: Some(max_ns), ..HeadFilter::default() };
        for head in self.head(Signal::Exemplars, filter) {
            self.go_on()?;
            found.take(&head.commons, &head.batch)?;
        }
        Ok(found.finish())
    }
}

struct Found<'a> {
    request: &'a ExemplarRequest<'a>,
    series: BTreeMap<Labels, Vec<Exemplar>>,
    n_exemplars: usize,
    n_bytes: usize,
}

impl Found<'_> {
    /// Counts an exemplar, or says of what there are too many.
    fn count(&mut self, exemplar: &Exemplar) -> Result<(), ReadError> {
        let &ExemplarRequest { exemplars_max, bytes_max, .. } = self.request;
        self.n_exemplars += 1;
        self.n_bytes += EXEMPLAR_BYTES + exemplar.labels.packed().len();
        for (n, what, max, limit) in [
            (self.n_exemplars, "exemplars", exemplars_max, "query.samples_max"),
            (self.n_bytes, "bytes of exemplars", bytes_max, "query.result_bytes_max"),
        ] {
            if n > max {
                return Err(ReadError::Limit { what, max, limit });
            }
        }
        Ok(())
    }

    fn take(&mut self, commons: &Commons, batch: &RecordBatch) -> Result<(), ReadError> {
        let (min_ns, max_ns) = self.request.range_ns();
        let columns = Columns::new(batch);
        // Rows of a file are sorted by metric, and those of a request mostly of one series.
        let mut last: Option<([Option<usize>; 5], Option<Labels>)> = None;
        for (row, &timestamp_ns) in times_ns(batch).iter().enumerate() {
            if timestamp_ns < min_ns || max_ns < timestamp_ns {
                continue;
            }
            let key = columns.series_key(row);
            if last.as_ref().is_none_or(|(known, _)| *known != key) {
                let labels = columns.series(row, commons);
                last = Some((key, Some(labels).filter(|labels| self.request.wants(labels))));
            }
            let Some((_, Some(labels))) = &last else { continue };
            let exemplar = columns.exemplar(row, timestamp_ns);
            self.count(&exemplar)?;
            match self.series.get_mut(labels) {
                Some(exemplars) => exemplars.push(exemplar),
                None => drop(self.series.insert(labels.clone(), vec![exemplar])),
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<SeriesExemplars> {
        let series = self.series.into_iter().map(|(labels, mut exemplars)| {
            exemplars.sort_by(|a, b| {
                let by_time = a.timestamp_ns.cmp(&b.timestamp_ns);
                by_time.then_with(|| a.labels.cmp(&b.labels)).then(a.value.total_cmp(&b.value))
            });
            // A request that was sent twice.
            exemplars.dedup_by(|a, b| {
                let is_value = a.value.to_bits() == b.value.to_bits();
                a.timestamp_ns == b.timestamp_ns && is_value && a.labels == b.labels
            });
            SeriesExemplars { labels, exemplars }
        });
        series.collect()
    }
}

/// The columns of a batch of exemplars, or of samples, that say of which series a row is.
pub(super) struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl<'a> Columns<'a> {
    /// Takes a batch apart.
    pub(super) fn new(batch: &'a RecordBatch) -> Self {
        Self { batch }
    }

    fn column(&self, name: &str) -> &'a dyn Array {
        self.batch.column_by_name(name).expect("it was checked to have the schema").as_ref()
    }

    fn text(&self, name: &str, row: usize) -> &'a str {
        text_at(self.column(name), row)
    }

    /// Tells rows of different series of one batch apart: by the keys of their texts.
    pub(super) fn series_key(&self, row: usize) -> [Option<usize>; 5] {
        ["metric", "labels", "service", "env", "cluster"]
            .map(|name| self.column(name).as_dictionary::<Int32Type>().key(row))
    }

    /// Returns the labels of a row's series.
    pub(super) fn series(&self, row: usize, commons: &Commons) -> Labels {
        let mut labels = json_labels(self.text("labels", row));
        labels.set("__name__", self.text("metric", row));
        for name in ["service", "env", "cluster"] {
            labels.set(name, self.text(name, row));
        }
        if !commons.is_unassigned() {
            labels.set("commons", commons.as_str());
        }
        labels.build()
    }

    fn exemplar(&self, row: usize, timestamp_ns: i64) -> Exemplar {
        let mut labels = json_labels(self.text("exemplar_labels", row));
        for name in [TRACE_ID, SPAN_ID] {
            let id = self.text(name, row);
            if !id.is_empty() {
                labels.set(name, id);
            }
        }
        let value = self.column("value").as_primitive::<Float64Type>().value(row);
        Exemplar { timestamp_ns, value, labels: labels.build() }
    }
}

fn json_labels(text: &str) -> LabelsBuilder {
    let pairs: BTreeMap<String, String> = serde_json::from_str(text).unwrap_or_default();
    let mut labels = LabelsBuilder::new();
    for (name, value) in &pairs {
        labels.set(name, value);
    }
    labels
}
