//! Values go into a file as decimals and come out bit for bit, whatever they are.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use proptest::prelude::*;

use super::RowGroups;
use crate::model::decimal;

/// Values of one series.
type Values = Vec<f64>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("series_id", DataType::UInt64, false),
        Field::new(decimal::VALUE, DataType::Float64, false),
    ]))
}

fn batch(series: &[Values]) -> RecordBatch {
    let ids = (1..).zip(series).flat_map(|(id, values)| std::iter::repeat_n(id, values.len()));
    let ids = UInt64Array::from_iter_values(ids);
    let values = Float64Array::from_iter_values(series.iter().flatten().copied());
    RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(values)]).unwrap()
}

fn write(rows: &RecordBatch, page_rows: usize, batch_rows: usize) -> Bytes {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_data_page_row_count_limit(page_rows)
        .set_column_dictionary_enabled(ColumnPath::from(decimal::DOUBLE), false)
        .set_max_row_group_row_count(Some(5_000))
        .build();
    let in_file = decimal::file_schema(&schema());
    let mut groups = RowGroups::new(Vec::new(), &in_file, properties).unwrap();
    for from in (0..rows.num_rows()).step_by(batch_rows) {
        let rows = rows.slice(from, batch_rows.min(rows.num_rows() - from));
        groups.write(&decimal::to_file(&rows, &in_file)).unwrap();
    }
    groups.into_inner().unwrap().into()
}

fn read(file: &Bytes) -> Vec<u64> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let reader = reader.with_batch_size(777).build().unwrap();
    let mut bits = Vec::new();
    for rows in reader {
        let rows = decimal::from_file(rows.unwrap());
        let values = rows.column_by_name(decimal::VALUE).unwrap();
        assert_eq!((values.null_count(), rows.num_columns()), (0, 2));
        bits.extend(values.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()));
    }
    bits
}

fn bits(series: &[Values]) -> Vec<u64> {
    series.iter().flatten().map(|value| value.to_bits()).collect()
}

fn values() -> impl Strategy<Value = Values> {
    let special = prop_oneof![
        Just(f64::NAN),
        Just(f64::from_bits(0x7ff0_0000_0000_0002)),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
    ];
    let whole = || (-1_000_000_i32..1_000_000).prop_map(f64::from);
    let kinds = prop_oneof![
        whole().boxed(),
        (whole(), 0..6).prop_map(|(n, digits)| n / 10_f64.powi(digits)).boxed(),
        any::<i64>().prop_map(|n| f64::from_bits(n.cast_unsigned())).boxed(),
        special.boxed(),
    ];
    let runs = proptest::collection::vec((kinds, prop_oneof![1..4_usize, 1..700_usize]), 1..5);
    let mostly_one = runs.prop_map(|runs| {
        runs.into_iter().flat_map(|(value, n)| std::iter::repeat_n(value, n)).collect()
    });
    prop_oneof![
        mostly_one,
        proptest::collection::vec(whole(), 1..900),
        proptest::collection::vec(any::<f64>(), 1..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn values_come_back_bit_for_bit(
        series in proptest::collection::vec(values(), 1..12),
        page_rows in 1..3_000_usize,
        batch_rows in 1..3_000_usize,
    ) {
        let file = write(&batch(&series), page_rows, batch_rows);

        prop_assert_eq!(read(&file), bits(&series));
    }
}

/// A counter of about `rate` a step, which is what most series are.
fn counter(first: u32, rate: u32, n: u32) -> Values {
    let noise = |step: u32| step.wrapping_mul(2_654_435_761) % rate;
    (0..n).map(|step| f64::from(first + step * rate + noise(step))).collect()
}

/// Returns the encodings of the digits' pages and the bytes they take a sample.
fn digits_of(file: &Bytes) -> (Vec<Encoding>, f64) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let groups = reader.metadata().row_groups().iter();
    let (mut encodings, mut n_bytes, mut n_rows) = (Vec::new(), 0, 0);
    for group in groups {
        let column = group.column(1);
        encodings.extend(column.encodings());
        n_bytes += column.compressed_size();
        n_rows += group.num_rows();
    }
    let of_pages = [Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT];
    encodings.retain(|encoding| of_pages.contains(encoding));
    encodings.dedup();
    #[expect(clippy::cast_precision_loss, reason = "the test has few rows")]
    let per_sample = n_bytes as f64 / n_rows as f64;
    (encodings, per_sample)
}

#[test]
fn a_long_series_is_written_as_differences_and_takes_less_than_a_byte_a_sample() {
    let series: Vec<_> = (1..6).map(|n| counter(n * 7_919_111, n * 7, 2_880)).collect();

    let file = write(&batch(&series), 20_000, 5_000);

    let (encodings, per_sample) = digits_of(&file);
    assert_eq!(encodings, [Encoding::DELTA_BINARY_PACKED]);
    assert!(per_sample < 0.9, "{per_sample} bytes");
    assert_eq!(read(&file), bits(&series));
}

#[test]
fn short_series_share_a_page_of_split_bytes() {
    let series: Vec<_> = (1..60).map(|n| counter(n * 7_919_111, n, 20)).collect();

    let file = write(&batch(&series), 20_000, 5_000);

    let (encodings, per_sample) = digits_of(&file);
    assert_eq!(encodings, [Encoding::BYTE_STREAM_SPLIT]);
    assert!(per_sample < 2.5, "{per_sample} bytes");
    assert_eq!(read(&file), bits(&series));
}

#[test]
fn gauges_of_few_digits_are_whole_numbers_too() {
    let gauge: Values =
        (0..2_000_u32).map(|n| f64::from(n * 7_919 % 400) / 1_000.0 + 21.0).collect();

    let (_, per_sample) = digits_of(&write(&batch(&[gauge]), 20_000, 5_000));

    assert!(per_sample < 1.4, "{per_sample} bytes");
}
