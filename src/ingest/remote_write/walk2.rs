//! One pass over an `io.prometheus.write.v2.Request`, after one over its symbols.
//!
//! ```text
//! Request    { 4: symbol*, 5: TimeSeries* }
//! TimeSeries { 1: labels_refs u32*, 2: Sample* {1: value, 2: timestamp, 3: start}, 3: Histogram*,
//!              4: Exemplar* {1: labels_refs u32*, 2: value, 3: timestamp},
//!              5: Metadata {1: type, 3: help_ref, 4: unit_ref}, 6: created_timestamp }
//! ```
//!
//! The symbols are looked at where they lie. A series' key is the hash of its symbols' hashes, each of
//! which is made once a request, so that a series costs a lookup a label and no copying. Since when a
//! sample counts is said by its own start timestamp, or by the series' created timestamp of the earlier draft.

use std::cell::OnceCell;

use xxhash_rust::xxh3::xxh3_128;

use crate::ingest::limits::{Limits, TimeBounds};
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::resolve::NewSeries;
use crate::ingest::wire::{Field, Reader, Value, WireError};
use crate::ingest::{IngestError, Seed};
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, MetricKind, SeriesMeta};

use super::columns::{Columns, Filler};
use super::metadata;
use super::series::{self, EXEMPLAR_LABELS_MAX, RawLabel, TEXT_LABELS_MAX};

/// The texts of a request.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    texts: Vec<&'a [u8]>,
    hashes: Vec<OnceCell<u128>>,
}

/// What is said of the metric of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Metadata {
    kind: u64,
    help_ref: u32,
    unit_ref: u32,
}

/// A request that was walked.
#[derive(Debug)]
pub(super) struct Walked<'a> {
    /// The texts.
    symbols: Symbols<'a>,
    columns: Columns<'a>,
    /// The message of each entry, and whether it has histograms.
    entries: Vec<(Reader<'a>, bool)>,
    /// The entries at which something is said of another metric than at the one before.
    told: Vec<usize>,
}

impl<'a> Symbols<'a> {
    fn read(body: &'a [u8], limits: &Limits) -> Result<Self, IngestError> {
        let mut texts = Vec::new();
        let mut reader = Reader::new(body);
        while let Some(field) = reader.next_field()? {
            if field.number == 4 {
                if texts.len() >= limits.symbols_per_request {
                    return Err(IngestError::TooManySymbols { max: limits.symbols_per_request });
                }
                texts.push(field.bytes()?);
            }
        }
        if texts.first().is_some_and(|first| !first.is_empty()) {
            return Err(IngestError::Invalid("the first symbol is not the empty text".to_owned()));
        }
        let hashes = vec![OnceCell::new(); texts.len()];
        Ok(Self { texts, hashes })
    }

    fn get(&self, reference: u32) -> Option<&'a [u8]> {
        self.texts.get(usize::try_from(reference).ok()?).copied()
    }

    fn text(&self, reference: u32) -> &'a str {
        self.get(reference).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("")
    }

    fn hash(&self, reference: u32) -> Option<u128> {
        let at = usize::try_from(reference).ok()?;
        Some(*self.hashes.get(at)?.get_or_init(|| xxh3_128(self.texts[at])))
    }

    /// Puts a series in words.
    fn text_of_series(&self, message: Reader<'_>) -> String {
        series::text_of(&self.labels(message, TEXT_LABELS_MAX).unwrap_or_default())
    }

    /// Reads at most `n_max` labels off the references of a message.
    fn labels(&self, message: Reader<'_>, n_max: usize) -> Result<Vec<RawLabel<'a>>, String> {
        let mut labels = Vec::new();
        let mut name = None;
        let mut fault = None;
        each_reference(message, |reference| {
            let Some(text) = self.get(reference) else {
                let n = self.texts.len();
                fault.get_or_insert(format!("a label refers to symbol {reference} of {n}"));
                return;
            };
            match name.take() {
                None => name = Some(text),
                Some(name) if labels.len() < n_max => labels.push((name, text)),
                Some(_) => {}
            }
        })
        .map_err(|error| error.to_string())?;
        match (fault, name) {
            (Some(fault), _) => Err(fault),
            (None, Some(_)) => Err("an odd number of label references".to_owned()),
            (None, None) => Ok(labels),
        }
    }
}

