//! Points as they were sent, beside the samples that are made of them: one row each, with all that the
//! sender said. Off unless `otlp.keep_points` is set: a row costs several times what its samples do.
//!
//! A point has a row when its series is stored, under that series' labels. A request that is sent again
//! leaves its rows again, as log records do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Walk, point};
use crate::ingest::otlp::json_text::{JsonText, split_key_value};
use crate::ingest::otlp::scope::Scope;
use crate::ingest::records::{RowError, Rules};
use crate::ingest::wire::{Field, Reader, WireError, text_of};
use crate::model::point::{PointKind, PointNumbers, PointOrigin, PointRow, PointsBuilder};
use crate::model::point_rest::PointRest;
use crate::model::span_rest::ColumnRest;
use crate::model::{Labels, json};
use crate::storage::{Epoch, SeriesRef, family};

/// A point that waits for its series.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitingPoint<'a> {
    /// The index of its first sample among those that wait.
    pub(super) sample: usize,
    /// The number of the metric's `data` field.
    pub(super) data_number: u32,
    /// Its message.
    pub(super) message: Reader<'a>,
}

/// Rows under way.
#[derive(Debug, Default)]
pub(super) struct Points<'a> {
    pub(super) waiting: Vec<WaitingPoint<'a>>,
    /// The scopes of the request; none for one that a limit refused.
    pub(super) scopes: Vec<Option<Scope>>,
    rows: BTreeMap<u32, PointsBuilder>,
    metric: Option<(usize, MetricTexts)>,
    scratch: Scratch,
}

/// What the points of a metric share.
#[derive(Debug)]
struct MetricTexts {
    name: String,
    unit: String,
    description: String,
    is_monotonic: Option<bool>,
    rest: PointRest,
    rest_text: String,
}

/// The texts of one point, reused from point to point.
#[derive(Debug, Default)]
struct Scratch {
    attributes: JsonText,
    item: JsonText,
    exemplars: String,
    exemplars_rest: ColumnRest,
    n_exemplars: usize,
    n_strings: u32,
}

impl<'a> Walk<'_, 'a> {
    /// Writes the rows of the points whose series were found.
    pub(super) fn place_points(&mut self, epoch: Epoch, found: &[Option<SeriesRef>]) {
        let (ctx, rules) = (self.ctx, self.ctx.rules());
        let mut points = std::mem::take(&mut self.points);
        for waiting in std::mem::take(&mut points.waiting) {
            let Some(series) = found[waiting.sample] else { continue };
            let sample = &self.waiting[waiting.sample];
            let metric = &self.metrics[sample.metric_idx];
            let Some(Some(_)) = points.scopes.get(metric.scope_idx) else { continue };
            let Some((labels, rule)) = ctx.ingest.store.labels_of(series, epoch) else { continue };
            points.load_metric(sample.metric_idx, metric, &rules);
            let whose = (family(labels.metric(), metric.kind), &labels, &*rule);
            // What cannot be written for a limit was refused with its series already, mostly.
            if let Ok(n_bytes) =
                points.push(series.commons_idx, whose, (metric, sample.time_ns), &waiting, &rules)
            {
                self.decoded.n_built_bytes += n_bytes;
            }
        }
        self.points = points;
    }
}

impl<'a> Points<'a> {
    /// Hands the rows over, by commons.
    pub(super) fn into_rows(self) -> BTreeMap<u32, PointsBuilder> {
        self.rows
    }

    fn load_metric(&mut self, idx: usize, metric: &super::Metric<'_>, rules: &Rules<'_>) {
        if self.metric.as_ref().is_none_or(|(known, _)| *known != idx) {
            let scope = self.scopes.get(metric.scope_idx).and_then(Option::as_ref);
            self.metric = Some((idx, MetricTexts::read(metric, scope, rules)));
        }
    }

