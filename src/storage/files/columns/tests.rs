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
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use proptest::prelude::*;

use super::RowGroups;
use crate::model::dictionary::DictionaryColumn;
use crate::model::metric::dictionary_utf8;
use crate::model::{LogRow, LogsBuilder, Tags, log};

type Row = (Option<String>, String, u64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("perhaps", dictionary_utf8(), true),
        Field::new("always", dictionary_utf8(), false),
        Field::new("series_id", DataType::UInt64, false),
        Field::new("perhaps_plain", DataType::Utf8, true),
        Field::new("always_plain", DataType::Utf8, false),
        Field::new("perhaps_text", DataType::Utf8, true),
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
    let perhaps_plain = StringArray::from_iter(rows.iter().map(|row| row.0.as_deref()));
    let always_plain = StringArray::from_iter_values(rows.iter().map(|row| &row.1));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(n),
        perhaps.finish(),
        always.finish(),
        Arc::new(ids),
        Arc::new(perhaps_plain.clone()),
        Arc::new(always_plain),
        Arc::new(perhaps_plain),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn properties(page_rows: usize, group_rows: usize) -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_data_page_row_count_limit(page_rows)
        .set_max_row_group_row_count(Some(group_rows))
        .set_column_dictionary_enabled(ColumnPath::from("perhaps_plain"), false)
        .set_column_dictionary_enabled(ColumnPath::from("always_plain"), false)
        .set_column_bloom_filter_enabled(ColumnPath::from("always_plain"), true)
        .set_column_bloom_filter_enabled(ColumnPath::from("perhaps_text"), true)
        // After a few texts the dictionary is large enough.
        .set_column_dictionary_page_size_limit(ColumnPath::from("perhaps_text"), 20)
        .build()
}

fn write(batches: &[RecordBatch], properties: WriterProperties) -> Bytes {
    let mut groups = RowGroups::new(Vec::new(), &schema(), properties).unwrap();
    batches.iter().for_each(|batch| groups.write(batch).unwrap());
    end(groups)
}

/// Writes rows in an order of their own, so many at a time.
fn write_places(
    batches: &[RecordBatch],
    places: &[(usize, usize)],
    n_at_a_time: usize,
    properties: WriterProperties,
) -> Bytes {
    let mut groups = RowGroups::new(Vec::new(), &schema(), properties).unwrap();
    let batches: Vec<_> = batches.iter().collect();
    for places in places.chunks(n_at_a_time) {
        groups.write_places(&batches, places).unwrap();
    }
    end(groups)
}

fn end(mut groups: RowGroups<Vec<u8>>) -> Bytes {
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
        assert_eq!(texts(4), perhaps, "plain or not, they are the same texts");
        assert_eq!(texts(5), always);
        assert_eq!(texts(6), perhaps);
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
    fn rows_in_another_order_are_those_that_were_asked_for(
        rows in rows(),
        page_rows in 1..200_usize,
        group_rows in 1..400_usize,
        batch_rows in 1..300_usize,
        n_at_a_time in 1..100_usize,
        seed in 0..u64::MAX,
    ) {
        let batches: Vec<_> = rows.chunks(batch_rows).map(batch).collect();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| xxhash_rust::xxh3::xxh3_64_with_seed(&row.to_le_bytes(), seed));
        let places: Vec<_> = order.iter().map(|&row| (row / batch_rows, row % batch_rows)).collect();

        let file = write_places(&batches, &places, n_at_a_time, properties(page_rows, group_rows));

        let want: Vec<_> = order.iter().map(|&row| rows[row].clone()).collect();
        prop_assert_eq!(read(&file), want);
    }

    #[test]
    fn the_page_index_bounds_its_pages(rows in rows(), page_rows in 1..50_usize) {
        let file = write(&[batch(&rows)], properties(page_rows, 1 << 20));

        let metadata = metadata(&file);
        for column in [1, 4] {
            let index = &metadata.column_index().unwrap()[0][column];
            let offsets = &metadata.offset_index().unwrap()[0][column];
            for (page, rows) in rows.chunks(page_rows).enumerate() {
                let present = || rows.iter().filter_map(|row| row.0.as_deref());
                let n_nulls = rows.iter().filter(|row| row.0.is_none()).count();
                let first_row = i64::try_from(page * page_rows).unwrap();
                prop_assert_eq!(offsets.page_locations()[page].first_row_index, first_row);
                prop_assert_eq!(index.null_count(page), Some(i64::try_from(n_nulls).unwrap()));
                prop_assert_eq!(index.is_null_page(page), present().next().is_none());
                let parquet::file::page_index::column_index::ColumnIndexMetaData::BYTE_ARRAY(bounds) =
                    index else { panic!("texts have bounds of texts") };
                prop_assert_eq!(bounds.min_value(page), present().min().map(str::as_bytes));
                prop_assert_eq!(bounds.max_value(page), present().max().map(str::as_bytes));
            }
        }
    }
}