/// Hands over the `labels_refs` of a series or an exemplar, packed or one a field.
fn each_reference(
    mut message: Reader<'_>,
    mut on_reference: impl FnMut(u32),
) -> Result<(), WireError> {
    while let Some(field) = message.next_field()? {
        if field.number == 1 {
            references(&field, &mut on_reference)?;
        }
    }
    Ok(())
}

#[inline]
fn references(field: &Field<'_>, mut on_reference: impl FnMut(u32)) -> Result<(), WireError> {
    // A reference past 32 bits is out of every table.
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    if let Value::Varint(number) = field.value {
        on_reference(narrow(number));
        return Ok(());
    }
    let mut packed = field.message()?;
    while !packed.is_empty() {
        on_reference(narrow(packed.varint()?));
    }
    Ok(())
}

/// Walks a decompressed body.
pub(super) fn walk<'a>(
    body: &'a [u8],
    seed: Seed,
    bounds: TimeBounds,
    limits: &Limits,
) -> Result<Walked<'a>, IngestError> {
    let symbols = Symbols::read(body, limits)?;
    let name_ref = symbols.texts.iter().position(|text| *text == METRIC_NAME.as_bytes());
    let text = |message: Reader<'a>| symbols.text_of_series(message);
    let mut walker = Walker {
        filler: Filler::new(body.len(), bounds, limits, &text).of_version_2(),
        seed,
        name_ref: name_ref.and_then(|at| u32::try_from(at).ok()),
        symbols: &symbols,
        key_bytes: Vec::new(),
        told: Vec::new(),
        last_told: None,
    };
    let mut reader = Reader::new(body);
    while let Some(field) = reader.next_field()? {
        if field.number == 5 {
            walker.series(field.message()?)?;
        }
    }
    let Walker { filler, told, .. } = walker;
    let columns = filler.columns;
    let mut entries: Vec<_> = columns.messages.iter().map(|message| (*message, false)).collect();
    columns.histograms.iter().for_each(|(entry, ..)| entries[*entry].1 = true);
    Ok(Walked { symbols, columns, entries, told })
}

struct Walker<'a, 'b> {
    filler: Filler<'a, 'b>,
    seed: Seed,
    symbols: &'b Symbols<'a>,
    /// The reference of `__name__`.
    name_ref: Option<u32>,
    /// The hashes of a series' symbols, one behind the other.
    key_bytes: Vec<u8>,
    told: Vec<usize>,
    last_told: Option<(Option<u32>, Metadata)>,
}

impl<'a> Walker<'a, '_> {
    fn series(&mut self, message: Reader<'a>) -> Result<(), IngestError> {
        let before = self.filler.n_points();
        let columns = &self.filler.columns;
        let from = (columns.values.len(), columns.histograms.len());
        let mut created_ms = 0;
        let mut metadata = Metadata::default();
        // Whose metric it is: the reference after that of `__name__`.
        let (mut metric_ref, mut is_name, mut n_refs) = (None, false, 0_usize);
        self.key_bytes.clear();
        self.filler.count_series()?;
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => references(&field, |reference| {
                    if is_name {
                        metric_ref = Some(reference);
                    }
                    is_name = n_refs % 2 == 0 && Some(reference) == self.name_ref;
                    n_refs += 1;
                    // A reference to nothing makes the series one that is not known, and its labels
                    // are then found to be broken.
                    let hash = self.symbols.hash(reference).unwrap_or(!u128::from(reference));
                    self.key_bytes.extend_from_slice(&hash.to_le_bytes());
                })?,
                2 => self.filler.sample(message, field.message()?)?,
                3 => self.filler.histogram(message, field.message()?)?,
                4 => self.filler.exemplar(message, field.message()?)?,
                5 => metadata = read_metadata(field.message()?)?,
                6 => created_ms = field.int64()?,
                _ => {}
            }
        }
        if self.filler.n_points() > before {
            if created_ms != 0 {
                self.filler.created(from, created_ms);
            }
            if metadata != Metadata::default() && self.last_told != Some((metric_ref, metadata)) {
                self.told.push(self.filler.columns.keys.len());
                self.last_told = Some((metric_ref, metadata));
            }
            self.filler.end_series(self.seed.key(&self.key_bytes), message);
        }
        Ok(())
    }
}

