//! How the columns of a file are written: which have a dictionary, bounds, a bloom filter.
//!
//! Each choice is worth its line in bytes on disk or in time to find a row.

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::write::{MERGED_FROM, Origin, Target};
use crate::model::{Signal, decimal};

/// Rows in a page of spans.
const SPAN_PAGE_ROWS: usize = 4_096;

/// Returns how a file is written.
pub(super) fn properties(target: &Target, row_group_rows: usize) -> WriterProperties {
    // A merged file is written seldom and kept long.
    let level = if matches!(target.origin, Origin::Merge { .. }) { 3 } else { 1 };
    let common = WriterProperties::builder()
        .set_created_by(concat!("commonwatch ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(footer_texts(target)))
        .set_compression(zstd(level))
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_statistics_enabled(EnabledStatistics::Page);
    let mut builder = match target.signal {
        Signal::Metrics => of_metrics(common),
        Signal::Logs => with_deltas(common, "timestamp")
            .set_column_bloom_filter_enabled(column("trace_id"), true),
        Signal::Spans => common
            // A trace is a few rows: the less stands around them, the sooner it is read.
            .set_data_page_row_count_limit(SPAN_PAGE_ROWS)
            .set_column_bloom_filter_enabled(column("trace_id"), true),
        Signal::Exemplars => common.set_column_bloom_filter_enabled(column("trace_id"), true),
        Signal::Points => with_deltas(common, "timestamp"),
    };
    for name in without_dictionary(target.signal) {
        builder = builder.set_column_dictionary_enabled(column(name), false);
    }
    for name in without_bounds(target.signal) {
        builder = builder.set_column_statistics_enabled(column(name), EnabledStatistics::None);
    }
    builder.build()
}

fn of_metrics(builder: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
    // Timestamps repeat from series to series, so their differences compress to almost nothing.
    with_deltas(builder, "timestamp")
        // A label set a series: with short runs the dictionary is most of the file.
        .set_dictionary_page_size_limit(64 << 20)
        .set_column_encoding(column(decimal::DOUBLE), Encoding::PLAIN)
        .set_column_compression(column(decimal::DOUBLE), zstd(3))
        .set_column_statistics_enabled(column(decimal::DOUBLE), EnabledStatistics::Chunk)
}

fn with_deltas(builder: WriterPropertiesBuilder, name: &str) -> WriterPropertiesBuilder {
    builder.set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED)
}

fn column(name: &str) -> ColumnPath {
    ColumnPath::from(name)
}

fn zstd(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).expect("1 to 22 are levels"))
}

fn footer_texts(target: &Target) -> Vec<KeyValue> {
    let commons = target.commons.to_string();
    let mut texts = vec![KeyValue::new("commonwatch.commons".to_owned(), commons)];
    if let Origin::Merge { inputs } = &target.origin {
        let inputs = serde_json::to_string(inputs).expect("paths are texts");
        texts.push(KeyValue::new(MERGED_FROM.to_owned(), inputs));
    }
    texts
}

/// Returns the columns whose texts or numbers hardly ever repeat. To find out that a text is new costs
/// more than writing it, and zstd finds the trace ids that repeat, which stand together; a dictionary of
/// doubles only gets in its way.
fn without_dictionary(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Metrics => &["timestamp", decimal::DOUBLE],
        Signal::Logs => &["timestamp", "body", "span_id"],
        Signal::Points => &["timestamp", "value", "sum"],
        Signal::Exemplars => &["timestamp", "value", "trace_id", "span_id"],
        Signal::Spans => &[
            "start_time",
            "end_time",
            "duration_ns",
            "trace_id",
            "span_id",
            "parent_span_id",
            "attributes",
        ],
    }
}

/// Returns the columns whose smallest and largest value say nothing about a page: they differ from
/// row to row without an order, or hardly at all. To keep the bounds costs two comparisons a row.
fn without_bounds(signal: Signal) -> &'static [&'static str] {
    match signal {
        Signal::Metrics => &["labels", "kind", "unit", "temporality", "tag_rule"],
        Signal::Logs => &[
            "body",
            "attributes",
            "resource",
            "scope_name",
            "span_id",
            "flags",
            "tag_rule",
            "http_size_bytes",
        ],
        Signal::Points => &[
            "labels",
            "kind",
            "unit",
            "description",
            "temporality",
            "attributes",
            "resource",
            "scope_name",
            "scope_version",
            "scope_attributes",
            "exemplars",
            "otlp_rest",
            "tag_rule",
        ],
        Signal::Exemplars => &["span_id", "exemplar_labels", "labels", "tag_rule"],
        Signal::Spans => &[
            "span_id",
            "parent_span_id",
            "kind",
            "status_message",
            "attributes",
            "resource",
            "scope_name",
            "trace_state",
            "flags",
            "events",
            "links",
            "tag_rule",
        ],
    }
}
