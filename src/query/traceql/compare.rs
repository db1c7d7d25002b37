//! `compare()`: how the spans of a selection differ from the others.
//!
//! For each attribute the values that are most frequent are counted, in the selection and in the
//! rest, which is the baseline; how many spans have the attribute at all is a series of its own. The
//! labels are those that Traces Drilldown reads.

use std::collections::{BTreeMap, BTreeSet};

use super::Limits;
use super::ast::Field;
use super::attribute::{Attribute, Intrinsic};
use super::error::TraceqlError;
use super::eval::field_of;
use super::metrics::{CountedSeries, Grown};
use super::trace::{Place, Trace};
use super::value::Value;
use crate::model::json_read::members;
use crate::query::QueryError;

const META_TYPE: &str = "__meta_type";
const META_ERROR: &str = "__meta_error";
const TOO_MANY: &str = "__too_many_values__";

/// The most values that are counted of one attribute; there is nothing to compare in ids.
const VALUES_MAX: usize = 1_000;

/// Bytes of a value beside its points and texts.
const VALUE_BYTES: usize = 128;

/// Intrinsics that are compared.
const INTRINSICS: [Intrinsic; 5] = [
    Intrinsic::Name,
    Intrinsic::Status,
    Intrinsic::Kind,
    Intrinsic::RootName,
    Intrinsic::RootService,
];

/// Counts of one side.
#[derive(Debug, Default)]
struct Side {
    by_attribute: BTreeMap<String, Attributes>,
}

#[derive(Debug, Default)]
struct Attributes {
    totals: Vec<f64>,
    values: BTreeMap<(String, &'static str), (Value<'static>, Vec<f64>)>,
    has_too_many: bool,
}

/// Compares while spans come.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    filter: Option<&'a Field>,
    top: usize,
    range_ns: Option<(i64, i64)>,
    n_points: usize,
    baseline: Side,
    selection: Side,
    n_values: usize,
}

impl<'a> Comparison<'a> {
    /// Begins with nothing counted.
    pub(super) fn new(
        filter: Option<&'a Field>,
        top: usize,
        range_ns: Option<(i64, i64)>,
        n_points: usize,
    ) -> Self {
        let (baseline, selection) = (Side::default(), Side::default());
        Self { filter, top, range_ns, n_points, baseline, selection, n_values: 0 }
    }

    /// Counts a span.
    pub(super) fn take(
        &mut self,
        trace: &Trace,
        place: Place,
        point: usize,
        limits: &Limits,
        grown: &mut Grown<'_>,
    ) -> Result<(), QueryError> {
        let start = trace.start(place);
        let in_time = self.range_ns.is_none_or(|(from, to)| (from..to).contains(&start));
        let is_selected =
            in_time && self.filter.is_none_or(|filter| field_of(filter, trace, place).is_true());
        let side = if is_selected { &mut self.selection } else { &mut self.baseline };
        let (mut n_new, mut n_bytes) = (0, 0);
        let mut count = |name: String, value: Value<'_>| {
            let n_more = side.count(name, value, point, self.n_points);
            n_new += usize::from(n_more > 0);
            n_bytes += n_more;
        };
        for intrinsic in INTRINSICS {
            let name = Attribute::Intrinsic(intrinsic).to_string();
            count(name, trace.value(place, &Attribute::Intrinsic(intrinsic)));
        }
        for (scope, object) in
            [("span", trace.attributes(place)), ("resource", trace.resource(place))]
        {
            for (key, value) in members(object) {
                count(format!("{scope}.{key}"), Value::of_json(value));
            }
        }
        grown.add(n_bytes)?;
        self.n_values += n_new;
        let max = limits.series_max;
        if self.n_values > max {
            let key = "query.series_max";
            return Err(TraceqlError::TooMuch { what: "series", max, key }.into());
        }
        Ok(())
    }

    /// Returns the series.
    pub(super) fn finish(self, timestamp_ms: impl Fn(usize) -> i64) -> Vec<CountedSeries> {
        let (mut series, mut cut) = (Vec::new(), BTreeSet::new());
        let sides = [("baseline", self.baseline), ("selection", self.selection)];
        for (name, side) in sides {
            for (attribute, counts) in side.by_attribute {
                if counts.has_too_many || counts.values.len() > self.top {
                    cut.insert(attribute.clone());
                }
                push(&mut series, name, &attribute, counts, self.top, &timestamp_ms);
            }
        }
        // As Tempo says it: of an attribute, not of a side.
        series.extend(cut.into_iter().map(|attribute| {
            let labels = vec![
                (META_ERROR.to_owned(), Value::Text(TOO_MANY.into())),
                (attribute, Value::Nil),
            ];
            CountedSeries { labels, samples: Vec::new(), exemplars: Vec::new() }
        }));
        series
    }
}

impl Side {
    /// Counts a value; returns how many bytes a new one takes, 0 for one that was there.
    fn count(&mut self, name: String, value: Value<'_>, point: usize, n_points: usize) -> usize {
        if value == Value::Nil {
            return 0;
        }
        let (of_name, of_points) = (name.len(), n_points * size_of::<f64>());
        let mut n_bytes = VALUE_BYTES + of_points;
        let counts = self.by_attribute.entry(name).or_default();
        if counts.totals.is_empty() {
            counts.totals.resize(n_points, 0.0);
            n_bytes += VALUE_BYTES + of_name + of_points;
        }
        counts.totals[point] += 1.0;
        let key = (value.plain(), value.type_name());
        if let Some((_, counted)) = counts.values.get_mut(&key) {
            counted[point] += 1.0;
            return 0;
        }
        if counts.values.len() >= VALUES_MAX {
            counts.has_too_many = true;
            return 0;
        }
        let mut counted = vec![0.0; n_points];
        counted[point] = 1.0;
        n_bytes += 2 * key.0.len();
        counts.values.insert(key, (value.into_owned(), counted));
        n_bytes
    }
}

fn push(
    series: &mut Vec<CountedSeries>,
    side: &str,
    attribute: &str,
    counts: Attributes,
    top: usize,
    timestamp_ms: &impl Fn(usize) -> i64,
) {
    let text = |text: &str| Value::Text(text.to_owned().into());
    let samples = |counted: &[f64]| {
        counted.iter().enumerate().map(|(point, n)| (timestamp_ms(point), *n)).collect()
    };
    let meta = |name: &str| (META_TYPE.to_owned(), text(name));
    let mut values: Vec<(Value<'static>, Vec<f64>)> = counts.values.into_values().collect();
    values.sort_by(|(_, a), (_, b)| b.iter().sum::<f64>().total_cmp(&a.iter().sum()));
    for (value, counted) in values.into_iter().take(top) {
        let labels = vec![meta(side), (attribute.to_owned(), value)];
        series.push(CountedSeries { labels, samples: samples(&counted), exemplars: Vec::new() });
    }
    let labels = vec![meta(&format!("{side}_total")), (attribute.to_owned(), Value::Nil)];
    series.push(CountedSeries { labels, samples: samples(&counts.totals), exemplars: Vec::new() });
}
