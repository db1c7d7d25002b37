//! What is written here is read back by the Parquet crate, value for value and index for index.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use proptest::prelude::*;

use super::RowGroups;
use crate::model::dictionary::DictionaryColumn;
use crate::model::metric::dictionary_utf8;

type Row = (Option<String>, String, u64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("perhaps", dictionary_utf8(), true),
        Field::new("always", dictionary_utf8(), false),
        Field::new("series_id", DataType::UInt64, false),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let (mut perhaps, mut always) = (DictionaryColumn::default(), DictionaryColumn::default());
    for (p, a, _) in rows {
        perhaps.push(p.as_deref());
        always.push(Some(a));
    }
    let n = Int64Array::from_iter_values((0..).take(rows.len()));
    let ids = UInt64Array::from_iter_values(rows.iter().map(|row| row.2));
    let columns = vec![Arc::new(n) as _, perhaps.finish(), always.finish(), Arc::new(ids) as _];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn properties(page_rows: usize, group_rows: usize) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_data_page_row_count_limit(page_rows)
        .set_max_row_group_row_count(Some(group_rows))
        .set_column_statistics_enabled(ColumnPath::from("series_id"), EnabledStatistics::None)
        .build()
}

fn write(batches: &[RecordBatch], properties: WriterProperties) -> Bytes {
    let mut groups = RowGroups::new(Vec::new(), &schema(), properties).unwrap();
    batches.iter().for_each(|batch| groups.write(batch).unwrap());
    groups.start_tail(|_| KeyValue::new("key".to_owned(), "value".to_owned())).unwrap();
    groups.into_inner().unwrap().into()
}

fn read(file: &Bytes) -> Vec<Row> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let texts = |idx: usize| {
            let texts = arrow::compute::cast(batch.column(idx), &DataType::Utf8).unwrap();
            texts.as_string::<i32>().clone()
        };
        let (perhaps, always): (StringArray, StringArray) = (texts(1), texts(2));
        let ids = batch.column(3).as_primitive::<arrow::datatypes::UInt64Type>();
        for row in 0..batch.num_rows() {
            let text = perhaps.iter().nth(row).flatten().map(str::to_owned);
            rows.push((text, always.value(row).to_owned(), ids.value(row)));
        }
    }
    rows
}

fn metadata(file: &Bytes) -> Arc<ParquetMetaData> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    Arc::clone(ArrowReaderMetadata::load(file, options).unwrap().metadata())
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = (proptest::option::of("[a-c]{0,2}"), "[a-z]{0,3}", 0..4_u64);
    let run = (value, prop_oneof![1..3_usize, 1..40_usize]);
    proptest::collection::vec(run, 1..60).prop_map(|runs| {
        runs.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row, n)).collect()
    })
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were(
        rows in rows(),
        page_rows in 1..200_usize,
        group_rows in 1..400_usize,
        batch_rows in 1..300_usize,
    ) {
        let batches: Vec<_> = rows.chunks(batch_rows).map(batch).collect();

        let file = write(&batches, properties(page_rows, group_rows));

        prop_assert_eq!(read(&file), rows);
    }

    #[test]
    fn the_page_index_bounds_its_pages(rows in rows(), page_rows in 1..50_usize) {
        let file = write(&[batch(&rows)], properties(page_rows, 1 << 20));

        let metadata = metadata(&file);
        let index = &metadata.column_index().unwrap()[0];
        let offsets = &metadata.offset_index().unwrap()[0][1];
        for (page, rows) in rows.chunks(page_rows).enumerate() {
            let present = || rows.iter().filter_map(|row| row.0.as_deref());
            let n_nulls = rows.iter().filter(|row| row.0.is_none()).count();
            let first_row = i64::try_from(page * page_rows).unwrap();
            prop_assert_eq!(offsets.page_locations()[page].first_row_index, first_row);
            prop_assert_eq!(index[1].null_count(page), Some(i64::try_from(n_nulls).unwrap()));
            prop_assert_eq!(index[1].is_null_page(page), present().next().is_none());
            let parquet::file::page_index::column_index::ColumnIndexMetaData::BYTE_ARRAY(bounds) =
                &index[1] else { panic!("texts have bounds of texts") };
            prop_assert_eq!(bounds.min_value(page), present().min().map(str::as_bytes));
            prop_assert_eq!(bounds.max_value(page), present().max().map(str::as_bytes));
        }
    }
}

#[test]
fn sorted_texts_are_said_to_be_sorted() {
    let rows: Vec<Row> = (0..100).map(|n| (None, format!("{:02}", n / 3), n)).collect();

    let metadata = metadata(&write(&[batch(&rows)], properties(10, 1 << 20)));

    let index = &metadata.column_index().unwrap()[0][2];
    assert_eq!(index.get_boundary_order(), Some(parquet::basic::BoundaryOrder::ASCENDING));
    let statistics = metadata.row_group(0).column(2).statistics().unwrap();
    assert_eq!(statistics.min_bytes_opt(), Some(&b"00"[..]));
    assert_eq!(statistics.max_bytes_opt(), Some(&b"33"[..]));
    assert_eq!(metadata.row_group(0).column(3).statistics(), None);
}

#[test]
fn the_tails_key_is_in_the_footer() {
    let file = write(&[batch(&[(None, "a".to_owned(), 1)])], properties(10, 10));

    let keys = metadata(&file).file_metadata().key_value_metadata().cloned().unwrap();

    assert!(keys.iter().any(|kv| kv.key == "key" && kv.value.as_deref() == Some("value")));
}