fn read_metadata(mut message: Reader<'_>) -> Result<Metadata, WireError> {
    let mut metadata = Metadata::default();
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => metadata.kind = field.varint()?,
            3 => metadata.help_ref = field.uint32()?,
            4 => metadata.unit_ref = field.uint32()?,
            _ => {}
        }
    }
    Ok(metadata)
}

fn metadata_of(mut message: Reader<'_>) -> Metadata {
    let mut metadata = Metadata::default();
    while let Ok(Some(field)) = message.next_field() {
        if field.number == 5
            && let Ok(read) = field.message().and_then(read_metadata)
        {
            metadata = read;
        }
    }
    metadata
}

impl<'a> Walked<'a> {
    /// Hands over what the request holds.
    pub(super) fn take_columns(&mut self) -> Columns<'a> {
        std::mem::take(&mut self.columns)
    }

    /// Reads and checks the labels of an entry's series.
    pub(super) fn describe(&self, entry: usize, limits: &Limits) -> Result<NewSeries, Refusal> {
        let (message, has_histograms) = self.entries[entry];
        let n_max = limits.labels_per_series.saturating_add(1);
        let raw = self.symbols.labels(message, n_max);
        let raw = raw.map_err(|what| Refusal::new(Reason::InvalidLabels, what))?;
        let text = || series::text_of(&raw[..raw.len().min(TEXT_LABELS_MAX)]);
        let labels = series::labels_of(&raw, limits, text)?;
        let metadata = metadata_of(message);
        let mut kind = MetricKind::from_prometheus(metadata.kind);
        if has_histograms && matches!(kind, MetricKind::Histogram | MetricKind::Unknown) {
            kind = MetricKind::ExpHistogram;
        }
        let unit = metadata::description(kind, self.symbols.text(metadata.unit_ref), "").unit;
        let meta = SeriesMeta { kind, unit, ..SeriesMeta::default() };
        Ok(NewSeries { labels, meta, tags: None })
    }

    /// Reads and checks the labels of an exemplar.
    pub(super) fn exemplar_labels(
        &self,
        message: Reader<'_>,
        limits: &Limits,
    ) -> Result<Labels, Refusal> {
        let raw = self.symbols.labels(message, EXEMPLAR_LABELS_MAX + 1);
        let raw = raw
            .map_err(|what| Refusal::new(Reason::InvalidLabels, format!("an exemplar: {what}")))?;
        series::exemplar_labels_of(&raw, limits)
    }

    /// Returns what is said of metrics: the entry, the metric, the description.
    pub(super) fn told(&self) -> impl Iterator<Item = (usize, &'a str, crate::model::Description)> {
        self.told.iter().filter_map(|&entry| {
            let (message, _) = self.entries[entry];
            let Metadata { kind, help_ref, unit_ref } = metadata_of(message);
            let labels = self.symbols.labels(message, usize::MAX).ok()?;
            let is_name = |label: &&RawLabel<'_>| label.0 == METRIC_NAME.as_bytes();
            let metric = std::str::from_utf8(labels.iter().find(is_name)?.1).ok()?;
            let (unit, help) = (self.symbols.text(unit_ref), self.symbols.text(help_ref));
            let kind = MetricKind::from_prometheus(kind);
            Some((entry, metric, metadata::description(kind, unit, help)))
        })
    }
}
