//! Series become rows of the `metrics` schema: one row a sample, labels as a dictionary.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, Float64Array, Int32Array, ListBuilder, PrimitiveBuilder,
    RecordBatch, TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{Float64Type, Int32Type, UInt64Type};

use crate::model::dictionary::DictionaryColumn;
use crate::model::histogram::FloatCounts;
use crate::model::labels::METRIC_NAME;
use crate::model::{ExpHistogram, Labels, SeriesMeta, json, metric};

/// Collects rows; a batch is taken when it is large enough.
#[derive(Debug, Default)]
pub struct MetricsRows {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// Shorter than `timestamps` where none has followed yet.
    starts_ns: Vec<i64>,
    series_ids: Vec<u64>,
    metric: DictionaryColumn,
    service: DictionaryColumn,
    env: DictionaryColumn,
    cluster: DictionaryColumn,
    labels: DictionaryColumn,
    kind: DictionaryColumn,
    unit: DictionaryColumn,
    temporality: DictionaryColumn,
    tag_rule: DictionaryColumn,
}

/// Samples of one series, in columns.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowSamples<'s> {
    /// ms since 1970 UTC.
    pub timestamps_ms: &'s [i64],
    /// One value a timestamp.
    pub values: &'s [f64],
    /// Since when each counts, ns since 1970 UTC, 0 for none; empty when none says so.
    pub starts_ns: &'s [i64],
}

impl MetricsRows {
    /// Appends the samples of one series.
    pub fn push(
        &mut self,
        labels: &Labels,
        series_id: u64,
        meta: &SeriesMeta,
        samples: RowSamples<'_>,
    ) {
        let RowSamples { timestamps_ms, values, starts_ns } = samples;
        let n = timestamps_ms.len();
        if !starts_ns.is_empty() {
            self.starts_ns.resize(self.timestamps.len(), 0);
            self.starts_ns.extend_from_slice(starts_ns);
        }
        self.timestamps.extend_from_slice(timestamps_ms);
        self.values.extend_from_slice(values);
        self.series_ids.extend(std::iter::repeat_n(series_id, n));
        self.labels(labels, n);
        self.kind.push_run(Some(meta.kind.as_str()), n);
        self.unit.push_run((!meta.unit.is_empty()).then_some(&*meta.unit), n);
        self.temporality.push_run(meta.temporality.as_str(), n);
        self.tag_rule.push_run((!meta.tag_rule.is_empty()).then_some(&*meta.tag_rule), n);
    }

    /// Takes a label set apart in one walk: the commons is in the file's path, some labels have
    /// columns, and the rest becomes JSON.
    fn labels(&mut self, labels: &Labels, n: usize) {
        let (mut metric, mut service, mut env, mut cluster) = ("", None, None, None);
        self.labels.push_new_run(n, |json| {
            let others = labels.iter().filter(|&(name, value)| {
                match name {
                    METRIC_NAME => metric = value,
                    "commons" => {}
                    "service" => service = Some(value),
                    "env" => env = Some(value),
                    "cluster" => cluster = Some(value),
                    _ => return true,
                }
                false
            });
            json::push_object(json, others);
        });
        self.metric.push_run(Some(metric), n);
        self.service.push_run(service, n);
        self.env.push_run(env, n);
        self.cluster.push_run(cluster, n);
    }

    /// Returns the number of rows so far.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Returns true when there is no row.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Returns the rows in the schema of plain metrics files, with or without the column of start
    /// times, and empties the builder.
    pub fn finish(&mut self, has_starts: bool) -> RecordBatch {
        if !has_starts {
            self.starts_ns.clear();
            return RecordBatch::try_new(metric::schema(), self.columns())
                .expect("every column got one value a row");
        }
        let starts = self.starts();
        let mut columns = self.columns();
        columns.push(starts);
        RecordBatch::try_new(metric::started_schema(), columns)
            .expect("every column got one value a row")
    }

    /// Returns the rows in the schema of the whole table: `exp_*` columns from `histograms`, one a
    /// row, or all null.
    pub fn finish_exp(&mut self, histograms: Option<&[&ExpHistogram]>) -> RecordBatch {
        let (n, starts) = (self.len(), self.starts());
        let mut columns = self.columns();
        match histograms {
            Some(histograms) => columns.extend(exp_columns(histograms)),
            None => {
                let exp_fields = metric::exp_schema();
                let nulls =
                    exp_fields.fields()[columns.len()..exp_fields.fields().len() - 1].iter();
                columns.extend(nulls.map(|field| new_null_array(field.data_type(), n)));
            }
        }
        columns.push(starts);
        RecordBatch::try_new(metric::exp_schema(), columns)
            .expect("every column got one value a row")
    }