#[test]
fn a_page_of_texts_ends_when_it_is_large() {
    let long = "x".repeat(100);
    let rows: Vec<Row> = (0..100).map(|n| (Some(format!("{long}{n}")), long.clone(), 0)).collect();
    let properties = properties(1_000, 1 << 20).into_builder().set_data_page_size_limit(1_000);

    let file = write(&[batch(&rows)], properties.build());

    let metadata = metadata(&file);
    let offsets = &metadata.offset_index().unwrap()[0][4];
    assert_eq!(offsets.page_locations().len(), 10);
    assert_eq!(read(&file), rows);
}

#[test]
fn the_bloom_filter_knows_the_texts_that_are_there() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::file::serialized_reader::ReadOptionsBuilder;

    let text = |n: u64| format!("{:04}", n / 3);
    let rows: Vec<Row> = (0..500).map(|n| (Some(text(n)), text(n), 0)).collect();

    let file = write(&[batch(&rows)], properties(100, 1 << 20));

    assert_eq!(read(&file), rows);
    let properties = parquet::file::properties::ReaderProperties::builder();
    let properties = properties.set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(file.clone(), options).unwrap();
    let group = reader.get_row_group(0).unwrap();
    for column in [5, 6] {
        let filter = group.get_column_bloom_filter(column).unwrap();
        assert!(rows.iter().all(|row| filter.check(row.1.as_str())));
        let n_guessed = (1_000..2_000).filter(|n| filter.check(format!("{n:04}").as_str())).count();
        assert!(n_guessed < 150, "{n_guessed}");
    }
    let metadata = metadata(&file);
    let pages = metadata.offset_index().unwrap()[0][6].page_locations();
    let first_rows: Vec<i64> = pages.iter().map(|page| page.first_row_index).collect();
    assert_eq!(first_rows, [0, 7, 107, 207, 307, 407], "the dictionary is full after seven rows");
}

#[test]
fn what_is_written_about_lines_is_the_same_in_whichever_way_rows_come() {
    let batch = |words: &[&str]| {
        let mut builder = LogsBuilder::new();
        for body in words {
            let row = LogRow { body, attributes: "{}", resource: "{}", ..LogRow::default() };
            builder.push(&Tags::unassigned(), &row);
        }
        builder.finish()
    };
    let batches = [batch(&["connection refused", "ok"]), batch(&["upstream timed out"])];
    let batches: Vec<_> = batches.iter().collect();
    let places = [(1, 0), (0, 1), (0, 0)];
    let with_lines = |write: &dyn Fn(&mut RowGroups<Vec<u8>>)| {
        let groups = RowGroups::new(Vec::new(), &log::schema(), properties(10, 10)).unwrap();
        let mut groups = groups.with_grams();
        write(&mut groups);
        end(groups)
    };

    let by_places = with_lines(&|groups| groups.write_places(&batches, &places).unwrap());

    let rows = arrow::compute::interleave_record_batch(&batches, &places).unwrap();
    assert_eq!(by_places, with_lines(&|groups| groups.write(&rows).unwrap()));
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
}

#[test]
fn nothing_is_said_of_the_bounds_of_ids() {
    // Compared as texts, 256 is less than 2.
    let rows: Vec<Row> = [2, 256, 3].map(|id| (None, String::new(), id)).into();

    let metadata = metadata(&write(&[batch(&rows)], properties(10, 1 << 20)));

    assert_eq!(metadata.row_group(0).column(3).statistics(), None);
}

#[test]
fn the_tails_key_is_in_the_footer() {
    let file = write(&[batch(&[(None, "a".to_owned(), 1)])], properties(10, 10));

    let keys = metadata(&file).file_metadata().key_value_metadata().cloned().unwrap();

    assert!(keys.iter().any(|kv| kv.key == "key" && kv.value.as_deref() == Some("value")));
}