    /// Appends the row of a point; returns how many bytes of text it has.
    fn push(
        &mut self,
        commons_idx: u32,
        whose: (&str, &Labels, &str),
        (metric, time_ns): (&super::Metric<'_>, i64),
        waiting: &WaitingPoint<'_>,
        rules: &Rules<'_>,
    ) -> Result<usize, RowError> {
        let raw = RawPoint::read(waiting, &mut self.scratch, rules)?;
        let (_, texts) = self.metric.as_ref().expect("it was loaded for this point");
        let scope = self.scopes[metric.scope_idx].as_ref().expect("the caller has looked");
        let own_rest = self.scratch.rest(texts, &raw);
        let origin = PointOrigin {
            name: &texts.name,
            unit: &texts.unit,
            description: &texts.description,
            temporality: metric.temporality.as_str().unwrap_or(""),
            is_monotonic: texts.is_monotonic,
            resource: &metric.resource.json,
            scope_name: &scope.name,
            scope_version: &scope.version,
            scope_attributes: &scope.attributes,
        };
        let row = PointRow {
            timestamp_ns: time_ns,
            start_ns: i64::try_from(raw.start_ns).unwrap_or(0),
            kind: kind_of(waiting.data_number),
            numbers: &raw.numbers,
            flags: raw.flags,
            attributes: self.scratch.attributes.end(),
            exemplars: &self.scratch.exemplars,
            rest: own_rest.as_deref().unwrap_or(&texts.rest_text),
        };
        let n_bytes = row.attributes.len() + row.exemplars.len() + row.rest.len();
        self.rows.entry(commons_idx).or_default().push(whose, &origin, &row);
        Ok(n_bytes)
    }
}

impl MetricTexts {
    fn read(metric: &super::Metric<'_>, scope: Option<&Scope>, rules: &Rules<'_>) -> Self {
        let mut rest = PointRest::default();
        if let Some(scope) = scope {
            (rest.scope, rest.resource) = (scope.rest.scope.clone(), scope.rest.resource.clone());
        }
        let mut is_monotonic = None;
        // It was walked before, so it can be walked again; metadata past a limit is left out.
        let _: Result<(), RowError> =
            read_metric(metric.message, &mut rest, &mut is_monotonic, rules);
        let text = |bytes| text_of(bytes).into_owned();
        let (name, unit, description) = (text(metric.name), text(metric.unit), text(metric.help));
        let rest_text = rest.to_text();
        Self { name, unit, description, is_monotonic, rest, rest_text }
    }
}

fn read_metric(
    message: &[u8],
    rest: &mut PointRest,
    is_monotonic: &mut Option<bool>,
    rules: &Rules<'_>,
) -> Result<(), RowError> {
    let mut metadata = JsonText::default();
    metadata.begin();
    let mut has_metadata = false;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.next_field()? {
        match field.number {
            12 => {
                metadata.attribute(&field, rules)?;
                has_metadata = true;
            }
            7 | 9 | 10 => {
                let (temporality, monotonic) = sum_of(&field)?;
                rest.temporality = Some(temporality).filter(|number| !(0..=2).contains(number));
                *is_monotonic = (field.number == 7).then_some(monotonic);
            }
            _ => {}
        }
    }
    if has_metadata {
        metadata.end().clone_into(&mut rest.metadata);
        rest.metadata_rest = metadata.rest().clone();
    }
    Ok(())
}

/// Reads the temporality of a sum or histogram, and whether a sum only grows.
fn sum_of(data: &Field<'_>) -> Result<(i32, bool), WireError> {
    let (mut temporality, mut is_monotonic) = (0, false);
    let mut reader = data.message()?;
    while let Some(field) = reader.next_field()? {
        match field.number {
            2 => temporality = field.int32()?,
            3 if data.number == 7 => is_monotonic = field.bool()?,
            _ => {}
        }
    }
    Ok((temporality, is_monotonic))
}

fn kind_of(data_number: u32) -> PointKind {
    match data_number {
        5 => PointKind::Gauge,
        7 => PointKind::Sum,
        9 => PointKind::Histogram,
        10 => PointKind::ExpHistogram,
        _ => PointKind::Summary,
    }
}

/// What a point says, its attributes and exemplars written already.
#[derive(Debug, Default)]
struct RawPoint {
    time_ns: u64,
    start_ns: u64,
    flags: u32,
    numbers: PointNumbers,
}

impl RawPoint {
    fn read(
        waiting: &WaitingPoint<'_>,
        scratch: &mut Scratch,
        rules: &Rules<'_>,
    ) -> Result<Self, RowError> {
        let mut raw = Self::default();
        let numbers = super::numbers_of(waiting.data_number);
        raw.begin(waiting.data_number);
        scratch.begin();
        let mut reader = waiting.message;
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => raw.start_ns = field.fixed64()?,
                3 => raw.time_ns = field.fixed64()?,
                number if number == numbers.attributes => {
                    add(&mut scratch.attributes, &field, rules)?;
                }
                number if number == numbers.flags => raw.flags = field.uint32()?,
                number if number == numbers.exemplars && number != 0 => {
                    scratch.exemplar(field.message()?, rules)?;
                }
                _ => raw.number(waiting.data_number, &field)?,
            }
        }
        scratch.end_exemplars();
        Ok(raw)
    }

    /// Sets what a kind of points always has.
    fn begin(&mut self, data_number: u32) {
        let numbers = &mut self.numbers;
        match data_number {
            9 => {
                numbers.count = Some(0);
                numbers.bucket_counts = Some(Vec::new());
                numbers.explicit_bounds = Some(Vec::new());
            }
            10 => {
                numbers.count = Some(0);
                (numbers.scale, numbers.zero_count) = (Some(0), Some(0));
                numbers.zero_threshold = Some(0.0);
            }
            11 => {
                (numbers.count, numbers.sum) = (Some(0), Some(0.0));
                numbers.quantiles = Some((Vec::new(), Vec::new()));
            }
            _ => {}
        }
    }

    fn number(&mut self, data_number: u32, field: &Field<'_>) -> Result<(), RowError> {
        let numbers = &mut self.numbers;
        match (data_number, field.number) {
            (5 | 7, 4) => (numbers.value, numbers.value_int) = (Some(field.double()?), None),
            (5 | 7, 6) => (numbers.value, numbers.value_int) = (None, Some(field.sfixed64()?)),
            (9..=11, 4) => numbers.count = Some(field.fixed64()?),
            (9..=11, 5) => numbers.sum = Some(field.double()?),
            (9, 6) => {
                let counts = numbers.bucket_counts.get_or_insert_default();
                point::each_fixed64(field, |count| counts.push(count))?;
            }
            (9, 7) => {
                let bounds = numbers.explicit_bounds.get_or_insert_default();
                point::each_fixed64(field, |bits| bounds.push(f64::from_bits(bits)))?;
            }
            (9, 11) | (10, 12) => numbers.min = Some(field.double()?),
            (9, 12) | (10, 13) => numbers.max = Some(field.double()?),
            (10, 6) => numbers.scale = Some(point::sint32(field)?),
            (10, 7) => numbers.zero_count = Some(field.fixed64()?),
            (10, 8) => {
                let (offset, counts) = numbers.positive.get_or_insert_default();
                point::buckets(field, offset, counts)?;
            }
            (10, 9) => {
                let (offset, counts) = numbers.negative.get_or_insert_default();
                point::buckets(field, offset, counts)?;
            }
            (10, 14) => numbers.zero_threshold = Some(field.double()?),
            (11, 6) => {
                let (quantiles, values) = numbers.quantiles.get_or_insert_default();
                let (quantile, value) = point::quantile(field.message()?)?;
                quantiles.push(quantile);
                values.push(value);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Appends an attribute, unless it tells a person.
fn add(object: &mut JsonText, field: &Field<'_>, rules: &Rules<'_>) -> Result<(), RowError> {
    let (key, _) = split_key_value(field)?;
    if rules.is_personal(&text_of(key)) { Ok(()) } else { object.attribute(field, rules) }
}

impl Scratch {
    fn begin(&mut self) {
        self.attributes.begin();
        self.exemplars.clear();
        self.exemplars_rest = ColumnRest::default();
        (self.n_exemplars, self.n_strings) = (0, 0);
    }

    fn end_exemplars(&mut self) {
        if self.n_exemplars > 0 {
            self.exemplars.push(']');
        }
    }

    /// Returns what no column says, when a point adds to what its metric says.
    fn rest(&self, texts: &MetricTexts, raw: &RawPoint) -> Option<String> {
        let late_start_ns = Some(raw.start_ns).filter(|start| i64::try_from(*start).is_err());
        let no_time = raw.time_ns == 0;
        let is_plain = self.attributes.rest().is_empty() && self.exemplars_rest.is_empty();
        if is_plain && !no_time && late_start_ns.is_none() {
            return None;
        }
        let (attributes, exemplars) = (self.attributes.rest().clone(), self.exemplars_rest.clone());
        let rest =
            PointRest { attributes, exemplars, no_time, late_start_ns, ..texts.rest.clone() };
        Some(rest.to_text())
    }

    /// Appends an exemplar: `{"time_unix_nano":"…","value":…,"trace_id":…,"span_id":…,"attributes":{…}}`,
    /// with `value_int` for a whole number and `bits` for a NaN that is not the usual one.
    fn exemplar(&mut self, mut reader: Reader<'_>, rules: &Rules<'_>) -> Result<(), RowError> {
        let (mut time_ns, mut trace_id, mut span_id): (u64, &[u8], &[u8]) = (0, b"", b"");
        let (mut value, mut value_int) = (None, None);
        self.item.begin();
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => time_ns = field.fixed64()?,
                3 => (value, value_int) = (Some(field.double()?), None),
                4 => span_id = field.bytes()?,
                5 => trace_id = field.bytes()?,
                6 => (value, value_int) = (None, Some(field.sfixed64()?)),
                7 => add(&mut self.item, &field, rules)?,
                _ => {}
            }
        }
        let out = &mut self.exemplars;
        out.push(if self.n_exemplars == 0 { '[' } else { ',' });
        self.n_exemplars += 1;
        let _ = write!(out, "{{\"time_unix_nano\":\"{time_ns}\"");
        if let Some(value) = value {
            out.push_str(",\"value\":");
            json::push_f64(out, value);
            if value.is_nan() {
                let _ = write!(out, ",\"bits\":\"{}\"", value.to_bits());
            }
        }
        if let Some(value) = value_int {
            let _ = write!(out, ",\"value_int\":\"{value}\"");
        }
        for (name, id) in [("trace_id", trace_id), ("span_id", span_id)] {
            let _ = write!(out, ",\"{name}\":\"");
            for byte in id {
                let _ = write!(out, "{byte:02x}");
            }
            out.push('"');
        }
        out.push_str(",\"attributes\":");
        out.push_str(self.item.end());
        out.push('}');
        self.n_strings += self.item.add_rest(&mut self.exemplars_rest, self.n_strings);
        Ok(())
    }
}