    fn starts(&mut self) -> ArrayRef {
        let mut starts_ns = std::mem::take(&mut self.starts_ns);
        starts_ns.resize(self.timestamps.len(), 0);
        let starts = starts_ns.into_iter().map(|start_ns| (start_ns != 0).then_some(start_ns));
        Arc::new(starts.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
    }

    fn columns(&mut self) -> Vec<ArrayRef> {
        let timestamps = TimestampMillisecondArray::from(std::mem::take(&mut self.timestamps));
        vec![
            Arc::new(timestamps.with_timezone("UTC")),
            self.metric.finish(),
            Arc::new(Float64Array::from(std::mem::take(&mut self.values))),
            self.service.finish(),
            self.env.finish(),
            self.cluster.finish(),
            self.labels.finish(),
            self.kind.finish(),
            self.unit.finish(),
            self.temporality.finish(),
            Arc::new(UInt64Array::from(std::mem::take(&mut self.series_ids))),
            self.tag_rule.finish(),
        ]
    }
}

fn exp_columns(histograms: &[&ExpHistogram]) -> Vec<ArrayRef> {
    let is_float = |h: &ExpHistogram| float(h).is_some();
    let u64s = |of: fn(&ExpHistogram) -> u64| -> ArrayRef {
        let integers = histograms.iter().map(|h| (!is_float(h)).then(|| of(h)));
        Arc::new(integers.collect::<UInt64Array>())
    };
    let i32s = |of: fn(&ExpHistogram) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(histograms.iter().map(|h| of(h))))
    };
    let f64s = |of: fn(&ExpHistogram) -> Option<f64>| -> ArrayRef {
        Arc::new(histograms.iter().map(|h| of(h)).collect::<Float64Array>())
    };
    let mut columns = vec![
        u64s(|h| h.count),
        f64s(|h| h.sum),
        i32s(|h| h.scale),
        u64s(|h| h.zero_count),
        f64s(|h| Some(h.zero_threshold)),
        i32s(|h| h.positive_offset),
        lists::<UInt64Type>(histograms, |h| (!is_float(h)).then_some(&*h.positive_counts)),
        i32s(|h| h.negative_offset),
        lists::<UInt64Type>(histograms, |h| (!is_float(h)).then_some(&*h.negative_counts)),
        f64s(|h| h.min),
        f64s(|h| h.max),
    ];
    let mut hints = DictionaryColumn::default();
    for histogram in histograms {
        hints.push_run(histogram.native.as_ref().map(|native| native.reset_hint.as_str()), 1);
    }
    columns.extend([
        hints.finish(),
        lists::<Float64Type>(histograms, |h| filled(&h.native.as_ref()?.custom_bounds)),
        lists::<Int32Type>(histograms, |h| filled(&h.native.as_ref()?.positive_indexes)),
        lists::<Int32Type>(histograms, |h| filled(&h.native.as_ref()?.negative_indexes)),
        f64s(|h| float(h).map(|float| float.count)),
        f64s(|h| float(h).map(|float| float.zero_count)),
        lists::<Float64Type>(histograms, |h| float(h).map(|float| &*float.positive)),
        lists::<Float64Type>(histograms, |h| float(h).map(|float| &*float.negative)),
    ]);
    columns
}

fn float(histogram: &ExpHistogram) -> Option<&FloatCounts> {
    histogram.native.as_ref()?.float.as_ref()
}

/// An empty list means that there is nothing to say, so it is null.
fn filled<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

fn lists<T: ArrowPrimitiveType>(
    histograms: &[&ExpHistogram],
    of: impl for<'a> Fn(&'a ExpHistogram) -> Option<&'a [T::Native]>,
) -> ArrayRef {
    let mut builder = ListBuilder::new(PrimitiveBuilder::<T>::new());
    for histogram in histograms {
        let list = of(histogram);
        builder.values().append_slice(list.unwrap_or_default());
        builder.append(list.is_some());
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::TimestampNanosecondType;

    #[test]
    fn series_become_rows() {
        let labels = Labels::from_pairs([
            ("__name__", "up"),
            ("commons", "heart"),
            ("service", "fence"),
            ("job", "a\"b"),
        ]);
        let mut rows = MetricsRows::default();
        let samples =
            RowSamples { timestamps_ms: &[1, 2], values: &[0.5, 1.5], ..RowSamples::default() };
        rows.push(&labels, labels.series_id(), &SeriesMeta::default(), samples);

        let text =
            arrow::util::pretty::pretty_format_batches(&[rows.finish(false)]).unwrap().to_string();

        assert!(
            text.contains(r#"{"job":"a\"b"}"#) && text.contains("fence") && !text.contains("heart"),
            "{text}"
        );
        assert!(rows.is_empty());
    }

    #[test]
    fn exponential_histograms_fill_their_columns() {
        let histogram =
            ExpHistogram { count: 3, positive_counts: vec![1, 2], ..ExpHistogram::default() };
        let labels = Labels::from_pairs([("__name__", "h")]);
        let mut rows = MetricsRows::default();
        let samples = RowSamples { timestamps_ms: &[1], values: &[3.0], starts_ns: &[7] };
        rows.push(&labels, 1, &SeriesMeta::default(), samples);

        let batch = rows.finish_exp(Some(&[&histogram]));

        assert_eq!(batch.schema(), metric::exp_schema());
        assert_eq!(batch.column_by_name("exp_sum").unwrap().null_count(), 1);
        assert_eq!(batch.column_by_name(metric::START_TIME).unwrap().null_count(), 0);
    }

    #[test]
    fn only_samples_that_say_so_have_a_start() {
        let labels = Labels::from_pairs([("__name__", "up")]);
        let mut rows = MetricsRows::default();
        for starts_ns in [&[][..], &[0, 9], &[]] {
            let samples = RowSamples { timestamps_ms: &[1, 2], values: &[1.0, 2.0], starts_ns };
            rows.push(&labels, 1, &SeriesMeta::default(), samples);
        }

        let batch = rows.finish(true);

        let starts = batch.column_by_name(metric::START_TIME).unwrap();
        let starts = starts.as_primitive::<TimestampNanosecondType>();
        assert_eq!(starts.iter().collect::<Vec<_>>(), [None, None, None, Some(9), None, None]);
    }
}
